"""Chapters about the house's own moves: what lies on customers' addresses is collected; what is too much goes cold."""

from __future__ import annotations

from devstack.demo.figures import ETH, USDT
from devstack.demo.incoming import PAID
from devstack.demo.scene import Scene
from devstack.demo.setting import CONFIRMATIONS

#: Above this much hot ether the rest goes to the cold address, down to what is kept.
CEILING, KEEP = ETH.units("1"), ETH.units("0.5")


def collect(scene: Scene) -> None:
    """Gas for the address that has none, its tokens once it has; tokens and then ether from the other."""
    scene.tell.chapter("What lies on the customers' ethereum addresses is collected")
    lying = {name: scene.ethereum.tokens(scene.ours[name]) for name in PAID[USDT]}
    scene.checks.same("tokens lie where they were paid to", lying, dict(PAID[USDT]))
    begun = scene.ethereum.height
    scene.desk.run("sweep", "run", "ethereum")
    hot = scene.ours["the hot wallet"]
    while scene.ethereum.tokens(hot) < sum(lying.values()) or scene.ethereum.balance(scene.ours["Anna"]) > KEEP:
        scene.tell.until("the next step", lambda: scene.ethereum.pending() or None)
        scene.mine(ethereum=CONFIRMATIONS)
    told(scene, begun)
    scene.checks.same("all tokens are in the hot wallet", scene.ethereum.tokens(hot), sum(PAID[USDT].values()))
    scene.compare(coins=())
    scene.tell.note("Nothing of it is a customer's matter: the balances are as they were, and the house pays the gas.")


def told(scene: Scene, begun: int) -> None:
    """What our addresses sent since a block, and that the chain carried out all of it."""
    customers = scene.totals.customers
    names = {a.lower(): f"{name}'s address" if name in customers else name for name, a in scene.ours.items()}
    for move in scene.ethereum.moves(begun + 1, scene.ours.values()):
        scene.checks.same("it was carried out", move.status, "0x1")
        coin = USDT if move.token else ETH
        source, target = (names.get(end.lower(), end) for end in (move.source, move.target))
        amount = f"{coin.show(move.units)} {coin.code}"
        scene.tell.chain(f"{source} -> {target}: {amount}, gas {ETH.show(move.fee_units)} ETH")


def go_cold(scene: Scene, address: str) -> None:
    """Above the ceiling the hot wallet keeps what it needs; the rest goes where this machine has no key."""
    scene.tell.chapter("Too much is hot: the rest goes to the cold address")
    begun, hot = scene.ethereum.height, scene.ours["the hot wallet"]
    scene.ours["the cold address"] = address
    scene.desk.run("policy", "set", "ETH", "hot_keep_units", str(KEEP))
    scene.desk.run("policy", "set", "ETH", "hot_ceiling_units", str(CEILING))
    before = scene.ethereum.balance(hot)
    scene.tell.chain(f"the hot wallet holds {ETH.show(before)} ETH, the ceiling is {ETH.show(CEILING)}")
    scene.desk.run("tasks", "run", "hot:ethereum")
    scene.tell.until("the move", lambda: scene.ethereum.pending() or None)
    scene.mine(ethereum=CONFIRMATIONS)
    told(scene, begun)
    scene.checks.same("the cold address has it", scene.ethereum.balance(address), before - KEEP)
    scene.tell.until("the move to be settled", lambda: not scene.desk.look("payments", "list") or None)
