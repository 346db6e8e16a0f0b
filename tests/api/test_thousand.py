"""A thousand calls on a thousand connections, all sent before any is answered, to the API as it is deployed."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from ledger import balances
from ledger.schema import withdrawal
from tests import databases
from tests.api.front_door import Front, deployed
from tests.integration.storefront import nobodys_address

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

THOUSAND = 1_000
PAYEE = nobodys_address("thousand")
COIN = 10**8
FEE = 2_000


@pytest.fixture(scope="module", params=databases.DIALECTS)
def front(
    request: pytest.FixtureRequest, server_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("thousand")
    if request.param == "sqlite":
        url = databases.sqlite_url(folder, server_folder / "template.sqlite3")
    else:
        url = request.getfixturevalue("mariadb_server").create_database(f"thousand_{secrets.token_hex(4)}")
        databases.make(url)
    found = deployed(url, folder)
    yield found
    found.daemon.stop()


def order(owner: str, reference: str) -> dict[str, Any]:
    return {"account": owner, "asset": "BTC", "amount": "1", "address": PAYEE, "reference": reference}


def test_a_thousand_withdrawals_of_a_balance_for_one(front: Front) -> None:
    """G4: Poloniex, 2014."""
    owner = front.account(COIN + FEE)
    calls = [(secrets.token_hex(8), order(owner, f"{owner}/{number}")) for number in range(THOUSAND)]
    answers = Counter((status, told.get("code")) for status, told in front.all_at_once("/v1/withdrawals", calls))
    assert answers == {(202, None): 1, (409, "insufficient_funds"): THOUSAND - 1}
    assert_whole(front, owner, 1, 0)


def test_a_thousand_repeats_of_one_call(front: Front) -> None:
    """G3: each is told the same, or to come again; a repeat then is told the same."""
    owner = front.account(5 * COIN)
    call = ("one-key", order(owner, f"{owner}/only"))
    answers = front.all_at_once("/v1/withdrawals", [call] * THOUSAND)
    done = {told["id"] for status, told in answers if status == 202}
    late = {(status, told["code"]) for status, told in answers if status != 202}
    assert len(done) == 1
    assert late <= {(409, "idempotency_in_progress")}
    assert front.all_at_once("/v1/withdrawals", [call])[0][1]["id"] in done
    assert_whole(front, owner, 1, 4 * COIN - FEE)


@pytest.mark.long
def test_a_thousand_transfers_of_a_balance_for_one(front: Front) -> None:
    """G4: Flexcoin, 2014, where the balance was looked at before and written after."""
    giver, taker = front.account(COIN), front.account()
    body = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": "1"}
    calls = [(secrets.token_hex(8), body | {"reference": f"{giver}/{number}"}) for number in range(THOUSAND)]
    answers = Counter((status, told.get("code")) for status, told in front.all_at_once("/v1/transfers", calls))
    assert answers == {(201, None): 1, (409, "insufficient_funds"): THOUSAND - 1}
    assert [available(front, who) for who in (giver, taker)] == [0, COIN]
    assert_whole(front, giver, 0, 0)


def available(front: Front, owner: str) -> int:
    rows = front.ask("GET", f"/v1/accounts/{owner}/balances")[1]["data"]
    return int(rows[0]["available"]["units"])


def assert_whole(front: Front, owner: str, withdrawals: int, left: int) -> None:
    assert available(front, owner) == left
    with front.database() as database:
        count = select(func.count()).select_from(withdrawal).where(withdrawal.c.reference.startswith(owner))
        assert database.read(lambda tx: tx.value(count)) == withdrawals
        assert database.read(balances.faults) == []
