"""The wallet's own outputs that are not spent: what may be chosen, what is locked, what is left alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ledger.errors import NodeProtocolError
from wallets.monero.client import MoneroClient
from wallets.monero.reply import Record

#: Blocks on top of an output, its own included, before the network lets it be spent; and of a mined one.
SPENDABLE_DEPTH, COINBASE_MATURITY = 10, 60


@dataclass(frozen=True, slots=True)
class Coin:
    """One unspent output. `key` is that of the deposit it came with, `txid:major:minor`; our change has the minor 0."""

    key_image: str
    key: str
    account: int
    minor: int
    units: int
    height: int
    unlocked: bool
    frozen: bool


class Coins:
    """Reads outputs. The answer grows with the unspent outputs of the account, not with its history."""

    def __init__(self, client: MoneroClient) -> None:
        self._client = client

    def unspent(self, account: int) -> list[Coin]:
        reply = Record(
            self._client.read("incoming_transfers", transfer_type="available", account_index=account),
            "incoming_transfers",
        )
        return [_coin(record) for record in reply.some_records("transfers") if not record.boolean("spent")]

    def units_of(self, account: int, key_images: Collection[str]) -> int:
        """What these outputs of an account hold together, spent or not. Raises `NodeProtocolError` for one that is
        not among them. The answer grows with the account's history."""
        reply = Record(
            self._client.read("incoming_transfers", transfer_type="all", account_index=account), "incoming_transfers"
        )
        units = {record.text("key_image"): record.units("amount") for record in reply.some_records("transfers")}
        if not set(key_images) <= set(units):
            raise NodeProtocolError("the wallet does not know an output that it chose to spend")
        return sum(units[image] for image in set(key_images))


def _coin(record: Record) -> Coin:
    index = record.record("subaddr_index")
    major, minor = index.units("major"), index.units("minor")
    return Coin(
        key_image=record.text("key_image"),
        key=f"{record.text('tx_hash')}:{major}:{minor}",
        account=major,
        minor=minor,
        units=record.units("amount"),
        height=record.units("block_height"),
        unlocked=record.boolean("unlocked"),
        frozen=record.boolean("frozen"),
    )
