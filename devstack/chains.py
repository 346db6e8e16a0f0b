"""One chain of a stack: its servers, the world outside on it, and what Coffer's processes must know of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from embit import bech32

from devstack.anvil import CHAIN_ID, Anvil
from devstack.bitcoind import COINBASE_MATURITY, MINER_WALLET, Bitcoind
from devstack.files import kept_secret, private_folder, write_private
from devstack.monero_rpc import MoneroRpc
from devstack.monero_wallet import MoneroPayer, MoneroWalletRpc, copy_chain, kept_wallet, prepare_template
from devstack.monerod import Monerod
from devstack.ports import free_port
from devstack.process import Daemon
from devstack.programs import ROOT, find, version_of

#: The coins of a cold address that nobody has the key of stay there, to be counted.
_NOBODY = sha256(b"coffer devstack: nobody has this key").digest()[:20]


#: The token that the world of a stack may pay with, beside the coins.
TOKEN, TOKEN_DECIMALS, TOKEN_SUPPLY = "USDT", 6, 10**12


class ChainNodes(ABC):
    """`settings` are final when the object is made; addresses and credentials stay over stop, kill and start."""

    title: str  #: for the line that tells of the start
    settings: Mapping[str, str]

    @property
    @abstractmethod
    def daemons(self) -> Mapping[str, Daemon]:
        """What runs, by its name in the stack."""

    @abstractmethod
    def start(self) -> None:
        """Returns when the nodes answer and the outside world has coins to pay with."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """This chain's part of `.run/stack.json`. Asks no node: it may be down at the moment."""

    def stop(self) -> None:
        """Harmless when nothing runs."""
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda daemon: daemon.stop(grace_seconds=30), self.daemons.values()))


class BitcoinNodes(ChainNodes):
    """A node for Coffer and a peer, from which a killed node gets back the blocks it had not flushed."""

    title = "Bitcoin Core on regtest"

    def __init__(self, folder: Path) -> None:
        self.peer = Bitcoind(folder / "bitcoind-peer", ["-disablewallet=1"])
        self.node = Bitcoind(folder / "bitcoind", peer=self.peer)
        self.settings = {
            "COFFER_BITCOIN_NETWORK": "regtest",
            "COFFER_BITCOIN_RPC_URL": self.node.worker_url,
            "COFFER_BITCOIN_BACKUP_RPC_URL": self.node.admin_url,
            "COFFER_BITCOIN_WALLET": "coffer",
            "COFFER_BITCOIN_WALLET_PASSPHRASE": kept_secret(_secrets(folder) / "bitcoin-wallet"),
            "COFFER_BITCOIN_ZMQ_URL": self.node.zmq_url,
            "COFFER_BITCOIN_COLD_ADDRESS": str(bech32.encode("bcrt", 0, _NOBODY)),
        }

    @property
    def daemons(self) -> Mapping[str, Daemon]:
        return {"bitcoind-peer": self.peer.daemon, "bitcoind": self.node.daemon}

    def start(self) -> None:
        self.peer.start()
        self.node.start()
        if self.node.admin("getblockcount") == 0:
            # A young chain counts as still loading, and the outside world needs coins to pay with.
            self.node.mine(COINBASE_MATURITY + 10)

    def describe(self) -> dict[str, Any]:
        return {
            "network": "regtest",
            "rpc_url": self.node.admin_url,
            "worker_rpc_url": self.node.worker_url,
            "zmq_url": self.node.zmq_url,
            "peer_rpc_url": self.peer.admin_url,
            "wallet": self.settings["COFFER_BITCOIN_WALLET"],
            "miner_wallet": MINER_WALLET,
        }


