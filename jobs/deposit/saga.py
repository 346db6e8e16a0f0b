"""Deposit: what the scanner saw becomes money in the ledger, once, and leaves it again if its block does.

The steps decide from rows alone; the node is asked by `jobs.deposit.scan`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import Row, select, update

from jobs import debts, holdings, purposes, views
from jobs.backup import quarantine
from jobs.deposit import check as deposit_check
from jobs.deposit import witness as deposit_witness
from jobs.deposit.state import State
from jobs.escrow import frozen_parts
from jobs.ownership import deposits as ownership_deposits
from jobs.saga import SECOND, Outcome, Saga, Step
from jobs.services import Services, is_deep, is_final, require_healthy
from jobs.trace import dependants
from ledger import accounts, history, pauses, policy, postings
from ledger.db import Tx
from ledger.errors import LedgerBroken, NodeNotReady
from ledger.policy import AssetPolicy
from ledger.postings import Leg
from ledger.schema import account, address, deposit, ledger_account

#: The scanner wakes a deposit when something moved; this is only how long a lost wake-up may cost.
LOOK_US = 60 * SECOND
BOOKED_US = 600 * SECOND
REST_US = 3_600 * SECOND
#: Addresses of the house take any amount.
_HOUSE_PURPOSES = ("treasury", "refill")
#: A node's pool keeps nothing longer than two weeks; after that a vanished deposit is no longer asked for by name.
GONE_US = 15 * 86_400 * SECOND


class StillWaiting(Outcome):
    """Nothing changed that matters."""


class Mined(Outcome):
    """It is in a block."""


class BackInPool(Outcome):
    """Its block is gone, the transaction is not."""


class Gone(Outcome):
    """Replaced, conflicted or vanished before it was credited."""


class Credited(Outcome):
    """Deep enough: the money is in the ledger."""


class Held(Outcome):
    """Deep enough, but nobody's: booked to suspense."""


class Ignored(Outcome):
    """Deep enough, but below the minimum: booked to dust."""


class Matured(Outcome):
    """Final."""


class Undone(Outcome):
    """The chain took it back after it was booked."""


class Returned(Outcome):
    """A vanished transaction is back."""


def detected(row: Row[Any], services: Services) -> Outcome:
    if row.seen == "gone":
        return _gone(row)
    if row.seen == "confirmed":
        needed = services.database.read(lambda tx: _needed(tx, row))
        return Mined(values={"confirmations_needed": needed}, effect=partial(_tell, "confirming"))
    return StillWaiting(due_us=REST_US)


def confirming(row: Row[Any], services: Services) -> Outcome:
    if row.seen == "gone":
        return _gone(row)
    if row.seen == "pool":
        return BackInPool(reason="reorganised", effect=deposit_witness.over)

    def read(tx: Tx) -> tuple[bool, int, str | None, AssetPolicy, Row[Any] | None]:
        needed = _needed(tx, row)
        deep = is_deep(require_healthy(tx, row.chain), row.height, needed)
        home = tx.first(select(address).where(address.c.id == row.address_id))
        return deep, needed, pauses.reason(tx, row.asset, "deposits"), policy.of(tx, row.asset), home

    deep, needed, paused, rules, home = services.database.read(read)
    if not deep:
        return StillWaiting(values={"confirmations_needed": needed}, due_us=LOOK_US)
    if row.locked:
        return StillWaiting(due_us=LOOK_US, reason="locked", detail="the chain does not let it be spent yet")
    if paused is not None:
        return StillWaiting(due_us=5 * SECOND, reason="paused", detail=paused[:512])
    doubt = deposit_witness.doubt(services, row, rules, needed)
    if doubt is not None:
        return StillWaiting(due_us=LOOK_US, reason=deposit_witness.REASON, detail=doubt[0], effect=doubt[1])
    suspect = row.suspect
    if suspect == deposit_check.UNKNOWN and home is not None and home.apart:
        agrees = deposit_check.agrees(services, row, home)
        if agrees is None:
            return StillWaiting(due_us=LOOK_US, reason=suspect, detail="its balance is compared as soon as it can be")
        suspect = None if agrees else suspect
    return _booked(row, suspect, rules, home)


