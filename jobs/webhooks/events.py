"""The names of events, as endpoints may ask for them: `deposit.credited`, `deposit.*`, `*`."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.errors import InvalidInput
from ledger.schema.chains import DEPOSIT_STATES
from ledger.schema.exits import WITHDRAWAL_STATES
from ledger.schema.trades import ESCROW_STATES, SWAP_STATES

#: What is told of an escrow beside its states.
_OF_ESCROWS = (
    "partially_funded",
    "paid_in",
    "awaiting_decision",
    "funding_returned",
    "funding_reversed",
    "partially_released",
    "partially_refunded",
)

#: And of a swap.
_OF_SWAPS = ("paid_in", "funding_returned", "funding_reversed")

#: resource -> what may follow the dot.
EVENTS: dict[str, tuple[str, ...]] = {
    "address": ("underpaid", "paid", "overpaid", "expired", "paid_late"),
    "deposit": DEPOSIT_STATES,
    "transfer": ("completed",),
    "withdrawal": WITHDRAWAL_STATES,
    "escrow": (*ESCROW_STATES, *_OF_ESCROWS),
    "swap": (*SWAP_STATES, *_OF_SWAPS),
    "webhook_endpoint": ("disabled",),
    "alarm": ("raised",),
}
TYPES = tuple(f"{resource}.{state}" for resource, states in EVENTS.items() for state in states)
PING = "webhook_endpoint.ping"

NAMES = frozenset(TYPES) | {f"{resource}.*" for resource in EVENTS} | {"*"}


def check(names: Sequence[str]) -> list[str]:
    """The names in order, each once. Raises `InvalidInput` for one that no event will ever have."""
    for number, name in enumerate(names):
        if name not in NAMES:
            raise InvalidInput(f"/events/{number}", "is no event; a name is resource.state, resource.* or *")
    return sorted(set(names))


def wanted(names: Sequence[str], type_: str) -> bool:
    """Whether an endpoint that asked for `names` gets events of this type."""
    return "*" in names or type_ in names or f"{type_.partition('.')[0]}.*" in names
