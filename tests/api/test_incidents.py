"""What was done to others, done to this API. Each is named after where it happened; docs/scenarios.md has the rest.

`ELSEWHERE` names the tests of incidents whose way in is a chain and not a call.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from sqlalchemy import func, insert, select, update

from ledger import balances
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.schema import address, chain, deposit, idempotency, withdrawal
from tests.api.shop import Shop, code
from tests.api.test_idempotency import at_once, count
from tests.api.town import PAYEE, PURSE, Town
from tests.clock import Clock
from tests.faults import invariants_trades
from wallets.fake.addresses import derive

FEE = 2_000
TESTS = Path(__file__).parent.parent

ELSEWHERE = {
    "coinbase-revert": ("chain/test_ethereum_deposits.py", "test_coins_that_came_back_before_the_end_are_nothing"),
    "slowmist-false": ("flows/test_tokens.py", "test_a_token_that_says_false_credits_nothing"),
    "burning-bug": ("chain/test_monero_deposits.py", "test_two_payments_that_share_an_output_are_right_together"),
    "multi-count": (
        "chain/test_monero_deposits.py",
        "test_a_list_that_tells_of_more_than_the_wallet_can_spend_is_suspect",
    ),
    "qubic-18": ("chain/test_monero_reorg.py", "test_a_deposit_that_a_reorganisation_removed_is_gone"),
    "monero-8251": ("chain/test_monero_sending.py", "test_the_wallets_own_failed_does_not_count"),
    "quadriga-geth": ("unit/test_ethereum_reading.py", "test_a_receipt_without_a_field_is_an_error"),
    "xrp-partial": ("flows/test_tokens.py", "test_a_token_that_keeps_a_part_is_held_not_credited"),
}


@pytest.fixture
def town(
    make_shop: Callable[..., Shop], database: Database, fund: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Town:
    return Town(make_shop(), make_shop, database, fund, Clock(monkeypatch))


def available(town: Town, owner: str) -> int:
    rows = town.shop.get(f"/v1/accounts/{owner}/balances").json["data"]
    return int(next(row for row in rows if row["asset"] == "BTC")["available"]["units"])


@pytest.mark.parametrize("incident", ELSEWHERE)
def test_incidents_of_chains_have_their_tests(incident: str) -> None:
    file, name = ELSEWHERE[incident]
    assert f"def {name}(" in (TESTS / file).read_text()


def test_gox_a_payment_said_to_be_missing_is_not_made_again(town: Town) -> None:
    """The customer complains, and the shop asks again: other key, other address, in a batch, after a cancel."""
    order = town.withdrawal("9")
    made = town.post("/v1/withdrawals", order)
    other = derive("outside/gox")
    for again in (order, order | {"address": other}, order | {"amount": "1"}, order | {"fee_from": "amount"}):
        answer = town.shop.post("/v1/withdrawals", again)
        assert (code(answer), answer.json["existing"]) == ((409, "reference_exists"), made["id"])
        in_batch = town.shop.post("/v1/withdrawals/batch", {"withdrawals": [town.withdrawal("0.5"), again]})
        assert code(in_batch) == (409, "reference_exists")
    assert town.shop.post(f"/v1/withdrawals/{made['id']}/cancel").status_code == 200
    assert code(town.shop.post("/v1/withdrawals", order)) == (409, "reference_exists")
    assert count(town.database, withdrawal, town.shop.project_id) == 1
    assert available(town, town.buyer) == PURSE


def test_flexcoin_money_that_is_moved_in_circles_at_once_is_not_more_afterwards(town: Town) -> None:
    """Between two accounts, back and forth at the same moment, each time all there is."""
    everything = f"{2 * PURSE // 10**8}"
    town.post("/v1/transfers", town.transfer(f"{PURSE // 10**8}"))
    there = town.transfer(everything) | {"from_account": town.vendor, "to_account": town.buyer}
    back = town.transfer(everything)
    answers = at_once(
        24, lambda n: town.shop.post("/v1/transfers", (there, back)[n % 2] | {"reference": secrets.token_hex(8)})
    )
    assert {code(a) for a in answers if a.status_code != 201} <= {(409, "insufficient_funds")}
    assert sorted((available(town, town.buyer), available(town, town.vendor))) == [0, 2 * PURSE]
    assert town.database.read(balances.faults) == []


def test_poloniex_withdrawals_at_once_never_make_a_balance_negative_that_an_audit_would_sum_up(town: Town) -> None:
    """Sums were right there all the time: deposits less withdrawals was the balance, and it was negative."""
    order = town.withdrawal("4")
    answers = at_once(16, lambda _: town.shop.post("/v1/withdrawals", order | {"reference": secrets.token_hex(8)}))
    assert Counter(a.status_code for a in answers) == {202: 2, 409: 14}
    assert available(town, town.buyer) == PURSE - 2 * (4 * 10**8 + FEE)
    assert invariants_trades.standing(town.database) == []


def test_certik_what_is_not_credited_yet_leaves_by_no_way(town: Town) -> None:
    """Kraken, 2024: pending money was shown, and spent. Here it is shown as pending and is no way's to spend."""
    owner = town.shop.account()
    pending(town, owner, 10**8)
    town.market()
    shown = town.shop.get(f"/v1/accounts/{owner}/balances").json["data"][0]
    assert (shown["pending"]["units"], shown["available"]["units"]) == ("100000000", "0")
    escrow = town.escrow(buyer=owner)
    quote = town.post("/v1/quotes", {"sell": "BTC", "buy": "ETH", "sell_amount": "0.1"})["id"]
    ways: list[tuple[str, Any]] = [
        ("/v1/withdrawals", town.withdrawal() | {"account": owner}),
        ("/v1/withdrawals", town.withdrawal("max") | {"account": owner}),
        ("/v1/withdrawals/preview", {"account": owner, "asset": "BTC", "amount": "0.1", "address": PAYEE}),
        ("/v1/withdrawals/batch", {"withdrawals": [town.withdrawal() | {"account": owner}]}),
        ("/v1/transfers", town.transfer() | {"from_account": owner}),
        (f"/v1/escrows/{escrow}/fund", {}),
        ("/v1/swaps", town.swap(quote) | {"account": owner}),
    ]
    for path, body in ways:
        assert town.shop.post(path, body).status_code in (409, 422), path
    assert {code(town.shop.post(path, body))[1] for path, body in ways} <= {
        "insufficient_funds",
        "amount_below_minimum",
        "amount_invalid",
    }


