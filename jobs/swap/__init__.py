"""One asset for another: quotes, prices, inventory, and swaps from a balance or a deposit."""
