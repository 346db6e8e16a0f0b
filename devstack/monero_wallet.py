"""monero-wallet-rpc beside a private node, wallet files for it, and the outsider who mines and pays."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devstack.files import kept_secret, private_folder, write_private
from devstack.monero_rpc import MoneroRpc, MoneroRpcError
from devstack.monerod import USER, Monerod
from devstack.ports import free_port
from devstack.process import Daemon
from devstack.programs import find

#: Subaddresses that a wallet looks for beyond those it has made. More than this and each new account costs a quarter
#: of a second (NODES 3.1).
LOOKAHEAD = "1:1"
#: Of a prepared chain: enough outputs for rings (NODES 0.15), and some ninety mature coins of the outsider.
PREPARED_BLOCKS = 150
#: What wallet-rpc answers when the node will not have a transfer, and when it has just lost its connection to it.
_REJECTED, _NO_DAEMON = -4, -38
_PAY_TRIES = 3
_CONNECT_SECONDS = 20
PAYER_WALLET = "payer"
_WALLET_FILES = ("", ".keys")


class MoneroWalletRpc:
    """monero-wallet-rpc on its own folder of wallet files; ports and login stay over stop, kill and start.

    The node must have started once before. It starts with no wallet open. `kill` loses what it had not stored.
    `stop` first asks, then kills: while a call hangs, SIGTERM is not heard (NODES 0.15).
    """

    def __init__(self, folder: Path, node: Monerod) -> None:
        self.folder = private_folder(folder)
        self.wallets = private_folder(self.folder / "wallets")
        self.rpc = MoneroRpc(free_port(), USER, kept_secret(self.folder / "rpc-password"))
        self.daemon = Daemon(
            "monero-wallet-rpc",
            [
                str(find("monero-wallet-rpc")),
                *("--wallet-dir", str(self.wallets), "--config-file", str(self._write_config(node))),
                *("--rpc-bind-port", str(self.rpc.port), "--rpc-ssl", "disabled", "--disable-rpc-ban"),
                *("--daemon-address", f"127.0.0.1:{node.rpc.port}", "--trusted-daemon", *_certificate(node)),
                *("--shared-ringdb-dir", str(private_folder(self.folder / "ringdb")), "--no-dns"),
                *("--log-file", str(self.folder / "wallet-rpc.log"), "--max-concurrency", "1"),
            ],
            log=self.folder / "wallet-rpc.out",
            folder=self.folder,
            ready=lambda: bool(self.rpc.call("get_version", timeout_seconds=5)),
        )

    @property
    def url(self) -> str:
        """Where it answers, with user and password (digest)."""
        return self.rpc.url

    def start(self) -> None:
        self.daemon.up(timeout_seconds=60)

    def stop(self) -> None:
        self.daemon.stop(grace_seconds=15)

    def kill(self) -> None:
        """SIGKILL: everything since the last `store` is lost."""
        self.daemon.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        self.daemon.pause()

    def resume(self) -> None:
        self.daemon.resume()

    def call(self, method: str, *, timeout_seconds: float = 60, **params: Any) -> dict[str, Any]:
        """One call, about the wallet that is open now. When its node was away, its first refresh fails."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                return self.rpc.call(method, timeout_seconds=timeout_seconds, **params)
            except MoneroRpcError as error:
                if error.code != _NO_DAEMON or method != "refresh" or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def open(self, name: str, password: str) -> str:
        """Opens a wallet, closing the one before, and reads the chain; its primary address."""
        self.call("open_wallet", filename=name, password=password)
        self.call("refresh")
        return str(self.call("get_address", account_index=0, address_index=[0])["address"])

    def _write_config(self, node: Monerod) -> Path:
        """The logins are kept off the command line, which every user of the machine can read."""
        return write_private(
            self.folder / "wallet-rpc.conf",
            f"rpc-login={self.rpc.user}:{self.rpc.password}\ndaemon-login={node.rpc.user}:{node.rpc.password}\n",
        )


def _certificate(node: Monerod) -> list[str]:
    """The node's own: else each opening of a wallet makes a new RSA key for the line to the node, a second or more."""
    return [
        *("--daemon-ssl-private-key", str(node.folder / "rpc_ssl.key")),
        *("--daemon-ssl-certificate", str(node.folder / "rpc_ssl.crt")),
    ]


def create_wallet(folder: Path, name: str, password: str, lookahead: str = LOOKAHEAD) -> None:
    """Makes the files of a new wallet, with fresh keys, which keeps its lookahead. About three seconds of processor.

    Only monero-wallet-cli can set the lookahead; and without the last command the wallet would, by today's date, leave
    out the first millions of blocks. It prints the seed, so what it prints goes nowhere.
    """
    secret = write_private(folder / f".{name}.password", password)
    try:
        subprocess.run(
            [
                str(find("monero-wallet-cli")),
                *("--generate-new-wallet", str(folder / name), "--password-file", str(secret)),
                *("--subaddress-lookahead", lookahead, "--mnemonic-language", "English", "--offline"),
                *("--log-file", "/dev/null", "--shared-ringdb-dir", str(folder / ".ringdb")),
                *("--command", "set", "refresh-from-block-height", "0"),
            ],
            input=f"{password}\n".encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            check=True,
        )
    finally:
        secret.unlink()


