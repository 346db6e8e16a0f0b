"""A real geth as a development chain of one: what anvil only imitates, seen on the program itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from devstack.evm import TRANSFER_GAS, EvmNode, until
from devstack.programs import ProgramMissing, find

CHAIN_ID = 1337


class Geth(EvmNode):
    """It makes a block as soon as its pool holds a transaction, and only then: `mine` pays itself nothing, for as many
    blocks at least.

    The outside payer is the developer account of `--dev`. Its chain is kept over a clean stop.
    """

    name = "geth"

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self._options = list(options)
        super().__init__(folder)

    @staticmethod
    def available() -> bool:
        return Geth.why_missing() is None

    @staticmethod
    def why_missing() -> str | None:
        """None where it can be run, otherwise what to do about it."""
        try:
            find("geth")
        except ProgramMissing as reason:
            return str(reason)
        return None

    def mine(self, blocks: int = 1) -> None:
        payer = self.payer
        for _ in range(blocks):
            before = self.height()
            self.pay(payer, 0, gas=TRANSFER_GAS)
            until(lambda: self.height() > before, "a block", 20)  # noqa: B023 - asked before the next round

    def rewind(self, height: int) -> None:
        """Takes the blocks above this height away: with what is mined then, a reorganisation."""
        self.rpc("debug_setHead", hex(height))

    def _command(self) -> list[str]:
        return [
            str(find("geth")),
            *("--dev", "--dev.period", "0", "--datadir", str(self.folder / "data"), "--ipcdisable"),
            *("--http", "--http.addr", "127.0.0.1", "--http.port", str(self.port)),
            *("--http.api", "eth,net,web3,debug,txpool,dev"),
            *self._options,
        ]
