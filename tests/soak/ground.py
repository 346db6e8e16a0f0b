"""What must be there before the first customer comes: rules, the house's money, accounts, addresses, first deposits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from devstack.demo.figures import BTC, COINS, ETH, USDT, XMR, Coin
from tests.integration.storefront import Shop
from tests.soak.outside import HOUSE, NODE_TROUBLE, World
from tests.soak.stack import SoakStack

CUSTOMERS = 6
#: What the house pays in, in amounts that need the fewest confirmations: (payments, of how much).
CAPITAL: Mapping[Coin, tuple[int, str]] = {BTC: (8, "0.009"), XMR: (16, "0.9"), ETH: (4, "0.9")}
#: And how much of it swaps may take.
INVENTORY: Mapping[Coin, str] = {BTC: "0.05", XMR: "10"}
#: What each customer begins with.
FIRST: Mapping[Coin, str] = {BTC: "0.006", XMR: "0.8", ETH: "0.2", USDT: "200"}

_PATIENCE_SECONDS = 300.0


def prepare(stack: SoakStack, shop: Shop, world: World) -> tuple[list[str], dict[tuple[str, Coin], str]]:
    """The customers' accounts, and where each wants to be paid."""
    _set_rules(stack)
    accounts = [
        str(shop.post("/accounts", {"reference": f"customer-{n}", "kind": "user"})[1]["id"]) for n in range(CUSTOMERS)
    ]
    homes = {(account, coin): shop.ready_address(account, coin.code) for account in accounts for coin in COINS}
    _lay_in(stack, world)
    for (account, coin), home in homes.items():
        _pay(world, coin, home, coin.units(FIRST[coin]), account)
    _mine(world)
    whole = {coin.code: coin.units(amount) for coin, amount in FIRST.items()}
    until(lambda: all(_available(shop, account) == whole for account in accounts), "the first deposits")
    until(lambda: _booked(stack), "the house's money")
    stack.operate(["inventory", "fund", coin.code, amount] for coin, amount in INVENTORY.items())
    _collect(stack, world)
    return accounts, homes


def _set_rules(stack: SoakStack) -> None:
    """Blocks come ten times as fast as on the networks, and so does everything that waits for them."""
    rules = {
        "BTC": {"payment_window_ms": 500, "payment_bump_after_seconds": 60},
        "XMR": {"withdrawal_confirmations": 2},
        "ETH": {"withdrawal_confirmations": 2, "payment_bump_after_seconds": 60},
        "USDT": {"withdrawal_confirmations": 2, "payment_bump_after_seconds": 60},
    }
    stack.operate(
        ["policy", "set", asset, name, str(value)] for asset, values in rules.items() for name, value in values.items()
    )


def _lay_in(stack: SoakStack, world: World) -> None:
    for coin, (times, amount) in CAPITAL.items():
        if coin == ETH:
            home = json.loads(stack.cli("eth", "seed", "show", "--json"))["hot_address"]
        else:
            home = stack.cli("treasury", "address", coin.code, "--as", "soak").split()[-1]
        for _ in range(times):
            _pay(world, coin, home, coin.units(amount), HOUSE)


def _pay(world: World, coin: Coin, home: str, units: int, account: str) -> None:
    """Monero's payer has coins of one block each, and change that waits: it may need another block."""
    for _ in range(20):
        if world.pay(coin, home, units, account) is not None:
            return
        world.of(coin).mine(1)
        time.sleep(0.5)
    raise RuntimeError(f"the outside cannot pay {coin.code}")


def _mine(world: World) -> None:
    for chain, blocks in (("bitcoin", 3), ("monero", 13), ("ethereum", 13)):
        world.chains[chain].mine(blocks)


def _available(shop: Shop, account: str) -> dict[str, int]:
    _, found = shop.get(f"/accounts/{account}/balances")
    return {line["asset"]: int(line["available"]["units"]) for line in found["data"]}


def _booked(stack: SoakStack) -> bool:
    found = {line["asset"]: line for line in json.loads(stack.cli("treasury", "status", "--json"))["assets"]}
    held = {coin: coin.units(found[coin.code]["hot"].partition(" ")[0]) for coin in INVENTORY}
    return all(held[coin] >= times * coin.units(amount) for coin, (times, amount) in CAPITAL.items() if coin in held)


def _collect(stack: SoakStack, world: World) -> None:
    """Tokens lie where they came in until somebody collects them."""
    stack.cli("sweep", "run", "ethereum", "--as", "soak")
    hot = json.loads(stack.cli("eth", "seed", "show", "--json"))["hot_address"]

    def collected() -> bool:
        world.chains["ethereum"].mine(2)
        return world.of(USDT).received(USDT, [hot])[hot] >= CUSTOMERS * USDT.units(FIRST[USDT]) // 2

    until(collected, "the tokens to be collected")


def until(condition: Callable[[], bool], what: str, seconds: float = _PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except NODE_TROUBLE as error:
            trouble = f" ({error})"
        else:
            trouble = ""
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}{trouble}")
        time.sleep(0.5)
