"""A whole Coffer on this machine: servers, a regtest node with a peer, and our own processes. Never for real money."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from devstack.bitcoind import COINBASE_MATURITY, MINER_WALLET, Bitcoind
from devstack.environment import Connections, all_settings, environment_of
from devstack.files import private_folder, write_private
from devstack.keys import StackKeys, read_keys
from devstack.mariadb import MariaDB
from devstack.ports import free_port
from devstack.process import Daemon, DaemonFailed
from devstack.programs import ROOT
from devstack.redis import RedisServer
from devstack.roles import ROLES

Database = Literal["sqlite", "mariadb"]
_DATABASE_NAME = "coffer"
_COMMAND_TIMEOUT_SECONDS = 120


class Stack:
    """Starts everything in `folder` and ends it again; use it as a context manager.

    The servers are attributes (`bitcoind`, `peer`, `redis`, `mariadb`), our processes are in `processes`; each can be
    killed, paused and started again one by one. `tell` gets a line for each step of the start.
    `overrides` are settings that win over the stack's own, such as COFFER_CRASHPOINT.
    """

    def __init__(
        self,
        folder: Path,
        db: Database = "sqlite",
        *,
        overrides: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = private_folder(folder)
        self.logs = private_folder(folder / "logs")
        self.db = db
        self._tell = tell
        self.redis = RedisServer(self.folder / "redis")
        self.mariadb = MariaDB(self.folder / "mariadb") if db == "mariadb" else None
        self.peer = Bitcoind(self.folder / "bitcoind-peer", ["-disablewallet=1"])
        self.bitcoind = Bitcoind(self.folder / "bitcoind", peer=self.peer)
        self.api_port = free_port()
        self.settings = all_settings(self.folder, self._connections()) | dict(overrides or {})
        self.processes: dict[str, Daemon] = {}
        self.keys: StackKeys | None = None

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def daemons(self) -> dict[str, Daemon]:
        """Everything that runs, servers first."""
        servers = {"redis": self.redis.daemon, "bitcoind-peer": self.peer.daemon, "bitcoind": self.bitcoind.daemon}
        if self.mariadb:
            servers["mariadb"] = self.mariadb.daemon
        return servers | self.processes

    def start(self) -> None:
        """Returns when the API answers ready and the keys exist. Whatever was started is ended when that fails."""
        try:
            self._start_servers()
            self.cli("db", "upgrade")
            self.start_processes()
            self._tell("making API keys")
            self.keys = read_keys(self._run("devstack.keys"))
        except BaseException:
            self.stop()
            raise

    def start_processes(self) -> None:
        """Starts our own processes and waits for the API to be ready."""
        self._tell("Coffer: api, workers, scheduler")
        for name, role in ROLES.items():
            self.processes[name] = self._process(name, role)
            self.processes[name].start()
        self.processes["api"].wait_ready(timeout_seconds=60)
        for process in self.processes.values():
            process.wait_ready()

    def stop(self) -> None:
        """Ends our processes, then the servers; each group side by side. Harmless when nothing runs."""
        servers = [self.redis.daemon, self.bitcoind.daemon, self.peer.daemon]
        if self.mariadb:
            servers.append(self.mariadb.daemon)
        for group in (list(self.processes.values()), servers):
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(Daemon.stop, group))

    def cli(self, *arguments: str) -> str:
        """Runs `coffer ARGUMENTS` with all settings of this stack; returns what it prints, DaemonFailed if it fails."""
        return self._run("cli.main", *arguments)

    def environment(self, role: str | None = None) -> dict[str, str]:
        """What a process of this stack finds in its environment; without a role, all of it."""
        return environment_of(role, self.settings)

    def describe(self) -> dict[str, Any]:
        """What `.run/stack.json` holds: every address and credential that a tool or a test needs."""
        bitcoin = {
            "network": "regtest",
            "rpc_url": self.bitcoind.admin_url,
            "worker_rpc_url": self.bitcoind.worker_url,
            "zmq_url": self.bitcoind.zmq_url,
            "peer_rpc_url": self.peer.admin_url,
            "wallet": self.settings["COFFER_BITCOIN_WALLET"],
            "miner_wallet": MINER_WALLET,
        }
        return {
            "api_url": self.api_url,
            "keys": self.keys.as_json() if self.keys else {},
            "nodes": {"bitcoin": bitcoin},
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
        self._tell(f"Redis, Bitcoin Core on regtest{', MariaDB' if self.mariadb else ''}")
        self.redis.start()
        self.peer.start()
        self.bitcoind.start()
        if self.mariadb:
            self.mariadb.start()
            self.mariadb.create_database(_DATABASE_NAME)
        if self.bitcoind.admin("getblockcount") == 0:
            # A young chain counts as still loading, and the outside world needs coins to pay with.
            self.bitcoind.mine(COINBASE_MATURITY + 10)

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
            bitcoin_rpc_url=self.bitcoind.worker_url,
            bitcoin_zmq_url=self.bitcoind.zmq_url,
            api_port=self.api_port,
        )
