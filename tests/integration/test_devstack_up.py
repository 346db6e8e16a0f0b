"""`coffer up` for real: two stacks side by side on both databases, killed and stopped, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from devstack.environment import RATES
from devstack.monero_rpc import MoneroRpc, MoneroRpcError
from devstack.programs import ROOT
from jobs.keys import SCOPES
from tests.integration.storefront import Shop

START_SECONDS_MAX = 240
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Up:
    """One `coffer up` in the foreground of a process of its own."""

    def __init__(self, name: str, db: str) -> None:
        self.name = name
        self.file = ROOT / ".run" / name / "stack.json"
        command = [sys.executable, "-m", "cli.main", "up", "--db", db, "--name", name]
        self.child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait(self) -> dict[str, Any]:
        until(lambda: self.file.is_file() or self.child.poll() is not None, START_SECONDS_MAX)
        assert self.child.poll() is None, self.child.stdout and self.child.stdout.read()
        return self.read()

    def read(self) -> dict[str, Any]:
        described: dict[str, Any] = json.loads(self.file.read_text())
        return described

    def end(self, how: signal.Signals) -> int:
        self.child.send_signal(how)
        self.child.communicate(timeout=60)
        return self.child.returncode


@pytest.fixture(scope="module")
def stacks() -> Iterator[list[Up]]:
    mine = [Up(f"test-{os.getpid()}-{db}", db) for db in ("sqlite", "mariadb")]
    yield mine
    for one in mine:
        if one.child.poll() is None:
            one.end(signal.SIGTERM)
        # The logs of a failure stay to be read; names are by pid, so the folders of passed runs go.
    folders = [one.file.parent for one in mine]
    for folder in folders:
        subprocess.run(["rm", "-rf", "--", str(folder)], check=True)


def test_two_stacks_side_by_side(stacks: list[Up]) -> None:
    """One story, since a stack takes some seconds to start."""
    described = [one.wait() for one in stacks]
    first, second = described
    for one, stack in zip(stacks, described, strict=True):
        assert one.file.stat().st_mode & 0o777 == 0o600
        assert get(stack["api_url"] + "/readyz") == 200
        assert set(stack["keys"]["by_scope"]) == set(SCOPES)
        assert len(set(stack["keys"]["by_scope"].values())) == len(SCOPES)
        assert all(running(pid) for pid in stack["pids"].values())
    assert first["database_url"].startswith("sqlite:")
    assert second["database_url"].startswith("mysql+pymysql:")
    assert not set(first["pids"].values()) & set(second["pids"].values())
    assert get(first["api_url"] + "/v1/assets", first["keys"]["all"]) == 200
    assert get(first["api_url"] + "/v1/assets", second["keys"]["all"]) == 401

    _the_monero_worker_cannot_make_blocks(first)
    _an_outsider_pays_on_every_chain(stacks[0], first)
    _every_coin_has_a_price(first)
    workers = ("bitcoin", "monero", "ethereum", "rates", "webhooks")
    for name in (*(f"worker-{queue}" for queue in workers), "monerod", "monero-wallet-rpc", "anvil"):
        _a_killed_process_comes_back(stacks[0], name)
    _a_killed_process_comes_back(stacks[1], "mariadb")
    _a_killed_process_comes_back(stacks[1], "api")
    until(lambda: get(stacks[1].read()["api_url"] + "/readyz") == 200, 30)

    last = [one.read()["pids"] for one in stacks]
    assert stacks[0].end(signal.SIGINT) == 0
    assert get(second["api_url"] + "/healthz") == 200, "the other stack goes on"
    assert stacks[1].end(signal.SIGTERM) == 0
    for pids in last:
        assert not [name for name, pid in pids.items() if running(pid)]
    assert not any(one.file.exists() for one in stacks)


def _the_monero_worker_cannot_make_blocks(stack: dict[str, Any]) -> None:
    node = stack["nodes"]["monero"]
    assert stack["environment"]["COFFER_MONERO_DAEMON_URL"] == node["worker_daemon_rpc_url"]
    parts = urlsplit(node["worker_daemon_rpc_url"])
    rpc = MoneroRpc(int(parts.port or 0), str(parts.username), str(parts.password))
    assert rpc.call("get_block_count")["count"] > 130
    with pytest.raises(MoneroRpcError, match="Method not found"):
        rpc.call("generateblocks", amount_of_blocks=1, wallet_address=node["payer_address"])


def _an_outsider_pays_on_every_chain(one: Up, stack: dict[str, Any]) -> None:
    """With the tool that `coffer up` names, to addresses of a customer of a shop."""
    shop = Shop(stack["api_url"], stack["keys"]["all"])
    _, account = shop.post("/accounts", {"reference": "outsider", "kind": "user"})
    paid = {"BTC": "0.00500000", "XMR": "0.500000000000", "ETH": "0.500000000000000000", "USDT": "100.000000"}
    for asset, amount in paid.items():
        home = shop.ready_address(account["id"], asset)
        command = [sys.executable, "-m", "devstack.outsider", "--name", one.name, "pay", asset, home, amount]
        subprocess.run([*command, "--mine", "12"], cwd=ROOT, check=True, capture_output=True, timeout=60)
    until(lambda: shop.available(account["id"]) == paid, 60)


def _every_coin_has_a_price(stack: dict[str, Any]) -> None:
    """From the table of the stack, by the worker of the queue `rates`."""
    shop = Shop(stack["api_url"], stack["keys"]["all"])
    table = dict(line.split("=") for line in RATES.split(","))
    until(lambda: {one["asset"]: one["price"] for one in shop.get("/rates")[1]["data"]} == table, 60)


def _a_killed_process_comes_back(one: Up, name: str) -> None:
    pid = one.read()["pids"][name]
    os.kill(pid, signal.SIGKILL)
    until(lambda: one.read()["pids"][name] != pid, 15)


def get(url: str, key: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except OSError:
        return 0


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition: Callable[[], bool], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
