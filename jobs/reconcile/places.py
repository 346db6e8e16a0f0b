"""Where the money of an asset must lie, place by place: the hot wallet and each index, payments under way included.

Pure: from one `Look` of the reconciliation. The sum over all places is the reconciliation's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from jobs.payment.contents import OUTWARD
from jobs.reconcile.chain import Look, Sight
from wallets.protocol import HOT, TxState


def differences(look: Look) -> Mapping[int, int]:
    """Units that lie at each place beyond what the books expect there (less: negative), `HOT` for the hot wallet.
    Places about which a person must decide anyhow are left out."""
    there, books = actual(look), expected(look)
    doubtful = _doubtful(look)
    return {place: there[place] - books[place] for place in there if place not in doubtful}


def actual(look: Look) -> dict[int, int]:
    """What the chain says, by place; of what outsiders' pool payments bring nothing."""
    found = {index: units for index, units in look.balance.at_index.items() if index in look.books.holdings}
    found.pop(look.hot_index if look.hot_index is not None else HOT, None)
    found[HOT] = look.balance.total_units - look.balance.pending_units - sum(found.values())
    return found


def expected(look: Look) -> Mapping[int, int]:
    """What the books say, by place: holdings, deposits that are not credited yet, and payments under way."""
    books = look.books
    places: defaultdict[int, int] = defaultdict(int, books.holdings)
    places[HOT] = -books.house["treasury_hot"] - sum(books.holdings.values()) - books.unread
    for _, units, index in books.uncredited:
        places[HOT if index is None or index not in books.holdings or index == look.hot_index else index] += units
    for sight in look.sights:
        _move(places, sight, books.code)
    return places


def _move(places: defaultdict[int, int], sight: Sight, code: str) -> None:
    """The intent took the fee's ceiling, and what leaves us, from the treasury, which in places is the hot wallet's:
    give that back, and take what the chain has taken from whom it took it."""
    row, items = sight.payment, sight.underway.items
    payer = next((item.source_idx for item in items if item.source_idx is not None), None)
    if row.fee_asset == code:
        places[HOT] += row.fee_max_units
        places[HOT if payer is None or row.batched else payer] -= sight.fee_units
    if row.asset != code:
        return
    if row.purpose in OUTWARD:
        places[HOT] += row.units
    if sight.state not in (TxState.CONFIRMED, TxState.UNCLEAR, TxState.POOL):
        return
    for item in items:
        places[HOT if item.source_idx is None else item.source_idx] -= item.units
        if item.target_idx is not None:
            places[item.target_idx] += item.units


def _doubtful(look: Look) -> set[int]:
    found = {HOT if index is None or index == look.hot_index else index for index in look.books.suspect}
    for sight in look.sights:
        if sight.state is TxState.UNCLEAR and sight.payment.asset == look.books.code:
            found |= {HOT} | {item.source_idx for item in sight.underway.items if item.source_idx is not None}
    return found
