"""A private EVM chain (anvil) that makes a block when it is told to."""

from __future__ import annotations

import gzip
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devstack.evm import EvmNode
from devstack.files import private_folder, write_private
from devstack.programs import find

CHAIN_ID = 31337

#: The words behind the outside payer, known to everyone; not anvil's own default, which tests may give the wallet.
PAYER_MNEMONIC = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
PAYER_ETH = 1_000_000
_BLOCKS_PER_CALL = 1_000


class Anvil(EvmNode):
    """By default no block is made unless `mine` says so; with `block_time_seconds` one comes by itself.

    Stopped cleanly it keeps its chain (`keep_chain`); killed it is back at the last `flush`, or at the start. Its pool
    is gone either way. The tag `finalized` is two epochs of `epoch_slots` behind the tip, `safe` one. It knows balances
    of, and can trace, the last `states_max` blocks: each such state holds the hashes of all blocks before it, so that
    disk use grows with the square of their number.
    """

    name = "anvil"

    def __init__(
        self,
        folder: Path,
        options: Sequence[str] = (),
        *,
        block_time_seconds: int | None = None,
        epoch_slots: int = 32,
        keep_chain: bool = True,
        states_max: int = 1_000,
    ) -> None:
        self._mining = ["--no-mining"] if block_time_seconds is None else ["--block-time", str(block_time_seconds)]
        self._memory = ["--slots-in-an-epoch", str(epoch_slots), "--max-persisted-states", str(states_max)]
        self._options = list(options)
        self._state = folder.resolve() / "chain.json" if keep_chain else None
        # The first block's hash, by which a chain is known, holds its time, which would be that of each start.
        self._memory += ["--timestamp", str(_first_start(folder))] if keep_chain else []
        super().__init__(folder)

    def mine(self, blocks: int = 1) -> None:
        while blocks > 0:
            step = min(blocks, _BLOCKS_PER_CALL)
            self.rpc("anvil_mine", hex(step), timeout_seconds=120)
            blocks -= step

    def flush(self) -> None:
        """Puts the chain on disk, so that a kill right after loses no block."""
        if self._state is None:
            raise RuntimeError("this chain is not kept")
        dump = bytes.fromhex(self.rpc("anvil_dumpState", True).removeprefix("0x"))
        write_private(self._state, gzip.decompress(dump).decode())

    def reorg(self, depth: int, transactions: Sequence[tuple[str, int]] = ()) -> None:
        """Replaces the last blocks by as many new ones: empty, or with the given raw transactions, each in the block
        of its number (0 is the first new one). What the old ones held is in no pool afterwards."""
        self.rpc("anvil_reorg", depth, [[raw, place] for raw, place in transactions])

    def drop(self, tx_hash: str) -> None:
        """Takes a transaction out of the pool, as a node that forgets."""
        self.rpc("anvil_dropTransaction", tx_hash)

    def empty_pool(self) -> None:
        self.rpc("anvil_dropAllTransactions")

    def set_balance(self, address: str, wei: int) -> None:
        """Money from nowhere, with no transaction: what a withdrawal of a validator looks like."""
        self.rpc("anvil_setBalance", address, hex(wei))

    def set_base_fee(self, wei: int) -> None:
        """The price of gas in the next block."""
        self.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def set_auto_mining(self, on: bool) -> None:
        self.rpc("evm_setAutomine", on)

    def pool(self) -> dict[str, Any]:
        """`pending` and `queued`, by sender and nonce."""
        return dict(self.rpc("txpool_content"))

    def _command(self) -> list[str]:
        keeping = ("--state", str(self._state), "--preserve-historical-states") if self._state else ()
        return [
            str(find("anvil")),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--hardfork", "prague", "--chain-id", str(CHAIN_ID)),
            *("--accounts", "1", "--balance", str(PAYER_ETH), "--mnemonic", PAYER_MNEMONIC),
            *("--cache-path", str(self.folder / "cache")),
            *keeping,
            *self._mining,
            *self._memory,
            *self._options,
        ]


def _first_start(folder: Path) -> int:
    """When the chain in this folder began, in seconds."""
    kept = private_folder(folder) / "first-start"
    if not kept.exists():
        write_private(kept, str(int(time.time())))
    return int(kept.read_text())
