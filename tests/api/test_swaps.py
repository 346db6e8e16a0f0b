"""Quotes and swaps over the API, on both databases: BTC, XMR, ETH and a token of six decimals."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from jobs.swap import inventory
from ledger import accounts, pauses, policy, postings
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import account, idempotency, posting, quote, rate, swap, task
from tests.api.shop import Shop, code
from tests.api.test_bad_input import AMOUNTS, IDS
from tests.api.test_idempotency import at_once
from tests.clock import Clock
from wallets.fake.addresses import derive

PRICES = {"BTC": "60000", "XMR": "150", "ETH": "3000", "USDT": "1"}
#: Three hundred dollars of each, and a little more than can be divided.
WORTH = {"BTC": "0.00500001", "XMR": "2.000000000001", "ETH": "0.100000000000000001", "USDT": "300.000001"}
DECIMALS = {"BTC": 8, "XMR": 12, "ETH": 18, "USDT": 6}
#: Whole coins that the house has of each at the least.
STOCK = {"BTC": 100, "XMR": 10_000, "ETH": 1_000, "USDT": 1_000_000}
PAYEES = {"BTC": derive("outside/swaps"), "ETH": "0x" + "ab" * 20}

Fund = Callable[..., None]
Rates = Callable[..., None]


@pytest.fixture
def rates(database: Database) -> Rates:
    """Write rates of now, or so old."""

    def write(age_seconds: int = 0, **changes: str) -> None:
        def unit(tx: Tx) -> None:
            at = tx.now - age_seconds * 1_000_000
            for coin, price in (PRICES | changes).items():
                row = {"asset": coin, "currency": "USD", "price": price, "spread_ppm": 0, "sources": []}
                tx.execute(insert(rate).values(row | {"quoted_at": at, "at": at}))

        database.run(unit, "rates")

    return write


@pytest.fixture(autouse=True)
def _market(database: Database, rates: Rates) -> None:
    """Rates of now, and something to give."""

    def stock(tx: Tx) -> None:
        for coin, whole in STOCK.items():
            units = whole * 10 ** DECIMALS[coin]
            leg = Leg(accounts.house("treasury_hot"), accounts.house("capital"), units)
            postings.post(tx, new_id("ts"), "deposit", coin, [leg], ("test", 0))
            inventory.fund(tx, coin, units, "tests")

    rates()
    database.run(stock, "stock")


@pytest.fixture
def unchanged(database: Database) -> Callable[[], list[int]]:
    def counts() -> list[int]:
        tables = (quote, swap, posting, idempotency)
        return [database.read(lambda tx, t=t: tx.value(select(func.count()).select_from(t))) for t in tables]

    return counts


def ask(shop: Shop, sell: str, buy: str, **rest: Any) -> Any:
    answer = shop.post("/v1/quotes", {"sell": sell, "buy": buy} | (rest or {"sell_amount": "1"}))
    assert answer.status_code == 201, answer.text
    return answer.json


def take(shop: Shop, made: Any, owner: str, **rest: Any) -> Any:
    return shop.post("/v1/swaps", {"quote": made["id"], "account": owner, "reference": new_id("r")} | rest)


def available(shop: Shop, owner: str, asset: str) -> str:
    rows = shop.get(f"/v1/accounts/{owner}/balances").json["data"]
    return str(next(row for row in rows if row["asset"] == asset)["available"]["amount"])


def units(shop: Shop, owner: str, asset: str) -> int:
    rows = shop.get(f"/v1/accounts/{owner}/balances").json["data"]
    return int(next(row for row in rows if row["asset"] == asset)["available"]["units"])


def test_a_quote_is_made_shown_and_listed(shop: Shop, make_shop: Callable[..., Shop]) -> None:
    answer = shop.post("/v1/quotes", {"sell": "ETH", "buy": "BTC", "sell_amount": "1"})
    made = answer.json
    # 0.05 BTC at the rate, less 0.5 % spread, less 0.25 % of the rest
    assert (answer.status_code, made["buy"]["amount"], made["service_fee"]["amount"]) == (
        201,
        "0.04962562",
        "0.00012438",
    )
    assert (made["rate"], made["spread_percent"], made["side"]) == ("0.05", "0.5", "sell")
    assert (made["status"], made["swap"], made["payout"]) == ("open", None, False)
    assert answer.headers["Location"] == f"/v1/quotes/{made['id']}"
    read = shop.get(f"/v1/quotes/{made['id']}")
    assert (read.json, read.headers["ETag"]) == (made, answer.headers["ETag"])
    assert shop.get("/v1/quotes?status=open").json["data"] == [made]
    assert shop.get("/v1/quotes?status=accepted").json["data"] == []
    stranger = make_shop()
    assert code(stranger.get(f"/v1/quotes/{made['id']}")) == (404, "not_found")
    assert stranger.get("/v1/quotes").json["data"] == []


@pytest.mark.parametrize(("sell", "buy"), list(itertools.permutations(PRICES, 2)))
def test_any_asset_is_swapped_for_any_other(shop: Shop, fund: Fund, sell: str, buy: str) -> None:
    owner = shop.account()
    fund(owner, 10 ** DECIMALS[sell] * 1_000, sell)
    before = units(shop, owner, sell)
    made = ask(shop, sell, buy, sell_amount=WORTH[sell])
    answer = take(shop, made, owner)
    assert (answer.status_code, answer.json["status"]) == (201, "completed"), answer.text
    assert units(shop, owner, sell) == before - int(made["sell"]["units"])
    assert available(shop, owner, buy) == made["buy"]["amount"]
    named = ask(shop, sell, buy, buy_amount=made["buy"]["amount"])
    assert int(named["sell"]["units"]) <= int(made["sell"]["units"])
    assert named["buy"] == made["buy"]


def test_rates_that_are_being_fetched_answer_503_and_the_same_key_works_later(
    shop: Shop, database: Database, rates: Rates, unchanged: Callable[[], list[int]]
) -> None:
    rates(age_seconds=61)
    waiting = select(task.c.wakes, task.c.due_at).where(task.c.name == "rates")
    before, rows = database.read(lambda tx: tx.one(waiting)), unchanged()
    wish = {"sell": "BTC", "buy": "XMR", "sell_amount": "1"}
    answer = shop.post("/v1/quotes", wish, key="k")
    assert code(answer) == (503, "rate_stale")
    assert answer.headers["Retry-After"] == "3"
    after = database.read(lambda tx: tx.one(waiting))
    assert (after.wakes, after.due_at <= database.now()) == (before.wakes + 1, True)
    assert unchanged() == rows
    rates()
    assert shop.post("/v1/quotes", wish, key="k").status_code == 201


@pytest.mark.parametrize("price", ["0", "-5", "NaN"])
def test_a_price_that_is_none_answers_503(shop: Shop, rates: Rates, price: str) -> None:
    rates(XMR=price)
    for pair in (("BTC", "XMR"), ("XMR", "BTC")):
        answer = shop.post("/v1/quotes", {"sell": pair[0], "buy": pair[1], "sell_amount": "1"})
        assert code(answer) == (503, "rate_unavailable")


WRONG: list[tuple[dict[str, Any], int, str, str]] = [
    ({"buy": "BTC"}, 422, "same_asset", "/buy"),
    ({"sell": "DOGE"}, 422, "asset_unknown", "/sell"),
    ({"buy": "DOGE"}, 422, "asset_unknown", "/buy"),
    ({"sell_amount": None}, 422, "validation_failed", "/sell_amount"),
    ({"buy_amount": "1"}, 422, "validation_failed", "/sell_amount"),
    ({"sell_amount": "0.00000001"}, 422, "amount_below_minimum", "/sell_amount"),
    ({"sell_amount": None, "buy_amount": "0.000000000001"}, 422, "amount_below_minimum", "/buy_amount"),
    ({"sell_amount": "10.00000001"}, 409, "limit_exceeded", "/sell_amount"),
    ({"sell_amount": None, "buy_amount": "1000.000000000001"}, 409, "limit_exceeded", "/buy_amount"),
    ({"payout": "yes"}, 422, "type_wrong", "/payout"),
    ({"rate": "1"}, 422, "field_unknown", "/rate"),
]


@pytest.mark.parametrize(("change", "status", "expected", "pointer"), WRONG, ids=lambda value: str(value)[:40])
def test_a_quote_that_cannot_be_is_refused_by_name(
    shop: Shop, unchanged: Callable[[], list[int]], change: Any, status: int, expected: str, pointer: str
) -> None:
    before = unchanged()
    wish = {"sell": "BTC", "buy": "XMR", "sell_amount": "1"} | change
    answer = shop.post("/v1/quotes", {name: value for name, value in wish.items() if value is not None})
    assert answer.status_code == status
    assert (answer.json["errors"][0]["code"], answer.json["errors"][0]["pointer"]) == (expected, pointer)
    assert unchanged()[:3] == before[:3]


@pytest.mark.parametrize(("sell", "buy", "side"), [("BTC", "XMR", "sell_amount"), ("XMR", "BTC", "buy_amount")])
def test_amounts_of_quotes_are_exact_decimal_strings(shop: Shop, sell: str, buy: str, side: str) -> None:
    for amount, expected in AMOUNTS:
        if amount is not None:  # either may be absent
            answer = shop.post("/v1/quotes", {"sell": sell, "buy": buy, side: amount})
            assert answer.status_code == 422, amount
            error = answer.json["errors"][0]
            assert (error["pointer"], error["code"]) == (f"/{side}", expected), amount


def test_a_swap_is_told_by_its_event_and_by_its_accounts_entries(
    shop: Shop, fund: Fund, number_events: Callable[[], None]
) -> None:
    owner = shop.account()
    fund(owner, 10**8)
    made = ask(shop, "BTC", "USDT", sell_amount="0.01")
    answer = take(shop, made, owner, reference="first", metadata={"cart": "9"})
    done = answer.json
    assert answer.headers["Location"] == f"/v1/swaps/{done['id']}"
    assert (done["form"], done["deposit"], done["withdrawal"], done["metadata"]) == (
        "balance",
        None,
        None,
        {"cart": "9"},
    )
    assert shop.get(f"/v1/swaps/{done['id']}").json == done
    assert shop.get(f"/v1/quotes/{made['id']}").json | {"swap": None, "status": "open"} == made
    assert shop.get(f"/v1/quotes/{made['id']}").json["swap"] == done["id"]
    number_events()
    event = shop.get("/v1/events").json["data"][-1]
    assert (event["type"], event["data"]["object"]) == ("swap.completed", done)
    entries = shop.get(f"/v1/accounts/{owner}/entries?limit=2").json["data"]
    assert {(entry["type"], entry["resource"], entry["asset"]) for entry in entries} == {
        ("swap", done["id"], "BTC"),
        ("swap", done["id"], "USDT"),
    }
    for query, found in (("asset=BTC", 1), ("asset=USDT", 1), ("asset=XMR", 0), (f"account={owner}", 1)):
        assert len(shop.get(f"/v1/swaps?{query}").json["data"]) == found
    for query, found in (("status=completed", 1), ("status=failed", 0), ("reference=first", 1), ("reference=x", 0)):
        assert len(shop.get(f"/v1/swaps?{query}").json["data"]) == found


def test_a_repeat_of_the_call_is_the_same_swap_and_another_call_finds_the_quote_used(shop: Shop, fund: Fund) -> None:
    owner = shop.account()
    fund(owner, 10**8)
    made = ask(shop, "BTC", "XMR", sell_amount="0.1")
    wish = {"quote": made["id"], "account": owner, "reference": "r"}
    first = shop.post("/v1/swaps", wish, key="k")
    again = shop.post("/v1/swaps", wish, key="k")
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (201, first.data, "true")
    used = shop.post("/v1/swaps", wish | {"reference": "s"})
    assert code(used) == (409, "quote_used")
    assert used.json["existing"] == first.json["id"]
    other = ask(shop, "BTC", "XMR", sell_amount="0.1")
    assert code(shop.post("/v1/swaps", wish | {"quote": other["id"]})) == (409, "reference_exists")
    assert available(shop, owner, "BTC") == "0.90000000"


@pytest.fixture
def as_before(database: Database) -> Iterator[None]:
    """Other tests use the same database."""
    most = database.read(lambda tx: policy.of(tx, "BTC")).swap_open_max
    yield
    database.run(lambda tx: pauses.resume(tx, "BTC", "swaps", "t"), "t")
    database.run(lambda tx: policy.change(tx, "BTC", "swap_open_max", most, "t"), "t")


@pytest.mark.parametrize("form", ["balance", "deposit"])
@pytest.mark.parametrize("since", ["frozen", "paused", "many", "expired"])
@pytest.mark.usefixtures("as_before")
def test_who_repeats_a_reference_hears_of_the_swap_whatever_has_changed_since(
    shop: Shop, fund: Fund, database: Database, form: str, since: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shop lost the answer, and with it its quote: it asks for another price and posts its order again."""
    owner = shop.account()
    fund(owner, 10**8)
    first = take(shop, ask(shop, "BTC", "XMR", sell_amount="0.1"), owner, form=form, reference="mine")
    assert first.status_code in (201, 202)
    again = ask(shop, "BTC", "XMR", sell_amount="0.1")
    if since == "frozen":
        frozen = update(account).where(account.c.public_id == owner).values(frozen_reason="t")
        database.run(lambda tx: tx.execute(frozen), "t")
    elif since == "paused":
        database.run(lambda tx: pauses.stop(tx, "BTC", "swaps", "t", "t"), "t")
    elif since == "many":
        database.run(lambda tx: policy.change(tx, "BTC", "swap_open_max", 1, "t"), "t")
    else:
        Clock(monkeypatch).forward(seconds=61)
    refused = take(shop, again, owner, form=form, reference="mine")
    assert (code(refused), refused.json["existing"]) == ((409, "reference_exists"), first.json["id"])
    if since != "many" or form == "deposit":
        assert code(take(shop, again, owner, form=form, reference="other")) != (409, "reference_exists")


