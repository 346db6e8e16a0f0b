"""What a wallet on the model chain tells of its deposits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ledger.errors import NodeProtocolError
from wallets.fake.model import COINBASE_MATURITY, State, WalletState
from wallets.protocol import DepositPage, DepositStatus, SeenDeposit, SeenSpend, Tip

CURSOR_DEPTH = 100


def page(s: State, wallet: WalletState, owned: Mapping[str, int | None], cursor: str | None) -> DepositPage:
    """Deposits above the cursor's fork with the best chain, in the pool, and those a stale cursor's branch had.

    Like Bitcoin Core's, this wallet never forgets a transaction that was replaced, and lists it again and again.
    """
    above, removed = _fork(s, cursor)
    found = []
    sent = []
    for txid in wallet.known:
        in_chain = s.height_of.get(txid, -1) > above
        tx = s.txs[txid]
        lost = not s.active(txid) and s.conflict_depth(tx.inputs) <= s.tip.height - above
        if not (in_chain or txid in s.pool or txid in removed or lost):
            continue
        if any(_pays_to(s, outpoint) in owned for outpoint in tx.inputs):
            sent.append(SeenSpend(txid, s.height_of.get(txid)))
        for vout, output in enumerate(tx.outputs):
            if owned.get(output.address) is not None:
                seen = SeenDeposit(
                    f"{txid}:{vout}",
                    txid,
                    output.address,
                    output.units,
                    DepositStatus.POOL,
                    coinbase=tx.coinbase,
                    spendable_depth=COINBASE_MATURITY if tx.coinbase else 1,
                )
                found.append(present(s, seen))
    next_cursor = s.blocks[max(0, s.tip.height - CURSOR_DEPTH)].hash
    return DepositPage(tuple(found), next_cursor, Tip(s.tip.height, s.tip.hash), outgoing=tuple(sent))


def _pays_to(s: State, outpoint: str) -> str | None:
    """Whose coin this was, whatever became of the transaction that made it."""
    txid, _, vout = outpoint.rpartition(":")
    return s.txs[txid].outputs[int(vout)].address if txid in s.txs else None


def _fork(s: State, cursor: str | None) -> tuple[int, set[str]]:
    """Height of the last block that the cursor shares with the best chain, and what its own branch held after it."""
    if cursor is None:
        return 0, set()
    removed: set[str] = set()
    while cursor in s.stale:
        removed.update(s.stale[cursor].txids)
        cursor = s.stale[cursor].previous
    for block in s.blocks:
        if block.hash == cursor:
            return block.height, removed
    raise NodeProtocolError("the node does not know the block of the deposit cursor; is it another chain?")


def present(s: State, deposit: SeenDeposit) -> SeenDeposit:
    """The same deposit as it stands now."""
    height = s.height_of.get(deposit.txid)
    if height is not None:
        block_hash = s.blocks[height].hash
        return replace(deposit, status=DepositStatus.CONFIRMED, height=height, block_hash=block_hash, reason="")
    status, reason = DepositStatus.GONE, _why_gone(s, deposit.txid)
    if deposit.txid in s.pool:
        status, reason = DepositStatus.POOL, ""
    return replace(deposit, status=status, height=None, block_hash=None, reason=reason)


def _why_gone(s: State, txid: str) -> str:
    tx = s.txs.get(txid)
    if tx is None:
        return "vanished"
    if tx.coinbase:
        return "orphaned"
    if s.conflict_depth(tx.inputs):
        return "conflicted"
    return "replaced" if any(outpoint in s.spender for outpoint in tx.inputs) else "vanished"
