"""What must hold after every crash and recovery (I1 to I10 of docs/faults.md), looked at from outside the engine's own
steps.

Each function returns sentences; none means that it holds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from jobs.reconcile import chain as reconcile
from jobs.withdrawal import hold_key
from ledger import audit, balances
from ledger.schema import (
    account,
    alarm,
    deposit,
    escrow,
    event,
    frozen_part,
    hedge,
    hold,
    hold_end,
    holding,
    lease,
    pause,
    payment,
    payment_item,
    quote,
    resource,
    swap,
    sweep,
    transfer,
    withdrawal,
)
from tests.faults import invariants_trades
from tests.faults.flow import Ends
from tests.faults.world import World

#: How each state of a withdrawal leaves its hold (I6).
HOLD_AT_END = {"completed": "settled", "cancelled": "voided", "rejected": "voided", "failed": "voided"}
#: States in which a credit stands in the journal.
BOOKED = {"credited", "held", "ignored", "final"}
#: Alarms that are right while the chain or the hot wallet misbehaves; any other is a fault of ours.
EXPECTED_ALARMS = {"insufficient_hot_funds", "not_seen", "node_unavailable", "node_not_ready", "money_frozen"}


def check(world: World, ends: Ends) -> list[str]:
    """Everything, at the end of a flow."""
    found = [*books(world), *holds(world), *deposits(world), *payments(world), *orphans(world, ends)]
    found += invariants_trades.ended(world.database)
    found += [*repeats(world), *expected(world, ends), *hedges(world, ends)]
    return found


def at_death(world: World) -> list[str]:
    """What must be true of the rows that a dead process left, before anything is done about them (I1 to I4, I6, A7)."""
    found = [*_sound(world), *holds(world)]
    standing = _credits(world)
    for row in world.rows(deposit):
        if standing[row.id] != row.credited or (row.credited == 1) != (row.state in BOOKED):
            found.append(f"I3: {row.output_key} is {row.state}: {standing[row.id]} credits, marked {row.credited}")
    intents = {row.ref_id for row in world.rows(transfer) if row.kind == "payment_intent"}
    allowed = Counter((row.address, row.asset) for row in world.rows(withdrawal) if row.payment_id in intents)
    for address, code in {(row.address, row.asset) for row in world.rows(withdrawal)}:
        sent = len(_paid(world, address, code))
        if sent > allowed[address, code]:
            found.append(
                f"A7: {sent} payments to {address} are out, {allowed[address, code]} were committed to be sent"
            )
    return [*found, *resources(world, intents)]


def resources(world: World, committed: set[int]) -> list[str]:
    """I4, I10: no key of ours is used on chain but by a payment whose intent to be sent was committed."""
    owners = {row.resource_key: row.payment_id for row in world.rows(resource)}
    known = {key: owner for key, owner in owners.items() if owner is not None}
    strange = world.outside.used(known.keys()) - {key for key, owner in known.items() if owner in committed}
    return [f"I10: {key} is used by nothing that was committed to be sent" for key in sorted(strange)]


def _paid(world: World, address: str, code: str) -> list[int]:
    return world.outside.paid_to(address, world.contract(code))


def _sound(world: World) -> list[str]:
    found = world.database.read(lambda tx: balances.faults(tx) + audit.faults(tx))
    return found + invariants_trades.standing(world.database)


def books(world: World) -> list[str]:
    """I1, I2, I7: the journal adds up, the audit chain is whole, and the chain holds what the books say."""
    found = _sound(world)
    for report in (each for chain in world.kind.chains for each in reconcile.reconcile(world.services, chain)):
        if report.unexplained_units or report.surplus_units or report.doubtful_units:
            found.append(f"I7: {report.unexplained_units} units on chain are unexplained ({report})")
        if report.in_flight_units:
            found.append(f"I7: {report.in_flight_units} units of {report.asset} are still in flight")
    return [*found, *places(world)]


def places(world: World) -> list[str]:
    """I7, index by index: each holds in the chain what the books say, to the unit."""
    return [
        f"I7: index {row.idx} should hold {row.units} {row.asset}, and holds {there}"
        for row in world.rows(holding)
        if (there := world.outside.holds(row.idx, world.contract(row.asset))) != row.units
    ]


def holds(world: World) -> list[str]:
    """I6: the live hold of each withdrawal is open, settled or voided as its state says; earlier ones were settled."""
    ended = {row.hold_id: row.outcome for row in world.rows(hold_end)}
    outcomes = {row.hold_key: ended.get(row.id, "open") for row in world.rows(hold)}
    expected = {}
    for row in world.rows(withdrawal):
        for generation in range(1, row.holds):
            expected[hold_key(row.id, generation)] = "settled"
        expected[hold_key(row.id, row.holds)] = HOLD_AT_END.get(row.state, "open")
    for row in world.rows(frozen_part):
        if row.place != "balance":
            continue  # it lies in an escrow or a withdrawal, which is held by those
        expected[row.hold_key] = "open" if row.live else outcomes.get(row.hold_key, "missing")
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
        wanted = 1 if receipt is not None and receipt.depth >= world.kind.credit_depth else 0
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
    paid: dict[tuple[str, str], list[int]] = {}
    owed: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in world.rows(withdrawal):
        payee = (row.address, row.asset)
        paid[payee] = _paid(world, *payee)
        if row.state == "completed":
            owed[payee].append(row.units)
    found = [
        f"I4: {payee[0]} was paid {sorted(units)} {payee[1]}, the books say {sorted(owed[payee])}"
        for payee, units in paid.items()
        if sorted(units) != sorted(owed[payee])
    ]
    found += resources(world, {row.id for row in world.rows(payment) if row.state == "final"})
    live = Counter(row.withdrawal_id for row in world.rows(payment_item) if row.live)
    for row in world.rows(withdrawal):
        wanted = 1 if row.state == "completed" else 0
        if live[row.id] != wanted:
            found.append(f"I4: withdrawal {row.reference} ({row.state}) is in {live[row.id]} live payments")
    return found


def orphans(world: World, ends: Ends) -> list[str]:
    """I5, I9: nothing is left half way, leased, owned or frozen, and nothing raised an alarm that it should not."""
    expected_alarms = EXPECTED_ALARMS | set(ends.alarms)
    found = [f"I5: withdrawal {r.reference} is {r.state}" for r in world.rows(withdrawal) if r.state not in HOLD_AT_END]
    found += [f"I5: payment {r.id} is {r.state}" for r in world.rows(payment) if r.state not in ("final", "dead")]
    paid = {r.id for r in world.rows(payment) if r.state == "final"}
    found += [f"I5: sweep {r.public_id} is {r.state}" for r in world.rows(sweep) if r.live]
    found += [f"I5: {r.resource_key} belongs to dead payment {r.payment_id}" for r in _live_elsewhere(world, paid)]
    found += [f"I5: payment {row_id} has no withdrawal" for row_id in _empty_payments(world)]
    found += [f"I5: lease {r.name} is held" for r in world.rows(lease) if r.until > 1]
    found += [f"I9: {r.flow} of {r.asset} is paused: {r.reason}" for r in world.rows(pause)]
    found += [f"I9: alarm {r.name}: {r.detail}" for r in world.rows(alarm) if r.name not in expected_alarms]
    found += [f"event {r.public_id} has no number" for r in world.rows(event) if r.sequence is None]
    return found


def _live_elsewhere(world: World, paid: set[int]) -> list[Any]:
    return [row for row in world.rows(resource) if row.live and row.payment_id not in paid]


def _empty_payments(world: World) -> set[int]:
    full = {row.payment_id for row in world.rows(payment_item) if row.live}
    made = world.rows(payment)
    return {row.id for row in made if row.state == "final" and row.purpose == "withdrawal"} - full


def repeats(world: World) -> list[str]:
    """I8: every call that the shop ever made, made again, brings the same answer and changes nothing."""
    tables = (account, deposit, escrow, hold, payment, quote, swap, sweep, transfer, withdrawal, event)
    before = [len(world.rows(table)) for table in tables]
    found = [f"I8: repeating {name} brings another answer" for name in world.client.repeat_all(world.app)]
    if [len(world.rows(table)) for table in tables] != before:
        found.append("I8: repeating the shop's calls wrote something")
    return found


def hedges(world: World, ends: Ends) -> list[str]:
    """I4 of orders on an exchange: each was sent once at most, and what its row says is what the exchange did."""
    sent = Counter(world.outside.ordered())
    found = [f"I4: order {key} was sent {times} times" for key, times in sent.items() if times > 1]
    rows = world.rows(hedge)
    found += [f"I4: order {key} is in no row" for key in sent.keys() - {row.client_order_id for row in rows}]
    found += [f"I5: hedge {row.id} is {row.state}" for row in rows if row.state not in ends.hedges]
    return found + [
        f"I4: hedge {row.id} is {row.state}, the exchange was sent it {sent[row.client_order_id]} times"
        for row in rows
        if (row.state == "filled") != (sent[row.client_order_id] > 0)
    ]


def expected(world: World, ends: Ends) -> list[str]:
    """The flow's own outcome."""
    found = []
    states = {_told(world, row.reference): row.state for row in world.rows(withdrawal)}
    if states != ends.withdrawals:
        found.append(f"withdrawals ended as {states}, should be {dict(ends.withdrawals)}")
    seen = tuple(sorted(row.state for row in world.rows(deposit)))
    if seen != ends.deposits:
        found.append(f"deposits ended as {seen}, should be {ends.deposits}")
    found += _purposes(world, ends)
    told = world.outside.heard()
    if tuple(told.values()) != ends.told:
        found.append(f"A12: the shop was told {tuple(told.values())}, should be {ends.told}")
    for table, wanted_states in ((escrow, ends.escrows), (swap, ends.swaps)):
        there = {row.reference: row.state for row in world.rows(table)}
        if there != wanted_states:
            found.append(f"{table.name}s ended as {there}, should be {dict(wanted_states)}")
    ids = {row.reference: row.id for row in world.rows(account)}
    wanted = {_owner(world, ids, name, "available"): units for name, units in ends.available.items()}
    wanted |= {_owner(world, ids, name, "receivable"): units for name, units in ends.receivable.items()}
    wanted |= {((row_id, "held"), world.kind.coin.code): 0 for row_id in ids.values()}
    wanted |= {_owner(world, ids, name, "held"): units for name, units in ends.held.items()}
    for (owner, code), units in wanted.items():
        there = world.database.read(lambda tx, o=owner, c=code: balances.get(tx, o, c))
        if there != units:
            found.append(f"account {owner[0]}: {owner[1]} of {code} is {there}, should be {units}")
    return found + _house(world, ends)


