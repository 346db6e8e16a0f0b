"""monero-wallet-rpc and monerod: one wallet file, subaddresses as indices."""
