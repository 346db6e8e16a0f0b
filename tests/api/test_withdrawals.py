from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from ledger import accounts, balances, pauses
from ledger.db import Database
from ledger.schema import account, address, hold, idempotency, withdrawal
from tests.api.shop import Shop, code
from tests.api.test_idempotency import at_once, count
from wallets.fake.addresses import derive

PAYEE = derive("outside/1")
FEE = 2_000  # the default policy's flat fee, satoshi

Fund = Callable[[str, int], None]


@pytest.fixture
def owner(shop: Shop, fund: Fund) -> str:
    found = shop.account()
    fund(found, 10**8)
    return found


def order(owner: str, **changes: Any) -> dict[str, Any]:
    return {"account": owner, "asset": "BTC", "amount": "0.1", "address": PAYEE, "reference": "w1"} | changes


def held(shop: Shop, owner: str) -> tuple[int, int]:
    row = shop.get(f"/v1/accounts/{owner}/balances").json["data"][0]
    return int(row["available"]["units"]), int(row["held"]["units"])


def test_a_request_holds_amount_and_fee(shop: Shop, owner: str) -> None:
    answer = shop.post("/v1/withdrawals", order(owner, metadata={"order": "7"}))
    assert answer.status_code == 202
    body = answer.json
    assert (body["status"], body["metadata"], body["payment"], body["txid"]) == ("queued", {"order": "7"}, None, None)
    assert (body["amount"]["units"], body["fee"]["units"], body["total"]["units"]) == ("10000000", "2000", "10002000")
    assert [step["status"] for step in body["history"]] == ["queued"]
    assert "mac" not in body
    assert held(shop, owner) == (10**8 - 10_002_000, 10_002_000)
    read = shop.get(f"/v1/withdrawals/{body['id']}")
    assert (read.json, read.headers["ETag"]) == (body, answer.headers["ETag"])
    entry = shop.get(f"/v1/accounts/{owner}/entries").json["data"][0]
    assert (entry["type"], entry["resource"]) == ("hold", body["id"])
    assert {kind: change["units"] for kind, change in entry["changes"].items()} == {
        "available": "-10002000",
        "held": "+10002000",
    }


def test_max_takes_all_and_a_preview_tells_so_before(shop: Shop, owner: str) -> None:
    wish = {name: value for name, value in order(owner, amount="max").items() if name != "reference"}
    preview = shop.call("POST", "/v1/withdrawals/preview", __import__("json").dumps(wish).encode(), {})
    assert preview.status_code == 200, preview.text
    assert held(shop, owner) == (10**8, 0)
    body = shop.post("/v1/withdrawals", order(owner, amount="max")).json
    assert body["amount"] == preview.json["amount"] == {"amount": "0.99998000", "asset": "BTC", "units": "99998000"}
    assert held(shop, owner) == (0, 10**8)


def test_the_fee_may_come_out_of_the_amount(shop: Shop, owner: str) -> None:
    body = shop.post("/v1/withdrawals", order(owner, fee_from="amount")).json
    assert (body["amount"]["units"], body["total"]["units"]) == (str(10**7 - FEE), str(10**7))


def test_a_reference_is_used_once_for_ever(shop: Shop, owner: str) -> None:
    first = shop.post("/v1/withdrawals", order(owner))
    assert shop.post(f"/v1/withdrawals/{first.json['id']}/cancel").json["status"] == "cancelled"
    again = shop.post("/v1/withdrawals", order(owner, amount="0.2"))
    assert code(again) == (409, "reference_exists")
    assert again.json["existing"] == first.json["id"]


@pytest.mark.parametrize("callers", [8, 32])
def test_parallel_requests_make_one_withdrawal(shop: Shop, owner: str, database: Database, callers: int) -> None:
    same_key = at_once(callers, lambda _: shop.post("/v1/withdrawals", order(owner), key="k"))
    done = [a for a in same_key if a.status_code == 202]
    assert len({a.data for a in done}) == 1
    assert all(code(a) == (409, "idempotency_in_progress") for a in same_key if a not in done)
    other_keys = at_once(callers, lambda n: shop.post("/v1/withdrawals", order(owner), key=f"k{n}"))
    assert {code(a) for a in other_keys} == {(409, "reference_exists")}
    assert count(database, withdrawal, shop.project_id) == 1
    assert held(shop, owner)[1] == 10_002_000


def test_a_hundred_parallel_withdrawals_against_a_balance_for_one(shop: Shop, fund: Fund, database: Database) -> None:
    owner = shop.account()
    fund(owner, 10_002_000)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: shop.post("/v1/withdrawals", order(owner, reference=str(n))), range(100)))
    assert Counter(a.status_code for a in answers) == {202: 1, 409: 99}
    assert {a.json["code"] for a in answers if a.status_code == 409} == {"insufficient_funds"}
    assert held(shop, owner) == (0, 10_002_000)
    assert count(database, withdrawal, shop.project_id) == 1
    assert database.read(balances.faults) == []