def pending(town: Town, owner: str, units: int) -> None:
    """A deposit that is in the newest block."""
    made = town.post(f"/v1/accounts/{owner}/addresses", {"asset": "BTC"})
    txid = secrets.token_hex(32)

    def store(tx: Tx) -> None:
        row = tx.one(address.select().where(address.c.public_id == made["id"]))
        values = {"public_id": new_id("dp"), "chain": "bitcoin", "asset": "BTC", "output_key": f"{txid}:0"}
        values |= {"txid": txid, "address": row.address, "address_id": row.id, "account_id": row.account_id}
        values |= {"project_id": row.project_id, "units": units, "seen": "confirmed", "height": 10}
        tx.execute(insert(deposit).values(values | {"state": "confirming", "created_at": tx.now, "updated_at": tx.now}))
        tx.execute(update(chain).where(chain.c.name == "bitcoin").values(tip_height=10))

    town.database.run(store, "deposit")


@pytest.mark.parametrize("amount", [620_000, "620000", "6.2e5", "620,000", "620000.000000001", "21000001"])
def test_bithumb_a_number_in_the_wrong_unit_moves_nothing(town: Town, amount: Any) -> None:
    """620,000 was meant in won. More than anybody has is refused by every call that names an amount."""
    bodies = [
        ("/v1/withdrawals", town.withdrawal() | {"amount": amount}),
        ("/v1/transfers", town.transfer() | {"amount": amount}),
        (f"/v1/escrows/{town.escrow()}/fund", {"amount": amount}),
        (f"/v1/escrows/{town.funded()}/release", {"amount": amount}),
        (f"/v1/escrows/{town.disputed()}/resolve", {"vendor_amount": amount}),
    ]
    before = (available(town, town.buyer), available(town, town.vendor))
    for path, body in bodies:
        assert town.shop.post(path, body).status_code in (409, 422), path
    assert (available(town, town.buyer), available(town, town.vendor)) == before


def test_gox_trustee_repayments_that_a_system_sends_twice_are_paid_once(town: Town) -> None:
    """2023: a whole run was sent again. The same batch under a new key, at once and later, is one batch."""
    batch = {"withdrawals": [town.withdrawal("0.5") for _ in range(5)]}
    answers = at_once(4, lambda _: town.shop.post("/v1/withdrawals/batch", batch))
    answers += [town.shop.post("/v1/withdrawals/batch", batch)]
    assert Counter(a.status_code for a in answers) == {202: 1, 409: 4}
    assert count(town.database, withdrawal, town.shop.project_id) == 5
    assert available(town, town.buyer) == PURSE - 5 * (5 * 10**7 + FEE)


def test_gox_trustee_who_asks_twice_for_all_there_is_is_not_told_that_nothing_was_paid(town: Town) -> None:
    """`insufficient_funds` would say so, and the second payment would come from somewhere else."""
    for _ in range(5):
        town.fund(town.buyer, 9 * 10**8)
        order = town.withdrawal("18")
        answers = at_once(4, lambda _, order=order: town.shop.post("/v1/withdrawals", order))  # type: ignore[misc]
        assert Counter(a.status_code for a in answers) == {202: 1, 409: 3}
        assert {a.json["code"] for a in answers if a.status_code == 409} == {"reference_exists"}
        town.fund(town.buyer, 9 * 10**8 + FEE)


def test_wbtc_an_address_that_only_looks_like_the_right_one_is_not_paid(town: Town) -> None:
    """2024: the first and the last letters were right. A checksum in letters' case is checked to the letter."""
    right = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    town.fund(town.buyer, 10**18, "ETH")
    order = town.withdrawal() | {"asset": "ETH", "amount": "0.1"}
    for wrong in (right.replace("F", "f", 1), right[:-1] + "4", right[:10] + "\u0441" + right[11:], right + " "):
        answer = town.shop.post("/v1/withdrawals", order | {"address": wrong})
        assert code(answer) == (422, "address_invalid"), wrong


