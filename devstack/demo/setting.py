"""Chapters before the customers come: the operator's rules, the house's own ether, and a token."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from devstack.demo.figures import COINS, ETH, USDT, Coin, Deviation
from devstack.demo.scene import Scene

#: Withdrawals asked for within this time leave together, where one transaction can carry several.
PAYMENT_WINDOW_MS = 5_000
#: Of the house's payments on Ethereum, as of everybody's.
CONFIRMATIONS = 12
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
    scene.tell.desk(f"  the hot wallet is {hot}")
    scene.tell.note("Its seed lies encrypted in a file that only the ethereum worker opens.")
    txid = scene.ethereum.pay(hot, CAPITAL)
    scene.tell.chain(f"tx {txid}\nethereum, the operator pays in {ETH.show(CAPITAL)} ETH")
    scene.mine(ethereum=CONFIRMATIONS)
    scene.totals.houses[ETH].capital += CAPITAL
    scene.tell.until("the capital to be booked", lambda: _booked(scene))
    scene.tell.ledger(f"treasury {ETH.show(CAPITAL)} ETH")


def _booked(scene: Scene) -> bool | None:
    return where(scene, ETH)["hot"] == CAPITAL or None


def where(scene: Scene, coin: Coin) -> dict[str, int]:
    """Where the books say that a coin lies: `hot`, `on_indices`, `cold`, `in_flight`; units."""
    return _places(scene)[coin]


def treasury(scene: Scene) -> dict[Coin, int]:
    """All of each coin that the books say is there; units."""
    return {coin: sum(places.values()) for coin, places in _places(scene).items()}


def _places(scene: Scene) -> dict[Coin, dict[str, int]]:
    """Of every coin that is an asset by now."""
    found = {line.pop("asset"): line for line in scene.desk.look("treasury", "status")["assets"]}
    known = [coin for coin in COINS if coin.code in found]
    return {
        coin: {name: coin.units(text.partition(" ")[0]) for name, text in found[coin.code].items()} for coin in known
    }


def add_a_token(scene: Scene, restart_worker: Callable[[], None]) -> None:
    """Deployed by the same path as every payment, and an asset by one command."""
    scene.tell.chapter("A token is deployed, by the same path as every payment, and becomes an asset")
    contract = _deploy(scene)
    scene.ethereum.token = contract
    scene.checks.same("the outside world has it all", scene.ethereum.tokens(scene.ethereum.payer), SUPPLY)
    decimals = ("--decimals", str(USDT.decimals))
    scene.tell.desk(f"  {scene.desk.run('assets', 'add', USDT.code, '--contract', contract, *decimals)}")
    restart_worker()
    scene.tell.note("The ethereum worker starts anew: how much of a token may leave in a day is in its settings.")
    found = {a["code"]: a for a in scene.shop.get("/v1/assets")["data"]}
    scene.checks.same("GET /v1/assets has the token", found[USDT.code]["decimals"], USDT.decimals)
    scene.tell.shop(f"GET /v1/assets -> {', '.join(sorted(found))}")


def _deploy(scene: Scene) -> str:
    """The command waits until the deployment is settled: blocks are made meanwhile."""
    arguments = (USDT.code, str(USDT.decimals), scene.ethereum.payer, str(SUPPLY))
    command = ["eth", "deploy", "GoodToken", *(word for text in arguments for word in ("--arg", text))]
    with ThreadPoolExecutor(max_workers=1) as pool:
        said = pool.submit(scene.desk.run, *command)
        waiting = scene.tell.until("the deployment", lambda: scene.ethereum.pending() or said.done() or None)
        if not isinstance(waiting, list):
            raise Deviation(f"nothing was deployed: {said.result()}")
        txid = waiting[0]["hash"]
        scene.tell.chain(f"tx {txid}\nethereum, the hot wallet makes a contract; waits in the pool")
        scene.mine(ethereum=CONFIRMATIONS)
        contract = said.result()
    receipt = scene.ethereum.in_block(txid)
    if receipt is None:
        raise Deviation(f"{txid} is in no block")
    scene.checks.same("it was carried out", receipt["status"], "0x1")
    scene.checks.same("the contract", contract.lower(), receipt["contractAddress"].lower())
    scene.tell.chain(f"the contract is {contract}, fee {ETH.show(receipt['fee_units'])} ETH")
    return contract