def test_withdrawals_and_transfers_at_once_spend_no_more_than_there_is(
    shop: Shop, fund: Fund, database: Database
) -> None:
    owner, other = shop.account(), shop.account()
    fund(owner, 5 * 10_002_000)

    def spend(number: int) -> int:
        if number % 2:
            body = {
                "from_account": owner,
                "to_account": other,
                "asset": "BTC",
                "amount": "0.1",
                "reference": str(number),
            }
            return shop.post("/v1/transfers", body).status_code
        return shop.post("/v1/withdrawals", order(owner, reference=str(number))).status_code

    with ThreadPoolExecutor(16) as pool:
        answers = Counter(pool.map(spend, range(40)))
    assert set(answers) <= {201, 202, 409}
    assert answers[201] + answers[202] == 5
    assert database.read(balances.faults) == []


def test_a_batch_stands_whole_or_not_at_all(shop: Shop, owner: str, database: Database) -> None:
    items = [order(owner, reference=f"b{n}", amount="0.01") for n in range(3)]
    bad = [*items, order(owner, reference="b3", address="fake1nonsense")]
    answer = shop.post("/v1/withdrawals/batch", {"withdrawals": bad})
    assert code(answer) == (422, "address_invalid")
    assert answer.json["errors"][0]["pointer"] == "/withdrawals/3/address"
    poor = [*items, order(owner, reference="b3", amount="5")]
    answer = shop.post("/v1/withdrawals/batch", {"withdrawals": poor})
    assert code(answer) == (409, "insufficient_funds")
    assert answer.json["errors"][0]["pointer"] == "/withdrawals/3"
    twins = [*items, items[0]]
    assert code(shop.post("/v1/withdrawals/batch", {"withdrawals": twins})) == (409, "reference_exists")
    assert (held(shop, owner), count(database, withdrawal, shop.project_id)) == ((10**8, 0), 0)
    done = shop.post("/v1/withdrawals/batch", {"withdrawals": items}, key="k")
    assert done.status_code == 202
    assert [row["reference"] for row in done.json["data"]] == ["b0", "b1", "b2"]
    assert shop.post("/v1/withdrawals/batch", {"withdrawals": items}, key="k").data == done.data
    for wrong in ([], [order(owner, reference=str(n)) for n in range(101)]):
        assert code(shop.post("/v1/withdrawals/batch", {"withdrawals": wrong})) == (422, "validation_failed")


def test_cancelling_gives_the_money_back_once(shop: Shop, owner: str, database: Database) -> None:
    row = shop.post("/v1/withdrawals", order(owner)).json
    answers = at_once(8, lambda n: shop.post(f"/v1/withdrawals/{row['id']}/cancel", key=f"c{n}"))
    assert Counter(a.status_code for a in answers) == {200: 1, 409: 7}
    late = shop.post(f"/v1/withdrawals/{row['id']}/cancel")
    assert (code(late), late.json["current_status"]) == ((409, "state_conflict"), "cancelled")
    assert held(shop, owner) == (10**8, 0)
    assert database.read(balances.faults) == []


def test_four_eyes_are_two_people(shop: Shop, fund: Fund, make_shop: Callable[..., Shop]) -> None:
    owner = shop.account()
    fund(owner, 50 * 10**8)
    row = shop.post("/v1/withdrawals", order(owner, amount="20")).json
    assert (row["status"], row["approvals"]) == ("pending_approval", {"needed": 2, "given": 0})
    path = f"/v1/withdrawals/{row['id']}/approve"
    people = {name: make_shop(project_id=shop.project_id, holder=name) for name in ("bob", "cleo")}
    second_key = make_shop(project_id=shop.project_id, holder="bob")
    assert code(shop.post(path)) == (409, "state_conflict")  # she asked for it
    assert people["bob"].post(path).json["approvals"] == {"needed": 2, "given": 1}
    assert code(second_key.post(path)) == (409, "state_conflict")
    done = people["cleo"].post(path).json
    assert (done["status"], done["approvals"]) == ("queued", {"needed": 2, "given": 2})


def test_another_persons_approval_is_not_answered_by_the_first_ones(
    shop: Shop, fund: Fund, make_shop: Callable[..., Shop]
) -> None:
    """Who names his keys by what they are for gets two people with the same one."""
    owner = shop.account()
    fund(owner, 50 * 10**8)
    row = shop.post("/v1/withdrawals", order(owner, amount="20")).json
    path, key = f"/v1/withdrawals/{row['id']}/approve", f"approve-{row['id']}"
    bob, cleo = (make_shop(project_id=shop.project_id, holder=name) for name in ("bob", "cleo"))
    first = bob.post(path, key=key)
    assert first.json["approvals"] == {"needed": 2, "given": 1}
    refused = cleo.post(path, key=key)
    assert code(refused) == (422, "idempotency_key_reused")
    assert "another person" in refused.json["detail"]
    assert shop.get(f"/v1/withdrawals/{row['id']}").json["approvals"] == {"needed": 2, "given": 1}
    assert cleo.post(path, key=f"{key}-cleo").json["status"] == "queued"
    assert bob.post(path, key=key).data == first.data


