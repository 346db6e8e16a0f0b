"""The real stack under traffic while each of its processes is killed, stopped or emptied in turn.

No answer may be lost, no payee paid twice or not at all, and the books must meet the chain to the satoshi afterwards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from devstack.process import DaemonFailed
from devstack.stack import Database, Stack
from tests.integration.storefront import Shop, Traffic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

AMOUNT = "0.0001"
#: How long after the last fault everything must have come to rest.
REST_SECONDS = 90


class Day:
    """A stack with a funded account, a miner that mines, and clients that ask."""

    def __init__(self, stack: Stack) -> None:
        assert stack.keys is not None
        self.stack = stack
        self.shop = Shop(stack.api_url, stack.keys.all)
        self._mining = threading.Event()
        self._miner = threading.Thread(target=self._mine, daemon=True)
        self.account = self._funded(deposits=40)
        self.traffic = Traffic(self.shop, self.account, AMOUNT, clients=3)

    def _funded(self, deposits: int) -> str:
        _, account = self.shop.post("/accounts", {"reference": "bad-days", "kind": "user"})
        homes = [self.shop.post(f"/accounts/{account['id']}/addresses", {"asset": "BTC"})[1] for _ in range(deposits)]
        until(lambda: all(self._ready(home["id"], account["id"]) for home in homes[-1:]), "addresses")
        _, listed = self.shop.get(f"/addresses?account={account['id']}&limit=100")
        self.stack.bitcoind.pay({home["address"]: Decimal("0.009") for home in listed["data"]})
        self.stack.bitcoind.mine(1)
        until(lambda: self.available(account["id"]) == Decimal("0.009") * deposits, "the deposits to be credited")
        return str(account["id"])

    def _ready(self, address_id: str, account_id: str) -> bool:
        _, listed = self.shop.get(f"/addresses?account={account_id}&limit=100")
        return all(home["status"] == "ready" for home in listed["data"])

    def available(self, account_id: str) -> Decimal:
        _, balances = self.shop.get(f"/accounts/{account_id}/balances")
        return sum((Decimal(line["available"]["amount"]) for line in balances["data"]), Decimal(0))

    def start(self) -> None:
        self._miner.start()
        self.traffic.start()

    def end(self) -> None:
        self.traffic.stop()

    def _mine(self) -> None:
        while not self._mining.wait(2):
            try:
                self.stack.bitcoind.mine(1)
            except Exception:  # noqa: BLE001, S112  # the node is the one that is down today
                continue

    def stop_mining(self) -> None:
        self._mining.set()
        self._miner.join(30)

    def unfinished(self) -> list[str]:
        states = [self.shop.get(f"/withdrawals/{row_id}")[1] for row_id in self.traffic.promised.values()]
        return [f"{s['id']} {s['status']} {s['status_reason']}" for s in states if s["status"] != "completed"]


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


@pytest.fixture(params=["sqlite", "mariadb"])
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    db: Database = request.param
    folder: Path = tmp_path_factory.mktemp("bad-days")
    with Stack(folder, db) as stack:
        stack.cli("policy", "set", "BTC", "payment_window_ms", "300")
        day = Day(stack)
        yield day
        day.stop_mining()


def test_whatever_is_killed_every_payee_is_paid_once(day: Day) -> None:
    stack = day.stack
    day.start()
    for fault in faults(stack):
        time.sleep(2.5)
        fault()
    time.sleep(2.5)
    day.end()
    assert day.traffic.failures == []
    until(lambda: not day.unfinished(), "every withdrawal to be completed", REST_SECONDS)
    day.stop_mining()
    assert_paid_once(stack, list(day.traffic.promised))
    # every promise is one row, and every row is a promise
    seen, cursor = [], ""
    while True:
        _, page = day.shop.get(f"/withdrawals?limit=100{cursor}")
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(day.traffic.promised.values())
    spent = (Decimal(AMOUNT) + Decimal("0.00002")) * len(seen)
    assert day.available(day.account) == Decimal("0.36") - spent
    until(lambda: reconciled(stack), "books and chain to agree", 30)


def reconciled(stack: Stack) -> bool:
    try:
        stack.cli("reconcile", "BTC")
    except DaemonFailed:
        return False
    return True


def faults(stack: Stack) -> list[Callable[[], None]]:
    """Each leaves the stack whole again, the way a supervisor would."""

    def again(name: str) -> Callable[[], None]:
        def fault() -> None:
            stack.processes[name].kill()
            time.sleep(0.5)
            stack.processes[name].up()

        return fault

    def redis_gone() -> None:
        stack.redis.kill()
        time.sleep(3)
        stack.redis.start()

    def worker_paused_beyond_its_lease() -> None:
        stack.processes["worker-bitcoin"].pause()
        time.sleep(17)
        stack.processes["worker-bitcoin"].resume()

    def node_killed() -> None:
        stack.bitcoind.kill()
        time.sleep(2)
        stack.bitcoind.start()

    def database_killed() -> None:
        if stack.mariadb is not None:
            stack.mariadb.kill()
            time.sleep(2)
            stack.mariadb.start()

    order: list[Callable[[], None]] = [again("worker-bitcoin"), again("api"), stack.redis.flush, redis_gone]
    order += [node_killed, again("scheduler"), database_killed, again("worker-tasks")]
    return [*order, worker_paused_beyond_its_lease, again("worker-bitcoin")]


def assert_paid_once(stack: Stack, payees: list[str]) -> None:
    """By the chain alone: each payee owns exactly one output of exactly the amount."""
    assert stack.bitcoind.admin("getrawmempool") == []
    unspent = stack.bitcoind.admin("scantxoutset", "start", [f"addr({payee})" for payee in payees])["unspents"]
    assert len(unspent) == len(payees)
    assert {coin["amount"] for coin in unspent} == {Decimal(AMOUNT)}
    assert len({coin["desc"].partition("(")[2].partition(")")[0] for coin in unspent}) == len(payees)
