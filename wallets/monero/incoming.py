"""What the wallet lists as having come in, checked against the outputs that it holds.

`get_transfers` keeps a list of payments, `incoming_transfers` the outputs themselves: what a key of ours can spend, or
has spent. Lists have told of more than came in, by outputs sent twice under one key or counted twice (FAULTS F7, F8).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.reply import Record
from wallets.protocol import SeenSpend

_ACCOUNT_OUT_OF_BOUND, _ADDRESS_OUT_OF_BOUND = -14, -15
_SENT = ("out", "pending", "failed")

Place = tuple[int, int]  #: major, minor
#: place -> txid -> units
Sums = Mapping[Place, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Entry:
    """What came in with one transaction to one subaddress."""

    txid: str
    at: Place
    address: str
    units: int
    height: int | None  #: None: in the pool
    coinbase: bool
    locked: bool  #: by an unlock time of its own, and not for its depth alone

    @property
    def key(self) -> str:
        return f"{self.txid}:{self.at[0]}:{self.at[1]}"


class Incoming:
    """The wallet's own view of its transfers; only as good as `Sync.caught_up` was just before."""

    def __init__(self, client: MoneroClient) -> None:
        self._client = client

    def after(self, height: int | None) -> tuple[list[Entry], list[SeenSpend]]:
        """What others sent, and what these keys sent, in blocks above a height (None: in all) and in the pool."""
        # `min_height` itself is left out by wallet-rpc; the pool and what was sent and not mined are always in.
        bounds = {} if height is None else {"filter_by_height": True, "min_height": height}
        listing = self._transfers(**dict.fromkeys(("in", "pool", *_SENT), True), all_accounts=True, **bounds)
        own = _sent(listing)
        mined, waiting = (_entries(listing, kind) for kind in ("in", "pool"))
        # After a reorganisation the wallet may list one in both; and in the pool, without an amount, what it has.
        waiting = {key: entry for key, entry in waiting.items() if entry.units and key not in mined}
        entries = [entry for entry in (*mined.values(), *waiting.values()) if entry.txid not in own]
        return entries, [SeenSpend(txid, height) for txid, height in own.items()]

    def in_pool(self) -> list[Entry]:
        """What others sent and no block holds, as the wallet counts it in its balance."""
        listing = self._transfers(pool=True, pending=True, failed=True, all_accounts=True)
        own = _sent(listing)
        return [entry for entry in _entries(listing, "pool").values() if entry.txid not in own]

    def sent(self, heights: Collection[int]) -> Collection[str]:
        """The transactions that the wallet sent itself: in blocks from the lowest to the highest of these, and those
        in no block."""
        low, high = (max(min(heights) - 1, 0), max(heights)) if heights else (0, 0)
        kinds = dict.fromkeys(_SENT, True)
        return _sent(
            self._transfers(**kinds, all_accounts=True, filter_by_height=True, min_height=low, max_height=high)
        )

    def mined_at(self, places: Collection[Place]) -> list[Entry]:
        """All that ever came to these subaddresses in blocks, own payments included."""
        found: list[Entry] = []
        for major, minors in _by_account(places).items():
            listing = Record(self._asked_at("get_transfers", major, minors, **{"in": True}), "get_transfers")
            found += [entry for entry in _entries(listing, "in").values() if entry.at in places]
        return found

    def odd(self, entries: Iterable[Entry]) -> set[str]:
        """The keys of mined entries that the wallet holds other outputs for than it lists.

        Two that share an output (the burning bug) are right together, though neither is alone: what does not agree by
        itself is compared once more as a sum over its subaddress.
        """
        mined = [entry for entry in entries if entry.height is not None]
        held = self._held(_sums(mined))
        apart = [entry for entry in mined if held[entry.at].get(entry.txid, 0) != entry.units]
        if not apart:
            return set()
        listed = _sums(self.mined_at({entry.at for entry in apart}))
        held = self._held(listed)
        return {entry.key for entry in apart if _total(listed, entry.at) != _total(held, entry.at)}

    def _held(self, listed: Sums) -> Sums:
        """The outputs behind listed entries, spent ones too, added up as those are."""
        held: dict[Place, dict[str, int]] = {place: {} for place in listed}
        for major, minors in _by_account(listed).items():
            answer = self._asked_at("incoming_transfers", major, minors, transfer_type="all")
            for output in Record(answer, "incoming_transfers").some_records("transfers"):
                at, txid = _place(output.record("subaddr_index")), output.text("tx_hash")
                if txid in listed.get(at, {}):  # change of our own payments is in no list
                    held[at][txid] = held[at].get(txid, 0) + output.units("amount")
        return held

    def _transfers(self, **params: object) -> Record:
        return Record(self._client.read("get_transfers", **params), "get_transfers")

    def _asked_at(self, method: str, major: int, minors: list[int], **params: object) -> object:
        """About some subaddresses of an account; an empty answer where the wallet has none of these."""
        try:
            return self._client.read(method, account_index=major, subaddr_indices=minors, **params)
        except RpcRefused as refusal:
            if refusal.rpc_code not in (_ACCOUNT_OUT_OF_BOUND, _ADDRESS_OUT_OF_BOUND):
                raise
            return {}


def _entries(listing: Record, kind: str) -> dict[str, Entry]:
    """By key; what one transaction pays to one subaddress is one entry."""
    found: dict[str, Entry] = {}
    for record in listing.some_records(kind):
        entry = _entry(record)
        before = found.get(entry.key)
        found[entry.key] = entry if before is None else replace(before, units=before.units + entry.units)
    return found


def _entry(record: Record) -> Entry:
    kind, timed = record.text("type"), record.units("unlock_time") != 0
    waiting, coinbase = kind == "pool", kind == "block"
    return Entry(
        txid=record.text("txid"),
        at=_place(record.record("subaddr_index")),
        address=record.text("address"),
        units=record.units("amount"),
        height=None if waiting else record.units("height"),
        coinbase=coinbase,
        locked=timed and not coinbase and record.boolean("locked"),
    )


def _sent(listing: Record) -> dict[str, int | None]:
    """txid -> height of its block, None for one that is in none."""
    return {
        record.text("txid"): record.units("height") if kind == "out" else None
        for kind in reversed(_SENT)  # after a reorganisation one may be listed as both: a block counts
        for record in listing.some_records(kind)
    }


def _place(index: Record) -> Place:
    return index.units("major"), index.units("minor")


def _by_account(places: Iterable[Place]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for major, minor in sorted(places):
        found.setdefault(major, []).append(minor)
    return found


def _sums(entries: Iterable[Entry]) -> Sums:
    sums: dict[Place, dict[str, int]] = {}
    for entry in entries:
        at = sums.setdefault(entry.at, {})
        at[entry.txid] = at.get(entry.txid, 0) + entry.units
    return sums


def _total(sums: Sums, at: Place) -> int:
    return sum(sums.get(at, {}).values())