def test_of_many_calls_that_accept_one_quote_one_gets_it(shop: Shop, fund: Fund) -> None:
    owner = shop.account()
    fund(owner, 10**8)
    made = ask(shop, "BTC", "XMR", sell_amount="0.1")
    answers = at_once(12, lambda _: take(shop, made, owner))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
    assert {answer.json["code"] for answer in answers if answer.status_code == 409} == {"quote_used"}
    assert available(shop, owner, "BTC") == "0.90000000"


def test_an_expired_quote_is_told_so(shop: Shop, fund: Fund, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = shop.account()
    fund(owner, 10**8)
    made = ask(shop, "BTC", "XMR", sell_amount="0.1")
    Clock(monkeypatch).forward(seconds=61)
    assert code(take(shop, made, owner)) == (409, "quote_expired")
    assert shop.get(f"/v1/quotes/{made['id']}").json["status"] == "expired"
    assert available(shop, owner, "BTC") == "1.00000000"


def test_what_is_bought_is_paid_out_under_the_rules_of_withdrawals(
    shop: Shop, make_shop: Callable[..., Shop], fund: Fund
) -> None:
    owner = shop.account()
    fund(owner, 10**19, "ETH")
    made = ask(shop, "ETH", "BTC", buy_amount="0.01", payout=True)
    narrow = make_shop(project_id=shop.project_id, scopes=["swaps:write", "accounts:read"])
    refused = take(narrow, made, owner, payout_address=PAYEES["BTC"])
    assert code(refused) == (403, "scope_missing")
    assert refused.json["scope"] == "withdrawals:create"
    for wrong, expected in ((PAYEES["ETH"], "address_invalid"), ("x", "address_invalid"), ("", "too_short")):
        answer = take(shop, made, owner, payout_address=wrong)
        assert answer.status_code == 422
        error = answer.json["errors"][0]
        assert (error["pointer"], error["code"]) == ("/payout_address", expected)
    answer = take(shop, made, owner, payout_address=PAYEES["BTC"])
    assert (answer.status_code, answer.json["status"]) == (202, "paying_out")
    sent = shop.get(f"/v1/withdrawals/{answer.json['withdrawal']}").json
    assert (sent["amount"]["amount"], sent["address"], sent["fee"]) == (
        "0.01000000",
        PAYEES["BTC"],
        made["network_fee"],
    )
    assert sent["reference"] == f"swap:{answer.json['id']}"


def test_a_key_that_must_sign_signs_swaps(shop: Shop, make_shop: Callable[..., Shop], fund: Fund) -> None:
    owner = shop.account()
    fund(owner, 10**8)
    signer = make_shop(project_id=shop.project_id, signed=True)
    assert code(take(signer, ask(shop, "BTC", "XMR", sell_amount="0.1"), owner)) == (401, "signature_required")


def test_a_swap_by_deposit_gives_an_address_to_pay(shop: Shop) -> None:
    made = ask(shop, "BTC", "ETH", sell_amount="0.1", payout=True)
    rest = {"form": "deposit", "payout_address": PAYEES["ETH"], "refund_address": PAYEES["BTC"]}
    answer = take(shop, made, shop.account(), slippage_percent="0.75", **rest)
    assert (answer.status_code, answer.json["status"]) == (202, "awaiting_deposit"), answer.text
    paid = answer.json["deposit"]
    assert (paid["refund_address"], paid["slippage_percent"]) == (PAYEES["BTC"], "0.75")
    assert shop.get(f"/v1/addresses/{paid['address']}").json["payment_request"]["expected"]["amount"] == "0.10000000"


SAID: list[tuple[dict[str, Any], str]] = [
    ({"slippage_percent": "1"}, "/slippage_percent"),
    ({"refund_address": PAYEES["BTC"]}, "/refund_address"),
    ({"payout_address": PAYEES["ETH"]}, "/payout_address"),
    ({"form": "deposit", "slippage_percent": "10.0001"}, "/slippage_percent"),
    ({"form": "deposit", "slippage_percent": "-1"}, "/slippage_percent"),
    ({"form": "deposit", "slippage_percent": "1e0"}, "/slippage_percent"),
    ({"form": "deposit", "slippage_percent": "0.00001"}, "/slippage_percent"),
    ({"form": "deposit", "slippage_percent": 1}, "/slippage_percent"),
    ({"form": "deposit", "refund_address": PAYEES["ETH"]}, "/refund_address"),
    ({"form": "else"}, "/form"),
    ({"metadata": {"a": 1}}, "/metadata/a"),
    ({"reference": " "}, "/reference"),
    ({"quote": 5}, "/quote"),
]


@pytest.mark.parametrize(("change", "pointer"), SAID, ids=lambda value: str(value)[:40])
def test_what_a_swap_may_not_say_is_refused_by_name(
    shop: Shop, fund: Fund, unchanged: Callable[[], list[int]], change: Any, pointer: str
) -> None:
    owner = shop.account()
    fund(owner, 10**8)
    made = ask(shop, "BTC", "ETH", sell_amount="0.1")
    before = unchanged()
    answer = take(shop, made, owner, **change)
    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"] == pointer
    assert unchanged() == before


@pytest.mark.parametrize("text", IDS, ids=lambda value: repr(value)[:20])
def test_ids_of_nothing_are_404(shop: Shop, text: str) -> None:
    for path in ("quotes/{}", "swaps/{}"):
        assert code(shop.get("/v1/" + path.format(text))) == (404, "not_found"), path
    made, owner = ask(shop, "BTC", "XMR"), shop.account()
    if len(text) <= 64 and text.isascii():
        assert code(take(shop, {"id": text}, owner)) == (404, "not_found")
        assert code(take(shop, made, text)) == (404, "not_found")


def test_another_projects_quote_and_account_do_not_exist(
    shop: Shop, make_shop: Callable[..., Shop], fund: Fund
) -> None:
    stranger = make_shop()
    mine, theirs = shop.account(), stranger.account()
    for owner in (mine, theirs):
        fund(owner, 10**9)
    made = ask(shop, "BTC", "XMR")
    assert code(take(stranger, made, theirs)) == (404, "not_found")
    assert code(take(shop, made, theirs)) == (404, "not_found")
    done = take(shop, made, mine).json
    assert code(stranger.get(f"/v1/swaps/{done['id']}")) == (404, "not_found")
    assert stranger.get("/v1/swaps").json["data"] == []
    assert done["id"] in json.dumps(shop.get("/v1/swaps").json)


def test_refusals_of_money_name_their_code(shop: Shop, fund: Fund, database: Database) -> None:
    owner = shop.account()
    fund(owner, 10**6)
    made = ask(shop, "BTC", "XMR", sell_amount="0.1")
    assert code(take(shop, made, owner)) == (409, "insufficient_funds")
    row_id = database.read(
        lambda tx: tx.value(select(accounts.account.c.id).where(accounts.account.c.public_id == owner))
    )
    database.run(lambda tx: accounts.freeze(tx, row_id, "test"), "test")
    assert code(take(shop, made, owner)) == (409, "account_frozen")
