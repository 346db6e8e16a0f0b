"""The signer's own record on disk: an append-only file outside the database, which a restored database cannot undo.

One SQLite file in a folder that is its owner's alone. Copies are taken by SQLite's backup API, at any moment. Several
processes may have it open; what one appends the others see at once. `Record.open` is for those who only read.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.signer.entries import KEYS, Entry, Head, dumps, follows, link, rows_of, schema, sha256
from ledger.errors import CofferError
from wallets.protocol import SignedTransaction

FILE = "record.sqlite3"


class RecordMissing(CofferError):
    """There is no signer's record in this folder."""


class RecordBroken(CofferError):
    """The record does not hang together: it was changed by hand, or its disk failed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Bytes that were signed for a payment. `digest` is `digest_of` what the database stores of them."""

    txid: str
    resources: tuple[str, ...]
    digest: str
    draft: str  #: what its wallet wants to know of it to find it again
    fee_units: int
    vague: bool  #: learnt from a database, which keeps the first one's resources alone: it may spend others than these

    @property
    def transaction(self) -> SignedTransaction:
        """Enough of it to be looked up; its bytes are in the database alone."""
        return SignedTransaction(self.txid, "", self.fee_units, self.resources, self.draft)


@dataclass(frozen=True, slots=True)
class Known:
    """A payment as the record knows it."""

    payment: str  #: public id
    chain: str
    purpose: str
    asset: str
    payload: str  #: hash of all that it pays, and from what
    resources: tuple[str, ...]  #: of its first candidate
    withdrawals: tuple[str, ...]  #: public ids
    orders: tuple[str, ...]  #: who asked for each, as `project:reference`
    candidates: tuple[Candidate, ...]
    left: bool  #: its bytes may have been sent
    released: str | None  #: why it was let go: `dead` or `reverted` by the chain's word, `unsent` by the engine's
    at: int  #: seconds since 1970
    paid: tuple[tuple[str, int], ...]  #: whom, and how many units


class Record:
    """The file, and what it says. Methods that only read take no lock."""

    def __init__(self, path: Path, clock: Callable[[], float] | None = None) -> None:
        self.path = path
        self._clock = clock or (lambda: time.time())  # looked up anew each time

    @classmethod
    def open(cls, folder: Path) -> Record:
        """The record in a folder, for reading. Raises `RecordMissing`."""
        path = folder / FILE
        if not path.is_file():
            raise RecordMissing(f"there is no signer's record in {folder}")
        return cls(path)

    @classmethod
    def make(cls, folder: Path, clock: Callable[[], float] | None = None) -> Record:
        """The record in a folder, made empty if there is none."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = cls(folder / FILE, clock)
        with suppress(FileExistsError):  # its owner's alone from the first moment, as all that SQLite puts beside it
            os.close(os.open(record.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(record._connect()) as connection:
            connection.executescript(schema())
        return record

    # What it says

    def head(self) -> Head:
        """The newest entry's number and hash; (0, GENESIS) for an empty record."""
        with self.reading() as view:
            return view.head()

    def installation(self) -> str | None:
        """The public id of the installation that it belongs to; None while it is empty."""
        with self.reading() as view:
            return view.installation()

    def payments(self, chain: str | None = None) -> Iterator[Known]:
        """Every payment that was ever to be signed, in order."""
        with self.reading() as view:
            query = "SELECT payment FROM signed WHERE ?1 IS NULL OR chain = ?1 ORDER BY number"
            for (payment,) in view.all(query, chain):
                found = view.known(payment)
                assert found is not None
                yield found

    def payment(self, public_id: str) -> Known | None:
        """One of them."""
        with self.reading() as view:
            return view.known(public_id)

    def bound(self, chain: str) -> Mapping[str, tuple[str, ...]]:
        """Every resource that was ever to be spent on a chain, with the payments it was bound to."""
        found: dict[str, tuple[str, ...]] = {}
        with self.reading() as view:
            for resource, payment in view.all("SELECT resource, payment FROM bound WHERE chain = ?", chain):
                found[resource] = (*found.get(resource, ()), payment)
        return found

    def hash_at(self, number: int) -> str | None:
        """The hash of an entry; None where the record does not reach that far."""
        with self.reading() as view:
            return view.hash_at(number)

    def since(self, number: int, chain: str) -> Sequence[Entry]:
        """The entries of a chain after the one of this number, in order."""
        with self.reading() as view:
            return view.since(number, chain)

    def faults(self, after: Head | None = None) -> list[str]:
        """What is wrong with it, in words; empty when the chain of entries is whole and the tables say the same.

        `after`: a head that was seen whole before; then only that it still stands and what follows it are looked at.
        """
        try:
            with self.reading() as view:
                return view.faults(after)
        except sqlite3.DatabaseError as error:
            return [f"the record cannot be read: {error}"]

    # Reading and writing

    @contextmanager
    def reading(self) -> Iterator[View]:
        """One consistent view of it."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN")
            yield View(connection)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Whatever is appended within stands on the disk at the end, all of it, or nothing after an exception."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield Writer(connection, int(self._clock()))
            connection.commit()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection


class View:
    """The record at one moment."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def first(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return found

    def head(self) -> Head:
        found = self.first("SELECT number, hash FROM entry ORDER BY number DESC LIMIT 1")
        return Head() if found is None else Head(*found)

    def hash_at(self, number: int) -> str | None:
        if number == 0:
            return Head().hash
        found = self.first("SELECT hash FROM entry WHERE number = ?", number)
        return None if found is None else str(found[0])

    def installation(self) -> str | None:
        founded = self.first("SELECT body FROM entry WHERE kind = 'founded' ORDER BY number DESC LIMIT 1")
        return None if founded is None else str(json.loads(founded[0])["installation"])

    def since(self, number: int, chain: str) -> Sequence[Entry]:
        query = "SELECT * FROM entry WHERE number > ? AND chain = ? ORDER BY number"
        return [_entry(row) for row in self.all(query, number, chain)]

    def faults(self, after: Head | None = None) -> list[str]:
        return _faults(self, after)

    def entries(self, after: int = 0) -> Iterator[Entry]:
        query = "SELECT * FROM entry WHERE number > ? ORDER BY number"
        for row in self._connection.execute(query, (after,)):
            yield _entry(row)

    def known(self, payment: str) -> Known | None:
        """A payment as this view knows it."""
        signed = self.first("SELECT number FROM signed WHERE payment = ?", payment)
        if signed is None:
            return None
        row = self.first("SELECT * FROM entry WHERE number = ?", signed[0])
        if row is None:
            raise RecordBroken(f"the entry that signed {payment} is missing")
        entry = _entry(row)
        members = [(withdrawal, order) for withdrawal, order in entry.body["withdrawals"]]
        return Known(
            payment,
            entry.chain,
            entry.body["purpose"],
            entry.body["asset"],
            entry.body["payload"],
            tuple(entry.body["resources"]),
            tuple(withdrawal for withdrawal, _ in members),
            tuple(order for _, order in members),
            self.candidates(payment),
            self.first("SELECT 1 FROM leaving WHERE payment = ?", payment) is not None,
            self.released(payment),
            entry.at,
            tuple((address, int(units)) for address, units in entry.body["paid"]),
        )

    def candidates(self, payment: str) -> tuple[Candidate, ...]:
        """The bytes that were signed for a payment, the oldest first."""
        query = (
            "SELECT e.body FROM candidate c JOIN entry e ON e.number = c.number WHERE c.payment = ? ORDER BY e.number"
        )
        bodies = [json.loads(body) for (body,) in self.all(query, payment)]
        return tuple(
            Candidate(b["txid"], tuple(b["resources"]), b["digest"], b["draft"], int(b["fee"]), b.get("vague", False))
            for b in bodies
        )

    def released(self, payment: str) -> str | None:
        """Why a payment was let go; the chain's word where it was given."""
        proofs = {proof for (proof,) in self.all("SELECT proof FROM released WHERE payment = ?", payment)}
        return next((proof for proof in ("dead", "reverted", "unsent") if proof in proofs), None)

    def spared(self, payment: str) -> frozenset[str]:
        """What a payment that is in the chain for good keeps from others no more."""
        return frozenset(resource for (resource,) in self.all("SELECT resource FROM spared WHERE payment = ?", payment))


