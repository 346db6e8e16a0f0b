"""The world outside Coffer, a class for each chain: people who pay and are paid with wallets of their own, and miners.

Each asks its node as anybody with a node could; amounts are atomic units.
"""
