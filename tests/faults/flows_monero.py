"""The flows of Monero, on a real monerod and monero-wallet-rpc."""

from __future__ import annotations

from functools import partial

from tests.faults.chain_monero import XMR
from tests.faults.flow import (
    Ends,
    Flow,
    Start,
    account,
    address,
    close,
    empty_pool,
    hours,
    mine,
    pay,
    reorg,
    rules,
    task,
    withdraw,
    work,
)
from tests.faults.world import World

_MONERO = ("monero",)
_FEE = XMR // 2_000
_SETTLED = (mine(10), work)
#: With the ten before more than the depth that is final here.
_BURIED = (mine(6), hours)

STARTS = (
    Start("xmr-adopted", "founded", (hours, account("alice"), account("bob"), close)),
    Start(
        "xmr-funded",
        "xmr-adopted",
        (
            address("a", "alice"),
            address("b", "bob"),
            pay("fund-a", ("a", 3 * XMR)),
            pay("fund-b", ("b", 2 * XMR)),
            *_SETTLED,
            *_BURIED,
            close,
        ),
    ),
    Start("xmr-splitting", "xmr-funded", (rules("XMR", hot_outputs=4),)),
    Start("xmr-rich", "xmr-funded", (rules("XMR", hot_ceiling_units=3 * XMR, hot_keep_units=2 * XMR),)),
)

FLOWS = (
    Flow(
        "xmr-deposit",
        "xmr-adopted",
        (address("a", "alice"), pay("tx", ("a", XMR)), work, mine(1), work, mine(9), work, *_BURIED),
        Ends({"alice": XMR}, deposits=("final",)),
        chains=_MONERO,
    ),
    Flow(
        "xmr-withdrawal",
        "xmr-funded",
        (withdraw("w1", "alice", XMR, "p1"), work, mine(1), work, *_SETTLED, *_BURIED),
        Ends({"alice": 2 * XMR - _FEE}, {"w1": "completed"}, ("final",) * 2),
        chains=_MONERO,
    ),
    Flow(
        "xmr-withdrawal-many",
        "xmr-funded",
        (
            withdraw("w1", "alice", XMR, "p1"),
            withdraw("w2", "bob", XMR // 2, "p2"),
            withdraw("w3", "alice", XMR // 4, "p3"),
            work,
            mine(1),
            work,
            *_SETTLED,
            *_BURIED,
        ),
        Ends(
            {"alice": 2 * XMR - XMR // 4 - 2 * _FEE, "bob": 2 * XMR - XMR // 2 - _FEE},
            dict.fromkeys(("w1", "w2", "w3"), "completed"),
            ("final",) * 2,
        ),
        brief=True,
        chains=_MONERO,
    ),
    Flow(
        "xmr-payment-vanished",
        "xmr-funded",
        (withdraw("w1", "alice", XMR, "p1"), work, empty_pool, mine(1), work, *_SETTLED, *_BURIED),
        Ends({"alice": 2 * XMR - _FEE}, {"w1": "completed"}, ("final",) * 2),
        brief=True,
        chains=_MONERO,
    ),
    Flow(
        "xmr-deposit-reorged",
        "xmr-adopted",
        (address("a", "alice"), pay("tx", ("a", XMR)), mine(10), work, reorg(10), work, *_SETTLED, *_BURIED),
        Ends({"alice": XMR}, deposits=("final",)),
        brief=True,
        chains=_MONERO,
    ),
    Flow(
        "xmr-payment-reorged",
        "xmr-funded",
        (withdraw("w1", "alice", XMR, "p1"), work, *_SETTLED, reorg(10), work, *_SETTLED, *_BURIED),
        Ends({"alice": 2 * XMR - _FEE}, {"w1": "completed"}, ("final",) * 2),
        brief=True,
        chains=_MONERO,
    ),
    Flow(
        "xmr-split",
        "xmr-splitting",
        (task("hot"), mine(1), work, *_SETTLED, *_BURIED),
        Ends({}, {}, ("final",) * 2, others={"split": 1}),
        brief=True,
        chains=_MONERO,
    ),
    Flow(
        "xmr-cold",
        "xmr-rich",
        (task("hot"), mine(1), work, *_SETTLED, *_BURIED),
        Ends({}, {}, ("final",) * 2, others={"cold": 1}, cold=3 * XMR),
        brief=True,
        chains=_MONERO,
    ),
    Flow(
        "xmr-sweep",
        "xmr-funded",
        (task("sweep"), mine(1), work, *_SETTLED, work, *_BURIED),
        Ends({"alice": 3 * XMR, "bob": 2 * XMR}, {}, ("final",) * 2, sweeps=("swept", "swept"), others={"sweep": 2}),
        chains=("monero-accounts",),
    ),
    Flow(
        "xmr-addresses-run-out",
        "xmr-adopted",
        (
            partial(World.use_up_addresses, left=1),
            address("ready", "alice"),
            address("pending", "bob"),
            hours,
            lambda w: w.publish("late-address", "pending"),
            pay("tx", ("ready", XMR)),
            lambda w: w.pay_noted("tx2", "late-address", 2 * XMR),
            *_SETTLED,
            *_BURIED,
        ),
        Ends({"alice": XMR, "bob": 2 * XMR}, deposits=("final", "final")),
        brief=True,
        chains=_MONERO,
    ),
    Flow(
        "xmr-first-start",
        "founded",
        (
            account("alice"),
            address("early", "alice"),
            hours,
            lambda w: w.publish("early-address", "early"),
            lambda w: w.pay_noted("tx", "early-address", XMR),
            *_SETTLED,
            *_BURIED,
        ),
        Ends({"alice": XMR}, deposits=("final",)),
        from_open=True,
        brief=True,
        chains=_MONERO,
    ),
)
