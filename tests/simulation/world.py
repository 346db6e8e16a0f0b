"""One run: a seed decides what the shop, the chains, the workers and the clock do; then everything is drained."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import ledger.ids
from jobs import bootstrap
from jobs.resolve import payments as resolve_payments
from jobs.saga import SECOND
from jobs.services import Services
from ledger import crashpoint
from ledger.errors import CofferError, DatabaseError
from ledger.types import sqlite_units
from tests.simulation import ground as ground_module
from tests.simulation.chains import SimChain, SimWallet
from tests.simulation.ground import ASSETS, PREFIXES, UNIT, WALLETS, Ground, SeededIds
from tests.simulation.machine import Died, Endless, Machine, Worker
from tests.simulation.odds import Odds
from tests.simulation.shop import Shop
from tests.simulation.trades import Trades
from wallets.protocol import Output

#: Steps of a run's bad time: most runs are short, as many short ones find more than few long ones.
STEPS = (8, 12, 12, 16, 16, 20, 24, 60)
#: Jobs after which a drain that still moves is called endless.
JOBS_MAX = 400
ROUNDS_MAX = 14

#: The rows that belong to a chain have its name in `chain`.
_DUE = " UNION ALL ".join(
    f"SELECT '{kind}', id, due_at FROM \"{kind}\" WHERE due_at <= :now AND lease_until <= :now"
    for kind in ("deposit", "payment", "escrow", "swap")
)
_SOONEST = "SELECT min(due_at) FROM (" + _DUE.replace("<= :now AND lease_until <= :now", "> :now") + ")"


_DEBTS = (
    "SELECT o.reference, a.asset, b.units FROM balance b JOIN ledger_account a ON a.id = b.ledger_account_id"
    f" JOIN account o ON o.id = a.account_id WHERE a.kind = 'receivable' AND b.units > '{sqlite_units(0)}'"
)


@dataclass
class Result:
    seed: int
    violations: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    places: int = 0


class World(Machine):
    """The machine with everything on it."""

    def __init__(self, seed: int, ground: Ground) -> None:
        rng = Random(seed)  # noqa: S311  # it is to be repeatable
        super().__init__(rng, Odds.drawn(rng), ground.clock[0], ground.database)
        self.ground = ground
        self.seed = seed
        ground.database.forget()
        ground.database._clock = lambda: self.now_us
        ground.database.before = self.place
        ground.database.on_commit = self._posted
        ledger.ids.source = SeededIds(f"ids {seed}", ground.database)
        crashpoint.listen(self.crashpoint)
        self.folder = ground.folder / "run"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for name, raw in ground.signer.items():
            (self.folder / name).write_bytes(raw)
        self.used = ["bitcoin", "monero"] if rng.random() < 0.3 else ["bitcoin"]
        self.chains = {
            name: SimChain(self, name, pickle.loads(ground.chains[name]), PREFIXES[name])  # noqa: S301  # our own
            for name in PREFIXES
        }
        self.shop = Shop(self, ground, self._services())
        self.trades = Trades(self) if rng.random() < 0.35 else None
        self.mail: list[tuple[str, int]] = []  #: wake-ups on their way
        self.scanned = {name: "" for name in self.used}
        self.workers = [self._worker(number) for number in range(1, rng.choice((1, 2, 2, 3)) + 1)]

    # Processes

    def _services(self) -> Services:
        wallets = {name: SimWallet(self.chains[name], WALLETS[name], name) for name in self.used}
        return ground_module.services(self.ground, wallets, self.folder)

    def _worker(self, number: int) -> Worker:
        return Worker(number, self._services(), self.ground.sagas, self)

    def on_death(self, worker: Worker) -> None:
        """A new process in its place: it adopts the wallets before anything else."""
        fresh = self._worker(worker.number)
        self.workers[self.workers.index(worker)] = fresh
        self.mail += [("start", fresh.number)]

    def _start(self, worker: Worker) -> None:
        with suppress(CofferError):
            for name in self.used:
                bootstrap.adopt(worker.services, worker.services.wallet(name))
                worker.runtime.advance("task", self.ground.tasks[f"relock:{name}"], woken=True)

    def _posted(self, wakes: Any) -> None:
        for wake in wakes:
            if wake[0] == "task" and wake[1] in self.ground.elsewhere:
                continue
            if self.rng.random() < self.odds.lost_wake:
                continue
            self.mail.append(wake)
            if self.rng.random() < self.odds.twice_wake:
                self.mail.append(wake)

    # Work

    def task(self, worker: Worker, name: str) -> None:
        row_id = self.ground.tasks[name]
        self.run(worker, lambda: worker.runtime.advance("task", row_id, woken=True), name)

    def advance(self, worker: Worker, kind: str, row_id: int) -> None:
        if kind == "start":
            if worker.number == row_id:
                self.run(worker, lambda: self._start(worker), "starts")
            return
        self.run(worker, lambda: worker.runtime.advance(kind, row_id, woken=kind == "task"), f"{kind} {row_id}")

    def due(self) -> list[tuple[str, int]]:
        rows = self.database.raw.execute(_DUE, {"now": self.now_us}).fetchall()
        return [(row[0], row[1]) for row in sorted(rows, key=lambda row: (row[2], row[0], row[1]))]

    def rows(self, query: str) -> list[Any]:
        """What a table says, read past the engine."""
        return self.database.raw.execute(query).fetchall()

    def idle(self) -> Worker | None:
        free = [worker for worker in self.workers if worker.idle]
        return self.rng.choice(free) if free else None

    def waiting(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.idle]

    # The bad time

    def play(self) -> None:
        self.shopping()
        for _ in range(self.rng.choice(STEPS)):
            self._trouble()
            act = self.rng.choices(_ACTS, _WEIGHTS)[0]
            act(self)

    def _trouble(self) -> None:
        odds, roll = self.odds, self.rng.random()
        for chance, act in (
            (odds.reorg, self._reorg),
            (odds.forget, self._forget),
            (odds.haunt, self._haunt),
            (odds.replace, self._replace),
            (odds.jump, self._jump),
            (odds.down, self._down),
        ):
            if roll < chance:
                act()
                return
            roll -= chance

    def work(self) -> None:
        """A worker takes a wake-up, or what it finds due, or goes on with what it waits in."""
        waiting = self.waiting()
        if waiting and self.rng.random() < 0.4:
            worker = self.rng.choice(waiting)
            if not worker.stopped or self.rng.random() < 0.3:
                self.resume(worker)
                return
        worker = self.idle() or self.rng.choice(self.workers)
        if not worker.idle:
            self.resume(worker)
            return
        if self.mail and self.rng.random() < 0.6:
            self.advance(worker, *self.mail.pop(self.rng.randrange(len(self.mail))))
            return
        due = self.due()
        if due and self.rng.random() < 0.7:
            self.advance(worker, *self.rng.choice(due))
            return
        self.some_task(worker)

    def some_task(self, worker: Worker) -> None:
        """A periodic task: mostly one that has something to do."""
        chain = self.rng.choice(self.used)
        sight = self._sight(chain)
        weights = (20 if sight != self.scanned[chain] else 0, 12 if self._waits() else 0, 0.3, 0.3, 5)
        kind = self.rng.choices(("scan", "batch", "relock", "reconcile", "rest"), weights)[0]
        if kind == "rest":
            self._stir(chain)
            return
        if kind == "scan":
            self.scanned[chain] = sight
        self.task(worker, f"{kind}:{chain}")

    def _stir(self, chain: str) -> None:
        """Nothing is there to do: a block comes, or the shop calls."""
        if self.chains[chain].pool:
            self.mine()
        else:
            self.shopping()

    def _sight(self, chain: str) -> str:
        s = self.chains[chain]._state
        return f"{s.tip.hash}{list(s.pool)}"

    def shopping(self) -> None:
        rng = self.rng
        if self.trades is not None and rng.random() < 0.6:
            self.trades.act()
            return
        code = ASSETS[rng.choice(self.used)].code
        names = list(self.ground.accounts)
        kind = rng.choices(("pay", "withdraw", "transfer", "decide", "repeat"), (4, 5, 2, 3, 1))[0]
        if kind == "pay":
            self._pay(rng.choice(names), code)
        elif kind == "withdraw":
            earlier = [a.facts["payee"] for a in self.shop.asked.values() if a.facts.get("asset") == code and "payee" in a.facts]
            payee = rng.choice(earlier) if earlier and rng.random() < 0.2 else self.outside(code)
            self.shop.withdraw(rng.choice(names), code, self.shop.coins(code), payee, rng.choice(("balance", "amount")))
        elif kind == "transfer":
            giver, taker = rng.sample(names, 2)
            self.shop.transfer(giver, taker, code, self.shop.coins(code, 60))
        elif kind == "decide":
            self._decide()
        else:
            self.shop.repeat()

    def _decide(self) -> None:
        open_rows = self.rows("SELECT id, state FROM withdrawal WHERE state IN ('pending_approval', 'queued')")
        if open_rows:
            row_id, state = self.rng.choice(open_rows)
            acts = ("approve", "approve", "approve", "reject") if state == "pending_approval" else ("cancel", "none")
            act = self.rng.choice(acts)
            if act != "none":
                self.shop.decide(row_id, act, self.rng.choice(("dan", "eve", "fay")))

    def _pay(self, name: str, code: str) -> None:
        """Somebody outside pays to an address that an account has."""
        rng = self.rng
        chain = self.chains["bitcoin" if code == "BTC" else "monero"]
        address = self.ground.addresses[name, code]
        if rng.random() < 0.2:
            address = self.shop.address(name, code) or address
        units = 500 if rng.random() < 0.05 else self.shop.coins(code)
        outputs = [Output(address, units)]
        if rng.random() < 0.1:
            outputs.append(Output(self.ground.addresses[rng.choice(list(self.ground.accounts)), code], units + 7))
        txid = chain.pay(*outputs)
        self.count("paid in")
        self.tell(f"{code}: {name} is paid {units} in {txid[:8]}")

    def outside(self, code: str) -> str:
        """A new address of somebody outside."""
        return self.chains["bitcoin" if code == "BTC" else "monero"].outside_address()

    def pay_house(self, code: str) -> None:
        chain = self.chains["bitcoin" if code == "BTC" else "monero"]
        chain.pay(Output(self.ground.house[code], 500 * UNIT[code]))

    def mine(self) -> None:
        chain = self.chains[self.rng.choice(self.used)]
        some = None
        if self.rng.random() < 0.3:
            some = [txid for txid in chain.pool if self.rng.random() < 0.5]
        tip = chain.mine(self.rng.choice((1, 1, 2, 3)), _whole(chain, some))
        self.tell(f"{chain.name}: block {tip.height}")

    def pass_time(self) -> None:
        soonest = self.rows(_SOONEST.replace(":now", str(self.now_us)))[0][0]
        if soonest is not None and self.rng.random() < 0.5:
            self.forward(max(0, min(soonest - self.now_us, 100 * SECOND)) + 1)
        else:
            self.forward(self.rng.choice((1, 3, 6, 16, 40, 90)) * SECOND)
        self.tell("time passes")

    def meddle(self) -> None:
        """A waiting worker is killed, or stopped, or a stopped one goes on."""
        waiting = self.waiting()
        if not waiting:
            return
        worker = self.rng.choice(waiting)
        if self.odds.die and self.rng.random() < 0.5:
            self.kill(worker)
        else:
            self.resume(worker)

    # Trouble

    def _reorg(self) -> None:
        chain = self.chains[self.rng.choice(self.used)]
        depth = self.rng.choice((1, 1, 2, 2, 3, 4, 6, 9))
        with chain.state() as s:
            held = [txid for block in s.blocks[-depth:] for txid in block.txids]
        fates = {txid: self.rng.choice(("back", "back", "gone", "gone", "spent")) for txid in held}
        ours = self._paying()
        gone = [t for t, fate in fates.items() if fate == "gone"]
        spent = [t for t, fate in fates.items() if fate == "spent" and t not in ours]
        spent = [t for t in spent if not _descends(chain, t, spent)]
        tip = chain.reorg(depth, gone=gone, double_spent=spent)
        self.count("reorgs")
        self.tell(f"{chain.name}: reorg of {depth} to {tip.height}, gone {_short(gone)}, double spent {_short(spent)}")

    def _paying(self) -> set[str]:
        """Transactions that spend our own coins: nobody else can sign another in their place."""
        return {row[0] for row in self.rows("SELECT txid FROM candidate")}

    def _forget(self) -> None:
        chain = self.chains[self.rng.choice(self.used)]
        if chain.pool:
            txid = self.rng.choice(chain.pool)
            chain.evict(txid)
            self.count("evictions")
            self.tell(f"{chain.name}: the pool forgets {txid[:8]}")

    def _haunt(self) -> None:
        """What was sent before, or was paid by somebody before, comes in again."""
        chain = self.chains[self.rng.choice(self.used)]
        with chain.state() as s:
            outside = [tx for tx in s.txs.values() if tx.inputs and tx.inputs[0].startswith("outside:")]
        before = [*chain.sent.values(), *chain.late, *outside[-5:]]
        chain.late.clear()
        if before:
            tx = self.rng.choice(before)
            if chain.haunt(tx):
                self.count("hauntings")
                self.tell(f"{chain.name}: {tx.txid[:8]} comes in again")

    def _replace(self) -> None:
        chain = self.chains[self.rng.choice(self.used)]
        mine = [txid for txid in chain.pool if chain.transaction(txid).inputs[0].startswith("outside:")]
        if mine:
            old = chain.transaction(self.rng.choice(mine))
            outputs: tuple[Output, ...] = ()
            if self.rng.random() < 0.6:
                outputs = (Output(old.outputs[0].address, old.outputs[0].units + self.rng.choice((-11, 11, 1000))),)
            txid = chain.replace(old.txid, *outputs)
            self.count("replacements")
            self.tell(f"{chain.name}: {old.txid[:8]} is replaced by {txid[:8]}")

    def _jump(self) -> None:
        self.jump(self.rng.choice((-3600, -60, -20, 20, 60, 3600, 90_000)) * SECOND)

    def _down(self) -> None:
        chain = self.chains[self.rng.choice(self.used)]
        with chain.state() as s:
            well = s.reachable and s.unready is None
        if not well:
            chain.up()
        elif self.rng.random() < 0.5:
            chain.down()
        else:
            chain.unready("syncing")
        self.tell(f"{chain.name}: the node is {'not well' if well else 'well'}")

    # The end

    def drain(self) -> None:
        """No more trouble: everybody finishes, blocks come, hours pass, and an operator decides what is left."""
        self.odds.end()
        for worker in list(self.workers):
            while not worker.idle:
                self.resume(worker)
        for chain in self.chains.values():
            chain.up()
            with chain.state(write=True) as s:
                s.lies.clear()
                s.rate = None
        self.shop.repeat()
        self.tell("no more trouble")
        self.forward(self.behind_us)  # what was due before the clock was set back is due when it has caught up
        final = self.rng.random() < 0.15
        for number in range(ROUNDS_MAX):
            self._round()
            if number and self._ended(final):
                return
        raise Endless(f"still open: {self._open_rows()}")

    def _round(self) -> None:
        self.forward(700 * SECOND)
        if self.trades is not None:
            self.trades.close()
        self._watchers("scan")
        self._do_all()
        self._decide_all()
        if self._waits():
            self._watchers("batch")
            self._do_all()
        self._operate()
        for name in self.used:
            self.chains[name].mine(110)

    def _watchers(self, work: str) -> None:
        for name in self.used:
            self.task(self.workers[0], f"{work}:{name}")

    def _do_all(self) -> None:
        """All that is due or woken, until nothing is."""
        for _ in range(JOBS_MAX):
            due = self.due()
            if not due:
                self.mail.clear()
                return
            for kind, row_id in due:
                self.advance(self.workers[0], kind, row_id)
        raise Endless(f"always due: {self.due()}")

    def _waits(self) -> bool:
        return bool(self.rows("SELECT 1 FROM withdrawal WHERE state = 'queued' AND payment_id IS NULL LIMIT 1"))

    def _decide_all(self) -> None:
        for row_id, _ in self.rows("SELECT id, state FROM withdrawal WHERE state = 'pending_approval'"):
            for person in ("dan", "eve"):
                self.shop.decide(row_id, "approve", person)

    def _operate(self) -> None:
        """What runbooks tell people to do: decide what is in review by the chain's proof, refill a hot wallet."""
        for public_id, state in self.rows("SELECT public_id, state FROM payment WHERE state = 'review'"):
            self._resolve(public_id)
        short = self.rows("SELECT DISTINCT asset FROM withdrawal WHERE status_reason = 'insufficient_hot_funds'")
        for (code,) in short:
            self.pay_house(code)
        for name, code, text in self.rows(_DEBTS):
            self._repay(name, code, int(text) - 10**39)

    def _repay(self, name: str, code: str, units: int) -> None:
        """Who owes the house after a reorganisation pays, and is free again."""
        chain = self.chains["bitcoin" if code == "BTC" else "monero"]
        chain.pay(Output(self.ground.addresses[name, code], units + UNIT[code]))
        self.tell(f"{name} pays a debt of {units} {code}")

    def _resolve(self, public_id: str) -> None:
        def read(tx: Any) -> Any:
            return resolve_payments.needs_proof(tx, public_id)

        choice = self.rng.choice(("retry", "refund"))
        with suppress(CofferError):
            row, asked = self.database.read(read)
            proof = resolve_payments.prove(self.workers[0].services, row, asked)
            self.database.run(
                lambda tx: resolve_payments.resolve_payment(tx, public_id, choice, proof, "operator"), "resolve"
            )
            self.count("reviews decided")
            self.tell(f"operator: {choice} {public_id}")
            return
        with suppress(CofferError):
            self.database.run(lambda tx: resolve_payments.recheck_payment(tx, public_id, "operator"), "recheck")
            self.tell(f"operator: recheck {public_id}")

    def _open_rows(self, final: bool = True) -> list[Any]:
        """Rows that are not where they stay; without `final`, what no more than time is missing to counts as ended."""
        deep = "" if final else ", 'settled', 'credited'"
        return self.rows(
            "SELECT 'withdrawal', id, state, status_reason FROM withdrawal"
            " WHERE state NOT IN ('completed', 'failed', 'rejected', 'cancelled')"
            " UNION ALL SELECT 'escrow', id, state, status_reason FROM escrow"
            " WHERE state IN ('awaiting_funds', 'funded', 'disputed')"
            " UNION ALL SELECT 'swap', id, state, status_reason FROM swap"
            " WHERE state NOT IN ('completed', 'refunded', 'expired', 'failed')"
            f" UNION ALL SELECT 'payment', id, state, status_reason FROM payment WHERE state NOT IN ('final', 'dead'{deep})"
            " UNION ALL SELECT 'deposit', id, state, status_reason FROM deposit"
            f" WHERE state NOT IN ('final', 'reversed', 'ignored', 'held'{deep})"
        )

    def _ended(self, final: bool) -> bool:
        return not self._open_rows(final) and not self._waits()


