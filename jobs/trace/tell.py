"""A deposit's trace as people read it: what it paid for, what became of that, and how the loss stands if it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, Table, select

from jobs.amounts import amount
from jobs.escrow import frozen_parts
from jobs.trace import streams
from jobs.trace.follow import Ref, Step, trace, walk
from ledger import balances, holds, postings
from ledger.accounts import HOUSE_ACCOUNT
from ledger.db import Tx
from ledger.schema import account, deposit, escrow, internal_transfer, swap, transfer, withdrawal

#: Why the order in which an account spends is what it is.
RULE = "in each account the oldest money is spent first"
#: How money came into somebody's hands, by the kind of the transfer.
_PASSED = {
    "escrow_funding": "put into {1}, in",
    "escrow_release": "released by {1} to",
    "escrow_refund": "refunded by {1} to",
    "escrow_return": "given back by {1} to",
    "transfer": "passed on by {1} to",
    "swap": "bought by {1}, in",
    "swap_refund": "given back by {1} to",
    "void": "free again in",
    "frozen_taken": "not needed for the debt, free again in",
    "frozen_returned": "given back to",
}
#: What a trace names, by kind.
NAMED: dict[str, Table] = {
    "escrow": escrow,
    "swap": swap,
    "transfer": internal_transfer,
    "withdrawal": withdrawal,
    "deposit": deposit,
}


def told(tx: Tx, paid: Row[Any]) -> tuple[list[str], set[Ref]]:
    """A deposit's trace as indented lines, and the rows that it names. Nothing of one that no customer ever had."""
    found = trace(tx, paid)
    if found is None:
        return [], set()
    lines = [f"{paid.public_id} paid for ({RULE}):", *_lines(tx, found.root, 1)]
    if not found.whole:
        lines.append("  ... and more: not all of it was followed")
    lines += _loss(tx, paid)
    return lines, {step.ref for step in walk(found.root) if step.ref[0] in NAMED} - {("deposit", paid.id)}


def _lines(tx: Tx, step: Step, depth: int) -> Iterator[str]:
    pad = "  " * depth
    yield f"{pad}{amount(tx, step.units, step.asset)} {_what(tx, step)}"
    for after in step.steps:
        yield from _lines(tx, after, depth + 1)
    if step.left and step.what in ("credited", "passed"):
        yield f"{pad}  {amount(tx, step.left, step.asset)} {_there(tx, step)}"


def _what(tx: Tx, step: Step) -> str:
    """The movement as a phrase after its amount."""
    whose, by = _owner(tx, step), name(tx, step.ref)
    match step.what:
        case "credited":
            return f"credited to {whose}"
        case "withdrawn":
            return f"withdrawn by {_person(tx, step.account_id)}: {by} is {_state(tx, step.ref)}"
        case "frozen":
            return f"frozen in the balance of {_person(tx, step.account_id)}, part {step.ref[1]}"
        case "swapped":
            return f"sold by {by} for"
        case "repaid":
            return f"repaid what {_person(tx, step.account_id)} owed, for"
        case "made_good":
            return f"made good {by}, which had left the chain, for"
        case "taken_back":
            return "taken back when it left the chain"
        case "fee":
            return f"fee of {by}"
        case "house":
            return f"to the house's {step.place} by {step.kind} of {by}"
    return f"{_PASSED.get(step.kind, '{0} of {1}, to').format(step.kind, by)} {whose}"


def _there(tx: Tx, step: Step) -> str:
    """Where money lies that has gone no further."""
    text = f"lies in {_owner(tx, step)}"
    if step.place == "escrow":
        (move,) = streams.moves(tx, streams.of_posting(step.number))
        row_id, _ = streams.part_of(tx, "escrow", move)
        kept = [str(part.id) for part in frozen_parts.in_place(tx, ("escrow", row_id))]
        text += f", of {name(tx, ('escrow', row_id))}" + (f", frozen as part {', '.join(kept)}" if kept else "")
    return text


def _loss(tx: Tx, paid: Row[Any]) -> list[str]:
    """Each time that it left: what was taken from where, what is owed for it, what is frozen, what came back."""
    lines: list[str] = []
    for generation in range(1, int(paid.credits) + 1):
        key = f"deposit:{paid.id}:reverse:{generation}"
        if not postings.standing(tx, key):
            continue
        for move in streams.moves(tx, transfer.c.transfer_key == key):
            source = streams.owner(tx, move.debit_id)
            whose = _place(tx, source.account_id, source.kind)
            word = f"taken back from {whose}"
            if source.kind == "receivable":
                word = f"owed for it by {_person(tx, source.account_id)}"
            lines.append(f"  {amount(tx, move.units, move.asset)} {word}")
        if generation < paid.credits:
            lines.append(f"  {amount(tx, paid.units, paid.asset)} came back")
    parts = frozen_parts.of_deposit(tx, paid.id)
    lines += [_part(tx, part) for part in parts]
    for debtor in sorted({part.debtor_id for part in parts} | _debtors(tx, paid)):
        owed = balances.get(tx, (debtor, "receivable"), paid.asset)
        lines.append(f"  {_person(tx, debtor)} owes {amount(tx, owed, paid.asset)} now" + _frozen_account(tx, debtor))
    return [f"{paid.public_id} left the chain:", *lines] if lines else []


def _debtors(tx: Tx, paid: Row[Any]) -> set[int]:
    found = set()
    for generation in range(1, int(paid.credits) + 1):
        for move in streams.moves(tx, transfer.c.transfer_key == f"deposit:{paid.id}:reverse:{generation}"):
            source = streams.owner(tx, move.debit_id)
            if source.kind == "receivable":
                found.add(source.account_id)
    return found


def _part(tx: Tx, part: Row[Any]) -> str:
    where = _place(tx, part.account_id, "available")
    if part.place != "balance":
        where = f"{part.place} {name(tx, (part.place, part.place_id))}"
    state = "frozen" if part.live == 1 else "thawed"
    if part.place == "balance" and holds.ended(tx, part.hold_key) == "settled":
        state = "given back" if postings.standing(tx, f"{part.hold_key}:back") else "taken for the debt"
    because = name(tx, (part.kind, part.row_id))
    return f"  {amount(tx, part.units, part.asset)} {state} in {where}, from {because} (part {part.id})"


def _frozen_account(tx: Tx, account_id: int) -> str:
    reason = tx.value(select(account.c.frozen_reason).where(account.c.id == account_id))
    return "" if reason is None else f", and may spend nothing ({reason})"


def _owner(tx: Tx, step: Step) -> str:
    return _place(tx, step.account_id, step.place)


def _place(tx: Tx, account_id: int, kind: str) -> str:
    word = {"available": "the balance", "escrow": "the escrows", "swap": "the swaps"}.get(kind, kind)
    return f"{word} of {_person(tx, account_id)}"


def _person(tx: Tx, account_id: int) -> str:
    if account_id == HOUSE_ACCOUNT:
        return "the house"
    return str(tx.value(select(account.c.public_id).where(account.c.id == account_id)))


def name(tx: Tx, ref: Ref) -> str:
    """The public id of a row that moved money, or `<kind> <number>` of one that has none."""
    table = NAMED.get(ref[0])
    if table is None:
        return f"{ref[0]} {ref[1]}"
    return str(tx.value(select(table.c.public_id).where(table.c.id == ref[1])))


def _state(tx: Tx, ref: Ref) -> str:
    return str(tx.value(select(NAMED[ref[0]].c.state).where(NAMED[ref[0]].c.id == ref[1])))
