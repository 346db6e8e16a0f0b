"""Twenty clients move money at random while what carries the bank is killed, stopped, emptied, and told a wrong time.

In every look at all accounts at once the money is all there; at the end each customer has, to the satoshi, what the
clients were told, each payee was paid once, and who was cancelled never. Kinds of trouble: the database killed under
load and frozen, Redis emptied and killed, processes frozen by SIGSTOP (in the long run one beyond its lease), a
machine's clock that steps forth and back, and on MariaDB a server that tells new sessions another time.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from devstack.stack import Stack
from ledger import balances
from ledger.db import Database
from tests.faults import invariants_trades
from tests.integration.bank import COIN, Auditor, Bank, text
from tests.integration.storefront import Shop
from tests.integration.test_bad_days import reconciled, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CLIENTS = 20
CUSTOMERS = 8
#: Each customer's two deposits, satoshi.
DEPOSIT = COIN // 2
#: Calls that are answered between one trouble and the next.
BETWEEN = 15
#: Longest wait for all withdrawals to end once the last trouble is over.
REST_SECONDS = 240


class Troubles:
    """Everything that is done to the stack; each leaves it whole again, the way a supervisor would."""

    def __init__(self, stack: Stack, clock: Path) -> None:
        self._stack, self._clock = stack, clock

    def kinds(self, patiently: bool) -> list[Callable[[], None]]:
        found = [self.redis_emptied, self.redis_killed, self.api_frozen, self.api_killed, self.workers_killed]
        found += [self.clock_forth, self.clock_back, *([self.signer_frozen] if patiently else [])]
        if self._stack.mariadb is not None:
            found += [self.database_killed, self.database_frozen, self.sessions_of_another_hour]
        return found

    def database_killed(self) -> None:
        assert self._stack.mariadb is not None
        self._stack.mariadb.kill()
        time.sleep(1)
        self._stack.mariadb.start()

    def database_frozen(self) -> None:
        assert self._stack.mariadb is not None
        self._stack.mariadb.pause()
        time.sleep(2)
        self._stack.mariadb.resume()

    def sessions_of_another_hour(self) -> None:
        """The server tells each new session a time that stands still, a minute ahead; then all are ended and it is now
        again: a clock that steps forth, does not go, and steps back."""
        assert self._stack.mariadb is not None
        admin = self._stack.mariadb.admin
        admin("SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP() + 60'")
        self._end_sessions()
        time.sleep(2)
        admin("SET GLOBAL init_connect = ''")
        self._end_sessions()

    def _end_sessions(self) -> None:
        """As an operator's KILL, or a failover, would."""
        assert self._stack.mariadb is not None
        listed = self._stack.mariadb.admin("SELECT id FROM information_schema.processlist WHERE user = 'coffer'")
        for (number,) in listed:
            try:
                self._stack.mariadb.admin(f"KILL {int(number)}")
            except Exception:  # noqa: BLE001, S112  # it has ended by itself since
                continue

    def redis_emptied(self) -> None:
        self._stack.redis.flush()

    def redis_killed(self) -> None:
        self._stack.redis.kill()
        time.sleep(1)
        self._stack.redis.start()

    def api_frozen(self) -> None:
        """One of gunicorn's processes, with whatever transaction and lock it has."""
        child = random.choice(children(self._stack.processes["api"].pid))
        os.kill(child, signal.SIGSTOP)
        time.sleep(3)
        os.kill(child, signal.SIGCONT)

    def signer_frozen(self) -> None:
        """For longer than its leases last."""
        self._stack.processes["worker-bitcoin"].pause()
        time.sleep(17)
        self._stack.processes["worker-bitcoin"].resume()

    def api_killed(self) -> None:
        self._again("api")

    def workers_killed(self) -> None:
        self._again("worker-bitcoin", "worker-tasks", "scheduler")

    def _again(self, *names: str) -> None:
        """On SQLite this is the database's own death: it lives in these processes."""
        for name in names:
            self._stack.processes[name].kill()
        for name in names:
            self._stack.processes[name].start()

    def clock_forth(self) -> None:
        self._clock.write_text("45")

    def clock_back(self) -> None:
        self._clock.write_text("-15")


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that tells every process of a stack how far its machine's clock is ahead."""
    path = tmp_path / "clock"
    path.write_text("0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "stepped_clock"))
    monkeypatch.setenv("COFFER_TEST_CLOCK", str(path))
    return path


@pytest.fixture(params=["sqlite", "mariadb"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clock: Path) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("bank"), request.param) as stack:
        stack.cli("policy", "set", "BTC", "payment_window_ms", "300")
        yield stack


def founded(stack: Stack) -> Bank:
    """Customers who each brought a bitcoin."""
    assert stack.keys is not None
    shop = Shop(stack.api_url, stack.keys.all)
    customers = [shop.post("/accounts", {"reference": f"c{n}", "kind": "user"})[1]["id"] for n in range(CUSTOMERS)]
    homes = [shop.ready_address(customer, "BTC") for customer in customers * 2]
    stack.bitcoind.pay({home: text(DEPOSIT) for home in homes})
    stack.bitcoind.mine(6)  # so many for so much
    until(lambda: all(shop.available(c).get("BTC") == text(2 * DEPOSIT) for c in customers), "the deposits", 90)
    return Bank(shop, customers, 2 * DEPOSIT)


class Miner:
    def __init__(self, stack: Stack) -> None:
        self._stack, self._stop = stack, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(2):
            self._stack.bitcoind.mine(1)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


def live(stack: Stack, clock: Path, seed: int, rounds: int) -> None:
    """The bank's day with so many rounds of every trouble, and the reckoning."""
    bank, miner = founded(stack), Miner(stack)
    database = Database(stack.settings["COFFER_DATABASE_URL"])
    auditor = Auditor(database, bank.customers, CUSTOMERS * 2 * DEPOSIT)
    auditor.start()
    bank.open(CLIENTS, seed)
    random_, troubles = random.Random(seed), Troubles(stack, clock)
    for _ in range(rounds):
        kinds = troubles.kinds(patiently=rounds > 1)
        for trouble in random_.sample(kinds, len(kinds)):
            time.sleep(random_.uniform(0.5, 2))
            bank.busy(BETWEEN)
            trouble()
    bank.busy(BETWEEN)
    bank.close()
    reckon(stack, bank)
    miner.stop()
    auditor.stop()
    assert auditor.wrong == []
    assert auditor.looks >= 20
    assert database.read(balances.faults) == []
    assert invariants_trades.standing(database) == []
    database.close()
    print(f"bank: {dict(bank.done)}, {auditor.looks} looks")


def reckon(stack: Stack, bank: Bank) -> None:
    until(lambda: unfinished(bank) == [], "every withdrawal to end", REST_SECONDS)
    found = {customer: bank.shop.available(customer).get("BTC", text(0)) for customer in bank.customers}
    assert found == {customer: text(bank.own[customer]) for customer in bank.customers}
    states = {row_id: bank.shop.get(f"/withdrawals/{row_id}")[1]["status"] for row_id in bank.promised}
    cancelled = {row_id for row_id, status in states.items() if status == "cancelled"}
    assert cancelled == bank.cancelled
    assert {states[row_id] for row_id in states.keys() - cancelled} <= {"completed"}
    assert_paid(stack, bank)
    until(lambda: reconciled(stack), "books and chain to agree", 60)


def unfinished(bank: Bank) -> list[str]:
    states = [bank.shop.get(f"/withdrawals/{row_id}")[1] for row_id in bank.promised]
    return [f"{s['id']} {s['status']} {s['status_reason']}" for s in states if s["status"] not in ENDED]


ENDED = {"completed", "cancelled"}


def assert_paid(stack: Stack, bank: Bank) -> None:
    """By the chain alone: one output for each promise that stood, of its amount; none for the others."""
    assert stack.bitcoind.admin("getrawmempool") == []
    payees = {payee: units for _, payee, units in bank.promised.values()}
    found = stack.bitcoind.admin("scantxoutset", "start", [f"addr({payee})" for payee in payees])["unspents"]
    paid = sorted((coin["desc"].partition("(")[2].partition(")")[0], coin["amount"]) for coin in found)
    kept = [bank.promised[row_id] for row_id in bank.promised.keys() - bank.cancelled]
    assert paid == sorted((payee, Decimal(units) / COIN) for _, payee, units in kept)


def test_in_every_look_at_a_troubled_bank_the_money_is_all_there(stack: Stack, clock: Path) -> None:
    live(stack, clock, seed=1, rounds=1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_bank_that_is_troubled_for_minutes_loses_nothing(stack: Stack, clock: Path) -> None:
    live(stack, clock, seed=int(os.environ.get("COFFER_TEST_SEED", "2")), rounds=6)
