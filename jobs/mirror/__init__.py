"""What Redis shows of orders and histories: kept, rebuilt and checked."""