class MoneroPayer:
    """The outside world: a wallet in a process of its own that mines and pays, with one output for each block."""

    def __init__(self, folder: Path, node: Monerod) -> None:
        self.node = node
        self.wallet_rpc = MoneroWalletRpc(folder, node)
        self._password = kept_secret(self.wallet_rpc.folder / "wallet-password")
        self.address = ""

    def start(self) -> None:
        """Starts the process and opens the wallet, making it the first time."""
        if not (self.wallet_rpc.wallets / f"{PAYER_WALLET}.keys").is_file():
            create_wallet(self.wallet_rpc.wallets, PAYER_WALLET, self._password)
        self.wallet_rpc.start()
        self.address = self.wallet_rpc.open(PAYER_WALLET, self._password)

    def stop(self) -> None:
        self.wallet_rpc.stop()

    def mine(self, blocks: int = 1) -> list[str]:
        """Mines to the payer; the block hashes, oldest first."""
        return self.node.generate(blocks, self.address)

    def pay(self, outputs: Mapping[str, int] | list[tuple[str, int]], *, unlock_time: int = 0) -> str:
        """Pays piconero in one transaction (at most 15 outputs), not confirmed yet; its txid."""
        pairs = outputs.items() if isinstance(outputs, Mapping) else outputs
        destinations = [{"address": address, "amount": units} for address, units in pairs]
        for again in range(_PAY_TRIES):
            self.wallet_rpc.call("refresh")
            try:
                sent = self.wallet_rpc.call("transfer", destinations=destinations, unlock_time=unlock_time)
            except MoneroRpcError as error:
                if error.code != _REJECTED or again + 1 == _PAY_TRIES:
                    raise
                self._forget_what_is_gone(whole=again > 0)
            else:
                return str(sent["tx_hash"])
        raise AssertionError("not reached")

    def _forget_what_is_gone(self, *, whole: bool) -> None:
        """After a reorganisation a wallet goes on choosing outputs that the chain has lost or spent: nothing but
        looking again helps."""
        self.mine(1)
        self.wallet_rpc.call("rescan_blockchain" if whole else "rescan_spent", timeout_seconds=120)


def prepared_chain(folder: Path, template: Path) -> tuple[Monerod, MoneroPayer]:
    """A started node with PREPARED_BLOCKS blocks mined to a started payer.

    The first call of all processes that name the same `template` folder mines them (ten seconds); the others copy.
    """
    prepare_template(template)
    copy_chain(template, folder / "node", folder / "payer")
    node, payer = _parts(folder)
    try:
        node.start()
        payer.start()
    except BaseException:  # also Ctrl-C: no node is left behind
        node.stop()
        raise
    return node, payer


def prepare_template(template: Path) -> None:
    """Mines the chain that others copy, in `node` and `payer` of this folder, unless that was done."""
    with _alone(template):
        if not (template / "done").exists():
            _mine_template(*_parts(template))
            (template / "done").touch()


def copy_chain(template: Path, node: Path, payer: Path) -> None:
    """Copies a prepared template into the folders of a node and of a payer. Logins are not copied: each process has
    its own."""
    left = shutil.ignore_patterns("*.log", "*.out", "*.conf", "ringdb", "rpc-password")
    for source, target in ((template / "node", node), (template / "payer", payer)):
        shutil.copytree(source, target, ignore=left, dirs_exist_ok=True)


def kept_wallet(template: Path, number: int, folder: Path, name: str, password: str) -> None:
    """Puts a wallet's files under a name into a folder: the `number`th of the template, made when first asked for.

    Processes with a chain each may use the same keys; on one chain use each number once, and always one password.
    """
    with _alone(template):
        made = template / f"wallet-{number}"
        if not made.with_suffix(".keys").is_file():
            create_wallet(template, made.name, password)
        for suffix in _WALLET_FILES:
            shutil.copy(f"{made}{suffix}", folder / f"{name}{suffix}")


def _parts(folder: Path) -> tuple[Monerod, MoneroPayer]:
    node = Monerod(folder / "node")
    return node, MoneroPayer(folder / "payer", node)


def _mine_template(node: Monerod, payer: MoneroPayer) -> None:
    try:
        node.start()
        payer.start()
        payer.mine(PREPARED_BLOCKS)
        payer.wallet_rpc.call("refresh")
        payer.wallet_rpc.call("store")
    finally:
        payer.stop()
        node.stop()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time."""
    private_folder(folder)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
