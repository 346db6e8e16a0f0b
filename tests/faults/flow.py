"""What a flow is made of: a short script of stages, and what must be true at its end.

A stage that was not finished is run again from its beginning after a restart, so a stage is either the outside's
(which passes no crashpoint and so is never cut short), or made of calls that a shop may repeat, or Coffer's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.faults.world import World

Stage = Callable[[World], None]


def work(world: World) -> None:
    world.work()


def hours(world: World) -> None:
    world.work_for_hours()


def close(world: World) -> None:
    world.close_the_day()


def mine(blocks: int) -> Stage:
    return lambda world: world.outside.mine(blocks)


def pay(name: str, *outputs: tuple[str, int], asset: str | None = None) -> Stage:
    return lambda world: world.pay(name, *outputs, asset=asset)


def withdraw(name: str, account: str, units: int, payee: str, asset: str | None = None) -> Stage:
    return lambda world: world.withdraw(name, account, units, payee, asset)


def approve(name: str, holder: str) -> Stage:
    return lambda w: w.ask(f"approve-{holder}", f"withdrawals/{w.client.id_of(name)}/approve", holder)


def cancel(name: str) -> Stage:
    return lambda w: w.ask("cancel", f"withdrawals/{w.client.id_of(name)}/cancel")


def address(name: str, account: str, asset: str | None = None) -> Stage:
    return lambda world: world.address(name, account, asset)


def account(name: str) -> Stage:
    return lambda world: world.account(name) and None


def reorg(depth: int, double_spent: str | None = None) -> Stage:
    return lambda w: w.outside.reorg(depth, double_spent=[w.client.noted(double_spent)] if double_spent else [])


def empty_pool(world: World) -> None:
    world.outside.empty_pool()


def task(name: str) -> Stage:
    """One of the chain's own tasks, and whatever it makes due."""
    return lambda world: world.run_task(name)


def halted(cause: str) -> Stage:
    """Nothing is signed on the chain from here on; with `restored` nothing leaves either."""
    return lambda world: world.halt(cause)


def lifted(cause: str) -> Stage:
    return lambda world: world.lift(cause)


def unpaid(payee: str) -> Stage:
    """At this moment nothing is out to the payee, in pool or chain."""

    def look(world: World) -> None:
        assert world.outside.paid_to(world.outside.payee(payee)) == [], f"{payee} was paid"

    return look


def rules(asset: str, **values: object) -> Stage:
    """An operator changes policy."""
    return lambda world: world.set_policy(asset, **values)


@dataclass(frozen=True)
class Ends:
    """What is true at a flow's end, by the names of its calls; everything else is an invariant of all flows.

    Amounts are of the chain's own coin, or of another asset under `asset:account`."""

    available: Mapping[str, int]
    withdrawals: Mapping[str, str] = field(default_factory=dict)
    deposits: tuple[str, ...] = ()  #: states of all deposits, sorted
    receivable: Mapping[str, int] = field(default_factory=dict)
    dust: int = 0
    sweeps: tuple[str, ...] = ()  #: states of all sweeps, sorted
    others: Mapping[str, int] = field(default_factory=dict)  #: final payments that pay no customer, by purpose
    cold: int = 0  #: what the cold wallet has
    escrows: Mapping[str, str] = field(default_factory=dict)
    swaps: Mapping[str, str] = field(default_factory=dict)
    hedges: tuple[str, ...] = ()  #: states in which orders on an exchange may have ended, each of them
    alarms: tuple[str, ...] = ()  #: further ones that belong to the flow
    told: tuple[str, ...] = ()  #: types of the events that reached the shop, in order
    held: Mapping[str, int] = field(default_factory=dict)  #: what is frozen; nothing else is held at a flow's end
    house: Mapping[str, int] = field(default_factory=dict)  #: `asset:kind`, as in `BTC:service_fees`


@dataclass(frozen=True)
class Flow:
    """`start` names the snapshot that it begins with; `from_open`: the first contact with the node is part of it.

    Every flow ends with `close`; only for the `whole` ones its crashpoints count: it is the same work in all. Of a
    `brief` one only the places of its own payments and deposits, and around calls to the node, are visited unless all
    are asked for: requests and periodic tasks die in other flows of its chain."""

    name: str
    start: str
    stages: tuple[Stage, ...]
    ends: Ends
    from_open: bool = False
    whole: bool = False
    brief: bool = False
    chains: tuple[str, ...] = ("fake",)


@dataclass(frozen=True)
class Start:
    """A state that several flows begin with, made once without any crash."""

    name: str
    after: str | None
    stages: tuple[Stage, ...] = ()
