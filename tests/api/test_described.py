"""The API against its own description: a program reads the OpenAPI document and calls what stands there, with what fits
and with what does not.

Whatever comes back is described, nothing is an error on our side, what breaks the description is refused, and the
books are whole afterwards. Ids are mostly those of things that are there, or every call would end at 404.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.core import NotSet
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as described

from api.app import RESOURCES
from api.openapi import document
from ledger import balances
from ledger.db import Database
from tests.api.shop import Shop
from tests.api.town import PAYEE, Town
from tests.clock import Clock
from tests.faults import invariants_trades

#: Calls of each endpoint in a test run; `-m long` makes many more, other ones each time.
EXAMPLES = 8
MANY = 150

CHECKS = [
    described.status_code_conformance,
    described.content_type_conformance,
    described.response_headers_conformance,
    described.response_schema_conformance,
]

SCHEMA = schemathesis.openapi.from_dict(document(RESOURCES))
OPERATIONS = {
    f"{found.ok().method.upper()} {found.ok().path}": found.ok()
    for found in SCHEMA.get_all_operations()
    if found.ok().path.startswith("/v1/")
}


class Things:
    """What stands in the place of an id or a word that the description only calls a string."""

    def __init__(self, town: Town) -> None:
        self.town = town
        event, delivery = town.delivered()
        town.market()
        self.of: dict[str, list[str]] = {
            "account_id": [town.buyer, town.vendor],
            "address_or_id": [PAYEE],
            "deposit_id": ["dp_" + "0" * 32],
            "delivery_id": [delivery],
            "endpoint_id": [town.endpoint()],
            "escrow_id": [town.escrow(), town.funded(), town.funded(), town.disputed()],
            "event_id": [event],
            "key_id": [town.key()],
            "quote_id": [town.quote() for _ in range(2)],
            "swap_id": ["sw_" + "0" * 32],
            "transfer_id": [town.post("/v1/transfers", town.transfer())["id"]],
            "withdrawal_id": [town.queued(), town.awaiting_approval()],
        }
        made = town.post(f"/v1/accounts/{town.buyer}/addresses", {"asset": "BTC"})
        self.of["address_or_id"] += [made["id"], made["address"]]
        amounts = ["0.00002", "0.1", "1", "max", "0", "0.000000001", "99999999", "21000000"]
        self.of |= dict.fromkeys(("account", "from_account", "to_account", "buyer"), self.of["account_id"])
        self.of |= {"vendor": self.of["account_id"], "quote": self.of["quote_id"], "order": self.of["account_id"]}
        self.of |= {name: ["BTC", "ETH", "XMR", "USDT"] for name in ("asset", "sell", "buy")}
        self.of |= dict.fromkeys(("amount", "sell_amount", "buy_amount", "vendor_amount", "fee_amount"), amounts)
        self.of |= {"address": [PAYEE], "payout_address": [PAYEE], "refund_address": [PAYEE]}
        self.of |= {"endpoint": self.of["endpoint_id"], "event": [event], "scopes": ["accounts:read"]}

    def put_into(self, data: st.DataObject, given: Any) -> Any:
        """The same value with known things in some of the places that have a known name."""
        if isinstance(given, dict):
            return {name: self._instead(data, name, value) for name, value in given.items()}
        return [self.put_into(data, item) for item in given] if isinstance(given, list) else given

    def _instead(self, data: st.DataObject, name: str, value: Any) -> Any:
        known = self.of.get(name)
        if known is None or not isinstance(value, str) or data.draw(st.integers(0, 7)) == 0:
            return self.put_into(data, value)
        return data.draw(st.sampled_from(known))


@pytest.fixture(scope="module")
def things(make_shop: Callable[..., Shop], database: Database, fund: Callable[..., None]) -> Iterator[Things]:
    """One town for all calls: what one of them leaves is what the next one finds."""
    with pytest.MonkeyPatch.context() as patch:
        found = Things(Town(make_shop(), make_shop, database, fund, Clock(patch)))
    yield found
    assert database.read(balances.faults) == []
    assert invariants_trades.standing(database) == []


def call(town: Town, case: Case) -> Any:
    """The answer to what a case says, sent as bytes: the case's own transport would repair what it sends."""
    headers = {name: str(value) for name, value in (case.headers or {}).items() if sendable(str(name), str(value))}
    headers |= {"Authorization": f"Bearer {town.shop.token}"}
    if "Idempotency-Key" in headers:  # one that was used before would only be told so
        headers["Idempotency-Key"] = secrets.token_hex(8)
    raw = None
    if not isinstance(case.body, NotSet):
        raw = case.body if isinstance(case.body, bytes) else json.dumps(case.body, default=str).encode()
        headers.setdefault("Content-Type", case.media_type or "application/json")
    query = [(name, str(value)) for name, value in (case.query or {}).items()]
    client = town.shop.app.test_client()
    return client.open(case.formatted_path, method=case.method, query_string=query, data=raw, headers=headers)


def sendable(name: str, value: str) -> bool:
    """What no HTTP library sends is not sent; who calls is not what is tried here."""
    return name.isascii() and all(" " <= letter <= "~" for letter in value) and name.lower() != "authorization"


def judge(answer: Any, case: Case) -> None:
    """503 may come of a market without rates alone; the rest is described, in the shape that stands there."""
    assert answer.status_code < 500 or answer.json["code"].startswith("rate_"), answer.text
    assert answer.headers["X-Request-Id"]
    if answer.status_code == 404 and answer.json["detail"] == answer.json["title"]:
        return  # an empty or divided path part leads to no call at all
    case.validate_response(answer, checks=CHECKS)


def try_all(things: Things, operation: Any, limits: settings) -> None:
    @limits
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from(list(GenerationMode)))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        case.path_parameters = things.put_into(data, case.path_parameters)
        case.query = things.put_into(data, case.query)
        if isinstance(case.body, dict):
            case.body = things.put_into(data, case.body)
        judge(call(things.town, case), case)

    run()


@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_fits_or_breaks_the_description_is_answered_as_described(things: Things, name: str) -> None:
    """The same calls each time: what they find is a change of ours. `-m long` makes other ones each time."""
    limits = settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    try_all(things, OPERATIONS[name], limits)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", OPERATIONS)
def test_many_more_calls_are_answered_as_described(things: Things, name: str) -> None:
    limits = settings(
        max_examples=MANY, deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck)
    )
    try_all(things, OPERATIONS[name], limits)
