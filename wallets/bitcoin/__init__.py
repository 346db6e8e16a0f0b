"""Bitcoin Core as a `ChainWallet`, and Bitcoin addresses without a node."""
