"""A whole Coffer on this machine: servers, a node of each chain, and our own processes. Never for real money."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from devstack.anvil import Anvil
from devstack.bitcoind import Bitcoind
from devstack.chains import TOKEN, TOKEN_DECIMALS, BitcoinNodes, ChainNodes, EthereumNodes, MoneroNodes
from devstack.environment import Connections, all_settings, environment_of
from devstack.files import private_folder, write_private
from devstack.keys import StackKeys, read_keys
from devstack.mariadb import MariaDB
from devstack.monero_wallet import MoneroPayer, MoneroWalletRpc
from devstack.monerod import Monerod
from devstack.ports import free_port
from devstack.process import Daemon, DaemonFailed
from devstack.programs import ROOT
from devstack.redis import RedisServer
from devstack.roles import CHAINS, roles_of

Database = Literal["sqlite", "mariadb"]
#: What a stack with a token puts into its Ethereum hot wallet.
HOT_WEI = 9 * 10**17
_DATABASE_NAME = "coffer"
_COMMAND_TIMEOUT_SECONDS = 120


class Stack:
    """Starts everything in `folder` and ends it again; use it as a context manager.

    The servers are attributes (`bitcoind`, `monerod`, `anvil`, `redis` …), our processes are in `processes`; each can
    be killed, paused and started again one by one. Each of the `chains` costs seconds of start. Blocks come on command;
    with `block_seconds` the chain of anvil goes on by itself. With `token` there is a token on it, USDT, and the house
    has ether in its hot wallet, for gas. With `outward` the queues of rates and webhooks have workers. `tell` gets a
    line for each step of the start.
    `overrides` are settings that win over the stack's own, such as COFFER_CRASHPOINT.
    """

    def __init__(
        self,
        folder: Path,
        db: Database = "sqlite",
        *,
        chains: Collection[str] = ("bitcoin",),
        block_seconds: int | None = None,
        token: bool = False,
        outward: bool = False,
        overrides: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = private_folder(folder)
        self.logs = private_folder(folder / "logs")
        self.db = db
        self.chains = tuple(chain for chain in CHAINS if chain in chains)
        self._token = token
        self._outward = outward
        self._tell = tell
        self.redis = RedisServer(self.folder / "redis")
        self.mariadb = MariaDB(self.folder / "mariadb") if db == "mariadb" else None
        self.nodes = {chain: self._nodes(chain, block_seconds) for chain in self.chains}
        self.api_port = free_port()
        of_chains = {name: value for nodes in self.nodes.values() for name, value in nodes.settings.items()}
        settings = all_settings(self.folder, self._connections(), self.chains, of_chains)
        self.settings = settings | dict(overrides or {})
        self.processes: dict[str, Daemon] = {}
        self.keys: StackKeys | None = None

    # --- the nodes by name; a chain that the stack does not have raises LookupError -----------------------------------

    @property
    def bitcoind(self) -> Bitcoind:
        return self._bitcoin.node

    @property
    def peer(self) -> Bitcoind:
        return self._bitcoin.peer

    @property
    def monerod(self) -> Monerod:
        return self._monero.node

    @property
    def monero_wallet_rpc(self) -> MoneroWalletRpc:
        return self._monero.wallet_rpc

    @property
    def monero_payer(self) -> MoneroPayer:
        return self._monero.payer

    @property
    def anvil(self) -> Anvil:
        return self._ethereum.node

    @property
    def token(self) -> str:
        """The contract of the token."""
        if self._ethereum.token is None:
            raise LookupError("this stack has no token")
        return self._ethereum.token

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def daemons(self) -> dict[str, Daemon]:
        """Everything that runs, servers first."""
        servers = {"redis": self.redis.daemon}
        if self.mariadb:
            servers["mariadb"] = self.mariadb.daemon
        for nodes in self.nodes.values():
            servers |= nodes.daemons
        return servers | self.processes

    def start(self) -> None:
        """Returns when the API answers ready and the keys exist. Whatever was started is ended when that fails."""
        try:
            self._start_servers()
            if self._token:
                self._add_token()  # before the worker, which learns at its start how much of it may leave
            self.start_processes()
            self._tell("making API keys")
            self.keys = read_keys(self._run("devstack.keys"))
            if self._token:
                self._fund_hot_wallet()
        except BaseException:  # also Ctrl-C: nothing of a half-started stack goes on
            self.stop()
            raise

    def start_processes(self) -> None:
        """Starts our own processes and waits for the API to be ready."""
        self._tell("Coffer: api, workers, scheduler")
        for name, role in roles_of(self.chains, outward=self._outward).items():
            self.processes[name] = self._process(name, role)
            self.processes[name].start()
        self.processes["api"].wait_ready(timeout_seconds=60)
        for process in self.processes.values():
            process.wait_ready()

    def stop(self) -> None:
        """Ends our processes, then the servers; each group side by side. Harmless when nothing runs."""
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(Daemon.stop, list(self.processes.values())))
            stops: list[Callable[[], None]] = [self.redis.stop, *(nodes.stop for nodes in self.nodes.values())]
            if self.mariadb:
                stops.append(self.mariadb.stop)
            list(pool.map(lambda stop: stop(), stops))

    def cli(self, *arguments: str) -> str:
        """Runs `coffer ARGUMENTS` with all settings of this stack; returns what it prints, DaemonFailed if it fails."""
        return self._run("cli.main", *arguments)

    def environment(self, role: str | None = None) -> dict[str, str]:
        """What a process of this stack finds in its environment; without a role, all of it."""
        return environment_of(role, self.settings)

    def describe(self) -> dict[str, Any]:
        """What `.run/stack.json` holds: every address and credential that a tool or a test needs."""
        return {
            "api_url": self.api_url,
            "keys": self.keys.as_json() if self.keys else {},
            "nodes": {chain: nodes.describe() for chain, nodes in self.nodes.items()},
            "database_url": self.settings["COFFER_DATABASE_URL"],
            "redis_url": self.settings["COFFER_REDIS_URL"],
            "pids": {name: daemon.pid for name, daemon in self.daemons.items()} | {"stack": os.getpid()},
            "folder": str(self.folder),
            "logs": str(self.logs),
            "environment": self.settings,
        }

    def write_description(self, *paths: Path) -> None:
        text = json.dumps(self.describe(), indent=2) + "\n"
        for path in paths:
            write_private(path, text)

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def _run(self, module: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=self.environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise DaemonFailed(f"{' '.join([module, *arguments])} ended with {done.returncode}\n{said}")
        return done.stdout

    def _start_servers(self) -> None:
        """All side by side; the schema is made as soon as the database is there."""
        titles = ["Redis", *(["MariaDB"] if self.mariadb else []), *(nodes.title for nodes in self.nodes.values())]
        self._tell(", ".join(titles))
        starts = [self.redis.start, self._start_database, *(nodes.start for nodes in self.nodes.values())]
        with ThreadPoolExecutor(max_workers=len(starts)) as pool:
            for started in [pool.submit(start) for start in starts]:
                started.result()

    def _start_database(self) -> None:
        if self.mariadb:
            self.mariadb.start()
            self.mariadb.create_database(_DATABASE_NAME)
        self.cli("db", "upgrade")

    def _add_token(self) -> None:
        """Deployed by the outside world; an asset by an operator's command, as any token."""
        known = next((a for a in json.loads(self.cli("assets", "list", "--json")) if a["code"] == TOKEN), None)
        if known is not None:  # a stack whose data were kept
            self._ethereum.token = known["contract"]
            return
        contract = self._ethereum.deploy_token()
        self.cli("assets", "add", TOKEN, "--contract", contract, "--decimals", str(TOKEN_DECIMALS), "--as", "devstack")

    def _fund_hot_wallet(self) -> None:
        """Ether of the house, for gas. Up to one ether, twelve blocks make it so."""
        hot = json.loads(self.cli("eth", "seed", "show", "--json"))["hot_address"]
        if self.anvil.balance(hot) == 0:
            self.anvil.pay(hot, HOT_WEI)
            self.anvil.mine(12)

    def _nodes(self, chain: str, block_seconds: int | None) -> ChainNodes:
        if chain == "ethereum":
            return EthereumNodes(self.folder, block_seconds)
        return BitcoinNodes(self.folder) if chain == "bitcoin" else MoneroNodes(self.folder)

    @property
    def _bitcoin(self) -> BitcoinNodes:
        nodes = self.nodes["bitcoin"]
        assert isinstance(nodes, BitcoinNodes)
        return nodes

    @property
    def _monero(self) -> MoneroNodes:
        nodes = self.nodes["monero"]
        assert isinstance(nodes, MoneroNodes)
        return nodes

    @property
    def _ethereum(self) -> EthereumNodes:
        nodes = self.nodes["ethereum"]
        assert isinstance(nodes, EthereumNodes)
        return nodes

    def _process(self, name: str, role: str) -> Daemon:
        return Daemon(
            f"coffer {role}",
            [sys.executable, "-m", "cli.main", *role.split()],
            log=self.logs / f"{name}.log",
            environ=self.environment(role),
            folder=ROOT,
            ready=self._api_ready if name == "api" else None,
        )

    def _api_ready(self) -> bool:
        with urllib.request.urlopen(f"{self.api_url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)

    def _connections(self) -> Connections:
        sqlite = f"sqlite:///{self.folder / 'coffer.sqlite3'}"
        return Connections(
            database_url=self.mariadb.url(_DATABASE_NAME) if self.mariadb else sqlite,
            redis_url=self.redis.url,
            api_port=self.api_port,
        )
