"""Orders on an exchange that balance what swaps leave the house with."""
