"""What must hold at the end of a run (I1 to I9 of docs/faults.md), read past the engine: rows by plain SQL, what was
paid from the chains, what was promised from the shop's memory. Each check returns sentences; none means that it holds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from jobs.ownership import verify as ownership_verify
from jobs.reconcile import chain as reconcile
from ledger import audit
from ledger.types import sqlite_units
from tests.faults import invariants_trades
from tests.simulation.ground import ACCOUNTS, ASSETS, RULES, UNIT, WALLETS
from tests.simulation.world import World

_ZERO = int(sqlite_units(0))
_DEBIT_NORMAL = {"receivable"}
#: How each state of a withdrawal leaves its hold (I6).
_HOLD = {"completed": "settled", "cancelled": "voided", "rejected": "voided", "failed": "voided"}
#: Alarms that are right while chains misbehave; any other is a fault of ours.
_EXPECTED_ALARMS = {
    "insufficient_hot_funds",
    "hot_funds_locked",
    "not_seen",
    "node_unavailable",
    "node_not_ready",
    "payment_contested",
    "payment_still_alive",
    "money_frozen",
    "money_not_followed",
    "fee_too_low",
    "reconciliation",  # of a reorganisation that was not read yet; one that lasts pauses, and is seen by that
}
#: Of these, what may have been raised and must be over: at the end people have decided all that they can.
_OVER_AT_THE_END = {"payment_contested", "payment_still_alive", "not_seen"}
_MINIMUM = {"BTC": 1_000, "XMR": 10**9}

#: (account, kind, asset) -> units
Owned = dict[tuple[int, str, str], int]


def check(world: World) -> list[str]:
    found = [*books(world), *holds(world), *deposits(world), *payments(world), *requests(world), *accounts(world)]
    found += [*quiet(world), *chains(world)]
    if world.trades is not None:
        found += [*invariants_trades.standing(world.database), *invariants_trades.ended(world.database)]
    return found + reports(world) if world.seed % 10 == 0 else found


def units(text: str) -> int:
    return int(text) - _ZERO


def ledger(world: World) -> Owned:
    """What each ledger account has by its postings, credits minus debits."""
    sums: dict[int, int] = defaultdict(int)
    for debit, credit, text in world.rows("SELECT debit_id, credit_id, units FROM posting"):
        sums[credit] += units(text)
        sums[debit] -= units(text)
    rows = world.rows("SELECT id, account_id, kind, asset FROM ledger_account")
    return {(owner, kind, asset): sums[row_id] for row_id, owner, kind, asset in rows}


def books(world: World) -> list[str]:
    """I1, I2: postings balance by construction; each balance row is the sum of its postings, and never negative."""
    posted = ledger(world)
    balances = "SELECT a.account_id, a.kind, a.asset, b.units FROM balance b JOIN ledger_account a"
    found = []
    for owner, kind, asset, text in world.rows(f"{balances} ON a.id = b.ledger_account_id"):
        there = posted[owner, kind, asset] * (-1 if kind in _DEBIT_NORMAL else 1)
        if units(text) != there or there < 0:
            found.append(f"I2: account {owner} {kind} {asset}: its row says {units(text)}, its postings {there}")
    return found


def holds(world: World) -> list[str]:
    """I6: the live hold of each withdrawal is settled or voided as its state says; earlier ones were settled."""
    query = "SELECT h.hold_key, e.outcome FROM hold h LEFT JOIN hold_end e ON e.hold_id = h.id"
    outcomes = {key: outcome or "open" for key, outcome in world.rows(query)}
    wanted = {}
    for row_id, state, count in world.rows("SELECT id, state, holds FROM withdrawal"):
        wanted |= {f"withdrawal:{row_id}#{n}": "settled" for n in range(1, count)}
        wanted[f"withdrawal:{row_id}#{count}"] = _HOLD.get(state, "open")
    return [
        f"I6: hold {key} is {outcomes.get(key, 'missing')}, should be {wanted[key]}"
        for key in wanted
        if outcomes.get(key) != wanted[key]
    ]


def receipts(world: World, chain: str) -> dict[str, tuple[str, int]]:
    """What the chain pays to addresses that this wallet gave out: key -> (address, units)."""
    model = world.chains[chain]
    with model.state() as s:
        owned = model.owned(s, WALLETS[chain])
        return {
            f"{txid}:{vout}": (output.address, output.units)
            for txid in s.height_of
            for vout, output in enumerate(s.txs[txid].outputs)
            if owned.get(output.address) is not None
        }


def deposits(world: World) -> list[str]:
    """I3: one row for each output in the chain, one credit standing for each row of one, and none for any other."""
    on_chain = {key: paid for chain in world.used for key, paid in receipts(world, chain).items()}
    standing: Counter[int] = Counter()
    for ref, kind in world.rows("SELECT ref_id, kind FROM transfer WHERE transfer_key LIKE 'deposit:%'"):
        standing[ref] += -1 if kind == "deposit_reversal" else 1
    found, seen = [], Counter[str]()
    for row_id, key, state, credited, text, chain in world.rows(
        "SELECT id, output_key, state, credited, units, chain FROM deposit"
    ):
        if chain not in world.used:
            continue
        seen[key] += 1
        wanted = 1 if key in on_chain else 0
        if standing[row_id] != wanted or credited != wanted:
            found.append(f"I3: {key[:8]} is {state}: {standing[row_id]} credits stand, {wanted} should")
        if key in on_chain and units(text) != on_chain[key][1]:
            found.append(f"I3: {key[:8]}: {units(text)} in its row, {on_chain[key][1]} on chain")
    found += [f"I3: {key[:8]} has {n} rows" for key, n in seen.items() if n > 1]
    return found + [f"I3: {key[:8]} is in the chain and in no row" for key in on_chain.keys() - seen.keys()]


def payments(world: World) -> list[str]:
    """I4: each payee has in the chain what the completed withdrawals say, output by output, and nothing else left."""
    owed: dict[str, list[int]] = defaultdict(list)
    for address, state, text in world.rows("SELECT address, state, units FROM withdrawal"):
        owed[address] += [units(text)] if state == "completed" else []
    paid: dict[str, list[int]] = defaultdict(list)
    spent: list[str] = []
    for chain in world.used:
        with world.chains[chain].state() as s:
            for txid in (*s.height_of, *s.pool):
                tx = s.txs[txid]
                spent += tx.inputs
                for output in tx.outputs:
                    if output.address in owed:
                        paid[output.address].append(output.units)
    found = [
        f"I4: {address} was paid {sorted(paid[address])}, the books say {sorted(owed[address])}"
        for address in owed
        if sorted(paid[address]) != sorted(owed[address])
    ]
    live = Counter(row[0] for row in world.rows("SELECT withdrawal_id FROM payment_item WHERE live = 1"))
    for row_id, state in world.rows("SELECT id, state FROM withdrawal"):
        if live[row_id] != (1 if state == "completed" else 0):
            found.append(f"I4: withdrawal {row_id} ({state}) is in {live[row_id]} live payments")
    return found


def requests(world: World) -> list[str]:
    """I8: what the shop was told was made is there once; what it was told was refused is not."""
    rows = Counter(row[0] for row in world.rows("SELECT reference FROM withdrawal"))
    rows.update(row[0] for row in world.rows("SELECT reference FROM internal_transfer"))
    found = []
    for asked in world.shop.asked.values():
        if asked.facts["kind"] in "wt" and rows[asked.reference] != int(bool(asked.made)):
            found.append(f"I8: {asked.reference} is there {rows[asked.reference]} times, the shop knows {asked.made}")
    return found


def accounts(world: World) -> list[str]:
    """Each account has what it began with, what the chain paid it, less what the chain paid for it, and what it was
    given: by the shop's memory and the chains alone. Of runs with trades, where much more moves, the sum of all is
    known from the chain, and their parts from their rows."""
    if world.trades is not None:
        return []
    wanted: dict[tuple[int, str], int] = defaultdict(int)
    homes = {row[0]: (row[1], row[2]) for row in world.rows("SELECT address, account_id, purpose_kind FROM address")}
    for chain in world.used:
        code = ASSETS[chain].code
        for address, amount in receipts(world, chain).values():
            owner, purpose = homes[address]
            if amount >= _MINIMUM[code] and purpose == "balance":
                wanted[owner, code] += amount
    fee = RULES["withdrawal_fee_units"]
    states = dict(world.rows("SELECT reference, state FROM withdrawal"))
    for asked in world.shop.asked.values():
        facts = asked.facts
        if asked.made and facts["kind"] == "t":
            wanted[world.ground.accounts[facts["giver"]], facts["asset"]] -= facts["units"]
            wanted[world.ground.accounts[facts["taker"]], facts["asset"]] += facts["units"]
        if asked.made and facts["kind"] == "w" and states[asked.reference] == "completed":
            total = facts["units"] + (fee if facts["fee_from"] == "balance" else 0)
            wanted[world.ground.accounts[facts["account"]], facts["asset"]] -= total
    posted = ledger(world)
    found = []
    for name, coins in ACCOUNTS.items():
        for chain, asset in ASSETS.items():
            owner, code = world.ground.accounts[name], asset.code
            there = sum(posted.get((owner, kind, code), 0) for kind in ("available", "held", "receivable"))
            should = wanted[owner, code] if chain in world.used else coins * UNIT[code]
            if there != should:
                found.append(f"{name} has {there} {code}, should have {should}")
    return found


def quiet(world: World) -> list[str]:
    """I5, I9: nobody holds a lease, nothing is paused or halted, no alarm that chains do not explain."""
    found = [
        f"I5: lease {name} is held" for (name,) in world.rows(f"SELECT name FROM lease WHERE until > {world.now_us}")
    ]
    found += [
        f"I9: {flow} of {code} is paused: {why}"
        for code, flow, why in world.rows("SELECT asset, flow, reason FROM pause")
    ]
    found += [f"I9: {chain} is halted: {why}" for chain, why in world.rows("SELECT chain, reason FROM halt")]
    for name, subject, detail, is_open in world.rows("SELECT name, subject, detail, open FROM alarm"):
        if name not in _EXPECTED_ALARMS or (is_open and name in _OVER_AT_THE_END):
            found.append(f"I9: alarm {name} of {subject}: {detail}")
    paid = {row[0] for row in world.rows("SELECT id FROM payment WHERE state IN ('final', 'settled')")}
    live = world.rows("SELECT resource_key, payment_id FROM resource WHERE live = 1")
    return found + [f"I5: {key} belongs to payment {row_id}" for key, row_id in live if row_id not in paid]


def chains(world: World) -> list[str]:
    """I7: each wallet has in its chain what the books say, to the unit, and nothing is in flight."""
    found: list[str] = []
    posted = ledger(world)
    for chain in world.used:
        code = ASSETS[chain].code
        house = {kind: units for (owner, kind, asset), units in posted.items() if asset == code}
        in_flight, treasury = -house.get("in_flight", 0), -house["treasury_hot"]
        held = sum(world.chains[chain].unspent(WALLETS[chain]).values())
        if in_flight or held != treasury:
            found.append(f"I7: the chain holds {held} {code}, the books say {treasury}, {in_flight} in flight")
    return found


def reports(world: World) -> list[str]:
    """I7 by the engine's own word, and the chains of hashes: slower, and so for some runs only."""
    found: list[str] = []
    for chain in world.used:
        for report in reconcile.reconcile(world.workers[0].services, chain):
            odd: dict[str, Any] = {
                name: getattr(report, f"{name}_units")
                for name in ("unexplained", "surplus", "doubtful", "in_flight")
                if getattr(report, f"{name}_units")
            }
            found += [f"I7: {report.asset}: {odd}"] if odd else []
    return found + histories(world)


def histories(world: World) -> list[str]:
    """The chains of hashes, of ownership and of operators' acts."""
    found = [f"ownership: {fault}" for fault in ownership_verify.verify(world.database).faults]
    return found + world.database.read(audit.faults)
