"""What a model chain consists of: transactions, blocks, a pool, and which of them are active.

Only data and the rules of consensus and pool; no wallet, no faults, no locks (`chain.py` adds those).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from ledger.errors import TransactionRefused
from wallets.protocol import Output

COINBASE_MATURITY = 100


@dataclass(frozen=True, slots=True)
class Tx:
    """Equal inputs and outputs give an equal id, as with segregated witness. `fee_units` is declared, not computed:
    outsiders pay from coins that need no history (`outside:n`)."""

    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]
    fee_units: int = 0
    coinbase: bool = False

    @property
    def txid(self) -> str:
        return sha256(repr((self.inputs, self.outputs, self.coinbase)).encode()).hexdigest()

    @property
    def vsize(self) -> int:
        return vsize(len(self.inputs), len(self.outputs))


def vsize(inputs: int, outputs: int) -> int:
    """Virtual bytes of a P2WPKH transaction, rounded up."""
    return 11 + 68 * inputs + 31 * outputs


@dataclass(frozen=True, slots=True)
class Block:
    height: int
    hash: str
    previous: str
    txids: tuple[str, ...]


@dataclass(slots=True)
class WalletState:
    """What one wallet has on its disk."""

    account_public_key: str
    watched: int = 0
    change_count: int = 0
    held: set[str] = field(default_factory=set)
    mark: str | None = None
    known: dict[str, None] = field(default_factory=dict)  #: txids that ever touched it, in order of sight


@dataclass(slots=True)
class State:
    blocks: list[Block] = field(default_factory=lambda: [Block(0, sha256(b"genesis").hexdigest(), "", ())])
    stale: dict[str, Block] = field(default_factory=dict)
    txs: dict[str, Tx] = field(default_factory=dict)  #: every transaction ever seen
    pool: dict[str, None] = field(default_factory=dict)  #: parents before children
    height_of: dict[str, int] = field(default_factory=dict)  #: of transactions in the best chain
    spender: dict[str, str] = field(default_factory=dict)  #: outpoint -> active transaction that spends it
    wallets: dict[str, WalletState] = field(default_factory=dict)
    serial: int = 0
    reachable: bool = True
    unready: tuple[str, str] | None = None
    lies: list[tuple[str, str]] = field(default_factory=list)
    rate: int | None = None  #: what fee estimation answers; None: it cannot tell
    rate_min: int = 1000

    @property
    def tip(self) -> Block:
        return self.blocks[-1]

    def active(self, txid: str) -> bool:
        return txid in self.pool or txid in self.height_of

    def depth(self, txid: str) -> int:
        """1 in the tip, 0 in the pool or nowhere."""
        height = self.height_of.get(txid)
        return 0 if height is None else self.tip.height - height + 1

    def next_serial(self) -> int:
        self.serial += 1
        return self.serial

    def output(self, outpoint: str) -> Output | None:
        """The output if its transaction is active, spent or not."""
        txid, _, vout = outpoint.rpartition(":")
        if not self.active(txid):
            return None
        outputs = self.txs[txid].outputs
        return outputs[int(vout)] if int(vout) < len(outputs) else None

    def conflict_depth(self, inputs: Iterable[str]) -> int:
        """Depth of the block that makes these inputs unspendable for an inactive transaction: one that spends them,
        or spends what an inactive parent needed. 0 when none does."""
        depth = 0
        for outpoint in inputs:
            parent = outpoint.rpartition(":")[0]
            if outpoint in self.spender:
                depth = max(depth, self.depth(self.spender[outpoint]))
            elif parent in self.txs and not self.active(parent):
                depth = max(depth, self.conflict_depth(self.txs[parent].inputs))
        return depth

    def accept(self, tx: Tx) -> None:
        """Into the pool by its rules, replacing cheaper conflicts (BIP-125, full RBF). Raises `TransactionRefused`."""
        if self.active(tx.txid):
            return
        self._check_inputs(tx)
        rivals = {self.spender[i] for i in tx.inputs if i in self.spender}
        if rivals & self.height_of.keys():
            raise TransactionRefused("bad-txns-inputs-missingorspent")
        evicted = self.family(rivals)
        paid = sum(self.txs[t].fee_units for t in evicted)
        if rivals and tx.fee_units < paid + tx.vsize * self.rate_min // 1000:
            raise TransactionRefused("insufficient fee, rejecting replacement")
        if tx.fee_units * 1000 < tx.vsize * self.rate_min and not tx.inputs[0].startswith("outside:"):
            raise TransactionRefused("min relay fee not met")
        self.drop(evicted)
        self.enter_pool(tx)

    def _check_inputs(self, tx: Tx) -> None:
        for outpoint in tx.inputs:
            if outpoint.startswith("outside:"):
                continue
            if self.output(outpoint) is None:
                raise TransactionRefused("bad-txns-inputs-missingorspent")
            parent = outpoint.rpartition(":")[0]
            if self.txs[parent].coinbase and self.depth(parent) < COINBASE_MATURITY:
                raise TransactionRefused("bad-txns-premature-spend-of-coinbase")

    def enter_pool(self, tx: Tx) -> None:
        self.txs[tx.txid] = tx
        self.pool[tx.txid] = None
        self.spender.update(dict.fromkeys(tx.inputs, tx.txid))

    def family(self, txids: Iterable[str]) -> list[str]:
        """These and all their active descendants."""
        found = dict.fromkeys(txids)
        queue = list(found)
        while queue:
            txid = queue.pop()
            for vout in range(len(self.txs[txid].outputs)):
                child = self.spender.get(f"{txid}:{vout}")
                if child is not None and child not in found:
                    found[child] = None
                    queue.append(child)
        return list(found)

    def drop(self, txids: Collection[str]) -> None:
        """Out of the pool; their inputs are unspent again."""
        for txid in txids:
            del self.pool[txid]
            for outpoint in self.txs[txid].inputs:
                del self.spender[outpoint]

    def connect(self, txids: Collection[str], coinbase_to: str | None = None) -> Block:
        """One more block on the tip with these pool transactions."""
        height, serial = self.tip.height + 1, self.next_serial()
        chosen = [txid for txid in self.pool if txid in txids]
        if coinbase_to is not None:
            reward = Tx((f"coinbase:{height}/{serial}",), (Output(coinbase_to, 50 * 10**8),), coinbase=True)
            self.txs[reward.txid] = reward
            chosen.insert(0, reward.txid)
        block_hash = sha256(f"{self.tip.hash}/{height}/{serial}".encode()).hexdigest()
        self.blocks.append(Block(height, block_hash, self.tip.hash, tuple(chosen)))
        for txid in chosen:
            self.pool.pop(txid, None)
            self.height_of[txid] = height
        return self.tip

    def disconnect(self, depth: int) -> None:
        """Take the last blocks off; what they held goes back to the pool, coinbases and their children go nowhere."""
        returning: list[str] = []
        for block in self.blocks[-depth:]:
            self.stale[block.hash] = block
            for txid in block.txids:
                del self.height_of[txid]
            returning += block.txids
        del self.blocks[-depth:]
        self.pool = dict.fromkeys([*returning, *self.pool])
        orphans = self.family(txid for txid in returning if self.txs[txid].coinbase)
        self.drop([txid for txid in orphans if not self.txs[txid].coinbase])
        for txid in orphans:
            self.pool.pop(txid, None)
