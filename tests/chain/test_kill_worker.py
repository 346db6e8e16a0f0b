"""A real worker process on a real node, ended in the middle of a send; the shop repeats its request; one payment.

Nothing here moves the clock: leases and back-offs run out by themselves.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from api.app import create_app
from devstack.bitcoind import Bitcoind
from devstack.process import Daemon
from jobs import bootstrap
from ledger.db import Database
from ledger.schema import candidate, deposit, hold_end, payment, resource, withdrawal
from tests import databases
from tests.contract.fault_proxy import FaultProxy, _message
from tests.faults.chain_bitcoin import BitcoinOutside
from tests.faults.client import Client
from tests.faults.kinds import settings_of
from tests.faults.place import Place
from tests.faults.world import found
from wallets.protocol import Output

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
SEND = "sendrawtransaction"
#: Far above what anything here takes: a lease (15 s), a back-off (20 s), a start.
DEADLINE_SECONDS = 90
UNITS = 250_000


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_SECONDS} s for {what}"
        time.sleep(0.1)


class HoldingProxy(FaultProxy):
    """Can also keep one call on its way: its request before the node, or its reply before the worker."""

    def __init__(self, port: int) -> None:
        self._held: tuple[bytes, bool] | None = None
        self.reached, self._released = threading.Event(), threading.Event()
        super().__init__(port)

    def hold(self, method: str, *, delivered: bool) -> None:
        """`reached` is set when the call is here; what is held never arrives, not even after `let_go`."""
        self._held = (f'"method": "{method}"'.encode(), delivered)

    def let_go(self) -> None:
        self._held = None
        self._released.set()

    def _exchange(self, client: socket.socket, node: socket.socket) -> bool:
        if self._held is None:
            return super()._exchange(client, node)
        request = _message(client)
        wanted, delivered = self._held or (b"-", False)
        holding = bool(request) and wanted in request
        if request and (not holding or delivered):
            node.sendall(request)
            reply = _message(node)
        if holding:
            self.reached.set()
            self._released.wait(DEADLINE_SECONDS)
            return False
        if not request:
            return False
        client.sendall(reply)
        return True


class Shop:
    """An installation of its own: database, node behind a proxy, API in this process, workers as processes."""

    def __init__(self, folder: Path, url: str, node: Bitcoind) -> None:
        self.proxy = HoldingProxy(node.rpc_port)
        through = node.worker_url.replace(f":{node.rpc_port}", f":{self.proxy.port}")
        self.place = Place(str(folder), url, "bitcoin", {"worker": through, "admin": node.admin_url})
        found(self.place)
        self.folder = folder
        self.outside = BitcoinOutside(node.admin_url)
        self.database = Database(url)
        settings = settings_of(self.place)
        self.app: Flask = create_app(bootstrap.services(settings, self.database), settings)
        self.client = Client(folder)
        self.workers: list[Daemon] = []

    def worker(self, crashpoint: str | None = None) -> Daemon:
        settings = settings_of(self.place)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COFFER_")}
        environ |= {
            "PYTHONPATH": str(ROOT),
            "COFFER_DATABASE_URL": self.place.database_url,
            "COFFER_BITCOIN_RPC_URL": self.place.urls["worker"],
            "COFFER_SIGNER_DIR": str(settings.signer_dir),
            "COFFER_ROW_MAC_KEY": settings.row_mac_key.get_secret_value() if settings.row_mac_key else "",
            "COFFER_BITCOIN_DAILY_OUTFLOW_CAP": settings.bitcoin_daily_outflow_cap,
        }
        if crashpoint is not None:
            environ["COFFER_CRASHPOINT"] = crashpoint
        command = [sys.executable, "-m", "cli.main", "worker", "bitcoin"]
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = Daemon(f"worker-{len(self.workers)}", command, log=log, environ=environ, folder=self.folder)
        self.workers.append(worker)
        worker.start()
        return worker

    def funded(self, deposits: int = 1) -> None:
        """An account with credited coins, and no worker left running."""
        worker = self.worker()
        self.client.post(self.app, "account", "/v1/accounts", {"reference": "customer", "kind": "user"})
        path = f"/v1/accounts/{self.client.id_of('account')}/addresses"
        self.client.post(self.app, "home", path, {"asset": "BTC"})
        address_id = self.client.id_of("home")
        token = {"Authorization": f"Bearer {self.client.token('ann')}"}

        def address() -> str | None:
            read = self.app.test_client().get(f"/v1/addresses/{address_id}", headers=token).get_json()
            return None if read["status"] != "ready" else str(read["address"])

        until(address, "an address")
        for _ in range(deposits):
            self.outside.pay([Output(address() or "", 900_000)])
        self.outside.mine(1)
        until(lambda: [row.state for row in self.rows(deposit)] == ["credited"] * deposits, "the credits")
        worker.stop()

    def withdraw(self, name: str) -> str:
        """Ask, or ask again: the same call under the same key. The withdrawal's id."""
        body = {"account": self.client.id_of("account"), "asset": "BTC", "amount": "0.0025", "reference": name}
        body["address"] = self.outside.payee(name)
        return str(self.client.post(self.app, name, "/v1/withdrawals", body)["id"])

    def rows(self, table: object) -> list:  # type: ignore[type-arg]
        return list(self.database.read(lambda tx: tx.all(select(table))))  # type: ignore[call-overload]

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.proxy.close()
        self.database.close()

    def _all_out(self) -> bool:
        underway = {row.state for row in self.rows(payment)} - {"dead"}
        return underway == {"confirming"} and {row.state for row in self.rows(withdrawal)} == {"broadcast"}

    def assert_paid_once(self, *names: str) -> None:
        """By the chain alone, in pool and blocks; then settled once in the books."""
        until(self._all_out, "the payments to be out")
        self.outside.mine(3)
        until(lambda: {row.state for row in self.rows(withdrawal)} == {"completed"}, "the withdrawals to complete")
        paid = {name: self.outside.paid_to(self.outside.payee(name)) for name in names}
        assert paid == {name: [UNITS] for name in names}
        assert [row.outcome for row in self.rows(hold_end)] == ["settled"] * len(names)


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, server_folder: Path, own_node: Callable[..., Bitcoind]
) -> Iterator[Shop]:
    if getattr(request, "param", "sqlite") == "sqlite":
        url = databases.sqlite_url(tmp_path, server_folder / "template.sqlite3")
    else:
        url = databases.mariadb_url(request.getfixturevalue("mariadb_server"))
    with ExitStack() as stack:
        shop = Shop(tmp_path, url, own_node())
        stack.callback(shop.close)
        yield shop


