"""One soak from its first process to its verdict."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from devstack.demo.figures import COINS
from devstack.process import DaemonFailed
from devstack.stack import Database
from tests.integration.storefront import Shop
from tests.soak.book import Book
from tests.soak.chaos import Chaos
from tests.soak.ground import prepare, until
from tests.soak.outside import NODE_TROUBLE, World
from tests.soak.plan import Act
from tests.soak.rest import Rest
from tests.soak.stack import SoakStack
from tests.soak.traffic import Traffic
from tests.soak.verdict import Api, Verdict, judge, stalls

#: A shop gives up on a call after this long.
PATIENCE_SECONDS = 300.0
#: An operator has ether and tokens collected this often.
SWEEP_SECONDS = 120.0
#: And looks at monerod's pool.
POOL_SECONDS = 30.0
_TOLD_SECONDS = 60.0


@dataclass
class Result:
    kills: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    stalls: dict[str, float] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    replies_lost: int = 0
    rest_seconds: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)


class Soak:
    def __init__(
        self, stack: SoakStack, acts: Sequence[Act], seed: int, seconds: float, tell: Callable[[str], None]
    ) -> None:
        assert stack.keys is not None
        self.stack, self.tell = stack, tell
        self.shop = Shop(stack.shop_url, stack.keys.all, PATIENCE_SECONDS)
        self.api = Api(Shop(stack.api_url, stack.keys.all, PATIENCE_SECONDS))
        self.world, self.book = World(stack), Book()
        tell("rules, capital, accounts, first deposits")
        self.accounts, homes = prepare(stack, self.shop, self.world)
        self.chaos = Chaos(stack, self.world, acts, tell)
        self.traffic = Traffic(self.shop, self.world, self.book, self.accounts, homes, seed=seed)
        self._seconds = seconds
        self._over, self._ended = threading.Event(), threading.Event()
        self._side = [
            threading.Thread(target=work, daemon=True) for work in (self._sweep, self._clean_pool, self._report)
        ]

    def run(self) -> Result:
        self.world.start_mining()
        self.traffic.start()
        for thread in self._side:
            thread.start()
        begun = datetime.now(UTC)
        clock = time.monotonic()
        self.chaos.run()
        time.sleep(max(0.0, clock + self._seconds - time.monotonic()))
        over = datetime.now(UTC)
        self.tell("the last act is over: everything is revived and comes to rest")
        result = self._end()
        result.stalls = dict(stalls(self.api.events(), begun, over))
        return result

    def _end(self) -> Result:
        chaos = self.chaos
        clock = time.monotonic()
        wrong = chaos.settle(600)
        self.traffic.stop(PATIENCE_SECONDS + 30)
        self._over.set()
        rest = Rest(self.stack, self.api, self.world, self.book, self.traffic, self.tell)
        wrong += rest.come()
        self._ended.set()
        chaos.others["an operator's decisions"] += rest.decisions
        seconds = time.monotonic() - clock
        self.world.stop_mining()
        for coin in COINS:
            try:
                until(lambda c=coin: self._reconciled(c.code), f"books and chain to agree on {coin.code}", 90)  # type: ignore[misc]
            except TimeoutError as error:
                wrong.append(f"{error}\n{self._difference(coin.code)}")
        verdict = self._judge()
        verdict.wrong += [*wrong, *chaos.ended_alone, *self._paused()]
        lost = sum(wire.replies_lost for wire in self.stack.wires.values())
        alarms = [" ".join(map(str, a.values())) for a in json.loads(self.stack.cli("alarms", "--json"))]
        chaos.stop()
        return Result(chaos.kills, chaos.others, self.book.done, self.book.refused, {}, alarms, lost, seconds, verdict)

    def _judge(self) -> Verdict:
        try:
            return judge(self.api, self.book, self.world, self.accounts)
        except Exception:  # noqa: BLE001  # the rest of the report is worth having all the same
            return Verdict(wrong=[f"no verdict: {traceback.format_exc()}"])

    def _reconciled(self, asset: str) -> bool:
        try:
            self.stack.cli("reconcile", asset)
        except DaemonFailed:
            return False
        return True

    def _difference(self, asset: str) -> str:
        try:
            return self.stack.cli("reconcile", asset)
        except DaemonFailed as error:
            return str(error)

    def _paused(self) -> list[str]:
        return [f"paused: {line}" for line in json.loads(self.stack.cli("status", "--json"))["pauses"]]

    # --- beside the traffic --------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """An operator has deposits collected."""
        while not self._over.wait(SWEEP_SECONDS):
            try:
                self.stack.cli("sweep", "run", "ethereum", "--as", "soak")
            except (DaemonFailed, OSError):
                continue  # the database is down today

    def _clean_pool(self) -> None:
        """An operator of monerod has it forget what it has given up after a deep reorganisation; to the very end."""
        while not self._ended.wait(POOL_SECONDS):
            with contextlib.suppress(*NODE_TROUBLE):
                self.chaos.others["given up in monerod's pool, forgotten"] += self.world.monero.forget_given_up()

    def _report(self) -> None:
        begun = time.monotonic()
        while not self._over.wait(_TOLD_SECONDS):
            done, kills = sum(self.book.done.values()), sum(self.chaos.kills.values())
            failures = f", {len(self.book.failures)} failures" if self.book.failures else ""
            self.tell(f"after {time.monotonic() - begun:.0f} s: {done} operations, {kills} kills{failures}")


def soak(
    folder: Path, acts: Sequence[Act], *, seed: int, seconds: float, db: Database, tell: Callable[[str], None]
) -> Result:
    """Runs a soak in an empty folder. Processes that do not come up at all raise DaemonFailed."""
    tell("starting everything")
    stack = SoakStack(folder, db)
    with stack:
        made = Soak(stack, acts, seed, seconds, tell)
        try:
            return made.run()
        finally:
            made.chaos.stop()
