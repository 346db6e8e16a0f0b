"""What differs by chain and token, at the API's edge: addresses, URIs, fees, and whom a withdrawal may pay."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, select, update

from ledger import policy
from ledger.db import Database
from ledger.errors import InvalidInput
from ledger.ids import new_id
from ledger.schema import account, asset, chain, deposit, index_counter, payment, ready_address, withdrawal
from tests.api.conftest import KEYS, TOKEN
from tests.api.shop import Shop, code
from wallets.fake.addresses import derive

Fund = Callable[..., None]

PAYEES = {
    "BTC": derive("outside/1"),
    "ETH": "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "USDT": "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "XMR": "888tNkZrPN6JsEgekjMnABU4TBzc2Dt29EPAvkRxbANsAnjyPbb3iQ1YBRk1UXcdRsiKc9dhwMVgN5S9cQUiyoogDavup3H",
}


def ask(shop: Shop, owner: str, code: str, **more: Any) -> dict[str, Any]:
    answer = shop.post(f"/v1/accounts/{owner}/addresses", {"asset": code} | more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json)


def order(owner: str, code: str, amount: str = "1", **changes: Any) -> dict[str, Any]:
    return {"account": owner, "asset": code, "amount": amount, "address": PAYEES[code], "reference": "w"} | changes


# Addresses


def test_on_ethereum_an_account_keeps_one_address_for_the_coin_and_tokens(shop: Shop) -> None:
    owner = shop.account()
    coin, token = ask(shop, owner, "ETH"), ask(shop, owner, "USDT")
    assert (coin["id"], coin["address"]) == (token["id"], token["address"])
    assert (coin["asset"], token["asset"]) == ("ETH", "USDT")
    assert coin["assets"] == token["assets"] == ["ETH", "USDT"]
    assert coin["uri"] == f"ethereum:{coin['address']}@31337"
    assert token["uri"] == f"ethereum:{TOKEN['contract']}@31337/transfer?address={coin['address']}"
    assert ask(shop, shop.account(), "ETH")["address"] != coin["address"]


def test_a_fresh_one_and_a_payment_request_are_new(shop: Shop) -> None:
    owner = shop.account()
    kept = ask(shop, owner, "ETH")
    fresh = ask(shop, owner, "ETH", fresh=True)
    request = ask(shop, owner, "USDT", expected_amount="12.5")
    assert len({kept["address"], fresh["address"], request["address"]}) == 3
    assert request["uri"].endswith(f"/transfer?address={request['address']}&uint256=12500000")
    assert request["payment_request"]["expected"] == {"amount": "12.500000", "asset": "USDT", "units": "12500000"}
    assert ask(shop, owner, "USDT")["id"] == kept["id"]
    assert shop.get(f"/v1/addresses/{request['id']}").json["asset"] == "USDT"


@pytest.mark.parametrize("asset", ["ETH", "USDT"])
def test_parallel_first_calls_make_one_address(shop: Shop, asset: str) -> None:
    owner = shop.account()
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: ask(shop, owner, asset), range(16)))
    assert len({row["address"] for row in given}) == 1


def test_parallel_first_calls_for_a_coin_and_a_token_keep_to_one_each(shop: Shop) -> None:
    """One for both where the coin came first; an address that was given out for a token is not shown for the coin."""
    owner = shop.account()
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: (n % 2, ask(shop, owner, ("ETH", "USDT")[n % 2])), range(16)))
    for which in (0, 1):
        assert len({row["address"] for asked, row in given if asked == which}) == 1


def test_an_address_is_found_by_each_asset_that_it_takes(shop: Shop) -> None:
    owner = shop.account()
    mine, other = ask(shop, owner, "ETH"), ask(shop, owner, "BTC")
    for code_, found in (("ETH", mine), ("USDT", mine), ("BTC", other), ("XMR", None), ("DOGE", None)):
        listed = shop.get(f"/v1/addresses?account={owner}&asset={code_}").json["data"]
        assert [row["id"] for row in listed] == ([] if found is None else [found["id"]])


def test_monero_addresses_come_from_those_made_ahead(shop: Shop, database: Database) -> None:
    owner = shop.account()
    one, other = ask(shop, owner, "XMR"), ask(shop, owner, "XMR", expected_amount="0.25")
    made = database.read(lambda tx: {r.address: r.idx for r in tx.all(select(ready_address))})
    assert made[one["address"]] + 1 == one["index"] + 1 == other["index"] == made[other["address"]]
    assert one["assets"] == ["XMR"]
    assert other["uri"] == f"monero:{other['address']}?tx_amount=0.25"
    assert shop.get(f"/v1/addresses/{one['address']}").json["id"] == one["id"]


def test_without_one_made_ahead_a_monero_address_is_pending(shop: Shop, database: Database) -> None:
    counter = update(index_counter).where(index_counter.c.chain == "monero")
    known = select(index_counter.c.next_index).where(index_counter.c.chain == "monero")
    before = database.read(lambda tx: tx.value(known))
    database.run(lambda tx: tx.execute(counter.values(next_index=10_000 + before)), "test")
    try:
        answer = shop.post(f"/v1/accounts/{shop.account()}/addresses", {"asset": "XMR"})
        assert (answer.status_code, answer.json["address"], answer.json["uri"]) == (202, None, None)
    finally:
        database.run(lambda tx: tx.execute(counter.values(next_index=before)), "test")


# Withdrawals


@pytest.mark.parametrize(("code_", "units"), [("ETH", 2 * 10**18), ("USDT", 50 * 10**6), ("XMR", 2 * 10**12)])
def test_each_asset_leaves_at_its_own_flat_fee(shop: Shop, fund: Fund, code_: str, units: int) -> None:
    owner = shop.account()
    fund(owner, units, code_)
    fee = {"ETH": 10**15, "USDT": 10**6, "XMR": 10**12 // 2_000}[code_]
    answer = shop.post("/v1/withdrawals", order(owner, code_))
    assert answer.status_code == 202, answer.text
    assert (answer.json["fee"]["units"], answer.json["address"]) == (str(fee), PAYEES[code_])
    row = {row["asset"]: row for row in shop.get(f"/v1/accounts/{owner}/balances").json["data"]}[code_]
    assert int(row["available"]["units"]) + int(row["held"]["units"]) == units
    assert int(row["held"]["units"]) == int(answer.json["total"]["units"])


@pytest.mark.parametrize(
    ("code_", "home", "rate", "fee"),
    [
        ("BTC", "bitcoin", 8_001, 1_129),
        ("XMR", "monero", 20_000, 44_000_000),
        ("ETH", "ethereum", 10**11, 21_000 * 10**11),
    ],
)
def test_the_nodes_estimate_is_charged_by_the_chains_own_measure(
    shop: Shop, fund: Fund, database: Database, code_: str, home: str, rate: int, fee: int
) -> None:
    owner = shop.account()
    fund(owner, 10**19, code_)
    _rules(database, code_, withdrawal_fee_kind="estimate", withdrawal_fee_units=0)
    _fee_rate(database, home, rate)
    try:
        wish = {name: value for name, value in order(owner, code_, "0.5").items() if name != "reference"}
        assert shop.post("/v1/withdrawals/preview", wish).json["fee"]["units"] == str(fee)
    finally:
        _rules(database, code_, withdrawal_fee_kind=None, withdrawal_fee_units=None)
        _fee_rate(database, home, None)


def test_a_token_is_never_charged_by_an_estimate_in_another_coin(shop: Shop, fund: Fund, database: Database) -> None:
    with pytest.raises(InvalidInput, match="another coin"):
        _rules(database, "USDT", withdrawal_fee_kind="estimate")
    owner = shop.account()
    fund(owner, 50 * 10**6, "USDT")
    _fee_rate(database, "ethereum", 10**12)
    try:
        assert shop.post("/v1/withdrawals", order(owner, "USDT")).json["fee"]["units"] == "1000000"
    finally:
        _fee_rate(database, "ethereum", None)


@pytest.mark.parametrize("code_", ["ETH", "USDT", "XMR"])
def test_no_address_of_ours_is_paid_on_any_chain(shop: Shop, fund: Fund, make_shop: Any, code_: str) -> None:
    owner = shop.account()
    fund(owner, 10**20, code_)
    foreign = make_shop()
    for text in (ask(shop, owner, code_)["address"], ask(foreign, foreign.account(), code_)["address"]):
        assert code(shop.post("/v1/withdrawals", order(owner, code_, address=text))) == (422, "address_own")


def test_the_wallets_own_address_is_not_paid(shop: Shop, fund: Fund) -> None:
    """Monero's change address belongs to no index."""
    owner = shop.account()
    fund(owner, 10**13, "XMR")
    assert code(shop.post("/v1/withdrawals", order(owner, "XMR", address=KEYS["monero"]))) == (422, "address_own")