#: What ends a sentence in some other language: SQL, HTML, shells, templates, headers, paths, JSON, terminals, Unicode.
HOSTILE = [
    "' OR '1'='1",
    "1; DROP TABLE withdrawal; --",
    "\\'; SELECT SLEEP(9); #",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}${7*7}#{7*7}",
    "%s%s%s%n%x",
    "$(reboot)`reboot`",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "a\r\nX-Injected: 1",
    "\x1b]0;owned\x07",
    "\u202egnirts desrever",
    "\u0000",
    "\U0001f600" * 10,
    "\uff11\uff12",
    "e\u0301",
    "__proto__",
    "\ud800",
    "null",
    "-1",
    "1e309",
    "9" * 400,
    "a" * 5_000,
    "=cmd|' /C calc'!A0",
    "*)(uid=*",
    "http://169.254.169.254/latest/meta-data",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_in_any_field_is_refused_or_given_back_as_it_came(town: Town, text: str) -> None:
    """In every place of every body that takes a text, one at a time: never an error of ours, never another meaning."""
    escrow, funded, disputed = town.escrow(), town.funded(), town.disputed()
    order = town.withdrawal() | {"metadata": {"order": "7"}}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/accounts", {"reference": secrets.token_hex(8), "kind": "user"}),
        (f"/v1/accounts/{town.buyer}/addresses", {"asset": "BTC", "label": "a"}),
        ("/v1/transfers", town.transfer()),
        ("/v1/withdrawals", order),
        ("/v1/escrows", town.order(fee_percent="1", metadata={"a": "b"})),
        (f"/v1/escrows/{escrow}/fund", {"amount": "0.01", "from_account": town.buyer}),
        (f"/v1/escrows/{funded}/dispute", {"reason": "a"}),
        (f"/v1/escrows/{disputed}/resolve", {"vendor_amount": "0.01", "buyer_amount": "0.09"}),
        ("/v1/quotes", {"sell": "BTC", "buy": "ETH", "sell_amount": "1"}),
        ("/v1/webhook_endpoints", {"url": "https://shop.example/", "description": "a"}),
        ("/v1/api_keys", {"name": "a", "scopes": ["accounts:read"], "cidrs": ["10.0.0.0/8"]}),
    ]
    for path, body in bodies:
        for name in body:
            answer = town.shop.post(path, with_text(body, name, text))
            assert answer.status_code < 500, (path, name, answer.text)
            if answer.status_code < 300:
                assert text in leaves(answer.json), (path, name)
    asked = quote_plus(text, errors="surrogatepass")
    for path in (f"/v1/withdrawals?reference={asked}", f"/v1/deposits?status={asked}", f"/v1/accounts?cursor={asked}"):
        assert town.shop.get(path).status_code < 500
    answer = town.shop.get("/v1/accounts", X_Request_Id="ok")
    assert "X-Injected" not in answer.headers
    assert town.database.read(balances.faults) == []


def with_text(body: dict[str, Any], name: str, text: str) -> dict[str, Any]:
    value = body[name]
    changed = {"k": text} if isinstance(value, dict) else [text] if isinstance(value, list) else text
    return body | {name: changed}


def leaves(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*(leaves(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(leaves(inner) for inner in value))
    return {value} if isinstance(value, str) else set()


def test_fields_that_are_none_of_the_callers_are_refused_by_every_call(town: Town) -> None:
    """Mass assignment: states, ids, owners and marks of the engine's own, in the body of an order."""
    before = town.database.read(lambda tx: tx.value(select(func.count()).select_from(idempotency)))
    for name, value in (
        ("state", "settled"),
        ("status", "completed"),
        ("id", "wd_" + "0" * 32),
        ("project_id", 1),
        ("fee", {"amount": "0", "asset": "BTC"}),
        ("mac", "00"),
        ("approvals", {"needed": 0, "given": 9}),
        ("created_at", "2000-01-01T00:00:00Z"),
        ("__class__", "x"),
    ):
        for path, body in (
            ("/v1/withdrawals", town.withdrawal()),
            ("/v1/transfers", town.transfer()),
            ("/v1/escrows", town.order()),
        ):
            answer = town.shop.post(path, body | {name: value})
            assert code(answer) == (422, "validation_failed"), (path, name)
            assert answer.json["errors"][0]["pointer"] == f"/{name}"
    assert town.database.read(lambda tx: tx.value(select(func.count()).select_from(idempotency))) == before


def test_the_same_name_twice_means_nothing(town: Town) -> None:
    """Two readers would see two amounts: the first, or the last."""
    raw = json.dumps(town.withdrawal()).replace('"amount": "0.1"', '"amount": "0.1", "amount": "9"').encode()
    assert b'"9"' in raw
    assert code(town.shop.raw("/v1/withdrawals", raw)) == (400, "request_malformed")
    assert count(town.database, withdrawal, town.shop.project_id) == 0
