"""The only way out to a chain."""
