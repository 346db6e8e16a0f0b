"""A private Bitcoin Core node on regtest, with one RPC user per role."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from devstack.files import kept_secret, private_folder, write_private
from devstack.ports import free_port
from devstack.process import Daemon
from devstack.programs import find

#: The calls that the Bitcoin worker may make, and no others (docker-compose.yml gives production the same list).
WORKER_CALLS: tuple[str, ...] = tuple(
    """
    estimatesmartfee getbestblockhash getblock getblockchaininfo getblockcount getblockhash getblockheader
    getmempoolentry getmempoolinfo getnetworkinfo getrawmempool getrawtransaction gettxout gettxspendingprevout uptime

    createwallet getwalletinfo importdescriptors keypoolrefill listdescriptors listlabels listwalletdir
    listwallets loadwallet setlabel walletlock walletpassphrase

    deriveaddresses getaddressinfo getdescriptorinfo getrawchangeaddress validateaddress

    getbalances gettransaction listsinceblock listunspent

    abandontransaction bumpfee createpsbt createrawtransaction decodepsbt decoderawtransaction finalizepsbt
    fundrawtransaction listlockunspent lockunspent psbtbumpfee send sendrawtransaction signrawtransactionwithwallet
    submitpackage testmempoolaccept utxoupdatepsbt walletcreatefundedpsbt walletprocesspsbt
    """.split()
)

#: The node's own wallet that mines and pays: the outside world of tests and demo.
MINER_WALLET = "miner"
#: Blocks on top before a mined coin can be spent.
COINBASE_MATURITY = 100
#: The node's user that may call everything, and the one that workers get.
ADMIN, WORKER = "admin", "coffer"


class RpcError(Exception):
    """The node refused a call. `code` is Bitcoin Core's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Bitcoind:
    """A regtest node whose ports, users and data stay the same over stop, kill and start.

    It has no fallback fee and no transaction index: what a production node lacks, tests must not find here.
    `options` go to the command line as they are, for tests that need, say, a small mempool. With a `peer` it connects
    to that node at every start. A killed node has on disk only the blocks that it had flushed: as on a real network,
    it gets the rest from its peer; alone it has lost them (see `flush`).
    """

    def __init__(self, folder: Path, options: Sequence[str] = (), peer: Bitcoind | None = None) -> None:
        self.folder = private_folder(folder)
        self.rpc_port, self.p2p_port, self.zmq_port = free_port(), free_port(), free_port()
        self._passwords = {user: kept_secret(self.folder / f"rpc-{user}") for user in (ADMIN, WORKER)}
        self._peer = peer
        self._miner_address: str | None = None
        config = self._write_config()
        self.daemon = Daemon(
            "bitcoind",
            [str(find("bitcoind")), f"-datadir={self.folder}", f"-conf={config}", *options],
            log=self.folder / "bitcoind.log",
            folder=self.folder,
            ready=lambda: bool(self.admin("getblockchaininfo", timeout_seconds=5)),
        )

    @property
    def admin_url(self) -> str:
        """All calls, wallets of others included: for tests and the outside world of the demo."""
        return self._url(ADMIN)

    @property
    def worker_url(self) -> str:
        """Only WORKER_CALLS; anything else is answered 403."""
        return self._url(WORKER)

    @property
    def zmq_url(self) -> str:
        """Publishes hashblock and rawtx."""
        return f"tcp://127.0.0.1:{self.zmq_port}"

    def start(self) -> None:
        self.daemon.up(timeout_seconds=60)

    def stop(self) -> None:
        self.daemon.stop(grace_seconds=30)

    def kill(self) -> None:
        """SIGKILL: blocks not flushed are gone from its disk."""
        self.daemon.kill()

    def flush(self) -> None:
        """Puts the chain on disk, so that a kill right after loses no block."""
        self.admin("gettxoutsetinfo", "none")

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        self.daemon.pause()

    def resume(self) -> None:
        self.daemon.resume()

    def admin(self, method: str, *params: Any, wallet: str | None = None, timeout_seconds: float = 60) -> Any:
        """One call as admin on a connection of its own. Numbers with a point come back as Decimal.

        Raises RpcError when the node refuses, OSError or http.client.HTTPException when it cannot be reached.
        """
        return self.call(ADMIN, method, *params, wallet=wallet, timeout_seconds=timeout_seconds)

    def call(self, user: str, method: str, *params: Any, wallet: str | None = None, timeout_seconds: float = 60) -> Any:
        """As `admin`, for either user."""
        token = b64encode(f"{user}:{self._passwords[user]}".encode()).decode()
        body = json.dumps({"id": 0, "method": method, "params": params}, default=str)
        connection = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=timeout_seconds)
        try:
            headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
            connection.request("POST", f"/wallet/{wallet}" if wallet else "/", body, headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        return _result(response.status, raw)

    def mine(self, blocks: int = 1, address: str | None = None) -> list[str]:
        """Mines to the address, else to the node's own miner wallet; returns the block hashes, oldest first."""
        hashes: list[str] = self.admin("generatetoaddress", blocks, address or self.miner_address())
        return hashes

    def miner_address(self) -> str:
        """An address of the wallet that mines; makes the wallet the first time."""
        if self._miner_address is None:
            if MINER_WALLET not in self.admin("listwallets"):
                # name, disable_private_keys, blank, passphrase, avoid_reuse, descriptors, load_on_startup
                self.admin("createwallet", MINER_WALLET, False, False, "", False, True, True)
            self._miner_address = str(self.admin("getnewaddress", wallet=MINER_WALLET))
        return self._miner_address

    def pay(
        self, outputs: Mapping[str, Decimal | str], *, fee_rate_sat_vb: Decimal | int = 2, replaceable: bool = True
    ) -> str:
        """Pays BTC amounts from outside in one transaction, not confirmed yet; returns its txid.

        The miner wallet mines itself coins when it is short.
        """
        self._ensure_funds(sum((Decimal(amount) for amount in outputs.values()), Decimal(1)))
        options = {"replaceable": replaceable}
        amounts = {address: str(amount) for address, amount in outputs.items()}
        sent = self.admin("send", amounts, None, "unset", str(fee_rate_sat_vb), options, wallet=MINER_WALLET)
        return str(sent["txid"])

    def connect(self, other: Bitcoind, timeout_seconds: float = 20) -> None:
        """Makes the two nodes peers; returns once they are."""
        for node in (self, other):
            node.admin("setnetworkactive", True)
        self.admin("addnode", f"127.0.0.1:{other.p2p_port}", "onetry")
        _until(lambda: self._peers() > 0 and other._peers() > 0, "the nodes to connect", timeout_seconds)

    def isolate(self, timeout_seconds: float = 20) -> None:
        """Drops all peers and takes no new ones until `connect`."""
        self.admin("setnetworkactive", False)
        _until(lambda: self._peers() == 0, "the peers to go", timeout_seconds)

    def sync_with(self, other: Bitcoind, timeout_seconds: float = 30) -> None:
        """Returns when both nodes have the same tip."""
        tip = "getbestblockhash"
        _until(lambda: self.admin(tip) == other.admin(tip), "the same best block", timeout_seconds)

    def _peers(self) -> int:
        return int(self.admin("getconnectioncount"))

    def _ensure_funds(self, amount_btc: Decimal) -> None:
        self.miner_address()
        for _ in range(20):
            if Decimal(self.admin("getbalances", wallet=MINER_WALLET)["mine"]["trusted"]) >= amount_btc:
                return
            self.mine(COINBASE_MATURITY + 1)
        raise RuntimeError(f"the miner wallet cannot reach {amount_btc} BTC: subsidies have run low on this chain")

    def _url(self, user: str) -> str:
        return f"http://{user}:{self._passwords[user]}@127.0.0.1:{self.rpc_port}"

    def _write_config(self) -> Path:
        users = [f"rpcauth={user}:{_rpcauth(password)}" for user, password in self._passwords.items()]
        config = [
            "regtest=1",
            "server=1",
            "txindex=0",
            "listenonion=0",
            "[regtest]",
            f"bind=127.0.0.1:{self.p2p_port}",
            "dnsseed=0",
            "fixedseeds=0",
            "discover=0",
            "rpcbind=127.0.0.1",
            "rpcallowip=127.0.0.1",
            f"rpcport={self.rpc_port}",
            "rpcthreads=16",
            "rpcworkqueue=256",
            *users,
            f"rpcwhitelist={WORKER}:{','.join(WORKER_CALLS)}",
            "rpcwhitelistdefault=0",
            f"zmqpubhashblock={self.zmq_url}",
            f"zmqpubrawtx={self.zmq_url}",
            "dbcache=16",
            *([f"addnode=127.0.0.1:{self._peer.p2p_port}"] if self._peer else []),
        ]
        return write_private(self.folder / "bitcoin.conf", "\n".join(config) + "\n")


def _result(status: int, raw: bytes) -> Any:
    try:
        answer = json.loads(raw, parse_float=Decimal)
    except ValueError:
        # 401 and 403 come without a JSON body.
        raise RpcError(-status, f"HTTP {status} {raw[:200].decode(errors='replace')}".strip()) from None
    if answer.get("error"):
        raise RpcError(answer["error"]["code"], answer["error"]["message"])
    return answer["result"]


def _rpcauth(password: str) -> str:
    """salt$hash as Bitcoin Core's `rpcauth` wants it: the configuration holds no password."""
    salt = secrets.token_hex(16)
    return f"{salt}${hmac.new(salt.encode(), password.encode(), hashlib.sha256).hexdigest()}"


def _until(condition: Callable[[], bool], what: str, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_seconds:g} s for {what}")
        time.sleep(0.02)