class Writer(View):
    """The record while one writes to it: nobody else does."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        super().__init__(connection)
        self.now = now

    def append(self, kind: str, chain: str, payment: str, body: dict[str, Any]) -> Head:
        """Add an entry and what follows from it; the new head."""
        entry = link(self.head(), self.now, kind, chain, payment, body)
        values = (entry.number, entry.at, kind, chain, payment, dumps(body), entry.hash)
        self._insert("entry", values)
        for table, row in rows_of(entry):
            self._insert(table, row)
        return entry.head

    def _insert(self, table: str, values: tuple[Any, ...]) -> None:
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608  names of our own


def digest_of(txid: str, raw: str, payload: str) -> str:
    """What stands for signed bytes in the record: nothing else may be sent in their place."""
    return sha256(txid, raw, payload)


def _entry(row: Iterable[Any]) -> Entry:
    number, at, kind, chain, payment, body, digest = row
    return Entry(number, at, kind, chain, payment, json.loads(body), digest)


def _faults(view: View, after: Head | None) -> list[str]:
    before = after or Head()
    if view.hash_at(before.count) != before.hash:
        return [f"entry {before.count} is gone or is not what it was"]
    expected: dict[str, Counter[tuple[Any, ...]]] = {table: Counter() for table in KEYS if table != "entry"}
    for entry in view.entries(before.count):
        if not follows(entry, before):
            return [f"entry {entry.number} does not follow the one before it"]
        before = entry.head
        for table, row in rows_of(entry):
            expected[table][row] += 1
    if after is not None:
        return []
    differing = [table for table, rows in expected.items() if _told(view, table) != rows]
    return [f"the table {table} does not say what the entries say" for table in differing]


def _told(view: View, table: str) -> Counter[tuple[Any, ...]]:
    if view.first("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table) is None:
        return Counter()  # a copy from before there were such entries; the next signer adds the table
    return Counter(view.all(f"SELECT * FROM {table}"))  # noqa: S608  names of our own
