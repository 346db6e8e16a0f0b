"""What goes wrong outside the engine, by chance: reorganisations, evictions, replacements, a clock that is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.saga import SECOND
from tests.simulation.chains import SimChain
from wallets.protocol import Output

if TYPE_CHECKING:
    from tests.simulation.world import World


class Trouble:
    """Befalls a world, at most one at each step."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng

    def befall(self) -> None:
        odds, roll = self._world.odds, self._rng.random()
        for chance, act in (
            (odds.reorg, self._reorg),
            (odds.forget, self._forget),
            (odds.haunt, self._haunt),
            (odds.replace, self._replace),
            (odds.jump, self._jump),
            (odds.down, self._down),
        ):
            if roll < chance:
                act()
                return
            roll -= chance

    def _reorg(self) -> None:
        chain = self._chain()
        depth = self._rng.choice((1, 1, 2, 2, 3, 4, 6, 9))
        with chain.state() as s:
            held = [txid for block in s.blocks[-depth:] for txid in block.txids]
        fates = {txid: self._rng.choice(("back", "back", "gone", "gone", "spent")) for txid in held}
        ours = self._paying()
        gone = [t for t, fate in fates.items() if fate == "gone"]
        spent = [t for t, fate in fates.items() if fate == "spent" and t not in ours]
        spent = [t for t in spent if not _descends(chain, t, spent)]
        tip = chain.reorg(depth, gone=gone, double_spent=spent)
        self._world.count("reorgs")
        self._world.tell(
            f"{chain.name}: reorg of {depth} to {tip.height}, gone {_short(gone)}, double spent {_short(spent)}"
        )

    def _paying(self) -> set[str]:
        """Transactions that spend our own coins: nobody else can sign another in their place."""
        return {row[0] for row in self._world.rows("SELECT txid FROM candidate")}

    def _forget(self) -> None:
        chain = self._chain()
        if chain.pool:
            txid = self._rng.choice(chain.pool)
            chain.evict(txid)
            self._world.count("evictions")
            self._world.tell(f"{chain.name}: the pool forgets {txid[:8]}")

    def _haunt(self) -> None:
        """What was sent before, or was paid by somebody before, comes in again."""
        chain = self._chain()
        with chain.state() as s:
            outside = [tx for tx in s.txs.values() if tx.inputs and tx.inputs[0].startswith("outside:")]
        before = [*chain.sent.values(), *chain.late, *outside[-5:]]
        chain.late.clear()
        if before:
            tx = self._rng.choice(before)
            if chain.haunt(tx):
                self._world.count("hauntings")
                self._world.tell(f"{chain.name}: {tx.txid[:8]} comes in again")

    def _replace(self) -> None:
        chain = self._chain()
        mine = [txid for txid in chain.pool if chain.transaction(txid).inputs[0].startswith("outside:")]
        if mine:
            old = chain.transaction(self._rng.choice(mine))
            outputs: tuple[Output, ...] = ()
            if self._rng.random() < 0.6:
                outputs = (Output(old.outputs[0].address, old.outputs[0].units + self._rng.choice((-11, 11, 1000))),)
            txid = chain.replace(old.txid, *outputs)
            self._world.count("replacements")
            self._world.tell(f"{chain.name}: {old.txid[:8]} is replaced by {txid[:8]}")

    def _jump(self) -> None:
        self._world.jump(self._rng.choice((-3600, -60, -20, 20, 60, 3600, 90_000)) * SECOND)

    def _down(self) -> None:
        chain = self._chain()
        with chain.state() as s:
            well = s.reachable and s.unready is None
        if not well:
            chain.up()
        elif self._rng.random() < 0.5:
            chain.down()
        else:
            chain.unready("syncing")
        self._world.tell(f"{chain.name}: the node is {'not well' if well else 'well'}")

    def _chain(self) -> SimChain:
        return self._world.chains[self._rng.choice(self._world.used)]


def _descends(chain: SimChain, txid: str, others: Sequence[str]) -> bool:
    with chain.state() as s:
        return any(txid != other and txid in s.family([other]) for other in others)


def _short(txids: Sequence[str]) -> list[str]:
    return [txid[:8] for txid in txids]
