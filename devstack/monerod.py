"""A private Monero node on regtest: no peers, blocks on demand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devstack.files import kept_secret, private_folder, write_private
from devstack.monero_rpc import MoneroRpc, MoneroRpcError
from devstack.ports import free_port
from devstack.process import Daemon
from devstack.programs import find

USER = "coffer"
#: Confirmations before money that came in, change included, can be spent; and before a mined coin can.
SPENDABLE_DEPTH, COINBASE_MATURITY = 10, 60


class Monerod:
    """A regtest node whose ports, login and data stay the same over stop, kill and start.

    Addresses are those of mainnet. Mining a block takes about 50 ms. TLS stays on: over plain HTTP each call of
    monero-wallet-rpc to it takes 45 ms instead of 1. `--keep-fakechain`, or each start would begin an empty chain.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = private_folder(folder)
        self.rpc = MoneroRpc(free_port(), USER, kept_secret(self.folder / "rpc-password"))
        self.daemon = Daemon(
            "monerod",
            [
                str(find("monerod")),
                *("--regtest", "--offline", "--fixed-difficulty", "1", "--keep-fakechain", "--non-interactive"),
                *("--data-dir", str(self.folder), "--log-file", str(self.folder / "monerod.log")),
                *("--rpc-bind-port", str(self.rpc.port), "--p2p-bind-port", str(free_port())),
                *("--config-file", str(self._write_config()), "--disable-rpc-ban"),
                *("--no-zmq", "--no-igd", "--check-updates", "disabled", "--disable-dns-checkpoints"),
                *("--max-concurrency", "1"),
                *options,
            ],
            log=self.folder / "monerod.out",
            folder=self.folder,
            ready=lambda: bool(self.rpc.call("get_info", timeout_seconds=5)["synchronized"]),
        )

    @property
    def url(self) -> str:
        """Where it answers, with user and password (digest)."""
        return self.rpc.url

    def start(self) -> None:
        self.daemon.up(timeout_seconds=60)

    def stop(self) -> None:
        self.daemon.stop(grace_seconds=30)

    def kill(self) -> None:
        """SIGKILL."""
        self.daemon.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        self.daemon.pause()

    def resume(self) -> None:
        self.daemon.resume()

    def height(self) -> int:
        """The number of blocks, the first included: the tip's height and one."""
        return int(self.rpc.call("get_block_count")["count"])

    def generate(self, blocks: int, address: str) -> list[str]:
        """Mines to a main address (not a subaddress), the pool's transactions first; the block hashes, oldest first."""
        patience_seconds = 60.0 + 2 * blocks
        mined = self.rpc.call(
            "generateblocks", amount_of_blocks=blocks, wallet_address=address, timeout_seconds=patience_seconds
        )
        return list(mined["blocks"])

    def pop_blocks(self, blocks: int) -> int:
        """Takes the last blocks away; their transactions go back to the pool. The number of blocks left."""
        return int(self._done("pop_blocks", nblocks=blocks)["height"])

    def flush_pool(self, *txids: str) -> None:
        """Makes the pool forget these transactions, or all."""
        self.rpc.call("flush_txpool", txids=list(txids))

    def pool(self) -> list[str]:
        """The ids of the transactions in the pool."""
        return [entry["id_hash"] for entry in self._done("get_transaction_pool").get("transactions", [])]

    def reorg(self, depth: int, address: str, *, forget: bool = False) -> list[str]:
        """Replaces the last `depth` blocks by as many and one more; the hashes of the new ones.

        What the old ones held is mined again, or with `forget` is nowhere afterwards.
        """
        self.pop_blocks(depth)
        if forget:
            self.flush_pool()
        return self.generate(depth + 1, address)

    def _done(self, path: str, **params: object) -> dict[str, Any]:
        answer = self.rpc.post(path, params)
        if answer.get("status") != "OK":
            raise MoneroRpcError(0, f"{path}: {answer.get('status')}")
        return answer

    def _write_config(self) -> Path:
        """The login is kept off the command line, which every user of the machine can read."""
        return write_private(self.folder / "monerod.conf", f"rpc-login={self.rpc.user}:{self.rpc.password}\n")
