"""Where money must lie, place by place, with payments in every stage."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from jobs.reconcile import places
from jobs.reconcile.books import AssetBooks, Underway
from jobs.reconcile.chain import Look, Sight
from wallets.protocol import HOT, ChainBalance, Tip, TxState


def item(units: int, source: int | None = None, target: int | None = None) -> Any:
    return SimpleNamespace(units=units, source_idx=source, target_idx=target)


def sight(
    purpose: str, state: TxState | None, *items: Any, asset: str = "ETH", fee: int = 0, batched: int = 0
) -> Sight:
    units = sum(each.units for each in items)
    row: Any = SimpleNamespace(
        purpose=purpose, asset=asset, fee_asset="ETH", units=units, fee_max_units=10, batched=batched
    )
    return Sight(Underway(row, (), items), state, fee)


def look(at: dict[int, int], total: int, treasury: int, *sights: Sight, code: str = "ETH", **books: Any) -> Look:
    kept: dict[str, Any] = {"uncredited": [], "suspect": {}, "holdings": {1: 100, 2: 0}, "unread": 0} | books
    asset = AssetBooks(code, None, {"treasury_hot": -treasury}, 0, indices=tuple(kept["holdings"]), followed=0, **kept)
    report: Any = None
    return Look(asset, ChainBalance(total, 0, Tip(1, "x"), at_index=at), sights, False, 0, report)


def differing(found: Look) -> dict[int, int]:
    return {place: units for place, units in places.differences(found).items() if units}


def test_nothing_under_way() -> None:
    assert differing(look({0: 50, 1: 100, 2: 0}, 150, 150)) == {}
    assert differing(look({0: 51, 1: 99, 2: 0}, 150, 150)) == {HOT: 1, 1: -1}


def test_a_sweep_is_where_the_chain_says_that_it_is() -> None:
    """The intent has taken the fee's ceiling of 10 from the treasury; nothing else moves in the books yet."""
    waits = sight("sweep", None, item(90, source=1, target=HOT))
    assert differing(look({0: 50, 1: 100, 2: 0}, 150, 140, waits)) == {}
    mined = sight("sweep", TxState.CONFIRMED, item(90, source=1, target=HOT), fee=7)
    assert differing(look({0: 140, 1: 3, 2: 0}, 143, 140, mined)) == {}
    failed = sight("sweep", TxState.FAILED, item(90, source=1, target=HOT), fee=7)
    assert differing(look({0: 50, 1: 93, 2: 0}, 143, 140, failed)) == {}


def test_gas_comes_from_the_hot_wallet() -> None:
    mined = sight("gas", TxState.CONFIRMED, item(20, target=2), fee=4)
    assert differing(look({0: 26, 1: 100, 2: 20}, 146, 140, mined)) == {}


def test_a_withdrawal_leaves() -> None:
    waits, mined = (sight("withdrawal", state, item(30), fee=fee) for state, fee in ((None, 0), (TxState.CONFIRMED, 6)))
    assert differing(look({0: 50, 1: 100, 2: 0}, 150, 110, waits)) == {}
    assert differing(look({0: 14, 1: 100, 2: 0}, 114, 110, mined)) == {}


def test_a_tokens_fee_is_paid_in_the_coin_by_who_signs() -> None:
    alone = sight("sweep", TxState.CONFIRMED, item(100, source=1, target=HOT), asset="TOK", fee=6)
    assert differing(look({0: 100, 1: 0, 2: 0}, 100, 100, alone, code="TOK")) == {}
    assert differing(look({0: 50, 1: 94, 2: 0}, 144, 140, alone)) == {}
    together = sight("sweep", TxState.CONFIRMED, item(100, source=1, target=HOT), asset="TOK", fee=6, batched=1)
    assert differing(look({0: 44, 1: 100, 2: 0}, 144, 140, together)) == {}


def test_what_is_not_credited_yet_lies_where_it_came_in() -> None:
    coming = [("a", 5, 2), ("b", 6, 0), ("c", 7, None)]
    assert differing(look({0: 63, 1: 100, 2: 5}, 168, 150, uncredited=coming)) == {}


def test_places_that_a_person_must_look_at_are_left_out() -> None:
    assert differing(look({0: 50, 1: 60, 2: 0}, 110, 150, suspect={1: 100})) == {}
    unclear = sight("withdrawal", TxState.UNCLEAR, item(30), fee=6)
    assert differing(look({0: 44, 1: 101, 2: 0}, 145, 110, unclear)) == {1: 1}


def test_dust_that_was_not_asked_for_is_nobodys_difference() -> None:
    assert differing(look({0: 50, 1: 100, 2: 0}, 150, 157, unread=7)) == {}
