"""The nodes as docker-compose.yml starts them, run here without containers: their flags fit, and adapters work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from devstack.geth import Geth
from devstack.monero_rpc import MoneroRpc, MoneroRpcError
from devstack.ports import free_port
from devstack.process import Daemon
from devstack.programs import ROOT, find
from wallets.ethereum.client import EthereumClient
from wallets.ethereum.keys import EthereumKeys
from wallets.ethereum.wallet import EthereumWallet
from wallets.monero.wallet import MoneroWallet

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


class Nobody:
    """A directory of a database with nothing in it."""

    def ours(self, addresses: object) -> list[str]:
        return []

    def tokens(self) -> list[str]:
        return []

    def account_public_key(self) -> None:
        return None


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """As `deploy/make-secrets` writes them."""
    shutil.copy(ROOT / "deploy" / "make-secrets", tmp_path / "make-secrets")
    subprocess.run([sys.executable, tmp_path / "make-secrets"], check=True, capture_output=True, timeout=60)
    return tmp_path / "secrets"


def command_of(service: str, changes: Mapping[str, str]) -> list[str]:
    """The command of a service with its defaults filled in, and places of a container changed into places here."""
    words = [re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", word) for word in SERVICES[service]["command"]]
    for inside, here in changes.items():
        words = [word.replace(inside, here) for word in words]
    return words


@contextmanager
def running(name: str, command: list[str], folder: Path, ready: Callable[[], bool]) -> Iterator[None]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "COFFER_MONERO_NETWORK": "regtest"}
    daemon = Daemon(name, command, log=folder / f"{name}.log", environ=environ, folder=folder, ready=ready)
    daemon.up(timeout_seconds=60)
    try:
        yield
    finally:
        daemon.stop()


def login(secrets: Path, name: str, port: int) -> MoneroRpc:
    """The program on this port, with the user and password of a URL among the secrets."""
    parts = urlsplit((secrets / name).read_text().strip())
    return MoneroRpc(port, str(parts.username), str(parts.password))


@pytest.mark.slow
def test_monero_as_composed_serves_the_adapter_on_the_restricted_port(tmp_path: Path, secrets: Path) -> None:
    full, restricted, wallet_port, p2p = (free_port() for _ in range(4))
    start, private = [str(ROOT / "deploy" / "monero" / "start")], tmp_path / "data"
    here = {"/run/secrets": str(secrets), "/var/lib/monero": str(private), "=0.0.0.0": "=127.0.0.1"}
    here |= {"18081": str(full), "18089": str(restricted), "18083": str(wallet_port), "=monerod:": "=127.0.0.1:"}
    node, wallet = (command_of(name, here) for name in ("monerod", "monero-wallet-rpc"))
    # What containers have apart: their ports.
    node += ["--no-zmq", f"--p2p-bind-port={p2p}", "--p2p-bind-ip=127.0.0.1", f"--log-file={tmp_path}/node.log"]
    wallet += [f"--log-file={tmp_path}/wallet.log"]
    private.mkdir()
    daemon_rpc, wallet_rpc = (
        login(secrets, "monero_daemon_url", restricted),
        login(secrets, "monero_wallet_rpc_url", wallet_port),
    )
    with running("monerod", start + node, tmp_path, lambda: bool(daemon_rpc.call("get_info"))):
        assert requests.get(f"http://127.0.0.1:{restricted}/get_height", timeout=5).status_code == 401
        with running("monero-wallet-rpc", start + wallet, tmp_path, lambda: bool(wallet_rpc.call("get_version"))):
            password = (secrets / "monero_wallet_password").read_text().strip()
            ours = MoneroWallet(wallet_rpc.url, daemon_rpc.url, network="regtest", name="coffer", password=password)
            ours.open()
            assert ours.health().ok
            address = ours.addresses(0, ours.watch(2))[0]
            with pytest.raises(MoneroRpcError, match="Method not found"):
                daemon_rpc.call("generateblocks", amount_of_blocks=1, wallet_address=address)
            main = wallet_rpc.call("get_address", account_index=0)["address"]
            admin = MoneroRpc(full, daemon_rpc.user, daemon_rpc.password)
            admin.call("generateblocks", amount_of_blocks=3, wallet_address=main)
            balance = ours.balance()
            assert (balance.tip.height, balance.spendable_units) == (3, 0)
            assert balance.total_units > 0


@pytest.mark.slow
def test_geth_as_composed_offers_what_the_adapter_asks(tmp_path: Path) -> None:
    reason = Geth.why_missing()
    if reason is not None:
        pytest.skip(reason)
    port = free_port()
    here = {"/data": str(tmp_path / "data"), "0.0.0.0": "127.0.0.1", "8545": str(port)}
    command = [str(find("geth")), *command_of("geth", here), "--ipcdisable"]
    client = EthereumClient(f"http://127.0.0.1:{port}", 20)
    wallet = EthereumWallet(client, EthereumKeys(b"s" * 32), Nobody(), 1337)  # type: ignore[arg-type]
    with running("geth", command, tmp_path, lambda: wallet.health().ok):
        assert requests.get(f"http://127.0.0.1:{port}", timeout=5).status_code == 200
        assert wallet.open().hot_index == 0
        assert wallet.deposits_since(None).tip.height >= 0
        assert wallet.balance().total_units == 0