def _booked(row: Row[Any], suspect: str | None, rules: AssetPolicy, home: Row[Any] | None) -> Outcome:
    if home is None:
        detail = "no account owns this address"
        effect = partial(_park, "suspense", "held", "unknown_address")
        return Held(reason="unknown_address", detail=detail, effect=effect, due_us=BOOKED_US)
    if suspect is not None:
        detail = "what the chain lets us spend is not what came in by its word; a person must look"
        return Held(reason=suspect, detail=detail, effect=partial(_park, "suspense", "held", suspect), due_us=BOOKED_US)
    if home.purpose_kind in _HOUSE_PURPOSES:
        return Credited(reason=home.purpose_kind, effect=_credit, due_us=BOOKED_US)
    if row.units < rules.deposit_minimum_units:
        effect = partial(_park, "dust", "ignored", "below_minimum")
        return Ignored(reason="below_minimum", effect=effect, due_us=BOOKED_US)
    reason = "late" if row.late else None
    return Credited(reason=reason, effect=_credit, due_us=BOOKED_US)


def booked(row: Row[Any], services: Services) -> Outcome:
    """CREDITED, HELD, IGNORED: does its block still stand?"""
    if row.seen != "confirmed":
        reason = row.seen_reason or "reorganised"
        return Undone(reason=reason, effect=_unbook, due_us=0)
    try:
        deep = services.database.read(lambda tx: is_final(require_healthy(tx, row.chain), row.height))
    except NodeNotReady:  # it may wait long for that: an outage is no reason to forget why it is where it is
        deep = False
    if not deep:
        return StillWaiting(due_us=BOOKED_US, reason=row.status_reason, detail=row.status_detail)
    if row.state == State.CREDITED:
        return Matured(due_us=None, reason=row.status_reason, effect=partial(_tell, "final"))
    return StillWaiting(due_us=None, reason=row.status_reason, detail=row.status_detail)


def reversed_(row: Row[Any], services: Services) -> Outcome:
    if row.seen == "gone":
        age_us = services.database.now() - row.created_at
        due_us = REST_US if age_us < GONE_US else None  # the scanner lists it again should it ever come back
        return StillWaiting(due_us=due_us, reason=row.status_reason, detail=row.status_detail)
    return Returned(reason="returned", effect=partial(_tell, "detected"))


def _gone(row: Row[Any]) -> Gone:
    return Gone(reason=row.seen_reason or "vanished", due_us=REST_US, effect=partial(_tell, "reversed"))


def _needed(tx: Tx, row: Row[Any]) -> int:
    return max(policy.of(tx, row.asset).confirmations(row.units), int(row.spendable_depth))


def _credit(tx: Tx, row: Row[Any]) -> None:
    """To whoever the address's purpose names at this moment."""
    home = _home(tx, row)
    if home is None:
        raise LedgerBroken(f"deposit {row.id}: credited without an address")
    purpose = purposes.of(home)
    owner = purpose.owner(tx, row, home)
    again = owner[0] != accounts.HOUSE_ACCOUNT and debts.owe_again(tx, row, owner[0], row.credits + 1)
    _book(owner, "credited", tx, row)
    purpose.credited(tx, row, home, owner)
    # Given back before it repays what another deposit has left.
    frozen_parts.returned(tx, row)
    if owner[1] == "available" or again:  # whatever it funds, the balance may have something
        debts.collect(tx, owner[0], row.asset, f"deposit:{row.id}:{row.credits + 1}")
    reason = home.purpose_kind if home.purpose_kind in _HOUSE_PURPOSES else "late" if row.late else None
    order = home.owner_kind == "order" and owner[0] == home.account_id
    ownership_deposits.booked(tx, row, owner, "credited", reason, order=order)


def _park(kind: str, state: str, reason: str, tx: Tx, row: Row[Any]) -> None:
    """With the house, for nobody's balance."""
    _book(accounts.house(kind), state, tx, row)
    ownership_deposits.booked(tx, row, accounts.house(kind), state, reason)


def _home(tx: Tx, row: Row[Any]) -> Row[Any] | None:
    """Its address, with the kind of the account that it belongs to as `owner_kind`."""
    query = select(address, account.c.kind.label("owner_kind")).join(account, account.c.id == address.c.account_id)
    return tx.first(query.where(address.c.id == row.address_id))


