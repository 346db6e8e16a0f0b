"""Money that waits between a buyer and a vendor."""
