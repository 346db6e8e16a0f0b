"""Who is on stage, and what all chapters need: the customers' books compared, and blocks that come on command."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from devstack.demo.desk import Desk
from devstack.demo.figures import COINS, Checks, Coin, Customer, Purse, Totals
from devstack.demo.outside.bitcoin import OutsideBitcoin
from devstack.demo.outside.ethereum import OutsideEthereum
from devstack.demo.outside.monero import OutsideMonero
from devstack.demo.shop import Shop
from devstack.demo.teller import Teller

World = OutsideBitcoin | OutsideMonero | OutsideEthereum


@dataclass
class Scene:
    tell: Teller
    desk: Desk
    shop: Shop
    arbiter: Shop  #: with a key of his own, which may decide disputes and nothing else
    bitcoin: OutsideBitcoin
    monero: OutsideMonero
    ethereum: OutsideEthereum
    checks: Checks = field(default_factory=Checks)
    totals: Totals = field(default_factory=Totals)
    #: Coffer's addresses on Ethereum, by whose they are: money lies on each, until it is collected.
    ours: dict[str, str] = field(default_factory=dict)

    def world(self, chain: str) -> World:
        worlds: dict[str, World] = {"bitcoin": self.bitcoin, "monero": self.monero, "ethereum": self.ethereum}
        return worlds[chain]

    def customer(self, name: str) -> Customer:
        return self.totals.customers[name]

    def purse(self, name: str, coin: Coin) -> Purse:
        return self.customer(name).purses[coin]

    def balances(self, who: Customer) -> dict[str, dict[str, int]]:
        """What the API says the customer has, in units, by asset; zeros before anything came in."""
        kinds = ("available", "held", "escrow", "swap", "pending", "receivable")
        empty = dict.fromkeys(kinds, 0)
        found = self.shop.get(f"/v1/accounts/{who.account}/balances")["data"]
        said = {line["asset"]: {kind: units(line[kind]) for kind in kinds} for line in found}
        return {coin.code: said.get(coin.code, empty) for coin in COINS}

    def compare(self, *names: str, coins: Collection[Coin] = COINS) -> None:
        """That the books have exactly what the demo counted for these customers, of every coin; tells of `coins`."""
        people = [self.customer(name) for name in names or self.totals.customers]
        found = {who.name: self.balances(who) for who in people}
        for who in people:
            for coin in COINS:
                purse, said = who.purses[coin], found[who.name][coin.code]
                self.checks.same(f"{who.name}: available", coin.show(said["available"]), coin.show(purse.available))
                self.checks.same(f"{who.name}: held", coin.show(said["held"]), coin.show(purse.held))
                self.checks.same(f"{who.name}: in escrow", coin.show(said["escrow"]), coin.show(purse.escrowed))
        for coin in coins:
            shown = [f"{who.name} {_shown(coin, who.purses[coin])}" for who in people if who.purses[coin].moved]
            self.tell.ledger(f"{coin.code:<4} {', '.join(shown) or 'nobody has any'}")

    def mine(self, *, bitcoin: int = 0, monero: int = 0, ethereum: int = 0) -> None:
        """Blocks on these chains; tells of them in one line."""
        told = []
        for name, blocks in (("bitcoin", bitcoin), ("monero", monero), ("ethereum", ethereum)):
            if blocks:
                self.world(name).mine(blocks)
                told.append(f"{name} {blocks} block{'s' * (blocks > 1)} to {self.world(name).height}")
        self.tell.chain(f"mined: {', '.join(told)}")


def _shown(coin: Coin, purse: Purse) -> str:
    bound = {"held": purse.held, "in escrow": purse.escrowed}
    return coin.show(purse.available) + "".join(f" + {coin.show(n)} {what}" for what, n in bound.items() if n)


def units(money: Mapping[str, str]) -> int:
    """Atomic units of an amount as the API shows it."""
    return int(money["units"])
