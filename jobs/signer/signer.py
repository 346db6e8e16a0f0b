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
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.row_mac import RowMac
from ledger.errors import CofferError
from ledger.founding import NATIVE_ASSETS

DAY_SECONDS = 86_400
#: What each chain's network is paid in, so that no row can have a fee counted against another cap.
_COINS = {coin.chain: coin.code for coin in NATIVE_ASSETS}


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
    purpose: str = "withdrawal"
    fee_asset: str = ""  #: what the network is paid in; empty: the asset itself
    targets: Sequence[int] = ()  #: the own index behind each output; the wallet proves each by its keys
    call: Mapping[str, Any] | None = None
    mac: str | None = None  #: of the call
    token: str | None = None  #: the contract behind the asset
    chain: str = ""


class Signer:
    """Checks every signature request. `caps_units` is asset -> the most that may leave in 24 hours, fees included;
    `cold` is chain -> the only address that moves to cold may pay. Neither comes from the database."""

    def __init__(
        self,
        folder: Path,
        mac: RowMac,
        caps_units: Mapping[str, int],
        cold: Mapping[str, str] | None = None,
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / "signed.sqlite3"
        self._mac = mac
        self._clock = clock or time.time
        self._caps = dict(caps_units)
        self._cold = dict(cold or {})
        with closing(self._open()) as record:
            record.executescript(_SCHEMA)

    def admit(self, request: SignRequest) -> None:
        """Record that this payment is to be signed, once. Raises `SignerRefused` and records nothing otherwise."""
        self.check(request)
        if request.fee_units > request.fee_max_units:
            raise SignerRefused("fee_above_ceiling", f"a fee of {request.fee_units} is above {request.fee_max_units}")
        out = sum(units for _, units in request.outputs) if request.purpose == "withdrawal" else 0
        amounts = {request.asset: out}
        fee_asset = request.fee_asset or request.asset
        amounts[fee_asset] = amounts.get(fee_asset, 0) + request.fee_max_units
        self._count(request, {asset: units for asset, units in amounts.items() if units})

    def check(self, request: SignRequest) -> None:
        """Whether the rows are what was committed and may be paid at all, whatever the wallet comes to choose.
        Raises `SignerRefused`; records nothing."""
        if request.purpose == "withdrawal":
            self._check_withdrawals(request)
        elif request.withdrawals or request.items:
            raise SignerRefused("item_mismatch", f"a payment for {request.purpose} pays no withdrawal")
        elif request.purpose == "cold":
            self._check_cold(request)
        elif request.purpose == "call":
            self._check_call(request)
        elif request.call is not None or len(request.targets) != len(request.outputs):
            raise SignerRefused("target_missing", f"a payment for {request.purpose} pays nobody but this wallet")
        if request.chain:
            self._check_assets(request)

    def _check_assets(self, request: SignRequest) -> None:
        """A token without its contract would be the coin itself; a fee in another asset would count as nothing."""
        coin = _COINS.get(request.chain)
        if (request.token is None) != (request.asset == coin):
            raise SignerRefused("token_changed", f"{request.asset} is paid as what it is not")
        if (request.fee_asset or request.asset) != coin:
            raise SignerRefused("fee_asset_mismatch", f"fees on {request.chain} are not paid in {request.fee_asset}")

    def _check_withdrawals(self, request: SignRequest) -> None:
        if request.call is not None or request.targets:
            raise SignerRefused("item_mismatch", "a withdrawal calls no contract and does not pay ourselves")
        for row in request.withdrawals:
            self._check_withdrawal(row, request)
        ids = [row.id for row in request.withdrawals]
        one_each = len(ids) == len(set(ids)) and set(ids) == set(request.items)
        if not one_each or sorted(request.outputs) != sorted(request.items.values()):
            raise SignerRefused("item_mismatch", "each output answers to exactly one withdrawal")

    def _check_cold(self, request: SignRequest) -> None:
        known = self._cold.get(request.chain)
        if known is None or request.call is not None or [address for address, _ in request.outputs] != [known]:
            raise SignerRefused(
                "cold_mismatch", "a move to cold pays the cold address of the settings and nothing else"
            )

    def _check_call(self, request: SignRequest) -> None:
        if request.outputs or request.call is None or request.mac is None:
            raise SignerRefused("call_mismatch", "a contract call pays nobody and carries a MAC")
        known = self._mac.same(request.mac, self._mac.call(request.payment_id, request.call))
        if not known or request.call.get("chain") != request.chain:
            raise SignerRefused("mac_mismatch", "the contract call is not what an operator ordered")

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
                record.execute("INSERT INTO released (payment, at) VALUES (?, ?)", (payment_id, int(self._clock())))
            record.commit()

    def _count(self, request: SignRequest, amounts: Mapping[str, int]) -> None:
        for asset in amounts:
            if asset not in self._caps:
                raise SignerRefused("outflow_cap", f"the signer has no daily cap for {asset}")
        payload = _payload(request)
        with closing(self._open()) as record:
            record.execute("BEGIN IMMEDIATE")
            known = record.execute("SELECT payload FROM signed WHERE payment = ?", (request.payment_id,)).fetchone()
            if known is not None:
                if known[0] != payload:
                    raise SignerRefused("payload_changed", "this payment was signed before with other contents")
                return
            _check_first(record, request)
            _check_token(record, request)
            for asset, units in amounts.items():
                self._check_cap(record, asset, units)
            now = int(self._clock())
            record.execute(
                "INSERT INTO signed (payment, payload, at) VALUES (?, ?, ?)", (request.payment_id, payload, now)
            )
            outflows = [(request.payment_id, asset, str(units), now) for asset, units in amounts.items()]
            record.executemany("INSERT INTO outflow (payment, asset, units, at) VALUES (?, ?, ?, ?)", outflows)
            members = [(row.public_id, request.payment_id) for row in request.withdrawals]
            record.executemany("INSERT INTO signed_withdrawal (withdrawal, payment) VALUES (?, ?)", members)
            record.commit()

    def _check_cap(self, record: sqlite3.Connection, asset: str, units: int) -> None:
        since = int(self._clock()) - DAY_SECONDS
        rows = record.execute("SELECT units FROM outflow WHERE asset = ? AND at > ?", (asset, since))
        spent, cap = sum(int(row[0]) for row in rows), self._caps[asset]
        if spent + units > cap:
            raise SignerRefused(
                "outflow_cap", f"the signer let out {spent} of {cap} units of {asset} in the last 24 hours"
            )

    def _open(self) -> sqlite3.Connection:
        record = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        record.execute("PRAGMA journal_mode=WAL")
        record.execute("PRAGMA synchronous=FULL")
        return record


def _payload(request: SignRequest) -> str:
    """A hash of all that the payment would pay, its fee ceiling and the coins it spends included."""
    paid = [[row.public_id, row.address, str(row.units)] for row in request.withdrawals]
    parts: list[Any] = [request.asset, str(request.fee_max_units), sorted(paid), sorted(request.resources)]
    if request.purpose != "withdrawal":
        own = [[address, str(units)] for address, units in request.outputs]
        parts += [request.purpose, sorted(own), list(request.targets), dict(request.call or {})]
    body = json.dumps(parts, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(body.encode("utf-8")).hexdigest()


def _check_token(record: sqlite3.Connection, request: SignRequest) -> None:
    """An asset stands for the contract that it stood for when it was first signed, whatever its row says today."""
    if request.token is None:
        return
    known = record.execute("SELECT contract FROM token WHERE asset = ?", (request.asset,)).fetchone()
    if known is None:
        record.execute("INSERT INTO token (asset, contract) VALUES (?, ?)", (request.asset, request.token))
    elif known[0] != request.token:
        raise SignerRefused("token_changed", f"{request.asset} stood for the contract {known[0]} before")


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
    payment TEXT PRIMARY KEY, payload TEXT NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outflow (
    payment TEXT NOT NULL, asset TEXT NOT NULL, units TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (payment, asset)
) STRICT;
CREATE TABLE IF NOT EXISTS token (asset TEXT PRIMARY KEY, contract TEXT NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS token_once BEFORE INSERT ON token
WHEN EXISTS (SELECT 1 FROM token WHERE asset = NEW.asset)
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS token_no_update BEFORE UPDATE ON token
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS token_no_delete BEFORE DELETE ON token
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE INDEX IF NOT EXISTS outflow_day ON outflow (asset, at);
CREATE TRIGGER IF NOT EXISTS outflow_once BEFORE INSERT ON outflow
WHEN EXISTS (SELECT 1 FROM outflow WHERE payment = NEW.payment AND asset = NEW.asset)
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS outflow_no_update BEFORE UPDATE ON outflow
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS outflow_no_delete BEFORE DELETE ON outflow
BEGIN SELECT RAISE(ABORT, 'append-only'); END;
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
