from __future__ import annotations

from collections.abc import Callable

from tests.api.shop import Shop, code


def test_an_account_is_created_once_a_reference(shop: Shop) -> None:
    first = shop.post("/v1/accounts", {"reference": "customer 1", "kind": "user"})
    assert first.status_code == 201
    assert first.headers["Location"] == f"/v1/accounts/{first.json['id']}"
    again = shop.post("/v1/accounts", {"reference": "customer 1", "kind": "vendor"})
    assert code(again) == (409, "reference_exists")
    assert again.json["existing"] == first.json["id"]
    assert shop.get(f"/v1/accounts/{first.json['id']}").json == first.json


def test_a_new_account_has_nothing_of_every_asset(shop: Shop) -> None:
    row = shop.get(f"/v1/accounts/{shop.account()}/balances").json["data"][0]
    assert row["asset"] == "BTC"
    zero = {"amount": "0.00000000", "asset": "BTC", "units": "0"}
    assert [row[kind] for kind in ("available", "held", "escrow", "swap", "pending", "receivable")] == [zero] * 6


def test_lists_page_newest_first_and_end(shop: Shop) -> None:
    ids = [shop.account() for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = shop.get("/v1/accounts?limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_a_cursor_serves_its_own_list_only(shop: Shop, make_shop: Callable[..., Shop]) -> None:
    for _ in range(2):
        shop.account()
    cursor = shop.get("/v1/accounts?limit=1").json["next_cursor"]
    other = make_shop()
    for caller, path in (
        (other, f"/v1/accounts?limit=1&cursor={cursor}"),
        (shop, f"/v1/accounts?limit=1&kind=user&cursor={cursor}"),
        (shop, f"/v1/transfers?cursor={cursor}"),
        (shop, f"/v1/accounts?cursor={cursor[:-2]}AA"),
        (shop, "/v1/accounts?cursor=nonsense"),
        (shop, "/v1/accounts?cursor=%00%ff"),
    ):
        answer = caller.get(path)
        assert code(answer) == (422, "validation_failed"), path
        assert answer.json["errors"][0]["parameter"] == "cursor"


def test_entries_show_the_accounts_own_side(shop: Shop, fund: Callable[[str, int], None]) -> None:
    giver, taker = shop.account(), shop.account()
    fund(giver, 1000)
    order = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": "0.000004", "reference": "t1"}
    transfer = shop.post("/v1/transfers", order).json
    got, came = shop.get(f"/v1/accounts/{giver}/entries").json["data"]
    assert (got["type"], got["resource"]) == ("transfer", transfer["id"])
    assert got["changes"] == {"available": {"amount": "-0.00000400", "asset": "BTC", "units": "-400"}}
    assert came["changes"]["available"]["units"] == "+1000"
    mirror = shop.get(f"/v1/accounts/{taker}/entries").json["data"]
    assert [e["changes"]["available"]["units"] for e in mirror] == ["+400"]
    assert mirror[0]["id"] == got["id"]
    first = shop.get(f"/v1/accounts/{giver}/entries?limit=1").json
    second = shop.get(f"/v1/accounts/{giver}/entries?limit=1&cursor={first['next_cursor']}").json
    assert [first["data"][0], second["data"][0], second["has_more"]] == [got, came, False]