def _whole(chain: SimChain, some: list[str] | None) -> list[str] | None:
    """A block holds no child without its parent."""
    if some is None:
        return None
    chosen: list[str] = []
    with chain.state() as s:
        for txid in s.pool:
            parents = {outpoint.rpartition(":")[0] for outpoint in s.txs[txid].inputs}
            if txid in some and all(p not in s.pool or p in chosen for p in parents):
                chosen.append(txid)
    return chosen


def _descends(chain: SimChain, txid: str, others: list[str]) -> bool:
    with chain.state() as s:
        return any(txid != other and txid in s.family([other]) for other in others)


def _short(txids: list[str]) -> list[str]:
    return [txid[:8] for txid in txids]


_ACTS: tuple[Callable[[World], None], ...] = (World.work, World.shopping, World.mine, World.pass_time, World.meddle)
_WEIGHTS = (10, 2.5, 2.5, 2, 0.5)


def play(seed: int, check: Callable[[World], list[str]]) -> Result:
    """One seed, from the ground to the check."""
    ground = ground_module.ground()
    world = World(seed, ground)
    result = Result(seed)
    try:
        world.play()
        world.drain()
        result.violations = check(world)
    except Endless as error:
        result.violations = [f"I5: {error}"]
    finally:
        _clear(world)
    result.counts, result.story, result.places = world.counts, world.story, world.places
    return result


def _clear(world: World) -> None:
    """No greenlet of this run is left behind."""
    for worker in world.workers:
        if worker.greenlet is not None and not worker.greenlet.dead:
            world.odds.end()
            with suppress(Died, DatabaseError, Exception):
                worker.doomed = True
                worker.greenlet.switch()
