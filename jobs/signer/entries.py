"""The entries of the signer's record, how they hang together, and the tables that are drawn from them.

An entry's hash covers its number, moment, kind, contents and the hash before it, so that none can be taken out, changed
or put elsewhere without all later ones changing. Everything that is asked of the record quickly lies in tables that
follow from the entries alone (`rows_of`): a table that says something else is a fault like a broken chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: The hash before the first entry.
GENESIS = "0" * 64

#: founded: whose record this is. signed: a payment may be signed. candidate: bytes were signed for it. left: they may
#: be sent. released: the payment was let go, or is proven dead by now. spared: bytes of it are in the chain for good,
#: and others may spend what those do not. token: the contract that an asset stands for.
KINDS = ("founded", "signed", "candidate", "left", "released", "spared", "token")

Row = tuple[str, tuple[Any, ...]]  #: table, values


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry: its number, which is also how many there are, and its hash."""

    count: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the record. `chain` and `payment` are empty where the kind has none."""

    number: int
    at: int  #: seconds since 1970, by the signer's clock
    kind: str
    chain: str
    payment: str
    body: dict[str, Any]
    hash: str

    @property
    def head(self) -> Head:
        return Head(self.number, self.hash)


def dumps(body: Any) -> str:
    """The one text of a body."""
    return json.dumps(body, separators=(",", ":"), sort_keys=True)


def sha256(*parts: Any) -> str:
    """A hash of values, whose places cannot be mistaken for one another."""
    return hashlib.sha256(dumps(list(parts)).encode("utf-8")).hexdigest()


def link(before: Head, at: int, kind: str, chain: str, payment: str, body: dict[str, Any]) -> Entry:
    """The entry that follows the head."""
    number = before.count + 1
    return Entry(
        number, at, kind, chain, payment, body, sha256(before.hash, number, at, kind, chain, payment, dumps(body))
    )


def follows(entry: Entry, before: Head) -> bool:
    """Whether the entry is the next one after the head, unchanged."""
    return entry == link(before, entry.at, entry.kind, entry.chain, entry.payment, entry.body)


def rows_of(entry: Entry) -> Iterator[Row]:
    """The lines that an entry adds to the tables."""
    body, payment, chain = entry.body, entry.payment, entry.chain
    if entry.kind == "signed":
        yield "signed", (payment, chain, body["payload"], entry.number)
        for withdrawal, order in body["withdrawals"]:
            yield "member", (withdrawal, payment, order)
        for asset, part, units in body["outflow"]:
            yield "outflow", (payment, asset, part, units, entry.at)
    if entry.kind == "candidate":
        yield "candidate", (payment, body["txid"], entry.number)
    if entry.kind in ("signed", "candidate"):
        for resource in body["claims"]:
            yield "bound", (chain, resource, payment)
    if entry.kind == "left":
        yield "leaving", (payment,)
    if entry.kind == "released":
        yield "released", (payment, body["proof"], entry.at)
    if entry.kind == "spared":
        for resource in body["resources"]:
            yield "spared", (chain, resource, payment)
    if entry.kind == "token":
        yield "token", (body["asset"], body["contract"])


def schema() -> str:
    """All tables, each append-only: what stands cannot be changed, taken away or written over."""
    return "\n".join(_TABLES.values()) + _INDICES + "".join(_append_only(name) for name in _TABLES)


def _append_only(name: str) -> str:
    same = " AND ".join(f"{column} = NEW.{column}" for column in KEYS[name])
    stop = "BEGIN SELECT RAISE(ABORT, 'append-only'); END;\n"
    made = f"CREATE TRIGGER IF NOT EXISTS {name}"
    written_over = f"{made}_once BEFORE INSERT ON {name} WHEN EXISTS (SELECT 1 FROM {name} WHERE {same}) {stop}"  # noqa: S608  names of our own
    return (
        f"{written_over}{made}_no_update BEFORE UPDATE ON {name} {stop}{made}_no_delete BEFORE DELETE ON {name} {stop}"
    )


#: What names a row of each table.
KEYS = {
    "entry": ("number",),
    "signed": ("payment",),
    "member": ("withdrawal", "payment"),
    "outflow": ("payment", "asset", "part"),
    "candidate": ("payment", "txid"),
    "bound": ("chain", "resource", "payment"),
    "leaving": ("payment",),
    "released": ("payment", "proof"),
    "spared": ("chain", "resource", "payment"),
    "token": ("asset",),
}

_TABLES = {
    "entry": """CREATE TABLE IF NOT EXISTS entry (
    number INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, chain TEXT NOT NULL, payment TEXT NOT NULL,
    body TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;""",
    "signed": """CREATE TABLE IF NOT EXISTS signed (
    payment TEXT PRIMARY KEY, chain TEXT NOT NULL, payload TEXT NOT NULL, number INTEGER NOT NULL
) STRICT;""",
    "member": """CREATE TABLE IF NOT EXISTS member (
    withdrawal TEXT NOT NULL, payment TEXT NOT NULL, "order" TEXT NOT NULL, PRIMARY KEY (withdrawal, payment)
) STRICT;""",
    "outflow": """CREATE TABLE IF NOT EXISTS outflow (
    payment TEXT NOT NULL, asset TEXT NOT NULL, part TEXT NOT NULL, units TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (payment, asset, part)
) STRICT;""",
    "candidate": """CREATE TABLE IF NOT EXISTS candidate (
    payment TEXT NOT NULL, txid TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (payment, txid)
) STRICT;""",
    "bound": """CREATE TABLE IF NOT EXISTS bound (
    chain TEXT NOT NULL, resource TEXT NOT NULL, payment TEXT NOT NULL, PRIMARY KEY (chain, resource, payment)
) STRICT;""",
    "leaving": "CREATE TABLE IF NOT EXISTS leaving (payment TEXT PRIMARY KEY) STRICT;",
    "released": """CREATE TABLE IF NOT EXISTS released (
    payment TEXT NOT NULL, proof TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (payment, proof)
) STRICT;""",
    "spared": """CREATE TABLE IF NOT EXISTS spared (
    chain TEXT NOT NULL, resource TEXT NOT NULL, payment TEXT NOT NULL, PRIMARY KEY (chain, resource, payment)
) STRICT;""",
    "token": "CREATE TABLE IF NOT EXISTS token (asset TEXT PRIMARY KEY, contract TEXT NOT NULL) STRICT;",
}

_INDICES = """
CREATE INDEX IF NOT EXISTS outflow_day ON outflow (asset, at);
CREATE INDEX IF NOT EXISTS member_order ON member ("order");
CREATE INDEX IF NOT EXISTS bound_payment ON bound (payment);
CREATE INDEX IF NOT EXISTS spared_payment ON spared (payment);
CREATE INDEX IF NOT EXISTS entry_payment ON entry (payment);
"""