def test_a_rejection_tells_why(shop: Shop, fund: Fund, make_shop: Callable[..., Shop]) -> None:
    owner = shop.account()
    fund(owner, 50 * 10**8)
    row = shop.post("/v1/withdrawals", order(owner, amount="20")).json
    done = shop.post(f"/v1/withdrawals/{row['id']}/reject", {"reason": "not ours"}).json
    assert (done["status"], done["status_reason"]) == ("rejected", "not ours")
    assert held(shop, owner) == (50 * 10**8, 0)
    assert code(shop.post(f"/v1/withdrawals/{row['id']}/reject", {"reason": ""})) == (422, "validation_failed")


def test_an_edit_of_an_old_version_is_refused(shop: Shop, owner: str) -> None:
    made = shop.post("/v1/withdrawals", order(owner))
    path = f"/v1/withdrawals/{made.json['id']}/cancel"
    stale = shop.post(path, If_Match='"0123"')
    assert code(stale) == (412, "version_conflict")
    assert shop.post(path, If_Match=made.headers["ETag"]).status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        " " + PAYEE,
        PAYEE + " ",
        PAYEE[:-1],
        PAYEE[:-1] + "\u0430",
        PAYEE.title(),
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "x" * 201,
    ],
)
def test_only_addresses_of_this_network_are_paid(shop: Shop, owner: str, database: Database, text: str) -> None:
    answer = shop.post("/v1/withdrawals", order(owner, address=text))
    assert answer.status_code == 422, text
    assert answer.json["errors"][0]["pointer"] == "/address"
    assert count(database, withdrawal, shop.project_id) == 0


def test_our_own_address_is_not_paid(shop: Shop, owner: str) -> None:
    ours = shop.post(f"/v1/accounts/{owner}/addresses", {"asset": "BTC"}).json["address"]
    assert code(shop.post("/v1/withdrawals", order(owner, address=ours.upper()))) == (422, "address_own")


def test_refusals_have_their_own_codes(shop: Shop, owner: str, database: Database) -> None:
    assert code(shop.post("/v1/withdrawals", order(owner, amount="2"))) == (409, "insufficient_funds")
    assert code(shop.post("/v1/withdrawals", order(owner, amount="101"))) == (409, "limit_exceeded")
    assert code(shop.post("/v1/withdrawals", order(owner, amount="0.00000001"))) == (422, "amount_below_minimum")
    assert code(shop.post("/v1/withdrawals", order(owner, asset="DOGE"))) == (422, "asset_unknown")
    row_id = database.read(lambda tx: tx.value(select(account.c.id).where(account.c.public_id == owner)))
    database.run(lambda tx: accounts.freeze(tx, row_id, "tests"), "freeze")
    assert code(shop.post("/v1/withdrawals", order(owner))) == (409, "account_frozen")
    assert shop.get(f"/v1/accounts/{owner}").json["status"] == "frozen"
    database.run(lambda tx: accounts.unfreeze(tx, row_id, "tests"), "freeze")
    database.run(lambda tx: pauses.stop(tx, "BTC", "withdrawals", "why", "tests"), "pause")
    try:
        assert code(shop.post("/v1/withdrawals", order(owner))) == (409, "asset_disabled")
    finally:
        database.run(lambda tx: pauses.resume(tx, "BTC", "withdrawals", "tests"), "pause")
    assert shop.post("/v1/withdrawals", order(owner)).status_code == 202


def test_lists_filter(shop: Shop, owner: str) -> None:
    rows = [shop.post("/v1/withdrawals", order(owner, reference=f"w{n}", amount="0.01")).json for n in range(3)]
    shop.post(f"/v1/withdrawals/{rows[1]['id']}/cancel")

    def ids(query: str) -> list[str]:
        return [row["id"] for row in shop.get(f"/v1/withdrawals?{query}").json["data"]]

    assert ids("status=queued") == [rows[2]["id"], rows[0]["id"]]
    assert ids("reference=w1") == [rows[1]["id"]]
    assert ids(f"account={owner}&asset=BTC&limit=1") == [rows[2]["id"]]
    assert ids(f"created_from={rows[1]['created_at']}&created_to={rows[2]['created_at']}") == [rows[1]["id"]]


def test_nothing_is_left_of_a_refused_request(shop: Shop, owner: str, database: Database) -> None:
    holds = select(func.count()).select_from(hold)
    before = database.read(lambda tx: tx.value(holds))
    shop.post("/v1/withdrawals", order(owner, amount="2"))
    shop.post("/v1/withdrawals", order(owner, address="x"), key="gone")
    assert database.read(lambda tx: tx.value(holds)) == before
    gone = select(func.count()).select_from(idempotency).where(idempotency.c.idempotency_key == "gone")
    assert database.read(lambda tx: tx.value(gone)) == 0
    assert (
        database.read(lambda tx: tx.value(select(func.count()).select_from(address).where(address.c.address == "x")))
        == 0
    )
