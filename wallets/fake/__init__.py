"""A chain in memory that keeps the promises of `wallets.protocol`, for tests and simulations; never real money."""

from wallets.fake.addresses import FakeAddressBook
from wallets.fake.chain import FakeChain, Lie
from wallets.fake.wallet import FakeWallet

__all__ = ["FakeAddressBook", "FakeChain", "FakeWallet", "Lie"]
