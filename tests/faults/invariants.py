"""What must hold after every crash and recovery (FAULTS.md, I1 to I8), looked at from outside the engine's own steps.

Each function returns sentences; none means that it holds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from jobs import reconcile
from jobs.withdrawal import hold_key
from ledger import audit, balances
from ledger.schema import (
    account,
    alarm,
    deposit,
    event,
    hold,
    hold_end,
    lease,
    pause,
    payment,
    payment_item,
    resource,
    transfer,
    withdrawal,
)
from tests.faults.flows import Ends
from tests.faults.world import World

#: How each state of a withdrawal leaves its hold (I6).
HOLD_AT_END = {"completed": "settled", "cancelled": "voided", "rejected": "voided", "failed": "voided"}
#: States in which a credit stands in the journal.
BOOKED = {"credited", "held", "ignored", "final"}
#: Alarms that are right while the chain or the hot wallet misbehaves; any other is a fault of ours.
EXPECTED_ALARMS = {"insufficient_hot_funds", "not_seen", "node_unavailable", "node_not_ready"}


def check(world: World, ends: Ends) -> list[str]:
    """Everything, at the end of a flow."""
    found = [*books(world), *holds(world), *deposits(world), *payments(world), *orphans(world)]
    found += [*repeats(world), *expected(world, ends)]
    return found


def at_death(world: World) -> list[str]:
    """What must be true of the rows that a dead process left, before anything is done about them (I1 to I4, I6, A7)."""
    found = [*_sound(world), *holds(world)]
    standing = _credits(world)
    for row in world.rows(deposit):
        if standing[row.id] != row.credited or (row.credited == 1) != (row.state in BOOKED):
            found.append(f"I3: {row.output_key} is {row.state}: {standing[row.id]} credits, marked {row.credited}")
    intents = {row.ref_id for row in world.rows(transfer) if row.kind == "payment_intent"}
    allowed = Counter(row.address for row in world.rows(withdrawal) if row.payment_id in intents)
    for address in {row.address for row in world.rows(withdrawal)}:
        sent = len(world.outside.paid_to(address))
        if sent > allowed[address]:
            found.append(f"A7: {sent} payments to {address} are out, {allowed[address]} were committed to be sent")
    return found


def _sound(world: World) -> list[str]:
    return world.database.read(lambda tx: balances.faults(tx) + audit.faults(tx))


def books(world: World) -> list[str]:
    """I1, I2, I7: the journal adds up, the audit chain is whole, and the chain holds what the books say."""
    found = _sound(world)
    report = reconcile.of_asset(world.services, "BTC", "bitcoin")
    if report.unexplained_units:
        found.append(f"I7: {report.unexplained_units} units on chain are unexplained ({report})")
    if report.in_flight_units:
        found.append(f"I7: {report.in_flight_units} units are still in flight")
    return found


def holds(world: World) -> list[str]:
    """I6: the live hold of each withdrawal is open, settled or voided as its state says; earlier ones were settled."""
    ended = {row.hold_id: row.outcome for row in world.rows(hold_end)}
    outcomes = {row.hold_key: ended.get(row.id, "open") for row in world.rows(hold)}
    expected = {}
    for row in world.rows(withdrawal):
        for generation in range(1, row.holds):
            expected[hold_key(row.id, generation)] = "settled"
        expected[hold_key(row.id, row.holds)] = HOLD_AT_END.get(row.state, "open")
    return [
        f"I6: hold {key} is {outcomes.get(key, 'missing')}, should be {expected.get(key, 'absent')}"
        for key in sorted(outcomes.keys() | expected.keys())
        if outcomes.get(key) != expected.get(key)
    ]


def deposits(world: World) -> list[str]:
    """I3: one row for each output on chain, and exactly one credit standing for each that is buried."""
    on_chain = {receipt.key: receipt for receipt in world.outside.receipts()}
    rows = world.rows(deposit)
    found = [f"I3: {key} has {n} rows" for key, n in Counter(row.output_key for row in rows).items() if n > 1]
    found += [f"I3: {key} is on chain and in no row" for key in on_chain.keys() - {row.output_key for row in rows}]
    standing = _credits(world)
    for row in rows:
        receipt = on_chain.get(row.output_key)
        wanted = 1 if receipt is not None and receipt.depth >= 6 else 0
        if standing[row.id] != wanted or row.credited != wanted:
            found.append(f"I3: {row.output_key} ({row.state}): {standing[row.id]} credits stand, {wanted} should")
        if receipt is not None and receipt.units != row.units:
            found.append(f"I3: {row.output_key}: {row.units} units in its row, {receipt.units} on chain")
    return found


def _credits(world: World) -> Counter[int]:
    """Credits minus reversals in the journal, by deposit."""
    standing: Counter[int] = Counter()
    for row in world.rows(transfer):
        if row.transfer_key.startswith("deposit:"):
            standing[row.ref_id] += -1 if row.kind == "deposit_reversal" else 1
    return standing


def payments(world: World) -> list[str]:
    """I4: as many outputs on chain as completed withdrawals, to the unit, and in one live payment each."""
    paid: dict[str, list[int]] = defaultdict(list)
    owed: dict[str, list[int]] = defaultdict(list)
    for row in world.rows(withdrawal):
        paid[row.address] = world.outside.paid_to(row.address)
        if row.state == "completed":
            owed[row.address].append(row.units)
    found = [
        f"I4: {address} was paid {sorted(units)}, the books say {sorted(owed[address])}"
        for address, units in paid.items()
        if sorted(units) != sorted(owed[address])
    ]
    live = Counter(row.withdrawal_id for row in world.rows(payment_item) if row.live)
    for row in world.rows(withdrawal):
        wanted = 1 if row.state == "completed" else 0
        if live[row.id] != wanted:
            found.append(f"I4: withdrawal {row.reference} ({row.state}) is in {live[row.id]} live payments")
    return found


def orphans(world: World) -> list[str]:
    """I5, I9: nothing is left half way, leased, owned or frozen, and nothing raised an alarm that it should not."""
    found = [f"I5: withdrawal {r.reference} is {r.state}" for r in world.rows(withdrawal) if r.state not in HOLD_AT_END]
    found += [f"I5: payment {r.id} is {r.state}" for r in world.rows(payment) if r.state not in ("final", "dead")]
    paid = {r.id for r in world.rows(payment) if r.state == "final"}
    found += [f"I5: {r.resource_key} belongs to dead payment {r.payment_id}" for r in _live_elsewhere(world, paid)]
    found += [f"I5: payment {r.payment_id} has no withdrawal" for r in _empty_payments(world, paid)]
    found += [f"I5: lease {r.name} is held" for r in world.rows(lease) if r.until > 1]
    found += [f"I9: {r.flow} of {r.asset} is paused: {r.reason}" for r in world.rows(pause)]
    found += [f"I9: alarm {r.name}: {r.detail}" for r in world.rows(alarm) if r.name not in EXPECTED_ALARMS]
    found += [f"event {r.public_id} has no number" for r in world.rows(event) if r.sequence is None]
    return found


def _live_elsewhere(world: World, paid: set[int]) -> list[Any]:
    return [row for row in world.rows(resource) if row.live and row.payment_id not in paid]


def _empty_payments(world: World, paid: set[int]) -> list[Any]:
    full = {row.payment_id for row in world.rows(payment_item) if row.live}
    return [row for row in world.rows(resource) if row.live and row.payment_id in paid - full]


def repeats(world: World) -> list[str]:
    """I8: every call that the shop ever made, made again, brings the same answer and changes nothing."""
    tables = (account, deposit, hold, payment, transfer, withdrawal, event)
    before = [len(world.rows(table)) for table in tables]
    found = [f"I8: repeating {name} brings another answer" for name in world.client.repeat_all(world.app)]
    if [len(world.rows(table)) for table in tables] != before:
        found.append("I8: repeating the shop's calls wrote something")
    return found


def expected(world: World, ends: Ends) -> list[str]:
    """The flow's own outcome."""
    found = []
    states = {row.reference: row.state for row in world.rows(withdrawal)}
    if states != ends.withdrawals:
        found.append(f"withdrawals ended as {states}, should be {dict(ends.withdrawals)}")
    seen = tuple(sorted(row.state for row in world.rows(deposit)))
    if seen != ends.deposits:
        found.append(f"deposits ended as {seen}, should be {ends.deposits}")
    ids = {row.reference: row.id for row in world.rows(account)}
    wanted = {(ids[name], "available"): units for name, units in ends.available.items()}
    wanted |= {(ids[name], "receivable"): units for name, units in ends.receivable.items()}
    wanted |= {(row_id, "held"): 0 for row_id in ids.values()}
    for owner, units in wanted.items():
        there = world.database.read(lambda tx, o=owner: balances.get(tx, o, "BTC"))
        if there != units:
            found.append(f"account {owner[0]}: {owner[1]} is {there}, should be {units}")
    dust = world.database.read(lambda tx: balances.of_house(tx, "BTC")["dust"])
    if dust != ends.dust:
        found.append(f"dust is {dust}, should be {ends.dust}")
    return found
