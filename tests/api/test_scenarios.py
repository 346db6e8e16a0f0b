"""Scenarios of docs/scenarios.md that no other test of the API plays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import update

from jobs import housekeeping
from ledger.db import Database, Tx
from ledger.schema import idempotency, withdrawal
from tests.api.shop import Shop, code
from tests.api.test_idempotency import count
from tests.api.test_withdrawals import order

Fund = Callable[..., None]


def test_a_call_whose_key_was_forgotten_still_has_one_effect(shop: Shop, fund: Fund, database: Database) -> None:
    """I-4, J7: a client that tries again after a month, or after the stored answers were purged by hand."""
    owner = shop.account()
    fund(owner, 10**8)
    first = shop.post("/v1/withdrawals", order(owner), key="k")
    old = update(idempotency).where(idempotency.c.project_id == shop.project_id).values(created_at=1)

    def purge(tx: Tx) -> None:
        tx.execute(old)
        housekeeping.tidy(None, None).effect(tx, None)  # type: ignore[misc, arg-type]  # it needs neither

    database.run(purge, "test_purge")
    assert count(database, idempotency, shop.project_id) == 0
    again = shop.post("/v1/withdrawals", order(owner), key="k")
    assert code(again) == (409, "reference_exists")
    assert again.json["existing"] == first.json["id"]
    assert count(database, withdrawal, shop.project_id) == 1


def test_a_limit_is_the_accounts_whichever_key_asks(
    shop: Shop, make_shop: Callable[..., Shop], fund: Fund, database: Database
) -> None:
    """G13: the day's limit of ten times the largest withdrawal, asked for in parts, by three keys at once."""
    owner = shop.account()
    fund(owner, 2_000 * 10**8)
    askers = [shop, *(make_shop(project_id=shop.project_id) for _ in range(2))]

    def ask(number: int) -> tuple[int, str | None]:
        answer = askers[number % 3].post("/v1/withdrawals", order(owner, amount="100", reference=str(number)))
        return answer.status_code, answer.json.get("code")

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(ask, range(15)))
    assert answers == {(202, None): 10, (409, "limit_exceeded"): 5}
    assert count(database, withdrawal, shop.project_id) == 10
