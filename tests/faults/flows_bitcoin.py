"""The flows of a chain of coins, on the model chain and, where a regtest node can play them, on a real bitcoind."""

from __future__ import annotations

from functools import partial

from tests.faults.flow import (
    Ends,
    Flow,
    Start,
    account,
    address,
    approve,
    cancel,
    close,
    hours,
    mine,
    pay,
    reorg,
    withdraw,
    work,
)
from tests.faults.world import World

STARTS = (
    Start("founded", None),
    Start("adopted", "founded", (hours, account("alice"), account("bob"), account("carol"))),
    Start(
        "funded",
        "adopted",
        (
            address("a", "alice"),
            address("b", "bob"),
            address("c", "carol"),
            pay("fund-a", ("a", 1_000_000)),
            pay("fund-b", ("b", 900_000)),
            pay("fund-c", ("c", 800_000)),
            mine(101),
            hours,
            close,
        ),
    ),
    Start("poor", "adopted", (address("a", "alice"), pay("fund-a", ("a", 600_000)), mine(101), hours, close)),
)

_BURIED = (mine(100), hours)
_SETTLED = (mine(3), work, *_BURIED)
_FUNDED = ("final", "final", "final")
_FEE = 2_000
_BOTH = ("fake", "bitcoin")

FLOWS = (
    Flow(
        "deposit",
        "adopted",
        (
            address("a", "alice"),
            pay("tx", ("a", 2_000_000)),
            work,
            mine(1),
            work,
            mine(2),
            work,
            *_BURIED,
        ),
        Ends({"alice": 2_000_000}, deposits=("final",)),
        chains=_BOTH,
    ),
    Flow(
        "deposit-pair",
        "adopted",
        (
            address("a", "alice"),
            address("b", "bob"),
            pay("tx", ("a", 500_000), ("b", 700)),
            mine(1),
            work,
            *_BURIED,
        ),
        Ends({"alice": 500_000, "bob": 0}, deposits=("final", "ignored"), dust=700),
    ),
    Flow(
        "deposit-reorg-back",
        "adopted",
        (
            address("a", "alice"),
            pay("tx", ("a", 500_000)),
            mine(2),
            work,
            reorg(2),
            work,
            mine(2),
            work,
            *_BURIED,
        ),
        Ends({"alice": 500_000}, deposits=("final",)),
    ),
    Flow(
        "deposit-reorg-spent",
        "funded",
        (
            lambda w: w.transfer("give", "carol", "alice", 300_000),
            account("dave"),
            address("d", "dave"),
            pay("tx", ("d", 500_000)),
            mine(2),
            work,
            withdraw("w1", "dave", 300_000, "p1"),
            work,
            reorg(2, double_spent="tx"),
            work,
            *_SETTLED,
        ),
        Ends(
            {"alice": 1_300_000, "carol": 500_000, "dave": 0},
            {"w1": "completed"},
            ("final", "final", "final", "reversed"),
            receivable={"dave": 300_000 + _FEE},
        ),
    ),
    Flow(
        "withdrawal",
        "funded",
        (
            withdraw("w1", "alice", 400_000, "p1"),
            withdraw("w2", "bob", 300_000, "p1"),
            withdraw("w3", "carol", 200_000, "p2"),
            work,
            mine(1),
            work,
            *_SETTLED,
        ),
        Ends(
            {"alice": 600_000 - _FEE, "bob": 600_000 - _FEE, "carol": 600_000 - _FEE},
            dict.fromkeys(("w1", "w2", "w3"), "completed"),
            _FUNDED,
        ),
        chains=_BOTH,
    ),
    Flow(
        "withdrawal-cancelled",
        "funded",
        (
            withdraw("w1", "alice", 400_000, "p1"),
            withdraw("w2", "bob", 300_000, "p2"),
            cancel("w1"),
            work,
            *_SETTLED,
        ),
        Ends({"alice": 1_000_000, "bob": 600_000 - _FEE}, {"w1": "cancelled", "w2": "completed"}, _FUNDED),
    ),
    Flow(
        "withdrawal-approved",
        "funded",
        (
            withdraw("w1", "alice", 700_000, "p1"),
            work,
            approve("w1", "bob"),
            approve("w1", "carol"),
            work,
            *_SETTLED,
        ),
        Ends({"alice": 300_000 - _FEE}, {"w1": "completed"}, _FUNDED),
    ),
    Flow(
        "payment-bumped",
        "funded",
        (withdraw("w1", "alice", 400_000, "p1"), work, World.let_hours_pass, work, *_SETTLED),
        Ends({"alice": 600_000 - _FEE}, {"w1": "completed"}, _FUNDED),
        chains=_BOTH,
    ),
    Flow(
        "payment-vanished",
        "funded",
        (withdraw("w1", "alice", 400_000, "p1"), work, lambda w: w.outside.empty_pool(), work, *_SETTLED),
        Ends({"alice": 600_000 - _FEE}, {"w1": "completed"}, _FUNDED),
        chains=_BOTH,
    ),
    Flow(
        "payment-reorged",
        "funded",
        (withdraw("w1", "alice", 400_000, "p1"), work, mine(3), work, reorg(4), work, *_SETTLED),
        Ends({"alice": 600_000 - _FEE}, {"w1": "completed"}, _FUNDED),
        chains=_BOTH,
    ),
    Flow(
        "payment-declined",
        "poor",
        (
            withdraw("w1", "alice", 596_000, "p1"),
            lambda w: w.outside.set_rate(150_000),
            work,
            lambda w: w.outside.set_rate(None),
            work,
            *_SETTLED,
        ),
        Ends({"alice": 2_000}, {"w1": "completed"}, ("final",)),
    ),
    Flow(
        "addresses-run-out",
        "adopted",
        (
            partial(World.use_up_addresses, left=1),
            address("ready", "alice"),
            address("pending", "bob"),
            hours,
            lambda w: w.publish("late-address", "pending"),
            pay("tx", ("ready", 300_000)),
            lambda w: w.pay_noted("tx2", "late-address", 400_000),
            mine(1),
            work,
            *_BURIED,
        ),
        Ends({"alice": 300_000, "bob": 400_000}, deposits=("final", "final")),
        chains=_BOTH,
    ),
    Flow(
        "first-start",
        "founded",
        (
            account("alice"),
            address("early", "alice"),
            hours,
            lambda w: w.publish("early-address", "early"),
            lambda w: w.pay_noted("tx", "early-address", 400_000),
            mine(1),
            work,
            *_BURIED,
        ),
        Ends({"alice": 400_000}, deposits=("final",)),
        from_open=True,
        chains=_BOTH,
    ),
)
