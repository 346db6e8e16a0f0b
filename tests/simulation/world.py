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
from jobs.saga import SECOND
from jobs.services import Services
from ledger import crashpoint
from ledger.errors import CofferError, DatabaseError
from tests.simulation import ground as ground_module
from tests.simulation.chains import SimChain, SimWallet
from tests.simulation.ending import Ending
from tests.simulation.ground import ACCOUNTS, ASSETS, PREFIXES, UNIT, WALLETS, Ground, SeededIds
from tests.simulation.machine import Died, Endless, Machine, Worker
from tests.simulation.odds import Odds
from tests.simulation.shop import Shop
from tests.simulation.trades import Trades
from tests.simulation.trouble import Trouble
from wallets.protocol import Output

#: Steps of a run's bad time: most runs are short, as many short ones find more than few long ones.
STEPS = (8, 12, 12, 16, 16, 20, 24, 60)
#: Part of the runs whose trouble comes in the middle of the day.
UNDER_WAY = 0.6
#: The rows that belong to a chain have its name in `chain`.
_DUE = " UNION ALL ".join(
    f"SELECT '{kind}', id, due_at FROM \"{kind}\" WHERE due_at <= :now AND lease_until <= :now"
    for kind in ("deposit", "payment", "escrow", "swap")
)
_SOONEST = "SELECT min(due_at) FROM (" + _DUE.replace("<= :now AND lease_until <= :now", "> :now") + ")"


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
        rng = Random(seed)  # it is to be repeatable
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
        ground.shelf.empty()
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
        self.trouble = Trouble(self)
        self.mail: list[tuple[str, int]] = []  #: wake-ups on their way
        self.scanned = dict.fromkeys(self.used, "")
        self.workers = [self._worker(number) for number in range(1, rng.choice((1, 2, 2, 3)) + 1)]

    # Processes

    def _services(self) -> Services:
        wallets = {name: SimWallet(self.chains[name], WALLETS[name], name) for name in self.used}
        return ground_module.services(self.ground, wallets, self.folder, self.ground.shelf)

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

    def waits(self) -> bool:
        """Whether a withdrawal is in no payment yet."""
        return bool(self.rows("SELECT 1 FROM withdrawal WHERE state = 'queued' AND payment_id IS NULL LIMIT 1"))

    # The bad time

    def play(self) -> None:
        if self.rng.random() < UNDER_WAY:
            self._begin()
        self.shopping()
        for _ in range(self.rng.choice(STEPS)):
            self.trouble.befall()
            act = self.rng.choices(_ACTS, _WEIGHTS)[0]
            act(self)

    def _begin(self) -> None:
        """Things are under way when trouble comes: payments are being made, deposits are near their credit."""
        odds, self.odds = self.odds, Odds()
        worker, chain = self.workers[0], self.used[0]
        code = ASSETS[chain].code
        for _ in range(self.rng.choice((1, 2, 3))):
            self._pay(self.rng.choice(list(ACCOUNTS)), code)
        for name in self.rng.choice((("ann",), ("ann", "bob"))):
            self.shop.withdraw(name, code, self.shop.coins(code, 60), self.outside(code), "balance")
        self.chains[chain].mine(self.rng.choice((1, 2, 3)))
        self.task(worker, f"scan:{chain}")
        self.task(worker, f"batch:{chain}")
        for kind, row_id in self.due():
            if self.rng.random() < 0.7:
                self.advance(worker, kind, row_id)
        self.odds = odds

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
        weights = (20 if sight != self.scanned[chain] else 0, 12 if self.waits() else 0, 0.3, 0.3, 5)
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
            earlier = self.shop.payees(code)
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


_ACTS: tuple[Callable[[World], None], ...] = (World.work, World.shopping, World.mine, World.pass_time, World.meddle)
_WEIGHTS = (10, 2.5, 2.5, 2, 0.5)


def play(seed: int, check: Callable[[World], list[str]]) -> Result:
    """One seed, from the ground to the check."""
    ground = ground_module.ground()
    result, usual = Result(seed), ledger.ids.source
    world = World(seed, ground)
    try:
        world.play()
        Ending(world).come()
        result.violations = check(world)
    except Endless as error:
        result.violations = [f"I5: {error}"]
    finally:
        _clear(world)
        crashpoint.listen(None)
        ledger.ids.source = usual
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
