"""Escrows, swaps, rates and webhooks, on two model chains."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.flow import Ends, Flow, Stage, Start, account, address, close, hours, mine, pay, task, withdraw, work
from tests.faults.world import World
from tests.faults.world_trades import TradeWorld

BITCOIN, MONERO = 10**8, 10**12
STOCK = {"BTC": 2 * BITCOIN, "XMR": 1_000 * MONERO}


def trades(act: Callable[[TradeWorld], object]) -> Stage:
    """A stage of these worlds only."""

    def stage(world: World) -> None:
        assert isinstance(world, TradeWorld)
        act(world)

    return stage


STARTS = (
    Start("trades-founded", None),
    Start(
        "stocked",
        "trades-founded",
        (
            hours,
            account("alice"),
            account("bob"),
            *(trades(lambda w, c=code, n=units: w.stock(c, n)) for code, units in STOCK.items()),
            address("a", "alice", "BTC"),
            address("b", "bob", "XMR"),
            pay("fund-a", ("a", BITCOIN)),
            pay("fund-b", ("b", 200 * MONERO)),
            mine(101),
            hours,
            *(trades(lambda w, c=code, n=units: w.to_inventory(c, n)) for code, units in STOCK.items()),
            trades(TradeWorld.write_rates),
            close,
        ),
    ),
)

_BURIED = (mine(100), hours)
_SETTLED = (mine(3), work, *_BURIED)
_FUNDED = ("final",) * 4
_ON = ("trades",)

FLOWS = (
    Flow(
        "rates-fetched",
        "stocked",
        (task("rates"), task("rates")),
        Ends({"alice": BITCOIN, "XMR:bob": 200 * MONERO}, deposits=_FUNDED),
        chains=_ON,
    ),
    Flow(
        "trade-try",
        "stocked",
        (withdraw("w1", "bob", MONERO, "xmr-p1", "XMR"), work, *_SETTLED),
        Ends({"alice": BITCOIN, "XMR:bob": 199 * MONERO - MONERO // 2000}, {"w1": "completed"}, deposits=_FUNDED),
        chains=_ON,
    ),
)