def test_the_cold_address_is_not_paid(app: Flask, shop: Shop, fund: Fund, monkeypatch: pytest.MonkeyPatch) -> None:
    cold = {"ethereum": PAYEES["ETH"]}
    monkeypatch.setattr(app.extensions["coffer"].services, "cold_addresses", cold)
    owner = shop.account()
    fund(owner, 10**20, "ETH")
    lower = PAYEES["ETH"].lower()
    assert code(shop.post("/v1/withdrawals", order(owner, "ETH", address=lower))) == (422, "address_own")


@pytest.mark.parametrize("code_", ["ETH", "USDT"])
def test_contracts_that_would_keep_the_money_are_not_paid(
    shop: Shop, fund: Fund, database: Database, code_: str
) -> None:
    owner = shop.account()
    fund(owner, 10**20, code_)
    deployed = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
    database.run(lambda tx: _deploy(tx, deployed), "test")
    for text in (TOKEN["contract"], deployed.lower()):
        answer = shop.post("/v1/withdrawals", order(owner, code_, address=text))
        assert code(answer) == (422, "address_invalid"), text
        assert "contract" in answer.json["detail"]


def test_what_it_waits_for_is_told_without_the_houses_secrets(shop: Shop, fund: Fund, database: Database) -> None:
    owner = shop.account()
    fund(owner, 10**13, "XMR")
    made = shop.post("/v1/withdrawals", order(owner, "XMR")).json
    for reason, shown in (("hot_funds_locked", True), ("signer_refused", False)):
        detail = "a part unlocks in about 7 blocks"
        values = {"status_reason": reason, "status_detail": detail}
        row = update(withdrawal).where(withdrawal.c.public_id == made["id"])
        database.run(lambda tx, row=row, values=values: tx.execute(row.values(values)), "test")
        told = shop.get(f"/v1/withdrawals/{made['id']}").json
        assert (told["status_reason"], told["status_detail"]) == (reason, detail if shown else None)


