"""Who owned what: the histories of deposits, orders and escrows written, verified, shown and exported."""
