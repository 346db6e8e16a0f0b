"""Faults to be planted on purpose: a simulation that finds none of them would be worth nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import bindparam, update

from jobs import runtime
from jobs.deposit import saga as deposit
from jobs.payment import release
from jobs.payment import resources as payment_resources
from jobs.resolve import payments as resolve_payments
from ledger import holds
from tests.simulation.chains import SimWallet


def _unfenced(table: Any, names: tuple[str, ...], nudged: bool) -> Any:
    t = table.c
    values = {name: bindparam(name) for name in names} | {"version": t.version + 1}
    return update(table).where(t.id == bindparam("own_id")).values(values)


def _taken_anyway(table: Any) -> Any:
    t = table.c
    lease: dict[str, Any] = {name: bindparam(name) for name in ("lease_token", "lease_until")}
    return update(table).where(t.id == bindparam("own_id")).values(lease | {"version": t.version + 1})


#: name -> (module or class, attribute, what stands there instead)
PLANTS: dict[str, Sequence[tuple[Any, str, Any]]] = {
    "money of a vanished deposit stays": [(deposit, "_unbook", lambda *_: None)],
    "a hold is not given back": [(holds, "void", lambda *_: None)],
    "a step's outcome is written without its lease": [(runtime, "_writing", _unfenced)],
    "a claimed row can be claimed again": [(runtime, "_taking", _taken_anyway)],
    "coins that are credited to nobody are spent": [
        (payment_resources, "strangers", lambda *_: set()),
        (payment_resources, "unspendable", lambda *_: set()),
    ],
    "change of any candidate is spent": [(payment_resources, "strangers", lambda *_: set())],
    "a payment is replaced whose change is spent": [(payment_resources, "spent_by_another", lambda *_: None)],
    "a deposit is credited though its block moved": [(deposit, "_check_unmoved", lambda *_: None)],
    "a payment may be let go without proof": [
        (resolve_payments, "check_dead", lambda *_: None),
        (release, "_alive", lambda *_: None),
    ],
    "vanished deposits are not asked for": [(SimWallet, "look_up_deposits", lambda *_: {})],
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The engine with this fault."""
    with ExitStack() as stack:
        for place, attribute, instead in PLANTS[name]:
            stack.enter_context(patch.object(place, attribute, instead))
        yield