# Deposits


@pytest.mark.parametrize(
    ("code_", "tail", "output", "vout"),
    [("BTC", ":3", "3", 3), ("XMR", ":0:7", "0:7", None), ("USDT", ":log:4", "log:4", None), ("ETH", "", "", None)],
)
def test_a_deposit_tells_which_part_of_its_transaction_paid_it(
    shop: Shop, database: Database, code_: str, tail: str, output: str, vout: int | None
) -> None:
    public_id = database.run(lambda tx: _deposit(tx, shop, code_, tail), "test")
    shown = shop.get(f"/v1/deposits/{public_id}").json
    assert (shown["output"], shown["vout"], shown["waits_for_final"]) == (output, vout, False)


def test_a_locked_suspect_or_large_deposit_tells_what_it_waits_for(shop: Shop, database: Database) -> None:
    for values, reason, final in (
        ({"locked": 1}, "locked", False),
        ({"suspect": "balance_mismatch", "locked": 1}, "balance_mismatch", False),
        ({"confirmations_needed": policy.FINAL_DEPTH}, None, True),
        ({"locked": 1, "state": "credited"}, None, False),
    ):
        public_id = database.run(lambda tx, v=values: _deposit(tx, shop, "ETH", "", **v), "test")
        shown = shop.get(f"/v1/deposits/{public_id}").json
        assert (shown["status_reason"], shown["waits_for_final"]) == (reason, final), values


def _deposit(tx: Any, shop: Shop, code_: str, tail: str, **values: Any) -> str:
    owner = tx.value(select(account.c.id).where(account.c.project_id == shop.project_id).limit(1))
    home = tx.value(select(asset.c.chain).where(asset.c.code == code_))
    txid, public_id = secrets.token_hex(32), new_id("dp")
    row = {"public_id": public_id, "chain": home, "asset": code_, "output_key": txid + tail, "txid": txid}
    row |= {"address": "x", "project_id": shop.project_id, "account_id": owner, "units": 5, "seen": "confirmed"}
    row |= {"height": 3, "state": "confirming", "due_at": None, "created_at": tx.now, "updated_at": tx.now}
    tx.execute(insert(deposit).values(row | values))
    return public_id


def _deploy(tx: Any, contract: str) -> None:
    if tx.value(select(payment.c.id).where(payment.c.created == contract)) is not None:
        return
    row = {"public_id": new_id("pay"), "chain": "ethereum", "asset": "ETH", "fee_asset": "ETH", "purpose": "call"}
    row |= {"units": 0, "rate": 1, "rate_max": 1, "created": contract, "state": "final", "due_at": None}
    tx.execute(insert(payment).values(row | {"created_at": tx.now, "updated_at": tx.now}))


def _rules(database: Database, code_: str, **rules: Any) -> None:
    for name, value in rules.items():
        database.run(lambda tx, n=name, v=value: policy.change(tx, code_, n, v, "tests"), "test")


def _fee_rate(database: Database, name: str, rate: int | None) -> None:
    database.run(lambda tx: tx.execute(update(chain).where(chain.c.name == name).values(fee_rate=rate)), "test")
