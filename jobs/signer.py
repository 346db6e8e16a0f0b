"""The signer's own check, the last before a signature: MACs, approvals, and a daily cap that no database row can raise.

It keeps its own append-only record outside the database: what each payment pays, and which payment each withdrawal
went into. The cap is counted from there, and a database that was restored or altered cannot have a withdrawal signed
a second time in another payment (FAULTS 2.3, rule 19).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.row_mac import RowMac
from ledger.errors import CofferError

DAY_SECONDS = 86_400


class SignerRefused(CofferError):
    """The signer will not sign this. `withdrawal_id` is the row at fault, None for the cap."""

    def __init__(self, code: str, detail: str, withdrawal_id: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.withdrawal_id = withdrawal_id


@dataclass(frozen=True, slots=True)
class SignRequest:
    """One payment as committed rows say it: each withdrawal with the holders and MACs of its approvals."""

    payment_id: str  #: public id: unique also across databases
    asset: str
    fee_units: int
    fee_max_units: int
    resources: Sequence[str]  #: what the payment spends: other coins would be another payment
    withdrawals: Sequence[Any]
    items: Mapping[int, tuple[str, int]]  #: withdrawal id -> (address, units) that would be signed
    outputs: Sequence[tuple[str, int]]  #: all (address, units) that would be signed, our change aside
    approvals: Mapping[int, Sequence[tuple[str, str]]]


class Signer:
    """Checks every signature request. `caps_units` is asset -> the most that may leave in 24 hours, fees included."""

    def __init__(self, folder: Path, mac: RowMac, caps_units: Mapping[str, int]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / "signed.sqlite3"
        self._mac = mac
        self._caps = dict(caps_units)
        with closing(self._open()) as record:
            record.executescript(_SCHEMA)

    def admit(self, request: SignRequest) -> None:
        """Record that this payment is to be signed, once. Raises `SignerRefused` and records nothing otherwise."""
        for row in request.withdrawals:
            self._check_withdrawal(row, request)
        ids = [row.id for row in request.withdrawals]
        one_each = len(ids) == len(set(ids)) and set(ids) == set(request.items)
        if not one_each or sorted(request.outputs) != sorted(request.items.values()):
            raise SignerRefused("item_mismatch", "each output answers to exactly one withdrawal")
        if request.fee_units > request.fee_max_units:
            raise SignerRefused("fee_above_ceiling", f"a fee of {request.fee_units} is above {request.fee_max_units}")
        total = request.fee_max_units + sum(units for _, units in request.outputs)
        self._count(request, total)

    def _check_withdrawal(self, row: Any, request: SignRequest) -> None:
        if not self._mac.same(row.mac, self._mac.withdrawal(row)):
            raise SignerRefused("mac_mismatch", "the withdrawal is not what was committed through the API", row.id)
        if request.items.get(row.id) != (row.address, row.units) or row.asset != request.asset:
            raise SignerRefused("item_mismatch", "the payment would pay something else than the withdrawal", row.id)
        valid = {
            h for h, mac in request.approvals.get(row.id, ()) if self._mac.same(mac, self._mac.approval(row.mac, h))
        }
        if len(valid) < row.approvals_needed:
            raise SignerRefused(
                "approvals_missing", f"{row.approvals_needed} people must approve, {len(valid)} did", row.id
            )

    def contradicts(self, request: SignRequest) -> bool:
        """Whether this payment was signed with other contents: the database does not know what may be on its way."""
        with closing(self._open()) as record:
            known = record.execute("SELECT payload FROM signed WHERE payment = ?", (request.payment_id,)).fetchone()
        return known is not None and known[0] != _payload(request)

    def release(self, payment_id: str) -> None:
        """Record that this payment was let go, so that its withdrawals may be signed in another one.

        Only for a payment that was never sent, or is proven dead by the chain. A repeat does nothing.
        """
        with closing(self._open()) as record:
            record.execute("BEGIN IMMEDIATE")
            known = record.execute("SELECT 1 FROM released WHERE payment = ?", (payment_id,)).fetchone()
            if known is None:
                record.execute("INSERT INTO released (payment, at) VALUES (?, ?)", (payment_id, int(time.time())))
            record.commit()

    def _count(self, request: SignRequest, total: int) -> None:
        cap = self._caps.get(request.asset)
        if cap is None:
            raise SignerRefused("outflow_cap", f"the signer has no daily cap for {request.asset}")
        payload = _payload(request)
        with closing(self._open()) as record:
            record.execute("BEGIN IMMEDIATE")
            known = record.execute("SELECT payload FROM signed WHERE payment = ?", (request.payment_id,)).fetchone()
            if known is not None:
                if known[0] != payload:
                    raise SignerRefused("payload_changed", "this payment was signed before with other contents")
                return
            _check_first(record, request)
            since = int(time.time()) - DAY_SECONDS
            rows = record.execute("SELECT units FROM signed WHERE asset = ? AND at > ?", (request.asset, since))
            spent = sum(int(row[0]) for row in rows)
            if spent + total > cap:
                raise SignerRefused("outflow_cap", f"the signer let out {spent} of {cap} units in the last 24 hours")
            values = (request.payment_id, request.asset, str(total), payload, int(time.time()))
            record.execute("INSERT INTO signed (payment, asset, units, payload, at) VALUES (?, ?, ?, ?, ?)", values)
            members = [(row.public_id, request.payment_id) for row in request.withdrawals]
            record.executemany("INSERT INTO signed_withdrawal (withdrawal, payment) VALUES (?, ?)", members)
            record.commit()

    def _open(self) -> sqlite3.Connection:
        record = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        record.execute("PRAGMA journal_mode=WAL")
        record.execute("PRAGMA synchronous=FULL")
        return record


def _payload(request: SignRequest) -> str:
    """A hash of all that the payment would pay, its fee ceiling and the coins it spends included."""
    paid = [[row.public_id, row.address, str(row.units)] for row in request.withdrawals]
    parts = [request.asset, str(request.fee_max_units), sorted(paid), sorted(request.resources)]
    body = json.dumps(parts, separators=(",", ":"))
    return hashlib.sha256(body.encode("utf-8")).hexdigest()


def _check_first(record: sqlite3.Connection, request: SignRequest) -> None:
    for row in request.withdrawals:
        before = record.execute(_LIVE, (row.public_id,)).fetchone()
        if before is not None:
            raise SignerRefused("signed_before", f"the withdrawal was signed in {before[0]}, which may yet pay", row.id)


_LIVE = """
SELECT payment FROM signed_withdrawal WHERE withdrawal = ? AND payment NOT IN (SELECT payment FROM released) LIMIT 1
"""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS signed (
    payment TEXT PRIMARY KEY, asset TEXT NOT NULL, units TEXT NOT NULL, payload TEXT NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS signed_day ON signed (asset, at);
CREATE TABLE IF NOT EXISTS signed_withdrawal (
    withdrawal TEXT NOT NULL, payment TEXT NOT NULL, PRIMARY KEY (withdrawal, payment)
) STRICT;
CREATE TABLE IF NOT EXISTS released (payment TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS signed_once BEFORE INSERT ON signed
WHEN EXISTS (SELECT 1 FROM signed WHERE payment = NEW.payment)
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS signed_no_update BEFORE UPDATE ON signed
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS signed_no_delete BEFORE DELETE ON signed
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS signed_withdrawal_no_update BEFORE UPDATE ON signed_withdrawal
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS signed_withdrawal_no_delete BEFORE DELETE ON signed_withdrawal
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS released_no_update BEFORE UPDATE ON released
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS released_no_delete BEFORE DELETE ON released
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""