def _told(world: World, reference: str) -> str:
    """The reference of a withdrawal; of one that a swap made, with the swap's own reference in place of its id."""
    for row in world.rows(swap):
        reference = reference.replace(row.public_id, row.reference)
    return reference


def _house(world: World, ends: Ends) -> list[str]:
    coin = world.kind.coin.code
    wanted = {f"{coin}:dust": ends.dust, f"{coin}:treasury_cold": -ends.cold} | dict(ends.house)
    found = []
    for name, units in wanted.items():
        code, _, kind = name.partition(":")
        there = world.database.read(lambda tx, c=code: balances.of_house(tx, c))[kind]
        if there != units:
            found.append(f"{kind} of {code} is {there}, should be {units}")
    return found


def _purposes(world: World, ends: Ends) -> list[str]:
    """Sweeps, and the payments that pay no customer: made once each, whatever died meanwhile."""
    found = []
    states = tuple(sorted(row.state for row in world.rows(sweep)))
    if states != ends.sweeps:
        found.append(f"sweeps ended as {states}, should be {ends.sweeps}")
    others = Counter(row.purpose for row in world.rows(payment) if row.state == "final" and row.purpose != "withdrawal")
    if others != Counter(ends.others):
        found.append(f"payments that pay no customer are {dict(others)}, should be {dict(ends.others)}")
    return found


def _owner(world: World, ids: dict[str, int], name: str, kind: str) -> tuple[tuple[int, str], str]:
    """`alice` or `TOKEN:alice`, as ledger owner and asset."""
    code, _, who = name.rpartition(":")
    return (ids[who], kind), code or world.kind.coin.code
