"""Whose an address is that was given out after the backup: the shop knows, and an operator says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select, update

from jobs.assets import asset_of
from jobs.resolve import by_hand
from jobs.services import Services
from ledger import audit, history
from ledger.accounts import HOUSE_ACCOUNT
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound, StateConflict
from ledger.ids import new_id
from ledger.schema import account, address, deposit, index_counter, ledger_account, ready_address, task

#: Told of a deposit that stays held though it is known whose it is.
DOUBT = "what the chain lets us spend is not what came in by its word; a person must look"


@dataclass(frozen=True, slots=True)
class Given:
    """Public ids of deposits that had come to an address before it was given: those that are credited by that, and
    those that stay held, since the chain's stories about them differ."""

    credited: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)


def give(services: Services, text: str, account_id: str, code: str, actor: str) -> Given:
    """Make an address of an index that was set aside an account's own, with what came to it. What a person has decided
    about stays as it is.

    An index that is further than those is passed over from now on, with all before it: it would be given out again.
    Raises `InvalidInput`, `NotFound` for an address that no restore set aside, `StateConflict` for somebody's.
    """

    def unit(tx: Tx) -> Given:
        asset = asset_of(tx, code)
        if asset is None:
            raise InvalidInput("/asset", f"{code} is not an asset of this installation")
        book = services.address_book(asset.chain)
        _stop_scan(tx, asset.chain)
        home_id = _take(tx, asset.chain, book.parse(text), code, account_id, apart=book.apart, actor=actor)
        return _credit(tx, home_id, account_id, actor)

    return services.database.run(unit, "quarantine_give")


def _stop_scan(tx: Tx, chain: str) -> None:
    """Let the scan write nothing until this is committed, as it locks its own row before it writes: it looks for whose
    an address is, and would write down a deposit as nobody's that is not there yet to be adopted."""
    tx.all(select(task.c.id).where(task.c.name == f"scan:{chain}").with_for_update())


def _take(tx: Tx, chain: str, text: str, code: str, account_id: str, *, apart: bool, actor: str) -> int:
    """The row id of the address, which is the account's now."""
    owner = tx.first(select(account).where(account.c.public_id == account_id))
    if owner is None or owner.id == HOUSE_ACCOUNT:
        raise NotFound(f"no customer's account {account_id}")
    r, a = ready_address.c, address.c
    index = tx.value(select(r.idx).where(r.chain == chain, r.address == text))
    if index is None:
        raise NotFound("no index that a restore set aside has this address")
    counter = index_counter.c  # one past those set aside was given out all the same: they were too few
    behind = (counter.chain == chain) & (counter.next_index <= index)
    tx.execute(update(index_counter).where(behind).values(next_index=index + 1))
    taken = tx.first(select(a.public_id).where(a.chain == chain, a.idx == index))
    if taken is not None:
        raise StateConflict(f"the address is somebody's: {taken.public_id}")
    values = {"public_id": new_id("ad"), "chain": chain, "idx": index, "address": text, "state": "ready"}
    values |= {"account_id": owner.id, "project_id": owner.project_id, "asset": code, "received_units": 0}
    values |= {"purpose_kind": "balance", "purpose_id": owner.id, "apart": int(apart), "version": 1}
    row_id = tx.insert(insert(address).values(values | {"created_at": tx.now, "updated_at": tx.now}))
    _adopt(tx, chain, text, {"address_id": row_id, "account_id": owner.id, "project_id": owner.project_id})
    audit.record(tx, actor, "quarantine.give", text, {"account": account_id, "asset": code})
    return row_id


def _adopt(tx: Tx, chain: str, text: str, owner: dict[str, Any]) -> None:
    """Write whose the deposits are that came to an address before anybody had it; one that was credited by hand is
    somebody's. A worker whose step of one is under way has judged it as nobody's: it is fenced off, and the step runs
    again."""
    d = deposit.c
    unowned = (d.chain == chain) & (d.address == text) & d.address_id.is_(None) & d.account_id.is_(None)
    fence = {"lease_until": 0, "lease_token": None, "wakes": d.wakes + 1, "version": d.version + 1}
    tx.execute(update(deposit).where(unowned).values(owner | fence | {"updated_at": tx.now}))
    for row in tx.all(select(d.id).where(d.address_id == owner["address_id"]).order_by(d.id)):
        tx.wake("deposit", row.id)


def _credit(tx: Tx, home_id: int, account_id: str, actor: str) -> Given:
    """Those that were deep enough to be held, and wait for nothing else; the others are credited like any when they
    are. What is suspect was held as nobody's first: from now on it is held for that."""
    d, given = deposit.c, Given()
    undecided = d.credited_to.in_(select(ledger_account.c.id).where(ledger_account.c.kind == "suspense"))
    held = (d.address_id == home_id) & (d.state == "held") & (d.credited == 1) & (d.seen == "confirmed") & undecided
    for row in tx.all(select(deposit).where(held).order_by(d.id)):
        if row.suspect is None:
            by_hand.credit_deposit(tx, row.public_id, account_id, actor)
            given.credited.append(row.public_id)
        else:
            doubt = {"status_reason": row.suspect, "status_detail": DOUBT, "version": row.version + 1}
            tx.execute(update(deposit).where(d.id == row.id).values(doubt))
            history.note(tx, "deposit", row.id, row.state, row.state, row.suspect, actor)
            given.doubtful.append(row.public_id)
    return given
