"""Escrows over the API: a buyer, a vendor, a key of each scope; on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from ledger import accounts, pauses
from ledger.db import Database
from ledger.schema import account, address, escrow, idempotency, ledger_account, posting
from tests.api.shop import Shop, code
from tests.api.test_bad_input import AMOUNTS, IDS
from tests.api.test_idempotency import at_once
from wallets.fake.addresses import derive

PAYEE = derive("outside/escrows")

Fund = Callable[..., None]


class Side:
    """A shop with a buyer who has one bitcoin, and a vendor."""

    def __init__(self, shop: Shop, fund: Fund) -> None:
        self.shop = shop
        self.buyer, self.vendor = shop.account(), shop.account()
        fund(self.buyer, 10**8)

    def order(self, **changes: Any) -> dict[str, Any]:
        given = {"buyer": self.buyer, "vendor": self.vendor, "asset": "BTC", "amount": "0.1", "reference": "e1"}
        return given | changes

    def make(self, **changes: Any) -> Any:
        answer = self.shop.post("/v1/escrows", self.order(**changes))
        assert answer.status_code == 201, answer.text
        return answer.json

    def funded(self, **changes: Any) -> Any:
        return self.call(self.make(**changes)["id"], "fund", {})

    def call(self, escrow_id: str, verb: str, body: Any = None) -> Any:
        answer = self.shop.post(f"/v1/escrows/{escrow_id}/{verb}", body)
        assert answer.status_code == 200, answer.text
        return answer.json

    def refused(self, escrow_id: str, verb: str, body: Any = None) -> tuple[int, str]:
        return code(self.shop.post(f"/v1/escrows/{escrow_id}/{verb}", body))

    def available(self, owner: str) -> int:
        rows = self.shop.get(f"/v1/accounts/{owner}/balances").json["data"]
        return int(next(row for row in rows if row["asset"] == "BTC")["available"]["units"])


@pytest.fixture
def side(shop: Shop, fund: Fund) -> Side:
    return Side(shop, fund)


def soon(hours: int = 1) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def test_an_escrow_is_shown_with_all_that_was_agreed_on(side: Side) -> None:
    terms = {"fee_percent": "2.5", "fee_from": "buyer", "metadata": {"order": "7"}, "arbiter": "operator"}
    terms |= {"funding_deadline": soon(), "deadline": soon(48), "at_deadline": "release", "on_late": "hold"}
    answer = side.shop.post("/v1/escrows", side.order(address=True, **terms))
    body = answer.json
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/escrows/{body['id']}"
    assert [body[name]["units"] for name in ("amount", "fee", "wanted", "missing")] == [
        "10000000",
        "250000",
        "10250000",
        "10250000",
    ]
    assert (body["status"], body["metadata"], body["on_late"], body["payouts"]) == (
        "awaiting_funds",
        {"order": "7"},
        "hold",
        [],
    )
    home = side.shop.get(f"/v1/addresses/{body['address_id']}").json
    assert (home["address"], home["account"]) == (body["address"], side.buyer)
    assert home["payment_request"]["expected"]["units"] == "10250000"
    assert home["payment_request"]["expires_at"] == body["funding_deadline"]
    read = side.shop.get(f"/v1/escrows/{body['id']}")
    assert (read.json, read.headers["ETag"]) == (body, answer.headers["ETag"])


def test_an_order_is_paid_held_and_released(side: Side, number_events: Callable[[], None]) -> None:
    made = side.make(fee_percent="2")
    part = side.call(made["id"], "fund", {"amount": "0.04"})
    assert (part["status"], part["missing"]["units"]) == ("awaiting_funds", "6000000")
    whole = side.call(made["id"], "fund", {})
    assert (whole["status"], whole["held"]["units"], whole["missing"]["units"]) == ("funded", "10000000", "0")
    assert side.available(side.buyer) == 10**8 - 10**7
    step = side.call(made["id"], "release", {"amount": "0.025"})
    assert (step["status"], step["released"]["units"], step["fee_taken"]["units"]) == ("funded", "2500000", "50000")
    done = side.call(made["id"], "release", {})
    assert (done["status"], done["held"]["units"], done["fee_taken"]["units"]) == ("released", "0", "200000")
    assert [h["status"] for h in done["history"]] == ["awaiting_funds", "funded", "released"]
    assert side.available(side.vendor) == 9_800_000
    entry = side.shop.get(f"/v1/accounts/{side.vendor}/entries").json["data"][0]
    assert (entry["type"], entry["resource"]) == ("escrow_release", made["id"])
    number_events()
    told = [e for e in side.shop.get("/v1/events").json["data"] if e["type"].startswith("escrow.")]
    assert [e["type"].removeprefix("escrow.") for e in told] == [
        "awaiting_funds",
        "partially_funded",
        "funded",
        "partially_released",
        "released",
    ]
    assert told[-1]["data"]["object"] == done


def test_a_release_may_be_paid_out_at_once(side: Side) -> None:
    made = side.funded()
    payout = {"address": PAYEE, "reference": "w-9"}
    done = side.call(made["id"], "release", {"payout": payout})
    (payout_id,) = done["payouts"]
    sent = side.shop.get(f"/v1/withdrawals/{payout_id}").json
    assert (sent["account"], sent["status"], sent["total"]["units"]) == (side.vendor, "queued", "10000000")
    assert (sent["reference"], sent["fee_from"]) == ("w-9", "amount")
    assert side.available(side.vendor) == 0


def test_a_payout_needs_the_scope_and_the_signature_of_a_withdrawal(side: Side, make_shop: Callable[..., Shop]) -> None:
    first, second = side.funded(), side.funded(reference="e2")
    wish = {"payout": {"address": PAYEE, "reference": "w"}}
    desk = make_shop(side.shop.project_id, scopes=["escrows:write", "escrows:read"])
    refused = desk.post(f"/v1/escrows/{first['id']}/release", wish)
    assert code(refused) == (403, "scope_missing")
    signer = make_shop(side.shop.project_id, signed=True)
    path = f"/v1/escrows/{second['id']}/release"
    assert code(signer.post(path, wish)) == (401, "signature_required")
    secret = signer.ring.signing_secret(signer.key.public_id, signer.key.signing_version)
    assert signer.signed(path, wish, secret, "k").status_code == 200
    assert desk.post(f"/v1/escrows/{first['id']}/release", {}).json["status"] == "released"


def test_a_payout_that_cannot_be_releases_nothing(side: Side) -> None:
    made = side.funded()
    ours = side.shop.post(f"/v1/accounts/{side.buyer}/addresses", {"asset": "BTC"}).json["address"]
    for to, expected in ((ours, "address_own"), ("4" * 95, "address_invalid")):
        answer = side.shop.post(f"/v1/escrows/{made['id']}/release", {"payout": {"address": to, "reference": "w"}})
        assert code(answer) == (422, expected)
        assert answer.json["errors"][0]["pointer"] == "/payout/address"
    assert side.shop.get(f"/v1/escrows/{made['id']}").json == made


def test_a_dispute_is_split_by_a_key_that_may_arbitrate(side: Side, make_shop: Callable[..., Shop]) -> None:
    made = side.funded(fee_amount="0.001")
    body = side.call(made["id"], "dispute", {"reason": "it never came"})
    assert (body["status"], body["status_reason"]) == ("disputed", "it never came")
    desk = make_shop(side.shop.project_id, scopes=["escrows:write"])
    split = {"vendor_amount": "0.03333333", "buyer_amount": "0.06666667"}
    assert code(desk.post(f"/v1/escrows/{made['id']}/resolve", split)) == (403, "scope_missing")
    wrong = split | {"buyer_amount": "0.06666668"}
    answer = side.shop.post(f"/v1/escrows/{made['id']}/resolve", wrong)
    assert (code(answer), answer.json["errors"][0]["pointer"]) == ((422, "amount_invalid"), "/buyer_amount")
    done = side.call(made["id"], "resolve", split)
    assert (done["status"], done["status_reason"], done["fee_taken"]["units"]) == ("resolved", "split", "33333")
    assert (side.available(side.vendor), side.available(side.buyer)) == (3_300_000, 10**8 - 10**7 + 6_666_667)


@pytest.mark.parametrize("zero", ["0", "0.0", "0.00000000"])
def test_an_arbiter_may_give_all_to_one_side(side: Side, zero: str) -> None:
    made = side.funded()
    side.call(made["id"], "dispute", {})
    done = side.call(made["id"], "resolve", {"vendor_amount": zero, "buyer_amount": "0.1"})
    assert (done["status"], done["status_reason"]) == ("resolved", "to_buyer")
    assert side.available(side.buyer) == 10**8


def test_a_key_cannot_resolve_what_is_an_operators(side: Side) -> None:
    made = side.funded(arbiter="operator")
    side.call(made["id"], "dispute", {})
    assert side.refused(made["id"], "resolve", {"vendor_amount": "0.1"}) == (409, "state_conflict")


def test_each_state_takes_only_its_own_calls(side: Side) -> None:
    waiting, whole, ended = side.make(), side.funded(reference="e2"), side.funded(reference="e3")
    side.call(ended["id"], "refund", {})
    allowed = {
        waiting["id"]: {"fund", "cancel"},
        whole["id"]: {"release", "refund", "dispute"},
        ended["id"]: set(),
    }
    bodies: dict[str, Any] = {
        "fund": {},
        "release": {},
        "refund": {},
        "dispute": {},
        "cancel": None,
        "decide": {"decision": "accept"},
        "resolve": {"vendor_amount": "0.01"},
    }
    for escrow_id, fine in allowed.items():
        for verb in bodies.keys() - fine:
            assert side.refused(escrow_id, verb, bodies[verb]) == (409, "state_conflict"), (escrow_id, verb)


def test_what_is_over_is_over_for_every_repeat_and_every_rival(side: Side) -> None:
    """G10 over HTTP: release, refund and dispute arrive at the same moment; one of them wins."""
    made = side.funded()
    verbs = ("release", "refund", "dispute") * 3
    answers = at_once(len(verbs), lambda n: side.shop.post(f"/v1/escrows/{made['id']}/{verbs[n]}", {}, key=f"k{n}"))
    won = [a for a in answers if a.status_code == 200]
    lost = [code(a) for a in answers if a.status_code != 200]
    assert len(won) == 1, [a.text for a in answers]
    assert set(lost) == {(409, "state_conflict")}
    now = side.shop.get(f"/v1/escrows/{made['id']}").json
    assert now == won[0].json
    money = (side.available(side.buyer), side.available(side.vendor))
    expected = {"released": (9 * 10**7, 10**7), "refunded": (10**8, 0), "disputed": (9 * 10**7, 0)}
    assert money == expected[now["status"]]


def test_the_same_key_moves_money_once(side: Side) -> None:
    made = side.funded()
    path = f"/v1/escrows/{made['id']}/release"
    first = side.shop.post(path, {"amount": "0.01"}, key="once")
    again = side.shop.post(path, {"amount": "0.01"}, key="once")
    assert (again.json, again.headers["Idempotent-Replayed"]) == (first.json, "true")
    assert side.available(side.vendor) == 10**6
    assert code(side.shop.post(path, {"amount": "0.02"}, key="once")) == (422, "idempotency_key_reused")


def test_a_reference_is_used_once_and_by_each_project(side: Side, make_shop: Callable[..., Shop], fund: Fund) -> None:
    made = side.make()
    again = side.shop.post("/v1/escrows", side.order())
    assert (code(again), again.json["existing"]) == ((409, "reference_exists"), made["id"])
    Side(make_shop(), fund).make()


def test_a_version_that_was_not_read_is_not_changed(side: Side) -> None:
    made = side.make()
    side.call(made["id"], "fund", {"amount": "0.01"})
    path = f"/v1/escrows/{made['id']}"
    stale = side.shop.get(path).headers["ETag"]
    side.call(made["id"], "fund", {"amount": "0.01"})
    assert code(side.shop.post(f"{path}/cancel", None, If_Match=stale)) == (412, "version_conflict")
    fresh = side.shop.get(path).headers["ETag"]
    assert side.shop.post(f"{path}/cancel", None, If_Match=fresh).json["status"] == "cancelled"


def test_lists_narrow_by_account_state_and_reference(side: Side) -> None:
    first, second, third = (side.make(reference=f"e{n}") for n in range(3))
    other = side.make(reference="e9", buyer=side.vendor, vendor=side.shop.account())
    side.call(second["id"], "cancel")

    def ids(query: str) -> list[str]:
        return [row["id"] for row in side.shop.get(f"/v1/escrows?{query}").json["data"]]

    assert ids(f"account={side.buyer}") == [third["id"], second["id"], first["id"]]
    assert ids(f"account={side.vendor}&limit=1") == [other["id"]]
    assert ids("status=cancelled") == [second["id"]]
    assert ids("reference=e0&asset=BTC") == [first["id"]]


def test_an_order_account_is_of_that_kind(side: Side, fund: Fund) -> None:
    assert code(side.shop.post("/v1/escrows", side.order(order=side.shop.account()))) == (422, "validation_failed")
    order = side.shop.post("/v1/accounts", {"reference": "order-7", "kind": "order"}).json["id"]
    fund(order, 10**7)
    made = side.make(order=order)
    assert made["order"] == order
    done = side.call(made["id"], "fund", {"from_account": order})
    assert done["status"] == "funded"
    assert (side.available(order), side.available(side.buyer)) == (0, 10**8)


# Bad input


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"vendor": None}, "/vendor", "validation_failed"),
    ({"asset": "DOGE"}, "/asset", "asset_unknown"),
    ({"fee_percent": "100.1"}, "/fee_percent", "validation_failed"),
    ({"fee_percent": "2.50001"}, "/fee_percent", "validation_failed"),
    ({"fee_percent": "-1"}, "/fee_percent", "validation_failed"),
    ({"fee_percent": "1e1"}, "/fee_percent", "validation_failed"),
    ({"fee_percent": 2.5}, "/fee_percent", "validation_failed"),
    ({"fee_percent": "100"}, "/fee_percent", "amount_invalid"),
    ({"fee_amount": "0.1"}, "/fee_amount", "amount_invalid"),
    ({"fee_amount": "-0.1"}, "/fee_amount", "amount_invalid"),
    ({"fee_amount": "0.01", "fee_percent": "1"}, "/fee_amount", "validation_failed"),
    ({"fee_from": "house"}, "/fee_from", "validation_failed"),
    ({"on_underpaid": "return"}, "/on_underpaid", "validation_failed"),
    ({"on_overpaid": "wait"}, "/on_overpaid", "validation_failed"),
    ({"on_late": "keep"}, "/on_late", "validation_failed"),
    ({"arbiter": "god"}, "/arbiter", "validation_failed"),
    ({"funding_deadline": "tomorrow"}, "/funding_deadline", "validation_failed"),
    ({"funding_deadline": "2001-01-01T00:00:00Z"}, "/funding_deadline", "validation_failed"),
    ({"deadline": "9999-01-01T00:00:00Z", "at_deadline": "refund"}, "/deadline", "validation_failed"),
    ({"at_deadline": "refund"}, "/at_deadline", "validation_failed"),
    ({"at_deadline": "burn", "deadline": "2030-01-01T00:00:00Z"}, "/at_deadline", "validation_failed"),
    ({"amount": "0.00000999", "address": True}, "/amount", "amount_below_minimum"),
    ({"address": "yes"}, "/address", "validation_failed"),
    ({"state": "funded"}, "/state", "validation_failed"),
    ({"held_units": "1"}, "/held_units", "validation_failed"),
    ({"reference": ""}, "/reference", "validation_failed"),
    ({"metadata": {"a": "b" * 2000}}, "/metadata/a", "validation_failed"),
]


@pytest.mark.parametrize(("change", "pointer", "expected"), WRONG, ids=lambda value: repr(value)[:40])
def test_terms_that_break_a_rule_are_named_and_nothing_is_written(
    side: Side, database: Database, change: dict[str, Any], pointer: str, expected: str
) -> None:
    tables = (escrow, address, idempotency, posting, ledger_account)

    def counts() -> list[int]:
        return database.read(lambda tx: [tx.value(select(func.count()).select_from(table)) for table in tables])

    before = counts()
    answer = side.shop.post("/v1/escrows", side.order(**change))
    assert code(answer) == (422, expected), answer.text
    assert answer.json["errors"][0]["pointer"] == pointer
    assert counts() == before


def test_an_escrow_to_oneself_is_refused(side: Side) -> None:
    answer = side.shop.post("/v1/escrows", side.order(vendor=side.buyer))
    assert (code(answer), answer.json["errors"][0]["pointer"]) == ((422, "same_account"), "/vendor")


@pytest.mark.parametrize(("amount", "expected"), AMOUNTS, ids=lambda value: repr(value)[:24])
def test_every_amount_is_an_exact_decimal_string(side: Side, amount: Any, expected: str) -> None:
    answer = side.shop.post("/v1/escrows", side.order(amount=amount))
    assert answer.status_code == 422
    assert (answer.json["errors"][0]["pointer"], answer.json["errors"][0]["code"]) == ("/amount", expected)
    if amount is None:  # elsewhere it may be left out
        return
    made = side.funded()
    disputed = side.funded(reference="e2")
    side.call(disputed["id"], "dispute", {})
    waiting = side.make(reference="e3")
    zero = isinstance(amount, str) and amount in ("0", "0.00000000")
    calls = [(made, "release", "amount"), (made, "refund", "amount"), (waiting, "fund", "amount")]
    calls += [] if zero else [(disputed, "resolve", "vendor_amount")]
    for target, verb, field in calls:
        answer = side.shop.post(f"/v1/escrows/{target['id']}/{verb}", {field: amount})
        assert answer.status_code == 422, (verb, answer.text)
        found = answer.json["errors"][0]
        assert (found["pointer"], found["code"]) == (f"/{field}", expected), verb
    assert side.available(side.vendor) == 0


def test_more_than_there_is_moves_nothing(side: Side) -> None:
    made = side.make(amount="2")
    assert side.refused(made["id"], "fund", {}) == (409, "insufficient_funds")
    assert side.refused(made["id"], "fund", {"amount": "2.00000001"}) == (422, "amount_invalid")
    whole = side.funded(reference="e2")
    assert side.refused(whole["id"], "release", {"amount": "0.10000001"}) == (422, "amount_invalid")
    assert side.refused(whole["id"], "refund", {"amount": "0.10000001"}) == (422, "amount_invalid")


@pytest.mark.parametrize("text", [*IDS, "es_" + "0" * 32], ids=lambda value: repr(value)[:20])
def test_malformed_and_unknown_escrows_are_404(side: Side, text: str) -> None:
    assert code(side.shop.get(f"/v1/escrows/{text}")) == (404, "not_found")
    for verb, body in (("fund", {}), ("release", {}), ("refund", {}), ("dispute", {}), ("cancel", None)):
        assert side.refused(text, verb, body) == (404, "not_found")
    assert side.refused(text, "decide", {"decision": "accept"}) == (404, "not_found")
    assert side.refused(text, "resolve", {"vendor_amount": "1"}) == (404, "not_found")
    assert code(side.shop.post("/v1/escrows", side.order(buyer=text[:64]))) == (404, "not_found")


def test_another_projects_escrow_does_not_exist(side: Side, make_shop: Callable[..., Shop], fund: Fund) -> None:
    made, other = side.funded(), Side(make_shop(), fund)
    assert code(other.shop.get(f"/v1/escrows/{made['id']}")) == (404, "not_found")
    for verb in ("fund", "release", "refund", "dispute"):
        assert other.refused(made["id"], verb, {}) == (404, "not_found")
    assert code(other.shop.post("/v1/escrows", other.order(vendor=side.vendor))) == (404, "not_found")
    assert code(other.shop.get(f"/v1/escrows?account={side.buyer}")) == (404, "not_found")
    assert other.shop.get("/v1/escrows").json["data"] == []
    mine = other.make()
    assert other.refused(mine["id"], "fund", {"from_account": side.buyer}) == (404, "not_found")


def test_each_call_needs_its_scope(side: Side, make_shop: Callable[..., Shop]) -> None:
    made = side.funded()
    reader = make_shop(side.shop.project_id, scopes=["escrows:read"])
    writer = make_shop(side.shop.project_id, scopes=["escrows:write"])
    assert reader.get(f"/v1/escrows/{made['id']}").status_code == 200
    assert code(writer.get(f"/v1/escrows/{made['id']}")) == (403, "scope_missing")
    assert code(reader.post("/v1/escrows", side.order(reference="x"))) == (403, "scope_missing")
    for verb in ("fund", "release", "refund", "dispute"):
        assert code(reader.post(f"/v1/escrows/{made['id']}/{verb}", {})) == (403, "scope_missing")
    assert code(writer.post(f"/v1/escrows/{made['id']}/resolve", {"vendor_amount": "0"})) == (403, "scope_missing")


def test_frozen_accounts_and_pauses_are_told(side: Side, database: Database) -> None:
    made, whole = side.make(), side.funded(reference="e2")
    buyer = database.read(lambda tx: tx.value(select(account.c.id).where(account.c.public_id == side.buyer)))
    database.run(lambda tx: accounts.freeze(tx, buyer, "suspicion"), "t")
    assert side.refused(made["id"], "fund", {}) == (409, "account_frozen")
    assert side.refused(whole["id"], "release", {}) == (409, "account_frozen")
    database.run(lambda tx: accounts.unfreeze(tx, buyer, "suspicion"), "t")
    database.run(lambda tx: pauses.stop(tx, "BTC", "escrows", "a drill", "op"), "t")
    try:
        assert side.refused(made["id"], "fund", {}) == (409, "asset_disabled")
        assert side.refused(whole["id"], "release", {}) == (409, "asset_disabled")
        assert code(side.shop.post("/v1/escrows", side.order(reference="x"))) == (409, "asset_disabled")
    finally:
        database.run(lambda tx: pauses.resume(tx, "BTC", "escrows", "op"), "t")


def test_escrows_of_three_chains_have_addresses_of_their_own(side: Side, fund: Fund) -> None:
    for asset, units in (("XMR", "1.000000000001"), ("ETH", "1.000000000000000001"), ("USDT", "25.000001")):
        first = side.make(asset=asset, amount=units, reference=f"{asset}1", address=True, fee_percent="1")
        second = side.make(asset=asset, amount=units, reference=f"{asset}2", address=True)
        assert first["address"] != second["address"]
        assert first["wanted"]["amount"] == units
        fund(side.buyer, int(first["wanted"]["units"]), asset)
        side.call(first["id"], "fund", {})
        done = side.call(first["id"], "release", {})
        assert int(done["fee_taken"]["units"]) == -(-int(first["amount"]["units"]) // 100)
