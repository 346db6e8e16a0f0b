"""Quotes on the model chains, on both databases: what is priced, and what is refused to be."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Row, select

from jobs.rates import usable as rates
from jobs.swap import view as swap_view
from ledger import pauses
from ledger.errors import (
    AssetPaused,
    InvalidAmount,
    InvalidInput,
    InventoryShort,
    LimitExceeded,
    NotFound,
    QuoteExpired,
    RatesNotReady,
)
from ledger.schema import quote, task
from tests.clock import Clock
from tests.flows.books_engine import BooksEngine
from tests.flows.engine import _project
from tests.flows.swapping import BTC, XMR, accept, ask, units, written


def test_a_quote_by_the_sold_amount_shows_all_that_makes_its_price(counter: BooksEngine) -> None:
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    # 40 XMR at the rate, less 0.5 % spread, less 0.25 % service fee of the rest
    assert (made["rate"], made["spread_percent"], made["status"], made["payout"]) == ("400", "0.5", "open", False)
    assert (units(made, "sell"), units(made, "service_fee")) == (BTC // 10, 99_500_000_000)
    assert units(made, "buy") == 39_800_000_000_000 - 99_500_000_000
    assert (units(made, "network_fee"), units(made, "rounding")) == (0, 0)
    assert [(row["asset"], row["price"]) for row in made["rates"]] == [("BTC", "60000"), ("XMR", "150")]


def test_a_quote_by_the_bought_amount_buys_exactly_that_and_tells_the_rounding(counter: BooksEngine) -> None:
    made = ask(counter, "BTC", "XMR", buys=XMR + 1)
    assert units(made, "buy") == XMR + 1
    assert 0 < units(made, "rounding") < 3_980_000  # what one satoshi buys
    again = ask(counter, "BTC", "XMR", sells=units(made, "sell"))
    assert units(again, "buy") >= XMR + 1
    assert ask(counter, "BTC", "XMR", buys=units(again, "buy"))["sell"] == made["sell"]


def test_a_payouts_network_fee_is_in_the_price(counter: BooksEngine) -> None:
    plain = ask(counter, "XMR", "BTC", sells=40 * XMR)
    paid = ask(counter, "XMR", "BTC", sells=40 * XMR, payout=True)
    assert units(paid, "network_fee") == 2_000
    assert units(plain, "buy") - units(paid, "buy") == 2_000


@pytest.mark.parametrize("asset", ["BTC", "XMR"])
def test_of_a_pair_the_larger_spread_and_the_larger_fee_count(counter: BooksEngine, asset: str) -> None:
    counter.set_policy(asset, swap_spread_ppm=20_000, swap_fee_ppm=0)
    for sell, buy in (("BTC", "XMR"), ("XMR", "BTC")):
        made = ask(counter, sell, buy, sells=40 * XMR if sell == "XMR" else BTC // 10)
        assert made["spread_percent"] == "2"
        assert units(made, "service_fee") > 0


def test_nothing_is_reserved_or_moved_by_a_quote(counter: BooksEngine) -> None:
    before = written(counter)
    ask(counter, "BTC", "XMR", sells=BTC)
    assert written(counter) == before
    assert counter.guarded("reserved", "XMR") == 0


def test_an_asset_is_not_swapped_for_itself(counter: BooksEngine) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask(counter, "BTC", "BTC", sells=BTC)
    assert (refused.value.code, refused.value.pointer) == ("same_asset", "/buy")


@pytest.mark.parametrize(("side", "pointer"), [("sells", "/sell_amount"), ("buys", "/buy_amount")])
def test_dust_is_refused_on_either_side(counter: BooksEngine, side: str, pointer: str) -> None:
    for sell, buy in (("BTC", "XMR"), ("XMR", "BTC")):
        with pytest.raises(InvalidAmount, match="is the least") as refused:
            ask(counter, sell, buy, **{side: 1})
        assert (refused.value.code, refused.value.pointer) == ("amount_below_minimum", pointer)


def test_the_shown_minimum_can_be_sold_and_one_unit_less_cannot(counter: BooksEngine) -> None:
    for sell, buy in (("BTC", "XMR"), ("XMR", "BTC")):
        for payout in (False, True):
            least = units(ask(counter, sell, buy, payout=payout, sells=XMR if sell == "XMR" else BTC // 10), "minimum")
            assert units(ask(counter, sell, buy, payout=payout, sells=least), "sell") == least
            with pytest.raises(InvalidAmount):
                ask(counter, sell, buy, payout=payout, sells=least - 1)


def test_the_shown_maximum_can_be_sold_and_one_unit_more_cannot(counter: BooksEngine) -> None:
    counter.set_policy("XMR", swap_maximum_units=10_000 * XMR)
    most = units(ask(counter, "BTC", "XMR", sells=BTC), "maximum")
    deal = ask(counter, "BTC", "XMR", sells=most)
    assert units(deal, "buy") + units(deal, "service_fee") <= counter.guarded("inventory", "XMR")
    with pytest.raises(InventoryShort, match="the house has XMR for"):
        ask(counter, "BTC", "XMR", sells=most + 1)
    counter.set_policy("BTC", swap_maximum_units=BTC)
    assert units(ask(counter, "BTC", "XMR", sells=BTC), "maximum") == BTC
    with pytest.raises(LimitExceeded, match=r"1\.00000000 BTC is the most"):
        ask(counter, "BTC", "XMR", sells=BTC + 1)
    counter.set_policy("XMR", swap_maximum_units=100 * XMR)
    assert units(ask(counter, "BTC", "XMR", buys=100 * XMR), "buy") == 100 * XMR
    with pytest.raises(LimitExceeded):
        ask(counter, "BTC", "XMR", buys=100 * XMR + 1)


def test_a_payout_has_the_limits_of_withdrawals(counter: BooksEngine) -> None:
    counter.set_policy("XMR", withdrawal_minimum_units=10 * XMR, withdrawal_maximum_units=20 * XMR)
    for wrong, error in ((10 * XMR - 1, InvalidAmount), (20 * XMR + 1, LimitExceeded)):
        with pytest.raises(error):
            ask(counter, "BTC", "XMR", buys=wrong, payout=True)
    ask(counter, "BTC", "XMR", buys=20 * XMR, payout=True)
    ask(counter, "BTC", "XMR", buys=20 * XMR + 1)


def test_an_empty_inventory_is_told_when_a_price_is_asked_for(counter: BooksEngine) -> None:
    counter.set_policy("XMR", swap_maximum_units=10_000 * XMR)
    with pytest.raises(InventoryShort):
        ask(counter, "XMR", "BTC", buys=6 * BTC)


@pytest.mark.parametrize("flow", ["swaps", "*"])
def test_a_paused_asset_is_neither_sold_nor_bought(counter: BooksEngine, flow: str) -> None:
    counter.database.run(lambda tx: pauses.stop(tx, "XMR", flow, "test", "test"), "test")
    for pair in (("BTC", "XMR"), ("XMR", "BTC")):
        with pytest.raises(AssetPaused):
            ask(counter, *pair, sells=XMR)


def test_a_payout_waits_for_paused_withdrawals_and_a_balance_does_not(counter: BooksEngine) -> None:
    counter.database.run(lambda tx: pauses.stop(tx, "XMR", "withdrawals", "test", "test"), "test")
    with pytest.raises(AssetPaused):
        ask(counter, "BTC", "XMR", sells=BTC, payout=True)
    assert ask(counter, "BTC", "XMR", sells=BTC)["status"] == "open"


@pytest.mark.parametrize("asset", ["BTC", "XMR"])
def test_old_rates_price_nothing_and_asking_wakes_the_worker(counter: BooksEngine, asset: str) -> None:
    counter.set_rates(**{asset: "100"}, age_seconds=61)
    with pytest.raises(RatesNotReady) as refused:
        ask(counter, "BTC", "XMR", sells=BTC)
    assert (refused.value.code, refused.value.retry_after_seconds) == ("rate_stale", 3)
    before = _rates_task(counter)
    counter.database.run(refused.value.remember, "test_later")
    after = _rates_task(counter)
    assert after.wakes == before.wakes + 1
    assert after.progress["wanted_until"] > counter.database.now() + rates.WANTED_US - 60 * 10**6
    counter.set_rates(BTC="60000", XMR="150")
    assert ask(counter, "BTC", "XMR", sells=BTC)["rate"] == "400"


@pytest.mark.parametrize("problem", ["divergent", "unavailable", "stale"])
def test_a_rate_with_a_problem_prices_nothing(counter: BooksEngine, problem: str) -> None:
    counter.set_rates(XMR="150", problem=problem)
    with pytest.raises(RatesNotReady) as refused:
        ask(counter, "BTC", "XMR", sells=BTC)
    assert refused.value.code == f"rate_{problem}"


@pytest.mark.parametrize("price", ["0", "-1", "NaN"])
def test_a_price_of_zero_prices_nothing_on_either_side(counter: BooksEngine, price: str) -> None:
    counter.set_rates(XMR=price)
    for pair in (("BTC", "XMR"), ("XMR", "BTC")):
        with pytest.raises(RatesNotReady) as refused:
            ask(counter, *pair, sells=XMR)
        assert refused.value.code == "rate_unavailable"
    assert counter.rows(quote) == []


def test_asking_keeps_rates_fresh_for_who_asks_next(counter: BooksEngine) -> None:
    ask(counter, "BTC", "XMR", sells=BTC)
    wanted = _rates_task(counter)
    assert wanted.progress["wanted_until"] > counter.database.now() + rates.WANTED_US // 2
    ask(counter, "BTC", "XMR", sells=BTC)
    assert _rates_task(counter).wakes == wanted.wakes  # the row is not fought over by every quote


def test_a_quote_that_nobody_took_is_closed_and_never_executes(counter: BooksEngine, clock: Clock) -> None:
    account = counter.funded_in(BTC=BTC)
    taken, left = (ask(counter, "BTC", "XMR", sells=BTC // 10) for _ in range(2))
    accept(counter, account, taken)
    clock.forward(seconds=61)
    assert counter.database.read(lambda tx: swap_view.quote_(tx, 2))["status"] == "expired"  # shown so at once
    counter.run_due(["quotes"])
    assert [row.state for row in counter.rows(quote)] == ["accepted", "expired"]
    with pytest.raises(QuoteExpired):
        accept(counter, account, left)


def test_a_quote_of_another_shop_does_not_exist(counter: BooksEngine) -> None:
    stranger = counter.database.run(_project, "test_project")
    made = ask(counter, "BTC", "XMR", sells=BTC, by=stranger)
    with pytest.raises(NotFound):
        accept(counter, counter.account(), made)


def _rates_task(counter: BooksEngine) -> Row[Any]:
    return counter.database.read(lambda tx: tx.one(select(task).where(task.c.name == "rates")))