def _book(owner: accounts.Owner, state: str, tx: Tx, row: Row[Any]) -> None:
    """Treasury against whoever it belongs to, under a key that counts how often this deposit was credited."""
    _check_unmoved(tx, row)
    number = row.credits + 1
    leg = Leg(accounts.house("treasury_hot"), owner, row.units)
    postings.post(tx, f"deposit:{row.id}:credit:{number}", "deposit", row.asset, [leg], ("deposit", row.id))
    _set(tx, row, credits=number, credited=1, credited_to=accounts.find(tx, [owner], row.asset)[owner])
    _lay(tx, row, row.units)
    _tell(state, tx, row)


def _lay(tx: Tx, row: Row[Any], units: int) -> None:
    """Where money lies apart until it is swept, remember on which index it lies."""
    home = tx.first(select(address.c.idx, address.c.apart).where(address.c.id == row.address_id))
    index = home.idx if home is not None and home.apart else None
    if home is None:
        index = quarantine.place_of(tx, row.chain, row.address)
    if index is not None:
        holdings.add(tx, row.chain, row.asset, index, units)


def _check_unmoved(tx: Tx, row: Row[Any]) -> None:
    """Its depth was judged by the tip of now and by where it was when its step began: both must be of one chain."""
    d = deposit.c
    now = tx.one(select(d.seen, d.height, d.block_hash).where(d.id == row.id))
    if (now.seen, now.height, now.block_hash) != (row.seen, row.height, row.block_hash):
        raise NodeNotReady("its block changed while it was being credited")


def _unbook(tx: Tx, row: Row[Any]) -> None:
    """The exact opposite; what a customer has spent meanwhile becomes a debt and freezes the account."""
    query = select(ledger_account, account.c.kind.label("owner_kind"))
    query = query.join(account, account.c.id == ledger_account.c.account_id)
    target = tx.one(query.where(ledger_account.c.id == row.credited_to))
    key, ref = f"deposit:{row.id}:reverse:{row.credits}", ("deposit", row.id)
    owner, owed = (target.account_id, target.kind), 0
    if owner[0] != accounts.HOUSE_ACCOUNT:
        dependants.stop(tx, row, owner[0])
    home = None if row.state != State.CREDITED else _home(tx, row)
    if home is not None:
        owed = purposes.of(home).take_back(tx, row, home, owner, key, ref)
    elif owner[1] == "available":  # held, and given to somebody by a person
        owed = dependants.take_back(tx, row, owner[0], key, ref)
        dependants.freeze(tx, row, owner[0], owed)
    else:
        debts.reverse(tx, owner, row.asset, row.units, key, ref)
    _lay(tx, row, -row.units)
    _set(tx, row, credited=0, credited_to=None)
    _tell("reversed", tx, row, owed_units=str(owed))
    reason = row.seen_reason or "reorganised"
    ownership_deposits.gone(tx, row, owner, reason, order=target.owner_kind == "order")


def _set(tx: Tx, row: Row[Any], **values: Any) -> None:
    tx.execute(update(deposit).where(deposit.c.id == row.id).values(values))


def _tell(state: str, tx: Tx, row: Row[Any], **more: str) -> None:
    deposit_witness.over(tx, row)
    data = views.deposit(tx, row.id)
    history.emit(tx, row.project_id, f"deposit.{state}", data["id"], data | more)


DEPOSIT = Saga(
    "deposit",
    deposit,
    start=State.DETECTED,
    final=frozenset({State.FINAL}),
    steps={
        State.DETECTED: Step(detected, {StillWaiting: State.DETECTED, Mined: State.CONFIRMING, Gone: State.REVERSED}),
        State.CONFIRMING: Step(
            confirming,
            {
                StillWaiting: State.CONFIRMING,
                BackInPool: State.DETECTED,
                Gone: State.REVERSED,
                Credited: State.CREDITED,
                Held: State.HELD,
                Ignored: State.IGNORED,
            },
        ),
        State.CREDITED: Step(booked, {StillWaiting: State.CREDITED, Matured: State.FINAL, Undone: State.REVERSED}),
        State.HELD: Step(booked, {StillWaiting: State.HELD, Undone: State.REVERSED}),
        State.IGNORED: Step(booked, {StillWaiting: State.IGNORED, Undone: State.REVERSED}),
        State.REVERSED: Step(reversed_, {StillWaiting: State.REVERSED, Returned: State.DETECTED}),
    },
)