class MoneroNodes(ChainNodes):
    """A node, Coffer's wallet-rpc, and the outsider with a wallet-rpc of its own. A new chain is the copy of one that
    was mined before: young chains hold too few outputs for rings (NODES 0.15)."""

    title = "monerod and monero-wallet-rpc on regtest"

    def __init__(self, folder: Path, template: Path | None = None) -> None:
        self._folder = folder
        self._template = template or _monero_template()
        # Coffer gets a port on which nobody can mine, or take blocks away.
        self._worker_rpc_port = free_port()
        self.node = Monerod(folder / "monerod", ["--rpc-restricted-bind-port", str(self._worker_rpc_port)])
        self.wallet_rpc = MoneroWalletRpc(folder / "monero-wallet-rpc", self.node)
        self._payer: MoneroPayer | None = None
        kept = _secrets(folder) / "monero-wallet"
        if not kept.is_file():  # the prepared wallet has its password already
            write_private(kept, kept_secret(private_folder(self._template) / "wallet-password"))
        worker = MoneroRpc(self._worker_rpc_port, self.node.rpc.user, self.node.rpc.password)
        self.settings = {
            "COFFER_MONERO_NETWORK": "regtest",
            "COFFER_MONERO_WALLET_RPC_URL": self.wallet_rpc.url,
            "COFFER_MONERO_DAEMON_URL": worker.url,
            "COFFER_MONERO_WALLET": "coffer",
            "COFFER_MONERO_WALLET_DIR": str(self.wallet_rpc.wallets),
            "COFFER_MONERO_WALLET_PASSWORD": kept.read_text(),
            "COFFER_MONERO_COLD_ADDRESS": _monero_cold_address(_secrets(folder) / "monero-cold-address"),
        }

    @property
    def payer(self) -> MoneroPayer:
        """The outsider; there is one once the chain is."""
        if self._payer is None:
            raise RuntimeError("the Monero nodes were not started")
        return self._payer

    @property
    def daemons(self) -> Mapping[str, Daemon]:
        found = {"monerod": self.node.daemon, "monero-wallet-rpc": self.wallet_rpc.daemon}
        return found | ({} if self._payer is None else {"monero-payer": self._payer.wallet_rpc.daemon})

    def start(self) -> None:
        wallet, password = self.settings["COFFER_MONERO_WALLET"], self.settings["COFFER_MONERO_WALLET_PASSWORD"]
        if not (self.wallet_rpc.wallets / f"{wallet}.keys").is_file():
            prepare_template(self._template)
            copy_chain(self._template, self.node.folder, self._folder / "monero-payer")
            kept_wallet(self._template, 1, self.wallet_rpc.wallets, wallet, password)
        self.node.start()
        self._payer = MoneroPayer(self._folder / "monero-payer", self.node)
        with ThreadPoolExecutor(max_workers=2) as pool:
            for done in [pool.submit(self._payer.start), pool.submit(self.wallet_rpc.start)]:
                done.result()

    def describe(self) -> dict[str, Any]:
        return {
            "network": "regtest",
            "daemon_rpc_url": self.node.url,
            "worker_daemon_rpc_url": self.settings["COFFER_MONERO_DAEMON_URL"],
            "wallet_rpc_url": self.wallet_rpc.url,
            "wallet": self.settings["COFFER_MONERO_WALLET"],
            "payer_wallet_rpc_url": self.payer.wallet_rpc.url,
            "payer_address": self.payer.address,
        }


def _monero_template() -> Path:
    """Where the mined chain is kept for all stacks of this checkout; another version of the program mines anew."""
    version = version_of(find("monerod")) or (0,)
    return ROOT / ".setup" / f"monero-{'.'.join(map(str, version))}"


def _monero_cold_address(kept: Path) -> str:
    """An address whose keys are thrown away at once. On regtest addresses are those of mainnet."""
    if not kept.is_file():
        from monero.seed import Seed

        write_private(kept, str(Seed().public_address()))
    return kept.read_text()


class EthereumNodes(ChainNodes):
    """anvil, and a seed of its own for the wallet, encrypted as in production."""

    title = "anvil"

    def __init__(self, folder: Path, block_seconds: int | None, states_max: int = 1_000) -> None:
        self.node = Anvil(folder / "anvil", block_time_seconds=block_seconds, states_max=states_max)
        self.token: str | None = None  #: its contract, once there is one
        self._payer = ""
        seed_key = kept_secret(_secrets(folder) / "ethereum-seed-key")
        seed_file = _secrets(folder) / "ethereum-seed"
        if not seed_file.exists():
            _make_seed(seed_file, seed_key)
        self.settings = {
            "COFFER_ETHEREUM_CHAIN_ID": str(CHAIN_ID),
            "COFFER_ETHEREUM_RPC_URL": self.node.url,
            "COFFER_ETHEREUM_SEED_FILE": str(seed_file),
            "COFFER_ETHEREUM_SEED_KEY": seed_key,
            "COFFER_ETHEREUM_COLD_ADDRESS": f"0x{_NOBODY.hex()}",
            "COFFER_TOKEN_DAILY_OUTFLOW_CAPS": f"{TOKEN}=1000000",
        }

    @property
    def daemons(self) -> Mapping[str, Daemon]:
        return {"anvil": self.node.daemon}

    def start(self) -> None:
        self.node.start()
        self._payer = self.node.payer

    def describe(self) -> dict[str, Any]:
        return {
            "network": "anvil",
            "chain_id": CHAIN_ID,
            "rpc_url": self.node.url,
            "payer": self._payer,
            "token": self.token,
        }

    def deploy_token(self) -> str:
        """A token of which the outside payer has all; its contract, as Coffer writes addresses."""
        from eth_utils.address import to_checksum_address

        from wallets.ethereum.contracts import creation, load

        made = self.node.deploy(creation(load("GoodToken"), (TOKEN, TOKEN_DECIMALS, self.node.payer, TOKEN_SUPPLY)))
        self.token = str(to_checksum_address(made))
        return self.token


def _make_seed(file: Path, key: str) -> None:
    """As `coffer eth seed generate` does; the words are shown to nobody."""
    from wallets.ethereum import seed  # takes a second, and not every stack has this chain
    from wallets.ethereum.seed_keys import LocalKey

    seed.store(file, seed.new_secret(), LocalKey.from_hex(key))


def _secrets(folder: Path) -> Path:
    return private_folder(folder / "secrets")
