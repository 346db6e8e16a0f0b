"""The flows that are made to die: short scripts of stages, and what must be true at their end.

A stage that was not finished is run again from its beginning after a restart, so a stage is either the outside's
(which passes no crashpoint and so is never cut short), or made of calls that a shop may repeat, or Coffer's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from tests.faults.world import World

Stage = Callable[[World], None]


work = World.work
hours = World.work_for_hours
close = World.close_the_day


def mine(blocks: int) -> Stage:
    return lambda world: world.outside.mine(blocks)


def pay(name: str, *outputs: tuple[str, int]) -> Stage:
    return lambda world: world.pay(name, *outputs)


def withdraw(name: str, account: str, units: int, payee: str) -> Stage:
    return lambda world: world.withdraw(name, account, units, payee)


def approve(name: str, holder: str) -> Stage:
    return lambda w: w.ask(f"approve-{holder}", f"withdrawals/{w.client.id_of(name)}/approve", holder)


def cancel(name: str) -> Stage:
    return lambda w: w.ask("cancel", f"withdrawals/{w.client.id_of(name)}/cancel")


def address(name: str, account: str) -> Stage:
    return lambda world: world.address(name, account)


def account(name: str) -> Stage:
    return lambda world: world.account(name) and None


def reorg(depth: int, double_spent: str | None = None) -> Stage:
    return lambda w: w.outside.reorg(depth, double_spent=[w.client.noted(double_spent)] if double_spent else [])


@dataclass(frozen=True)
class Ends:
    """What is true at a flow's end, by the names of its calls; everything else is an invariant of all flows."""

    available: Mapping[str, int]
    withdrawals: Mapping[str, str] = field(default_factory=dict)
    deposits: tuple[str, ...] = ()  #: states of all deposits, sorted
    receivable: Mapping[str, int] = field(default_factory=dict)
    dust: int = 0


@dataclass(frozen=True)
class Flow:
    """`start` names the snapshot that it begins with; `from_open`: the first contact with the node is part of it.

    Every flow ends with `close`; only for the `whole` ones its crashpoints count: it is the same work in all."""

    name: str
    start: str
    stages: tuple[Stage, ...]
    ends: Ends
    from_open: bool = False
    whole: bool = False
    chains: tuple[str, ...] = ("fake",)


@dataclass(frozen=True)
class Start:
    """A state that several flows begin with, made once without any crash."""

    name: str
    after: str | None
    stages: tuple[Stage, ...] = ()


STARTS = {
    start.name: start
    for start in (
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
}

_BURIED = (mine(100), hours)
_SETTLED = (mine(3), work, *_BURIED)
_FUNDED = ("final", "final", "final")
_FEE = 2_000
_BOTH = ("fake", "bitcoin")

FLOWS = {
    flow.name: flow
    for flow in (
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
}
