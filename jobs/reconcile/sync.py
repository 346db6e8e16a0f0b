"""Balance sync: every place of every asset against the books, and what came in without a deposit put into suspense.

Every run looks at the hot wallet and the indices that hold most; all others come round within a day. What is found is
kept in the task's row, so that it is judged only when it stays: a surplus until its block is final, a shortfall until
the next look.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Row, select

from jobs import alarms, cold_watch
from jobs.reconcile import differences, places, surplus
from jobs.reconcile.chain import Look, survey
from jobs.services import Services, is_final, require_healthy
from jobs.tasks import OF_A_CHAIN, Ran
from ledger import pauses
from ledger.db import Tx
from ledger.schema import index_counter
from wallets.protocol import HOT

_T = TypeVar("_T")

DAY_SECONDS = 86_400
#: Indices of the day's round in one run at most; with more than this for each run a round takes longer than a day.
SLICE_MAX = 2_000
#: Places that are followed at once; what goes beyond is found again in the next round.
FOLLOWED_MAX = 500


@dataclass
class Followed:
    """What the task remembers between two runs. Keys are `<asset>:<index>`, -1 the hot wallet."""

    next: int = 1  #: where the day's round goes on
    surpluses: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  #: units as text, and the height of the first look
    shortfalls: dict[str, str] = field(default_factory=dict)
    cold_at: int = 0  #: when the cold addresses were last looked at

    @classmethod
    def of(cls, progress: Mapping[str, Any] | None) -> Followed:
        kept = progress or {}
        return cls(
            kept.get("next", 1),
            dict(kept.get("surpluses", {})),
            dict(kept.get("shortfalls", {})),
            kept.get("cold_at", 0),
        )

    def kept(self) -> dict[str, Any]:
        return {
            "next": self.next,
            "surpluses": self.surpluses,
            "shortfalls": self.shortfalls,
            "cold_at": self.cold_at,
        }

    def indices(self) -> set[int]:
        """Places to look at again, whoever's turn it is."""
        return {int(key.rpartition(":")[2]) for key in (*self.surpluses, *self.shortfalls)} - {HOT}


@dataclass(frozen=True)
class Judgement:
    """What one look made of an asset."""

    book: Sequence[surplus.Surplus]
    short: Sequence[tuple[int, int, bool]]  #: index, units missing, whether the look before found the same


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `sync:<chain>`. Raises `NodeNotReady`: what an ill node does not see is not missing."""
    chain = row.name.partition(":")[2]
    before = Followed.of(row.progress)
    apart = services.address_book(chain).apart
    turn, following = services.database.read(partial(_turn, chain=chain, start=before.next)) if apart else (set(), 1)
    found = survey(services, chain, turn | before.indices() if apart else ())
    known, now = services.database.read(lambda tx: (require_healthy(tx, chain), tx.now))
    after = Followed(following, cold_at=before.cold_at)
    judged = [(look, _judge(look, before, after, known)) for look in found.looks]
    for code in found.unread:  # the brake tells of it
        after.surpluses |= _kept(before.surpluses, code, ())
        after.shortfalls |= _kept(before.shortfalls, code, ())
    watched = cold_watch.look(services, chain, before.cold_at, now)
    after.cold_at = watched.looked_at

    def effect(tx: Tx, _: Row[Any]) -> None:
        for look, judgement in judged:
            _act(tx, chain, look, judgement)
        watched.tell(tx)

    return Ran(values={"progress": after.kept()}, effect=effect)


def _turn(tx: Tx, chain: str, start: int) -> tuple[set[int], int]:
    """The indices whose turn it is in the day's round, and where the next run goes on."""
    end = int(tx.value(select(index_counter.c.next_index).where(index_counter.c.chain == chain)) or 0)
    runs = DAY_SECONDS / OF_A_CHAIN["sync"]
    count = min(SLICE_MAX, int(end / runs) + 1)
    first = start if 0 < start < end else 1
    return set(range(first, min(first + count, end))), first + count


def _judge(look: Look, before: Followed, after: Followed, known: Row[Any]) -> Judgement:
    """Compare, remember in `after`, and say what is to be done. Where deposits are on the move nothing is judged."""
    code, height = look.books.code, look.balance.tip.height
    found = {} if look.moving else places.differences(look)
    after.surpluses |= _kept(before.surpluses, code, found)
    after.shortfalls |= _kept(before.shortfalls, code, found)
    book, short = [], []
    for place, units in found.items():
        key = f"{code}:{place}"
        if units > 0 and _has_owner(look, place) and len(after.surpluses) < FOLLOWED_MAX:
            first = before.surpluses.get(key, {})
            since = int(first["height"]) if first.get("units") == str(units) else height
            after.surpluses[key] = {"units": str(units), "height": since}
            if since < height and is_final(known, since):
                book.append(surplus.Surplus(code, place, units, since, look.books.holdings.get(place, 0)))
        elif units < 0 and place != HOT:  # the hot wallet's is the reconciliation's to tell
            after.shortfalls[key] = str(units)
            short.append((place, -units, before.shortfalls.get(key) == str(units)))
    return Judgement(book, short)


def _has_owner(look: Look, place: int) -> bool:
    """Whether a surplus there can be booked to an address of ours. Where the hot wallet is not one address, what nobody
    can explain stays unexplained."""
    return place != HOT or look.hot_index is not None


def _kept(found_before: Mapping[str, _T], code: str, looked_at: Collection[int]) -> dict[str, _T]:
    """What was found before of this asset at places that this look has nothing to say about."""
    return {
        key: value
        for key, value in found_before.items()
        if key.rpartition(":")[0] == code and int(key.rpartition(":")[2]) not in looked_at
    }


def _act(tx: Tx, chain: str, look: Look, judgement: Judgement) -> None:
    code = look.books.code
    for found in judgement.book:
        surplus.book(tx, chain, found, treasury_units=-look.books.house["treasury_hot"])
    subject = f"sync:{code}"
    if not judgement.short:
        if not look.moving:
            alarms.clear(tx, subject)
        return
    told = ", ".join(f"{units} units on index {index}" for index, units, _ in judgement.short[:5])
    detail = f"{code}: the chain has less than the books expect: {told}"
    alarms.raise_(tx, "index_short", subject, detail)
    missing = {str(index): str(-units) for index, units, stays in judgement.short if stays}
    if missing and not differences.covered(tx, code, missing):
        for flow in ("withdrawals", "sweeps"):
            pauses.stop(tx, code, flow, detail[:255], "engine")
