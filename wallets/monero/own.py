"""Which addresses are ours, as the wallet's keys say, and the secret view key by which we find what comes back."""

from __future__ import annotations

from collections.abc import Collection

from ledger.errors import NodeProtocolError
from wallets.monero.addresses import Layout, subaddress_of
from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.reply import Record
from wallets.monero.verify import Ours, Receiver
from wallets.protocol import HOT, SweepTerms

#: Bytes of a sweep of six outputs, some 660 each and 850 besides. It takes twice as many where the market has not moved
#: since its fee was set aside; an account with more than that must be swept by hand.
SWEEP_WEIGHT = 5_000

_WRONG_ADDRESS = -2


class OwnAddresses:
    """Questions about the wallet's own addresses."""

    def __init__(self, client: MoneroClient, layout: Layout) -> None:
        self._client = client
        self._layout = layout
        self._view_secret: bytes | None = None  # the same as long as the wallet is; never leaves this object

    def account_of(self, sources: Collection[int]) -> int:
        """The wallet account whose money moves. A transaction spends from one account only."""
        if not sources:
            return 0
        if self._layout != "account" or len(set(sources)) > 1:
            raise ValueError("this wallet moves the money of one account of its own at a time, or the hot wallet's")
        return subaddress_of(next(iter(sources)), self._layout)[0]

    def at_target(self, target: int) -> str:
        """The address of an index, or of the hot wallet."""
        return self.at(0, 0) if target == HOT else self.at(*subaddress_of(target, self._layout))

    def at(self, major: int, minor: int) -> str:
        answer = self._client.read("get_address", account_index=major, address_index=[minor])
        found = Record(answer, "get_address").records("addresses")
        if len(found) != 1 or found[0].units("address_index") != minor:
            raise NodeProtocolError("the wallet answers for another address than asked")
        return found[0].text("address")

    def sweep_terms(self) -> SweepTerms:
        """Raises `LookupError` where all money lies together."""
        if self._layout != "account":
            raise LookupError("all indices share one account, whose money is spent together")
        return SweepTerms(self.at(0, 0), SWEEP_WEIGHT)

    def holds(self, address: str) -> bool:
        try:
            answer = self._client.read("get_address_index", address=address)
        except RpcRefused as refusal:
            if refusal.rpc_code != _WRONG_ADDRESS:
                raise
            return False
        Record(answer, "get_address_index").record("index").units("major")
        return True

    def ours(self, account: int) -> Ours:
        """The keys by which the outputs of a transaction that spends from this account are told apart."""
        if self._view_secret is None:
            key = Record(self._client.read("query_key", key_type="view_key"), "query_key").text("key")
            self._view_secret = bytes.fromhex(key)
        return Ours(Receiver.of(self.at(0, 0)), Receiver.of(self.at(account, 0)), self._view_secret)