on_both_databases = pytest.mark.parametrize("shop", databases.DIALECTS, indirect=True)


@pytest.mark.parametrize(
    ("shop", "delivered"),
    [("sqlite", False), ("sqlite", True), ("mariadb", True)],
    ids=["request-sqlite", "reply-sqlite", "reply-mariadb"],
    indirect=["shop"],
)
def test_a_worker_killed_while_the_node_is_asked_to_send_pays_once(shop: Shop, delivered: bool) -> None:
    """A8, A9: SIGKILL while the request (the node never hears it) or the reply (the node has acted) is on its way."""
    shop.funded()
    shop.proxy.hold(SEND, delivered=delivered)
    first = shop.worker()
    promised = shop.withdraw("w1")
    until(shop.proxy.reached.is_set, "the worker to send")
    first.kill()
    shop.proxy.let_go()
    assert shop.outside.paid_to(shop.outside.payee("w1")) == ([UNITS] if delivered else [])
    assert shop.withdraw("w1") == promised
    second = shop.worker()
    shop.assert_paid_once("w1")
    assert second.alive
    assert len(shop.rows(candidate)) == 1
    assert shop.withdraw("w1") == promised


def test_a_worker_that_dies_with_its_intent_committed_is_replaced_and_pays_once(shop: Shop) -> None:
    """A8 by the environment that an operator's drill would use; the lease of 15 s runs out by itself."""
    shop.funded()
    first = shop.worker(crashpoint="payment.signed.finish.after_commit")
    promised = shop.withdraw("w1")
    until(lambda: not first.alive, "the worker to die")
    assert first.exit_code == 137
    assert shop.outside.paid_to(shop.outside.payee("w1")) == []
    assert [row.state for row in shop.rows(payment)] == ["broadcast"]
    shop.worker()
    assert shop.withdraw("w1") == promised
    shop.assert_paid_once("w1")


@pytest.mark.parametrize("delivered", [False, True], ids=["not-accepted", "accepted"])
def test_a_lost_reply_to_a_send_is_sent_again_and_pays_once(shop: Shop, delivered: bool) -> None:
    """D1, D2: the worker lives on, and cannot know whether the node took it."""
    shop.funded()
    shop.proxy.lose(SEND, delivered=delivered)
    shop.worker()
    shop.withdraw("w1")
    shop.assert_paid_once("w1")
    assert sum(b'"sendrawtransaction"' in request for request in shop.proxy.requests) >= 2
    assert len(shop.rows(candidate)) == 1


@on_both_databases
def test_two_workers_at_once_pay_each_withdrawal_once(shop: Shop) -> None:
    """H1, H2: both sweep the same rows; claims, the wallet's lease and unique resources keep them apart."""
    shop.funded(deposits=5)
    workers = [shop.worker(), shop.worker()]
    names = [f"w{n}" for n in range(12)]
    for name in names:
        shop.withdraw(name)
        time.sleep(0.15)  # so that several payments are under way at once
    shop.assert_paid_once(*names)
    assert all(worker.alive for worker in workers)
    live = [row.resource_key for row in shop.rows(resource) if row.live]
    assert len(live) == len(set(live))


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGINT)], ids=["asked", "told-twice"])
def test_a_stop_in_the_middle_of_a_send_pays_once(shop: Shop, signals: tuple[signal.Signals, ...]) -> None:
    """A14: a deploy, and an impatient operator, while the node's answer is on its way."""
    shop.funded()
    shop.proxy.hold(SEND, delivered=True)
    first = shop.worker()
    promised = shop.withdraw("w1")
    until(shop.proxy.reached.is_set, "the worker to send")
    for number in signals:
        os.kill(first.pid, number)
    if len(signals) == 2:
        until(lambda: not first.alive, "the worker to end on the spot")
    shop.proxy.let_go()
    until(lambda: not first.alive, "the worker to end")
    assert first.exit_code in ((0,) if len(signals) == 1 else [128 + number for number in signals])
    assert shop.outside.paid_to(shop.outside.payee("w1")) == [UNITS]
    shop.worker()
    assert shop.withdraw("w1") == promised
    shop.assert_paid_once("w1")
    assert len(shop.rows(candidate)) == 1
