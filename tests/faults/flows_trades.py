"""Escrows, swaps and rates, on two model chains. Amounts are atomic units: BTC unless a name begins with `XMR:`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ledger.schema import escrow as escrows
from tests.faults.chain_trades import PRICES
from tests.faults.flow import (
    Ends,
    Flow,
    Stage,
    Start,
    account,
    address,
    close,
    hours,
    mine,
    pay,
    reorg,
    rules,
    task,
    work,
)
from tests.faults.world import World
from tests.faults.world_trades import TradeWorld

BITCOIN, MONERO = 10**8, 10**12
STOCK = {"BTC": 2 * BITCOIN, "XMR": 1_000 * MONERO}
#: What alice and bob begin with.
ALICE, BOB = BITCOIN, 200 * MONERO

#: The price of an escrow, and 2.5 % of it: the vendor bears the fee unless a flow says otherwise.
PRICE, FEE = 10_000_001, 250_001
FEES = {"fee_percent": "2.5"}

#: What a swap sells, and what it gives at the rates of `PRICES`: 0.5 % spread, 0.25 % fee rounded up, from 40 XMR.
SELL = 10_000_000
_GROSS = SELL * MONERO * int(PRICES["BTC"]) // (BITCOIN * int(PRICES["XMR"]))
_NET = _GROSS * 995 // 1000
SWAP_FEE = -(-_NET * 25 // 10_000)
BOUGHT = _NET - SWAP_FEE
#: What leaving costs a customer.
XMR_FEE, BTC_FEE = MONERO // 2_000, 2_000


def trades(act: Callable[[TradeWorld], object]) -> Stage:
    """A stage of these worlds only."""

    def stage(world: World) -> None:
        assert isinstance(world, TradeWorld)
        act(world)

    return stage


turn = trades(TradeWorld.turn)


def read(chain: str) -> Stage:
    return trades(lambda w: w.read(chain))


def make(buyer: str = "alice", **terms: Any) -> Stage:
    """The escrow `e`: an order from bob."""
    return trades(lambda w: w.escrow("e", buyer, "bob", PRICE, **(FEES | terms)))


def ask(verb: str, **body: Any) -> Stage:
    """Something is asked of the escrow `e`. Amounts are units, a payout is to a named payee."""

    def act(world: TradeWorld) -> None:
        sent = {key: world.amount(value, "BTC") if key.endswith("amount") else value for key, value in body.items()}
        if "payout" in sent:
            sent["payout"] = {"address": world.outside.payee(sent["payout"]), "reference": "out"}
        world.ask(f"{verb}-{sorted(body.items())}", f"escrows/{world.client.id_of('e')}/{verb}", **sent)

    return trades(act)


def quote(name: str = "q", **more: Any) -> Stage:
    return trades(lambda w: w.quote(name, "BTC", "XMR", SELL, **more))


def swap(name: str = "s", **terms: Any) -> Stage:
    return trades(lambda w: w.swap(name, "q", "alice", **terms))


def rates(**prices: str) -> Stage:
    return trades(lambda w: w.write_rates(**prices))


def forward(minutes: int) -> Stage:
    return trades(lambda w: w.forward(minutes))


def over(*moments: str) -> Stage:
    """These moments of the escrow `e` are past."""
    return trades(lambda w: w.over(escrows, "e", *moments))


STARTS = (
    Start("trades-founded", None),
    Start(
        "stocked",
        "trades-founded",
        (
            hours,
            account("alice"),
            account("bob"),
            account("carol"),
            *(trades(lambda w, c=code, n=units: w.stock(c, n)) for code, units in STOCK.items()),
            address("a", "alice", "BTC"),
            address("b", "bob", "XMR"),
            pay("fund-a", ("a", ALICE)),
            pay("fund-b", ("b", BOB)),
            mine(101),
            hours,
            *(trades(lambda w, c=code, n=units: w.to_inventory(c, n)) for code, units in STOCK.items()),
            rates(),
            trades(TradeWorld.plan),
            close,
        ),
    ),
)

_BURIED = (mine(100), hours)
_SENT = (mine(3), work, *_BURIED)
#: The house's two deposits and those of alice and bob.
_FUNDED = ("final",) * 4
_LATER = "later"


def flow(name: str, *stages: Stage, ends: Ends) -> Flow:
    """Places of requests for accounts and addresses, and of periodic tasks, are visited by the other flows."""
    return Flow(name, "stocked", stages, ends, brief=True, chains=("trades",))


def ended(
    alice: int,
    bob: int = 0,
    *,
    more: Mapping[str, int] | None = None,
    came: tuple[str, ...] = (),
    fees: Mapping[str, int] | None = None,
    **others: Any,
) -> Ends:
    """Alice's and bob's BTC, and `more`; the deposits beyond those that funded the start; what the house earned."""
    available = {"alice": alice, "bob": bob, "XMR:bob": BOB} | dict(more or {})
    earned = {f"{code}:service_fees": units for code, units in ({"BTC": 0, "XMR": 0} | dict(fees or {})).items()}
    return Ends(available, deposits=tuple(sorted((*_FUNDED, *came))), house=earned, **others)


def released(alice: int, **more: Any) -> Ends:
    return ended(alice, PRICE - FEE, fees={"BTC": FEE}, escrows={"e": "released"}, **more)


ESCROWS = (
    flow("escrow-balance", make(), ask("fund"), ask("release"), ends=released(ALICE - PRICE)),
    flow(
        "escrow-deposits",
        make(address=True, funding_deadline=_LATER),
        pay("tx1", ("e", 4_000_000)),
        mine(6),
        read("bitcoin"),
        pay("tx2", ("e", PRICE - 4_000_000 + 5_000)),
        mine(6),
        read("bitcoin"),
        ask("release"),
        *_BURIED,
        ends=released(ALICE + 5_000, came=("final", "final")),
    ),
    flow(
        "escrow-steps",
        make(fee_from="buyer"),
        ask("fund", amount=4_000_000),
        ask("fund"),
        ask("release", amount=3_333_333),
        ask("refund", amount=1),
        ask("release", payout="p1"),
        work,
        *_SENT,
        # Of the price one unit went back, with no fee on it: floor(250001 * 10000000 / 10000001) were taken.
        ends=ended(
            ALICE - PRICE + 1 - FEE * (PRICE - 1) // PRICE,
            3_333_333,
            fees={"BTC": FEE * (PRICE - 1) // PRICE + BTC_FEE - 0},
            escrows={"e": "resolved"},
            withdrawals={"out": "completed"},
        ),
    ),
    flow(
        "escrow-split",
        make(),
        ask("fund"),
        ask("dispute", reason="broken"),
        ask("resolve", vendor_amount=3_333_334),
        ends=ended(
            ALICE - 3_333_334,
            3_333_334 - FEE * 3_333_334 // PRICE,
            fees={"BTC": FEE * 3_333_334 // PRICE},
            escrows={"e": "resolved"},
        ),
    ),
    flow(
        "escrow-expired",
        make(address=True, funding_deadline=_LATER),
        pay("tx", ("e", 4_000_000)),
        mine(6),
        read("bitcoin"),
        over("funding_deadline"),
        hours,
        *_BURIED,
        ends=ended(ALICE + 4_000_000, came=("final",), escrows={"e": "expired"}),
    ),
    flow(
        "escrow-deadline",
        make(deadline=_LATER, at_deadline="release"),
        ask("fund"),
        over("deadline"),
        hours,
        ends=released(ALICE - PRICE),
    ),
    flow(
        "escrow-reorged",
        make(address=True),
        pay("tx", ("e", PRICE)),
        mine(6),
        read("bitcoin"),
        reorg(6, double_spent="tx"),
        read("bitcoin"),
        ask("cancel"),
        *_BURIED,
        ends=ended(ALICE, came=("reversed",), escrows={"e": "cancelled"}),
    ),
    flow(
        "escrow-released-reorged",
        make(address=True),
        pay("tx", ("e", PRICE)),
        mine(6),
        read("bitcoin"),
        ask("release"),
        reorg(6),
        read("bitcoin"),
        mine(6),
        read("bitcoin"),
        *_BURIED,
        ends=released(ALICE, came=("final",)),
    ),
)

FROZEN = (
    flow(
        "escrow-released-frozen",
        make("carol", address=True),
        pay("tx", ("e", PRICE)),
        mine(6),
        read("bitcoin"),
        ask("release"),
        reorg(6, double_spent="tx"),
        read("bitcoin"),
        *_BURIED,
        ends=ended(
            ALICE,
            came=("reversed",),
            fees={"BTC": FEE},
            escrows={"e": "released"},
            held={"bob": PRICE - FEE},
            receivable={"carol": PRICE},
        ),
    ),
)

#: The other way round: 40 XMR are sold, for 0.1 BTC less the spread and the fee.
SELL_XMR = 40 * MONERO
_NET_BTC = SELL_XMR * BITCOIN * int(PRICES["XMR"]) // (MONERO * int(PRICES["BTC"])) * 995 // 1000
BTC_SWAP_FEE = -(-_NET_BTC * 25 // 10_000)

_BALANCE = {"XMR:alice": BOUGHT}
_EARNED = {"XMR": SWAP_FEE}
_OUT = {"form": "deposit", "payout_address": "xmr-p1", "refund_address": "p2"}

SWAPS = (
    flow(
        "swap-balance",
        quote(),
        swap(),
        ends=ended(ALICE - SELL, more=_BALANCE, fees=_EARNED, swaps={"s": "completed"}),
    ),
    flow(
        "swap-expired",
        quote(),
        swap(form="deposit"),
        forward(21),
        hours,
        ends=ended(ALICE, swaps={"s": "expired"}),
    ),
    flow(
        "swap-deposit-balance",
        quote(),
        swap(form="deposit"),
        pay("tx", ("s", SELL)),
        mine(6),
        read("bitcoin"),
        *_BURIED,
        ends=ended(ALICE, more=_BALANCE, came=("final",), fees=_EARNED, swaps={"s": "completed"}),
    ),
    flow(
        "swap-payout",
        quote(payout=True),
        swap(payout_address="xmr-p1"),
        work,
        *_SENT,
        ends=ended(
            ALICE - SELL,
            fees=_EARNED | {"XMR": SWAP_FEE + XMR_FEE},
            swaps={"s": "completed"},
            withdrawals={"swap:s": "completed"},
        ),
    ),
    flow(
        "swap-deposit",
        quote(payout=True),
        swap(**_OUT),
        pay("tx", ("s", SELL)),
        mine(6),
        work,
        *_SENT,
        ends=ended(
            ALICE,
            came=("final",),
            fees={"XMR": SWAP_FEE + XMR_FEE},
            swaps={"s": "completed"},
            withdrawals={"swap:s": "completed"},
        ),
    ),
    flow(
        "swap-refunded",
        quote(payout=True),
        swap(**_OUT),
        forward(21),
        rates(XMR="151"),
        turn,
        pay("tx", ("s", SELL)),
        mine(6),
        work,
        *_SENT,
        ends=ended(
            ALICE,
            came=("final",),
            fees={"BTC": BTC_FEE},
            swaps={"s": "refunded"},
            withdrawals={"swap:s:refund": "completed"},
        ),
    ),
    flow(
        "swap-reorged",
        quote(),
        swap(form="deposit"),
        pay("tx", ("s", SELL)),
        mine(6),
        read("bitcoin"),
        reorg(6, double_spent="tx"),
        read("bitcoin"),
        *_BURIED,
        ends=ended(ALICE - SELL, more=_BALANCE, came=("reversed",), fees=_EARNED, swaps={"s": "completed"}),
    ),
    flow(
        "swap-deposit-xmr",
        trades(lambda w: w.quote("q", "XMR", "BTC", SELL_XMR)),
        swap(form="deposit"),
        pay("tx", ("s", SELL_XMR)),
        mine(6),
        read("monero"),
        *_BURIED,
        ends=ended(
            ALICE + _NET_BTC - BTC_SWAP_FEE, came=("final",), fees={"BTC": BTC_SWAP_FEE}, swaps={"s": "completed"}
        ),
    ),
    flow(
        "swap-late",
        quote(),
        swap(form="deposit", slippage_percent="1"),
        forward(21),
        turn,
        pay("tx", ("s", SELL)),
        mine(6),
        read("bitcoin"),
        *_BURIED,
        ends=ended(ALICE, more=_BALANCE, came=("final",), fees=_EARNED, swaps={"s": "completed"}),
    ),
)

HEDGES = (
    flow(
        "hedge-placed",
        rules("BTC", inventory_low_units=3 * BITCOIN, inventory_high_units=5 * BITCOIN),
        task("hedge"),
        trades(TradeWorld.trade),
        forward(21),
        trades(TradeWorld.trade),
        trades(TradeWorld.close_hedges),
        # A death between the word that it is sent and the answer: only a person can tell what became of it.
        ends=ended(ALICE, hedges=("filled", "failed"), alarms=("inventory_low", "hedge_unclear")),
    ),
)

FLOWS = (
    flow(
        "webhook-delivered",
        trades(lambda w: w.endpoint("hook")),
        make(),
        ask("fund"),
        ask("release"),
        task("sequence"),
        task("fanout"),
        ends=released(ALICE - PRICE, told=("escrow.awaiting_funds", "escrow.funded", "escrow.released")),
    ),
    flow("rates-fetched", task("rates"), task("rates"), ends=ended(ALICE)),
    *ESCROWS,
    *FROZEN,
    *SWAPS,
    *HEDGES,
)
