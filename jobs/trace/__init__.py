"""Where a deposit's money went: followed through the postings, told to people, and kept still when the deposit goes."""
