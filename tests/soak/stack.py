"""A stack in which every line from one of our processes to a server is a wire that can be broken by itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from devstack.chains import ChainNodes, EthereumNodes, MoneroNodes
from devstack.process import DaemonFailed
from devstack.roles import CHAINS
from devstack.stack import Database, Stack
from tests.soak.proxy import Exchange, Wire

#: Setting -> the server behind it.
SERVERS: Mapping[str, str] = {
    "COFFER_DATABASE_URL": "database",
    "COFFER_REDIS_URL": "redis",
    "COFFER_BITCOIN_RPC_URL": "bitcoind",
    "COFFER_MONERO_WALLET_RPC_URL": "monero-wallet-rpc",
    "COFFER_MONERO_DAEMON_URL": "monerod",
    "COFFER_ETHEREUM_RPC_URL": "anvil",
}
#: A second process of these roles, as an operator who scales has it.
SECOND: Mapping[str, str] = {"worker-bitcoin-2": "worker bitcoin", "scheduler-2": "scheduler"}
#: States of the Ethereum chain that a dump holds: each stop of the node writes them all.
_STATES_MAX = 150


class SoakStack(Stack):
    """`wires` are by (role, server), and ("shop", "api") is the shop's own."""

    def __init__(self, folder: Path, db: Database, chains: Collection[str] = CHAINS) -> None:
        self.exchange = Exchange()
        self.wires: dict[tuple[str, str], Wire] = {}
        super().__init__(folder, db, chains=chains, token=True, outward=True)
        self._wire("shop", "api", self.api_port)

    @property
    def shop_url(self) -> str:
        return f"http://127.0.0.1:{self.wires['shop', 'api'].port}"

    def start_processes(self) -> None:
        super().start_processes()
        for name, role in SECOND.items():
            self.processes[name] = self._process(name, role)
            self.processes[name].start()
        for name in SECOND:
            self.processes[name].wait_ready()

    def environment(self, role: str | None = None) -> dict[str, str]:
        """An operator's command goes straight to the servers."""
        found = super().environment(role)
        if role is None:
            return found
        for setting, server in SERVERS.items():
            if setting in found and not found[setting].startswith("sqlite"):
                found[setting] = self._through(role, server, found[setting])
        return found

    def cli(self, *arguments: str) -> str:
        """As of any stack; one that takes too long has failed, as any other."""
        try:
            return super().cli(*arguments)
        except subprocess.TimeoutExpired as error:
            raise DaemonFailed(str(error)) from error

    def operate(self, commands: Iterable[Sequence[str]]) -> None:
        """Commands of an operator, one after another; DaemonFailed at the first that fails."""
        self._run("tests.soak.commands", json.dumps([[*command, "--as", "soak"] for command in commands]))

    def heal(self) -> None:
        for wire in self.wires.values():
            wire.heal()

    def stop(self) -> None:
        super().stop()
        for wire in self.wires.values():
            wire.close()
        self.exchange.close()

    def _through(self, role: str, server: str, url: str) -> str:
        """The same URL with a wire between; a database is reached by TCP, since a Unix socket has no wire."""
        parts = urlsplit(url)
        assert parts.port is not None, server
        wire = self._wire(role, server, parts.port)
        at = parts.netloc.replace(f":{parts.port}", f":{wire.port}")
        query = "" if server == "database" else parts.query
        return urlunsplit((parts.scheme, at, parts.path, query, parts.fragment))

    def _wire(self, role: str, server: str, port: int) -> Wire:
        key = (role.replace(" ", "-"), server)
        if key not in self.wires:
            self.wires[key] = Wire(self.exchange, f"{key[0]} > {server}", port)
        return self.wires[key]

    def _nodes(self, chain: str, block_seconds: int | None) -> ChainNodes:
        if chain == "ethereum":
            return EthereumNodes(self.folder, block_seconds, states_max=_STATES_MAX)
        nodes = super()._nodes(chain, block_seconds)
        if isinstance(nodes, MoneroNodes):
            direct, wallet = nodes.node.rpc.port, nodes.wallet_rpc.daemon
            wire = self._wire("monero-wallet-rpc", "monerod", direct)
            wallet.command = [word.replace(f"127.0.0.1:{direct}", f"127.0.0.1:{wire.port}") for word in wallet.command]
        return nodes
