"""A second node of the model chain: another `FakeChain`, which may have seen other blocks."""

from __future__ import annotations

from wallets.fake.chain import FakeChain


class FakeWitness:
    """See `wallets.protocol.Witness`."""

    def __init__(self, chain: FakeChain) -> None:
        self.chain = chain

    def depth(self, txid: str, height: int, block_hash: str) -> int:
        self.chain.begin("witness")
        with self.chain.state() as s:
            if height > s.tip.height or s.blocks[height].hash != block_hash or s.height_of.get(txid) != height:
                return 0
            return s.tip.height - height + 1
