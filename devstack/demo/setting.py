"""Chapters before the customers come: the operator's rules, the house's own ether, and a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devstack.demo.figures import ETH, USDT
from devstack.demo.scene import Scene

#: Withdrawals asked for within this time leave together, where one transaction can carry several.
PAYMENT_WINDOW_MS = 5_000
#: What the operator pays into the hot wallet, for gas. Up to one ether twelve confirmations are enough.
CAPITAL = ETH.units("0.9")
#: What the outside world has of the token.
SUPPLY = USDT.units("1000000")


def set_rules(scene: Scene) -> None:
    """As an operator sets them, all audited. The rest stays as it is in production: confirmations, minima, fees."""
    for asset in ("BTC", "XMR"):
        scene.desk.run("policy", "set", asset, "payment_window_ms", str(PAYMENT_WINDOW_MS))
    scene.desk.run("policy", "set", "XMR", "hot_outputs", "0")
    scene.tell.chain(
        f"bitcoin {scene.bitcoin.height} blocks, monero {scene.monero.height}, ethereum {scene.ethereum.height}"
    )


def fund_the_house(scene: Scene) -> None:
    """What comes to the hot wallet's own address is the house's."""
    scene.tell.chapter("The house gets ether of its own, to pay for gas")
    hot = scene.desk.read("eth", "seed", "show")["hot_address"]
    scene.ours["the hot wallet"] = hot
    scene.tell.desk(f"  the hot wallet is {hot}; its seed is encrypted, and only the ethereum worker opens it")
    txid = scene.ethereum.pay(hot, CAPITAL)
    scene.tell.chain(f"tx {txid}\nethereum, the operator pays in {ETH.show(CAPITAL)} ETH")
    scene.mine(ethereum=12)
    scene.totals.houses[ETH].capital += CAPITAL
    scene.tell.until("the capital to be booked", lambda: _booked(scene))
    scene.tell.ledger(f"treasury {ETH.show(CAPITAL)} ETH")


def _booked(scene: Scene) -> bool | None:
    return int(scene.desk.look("reconcile", "ETH")["treasury_units"]) == CAPITAL or None


def add_a_token(scene: Scene, restart_worker: Callable[[], None]) -> None:
    """Deployed by the same path as every payment, and an asset by one command."""
    scene.tell.chapter("A token is deployed, by the same path as every payment, and becomes an asset")
    arguments = [USDT.code, str(USDT.decimals), scene.ethereum.payer, str(SUPPLY)]
    payment = scene.desk.run("eth", "deploy", "GoodToken", *arguments)
    scene.tell.desk(f"  {payment}")
    contract = _deployed(scene)
    scene.ethereum.token = contract
    scene.checks.same("the outside world has it all", scene.ethereum.tokens(scene.ethereum.payer), SUPPLY)
    scene.tell.desk(f"  {scene.desk.run('assets', 'add', USDT.code, '--contract', contract)}")
    restart_worker()
    found = {a["code"]: a for a in scene.shop.get("/v1/assets")["data"]}
    scene.checks.same("GET /v1/assets has the token", found[USDT.code]["decimals"], USDT.decimals)
    scene.tell.shop(f"GET /v1/assets -> {', '.join(sorted(found))}")


def _deployed(scene: Scene) -> str:
    found: dict[str, Any] = scene.tell.until("the deployment", lambda: scene.ethereum.pending() or None)[0]
    scene.tell.chain(f"tx {found['hash']}\nethereum, makes a contract; waits in the pool")
    scene.mine(ethereum=1)
    receipt = scene.ethereum.in_block(found["hash"])
    assert receipt is not None
    scene.checks.same("it was carried out", receipt["status"], "0x1")
    contract = str(receipt["contractAddress"])
    scene.tell.chain(f"the contract is {contract}, fee {ETH.show(receipt['fee_units'])} ETH")
    return contract
