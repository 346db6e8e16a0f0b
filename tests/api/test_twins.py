"""Every call that changes something, sent twice at the same moment: what happens is what one call does, or twice that,
and never anything between.

What one call does is measured, not written down: the same call is made once, alone, in a town of its own, and what
changed there (rows by state, money by account) is what must have changed in the other towns, times the successes.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import func, select

from api.app import RESOURCES
from ledger import balances
from ledger.db import Database, Tx
from ledger.schema import balance, ledger_account, metadata
from tests.api.shop import Shop, code
from tests.api.test_idempotency import at_once
from tests.api.town import PAYEE, URL, Town
from tests.clock import Clock
from tests.faults import invariants_trades

Call = tuple[str, Any]

QUOTE = {"sell": "BTC", "buy": "ETH", "sell_amount": "0.1"}

#: Not an effect: what is stored of the calls themselves, and accounts of the ledger, which are made when first used.
ASIDE = {"idempotency", "request_nonce", "ledger_account", "balance"}


@dataclass(frozen=True)
class Twin:
    """`call` makes what it acts on, and gives path and body. `wins` of two calls under two keys succeed; the others
    are refused with `refused`. `effects`: how many of the winners changed something."""

    call: Callable[[Town], Call]
    refused: str | None = None
    wins: int = 1
    effects: int = 1


def both(call: Callable[[Town], Call]) -> Twin:
    """Two calls are two things."""
    return Twin(call, wins=2, effects=2)


def same(call: Callable[[Town], Call]) -> Twin:
    """Both say yes, and it is so once."""
    return Twin(call, wins=2)


def on(path: str, thing: str, body: Any = None) -> Callable[[Town], Call]:
    """A call on something of the town: `on("/v1/escrows/{}/fund", "escrow", {})`."""
    return lambda town: (path.format(getattr(town, thing)()), body)


TWINS: dict[str, Twin] = {
    "accounts.create_account": Twin(
        lambda town: ("/v1/accounts", {"reference": secrets.token_hex(8), "kind": "user"}), "reference_exists"
    ),
    "addresses.create_address": both(lambda town: (f"/v1/accounts/{town.buyer}/addresses", {"asset": "BTC"})),
    "transfers.create_transfer": Twin(lambda town: ("/v1/transfers", town.transfer()), "reference_exists"),
    "withdrawals.create_withdrawal": Twin(lambda town: ("/v1/withdrawals", town.withdrawal()), "reference_exists"),
    "withdrawals.create_withdrawals": Twin(
        lambda town: ("/v1/withdrawals/batch", {"withdrawals": [town.withdrawal() for _ in range(3)]}),
        "reference_exists",
    ),
    "withdrawals.cancel_withdrawal": Twin(on("/v1/withdrawals/{}/cancel", "queued"), "state_conflict"),
    "withdrawals.approve_withdrawal": Twin(on("/v1/withdrawals/{}/approve", "awaiting_approval"), "state_conflict"),
    "withdrawals.reject_withdrawal": Twin(on("/v1/withdrawals/{}/reject", "awaiting_approval", {}), "state_conflict"),
    "escrows.create_escrow": Twin(lambda town: ("/v1/escrows", town.order()), "reference_exists"),
    "escrows.fund_escrow": Twin(on("/v1/escrows/{}/fund", "escrow", {}), "state_conflict"),
    "escrows.decide_escrow": Twin(on("/v1/escrows/{}/decide", "undecided", {"decision": "accept"}), "state_conflict"),
    "escrows.release_escrow": Twin(
        on("/v1/escrows/{}/release", "funded", {"payout": {"address": PAYEE, "reference": "out"}}), "state_conflict"
    ),
    "escrows.refund_escrow": Twin(on("/v1/escrows/{}/refund", "funded", {}), "state_conflict"),
    "escrows.dispute_escrow": Twin(on("/v1/escrows/{}/dispute", "funded", {}), "state_conflict"),
    "escrows.resolve_escrow": Twin(
        on("/v1/escrows/{}/resolve", "disputed", {"vendor_amount": "0.03"}), "state_conflict"
    ),
    "escrows.cancel_escrow": Twin(on("/v1/escrows/{}/cancel", "escrow"), "state_conflict"),
    "quotes.create_quote": both(lambda town: (town.market(), ("/v1/quotes", QUOTE))[1]),
    "swaps.create_swap": Twin(lambda town: ("/v1/swaps", town.swap(town.quote())), "reference_exists"),
    "webhook_endpoints.create_webhook_endpoint": both(lambda town: ("/v1/webhook_endpoints", {"url": URL})),
    "webhook_endpoints.change_webhook_endpoint": both(  # each is an act in the audit log
        on("PATCH /v1/webhook_endpoints/{}", "endpoint", {"description": "other"})
    ),
    "webhook_endpoints.delete_webhook_endpoint": same(on("DELETE /v1/webhook_endpoints/{}", "endpoint")),
    "webhook_endpoints.enable_webhook_endpoint": same(on("/v1/webhook_endpoints/{}/enable", "endpoint")),
    "webhook_endpoints.disable_webhook_endpoint": same(on("/v1/webhook_endpoints/{}/disable", "endpoint")),
    "webhook_endpoints.rotate_webhook_secret": Twin(
        on("/v1/webhook_endpoints/{}/rotate_secret", "endpoint", {}), "state_conflict"
    ),
    "webhook_endpoints.ping_webhook_endpoint": both(on("/v1/webhook_endpoints/{}/test", "endpoint")),
    "webhook_deliveries.redeliver_webhook": both(
        lambda town: (f"/v1/webhook_deliveries/{town.delivered()[1]}/redeliver", None)
    ),
    "webhook_deliveries.resend_event": both(lambda town: (f"/v1/events/{town.delivered()[0]}/resend", {})),
    "api_keys.create_key": both(lambda town: ("/v1/api_keys", {"name": "k", "scopes": ["accounts:read"]})),
    "api_keys.rotate_key": Twin(on("/v1/api_keys/{}/rotate", "key", {}), "state_conflict"),
    "api_keys.revoke_key": same(on("DELETE /v1/api_keys/{}", "key")),
}


KEYED = {f"{r.name}.{e.name}" for r in RESOURCES for e in r.endpoints if e.keyed}
MUTATING = {f"{r.name}.{e.name}" for r in RESOURCES for e in r.endpoints if e.write}


def test_every_call_that_changes_something_has_its_twins() -> None:
    """A new endpoint belongs into TWINS: who adds it knows what two of it at once must do."""
    assert set(TWINS) == MUTATING
    assert {f"{r.name}.{e.name}" for r in RESOURCES for e in r.endpoints if e.method != "GET"} - READING <= MUTATING


#: A POST that changes nothing.
READING = {"withdrawals.preview_withdrawal"}


@pytest.fixture
def make_town(
    make_shop: Callable[..., Shop], database: Database, fund: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Town]:
    return lambda: Town(make_shop(), make_shop, database, fund, Clock(monkeypatch))


@pytest.mark.parametrize("name", sorted(TWINS))
def test_two_at_once_do_what_one_does_or_twice_that(
    make_town: Callable[[], Town], database: Database, name: str
) -> None:
    twin = TWINS[name]
    before = invariants_trades.standing(database)  # other tests of this database forge rows on purpose
    alone = Observed(database, make_town(), twin.call)
    (only,) = alone.send(["k"])
    assert only.status_code < 300, only.text
    if name in KEYED:
        one_key = Observed(database, make_town(), twin.call)
        assert_one_answer(one_key.send(["k", "k"]))
        assert one_key.changed == alone.changed
    two_keys = Observed(database, make_town(), twin.call)
    answers = two_keys.send(["k1", "k2"])
    won = [answer for answer in answers if answer.status_code < 300]
    lost = [code(answer)[1] for answer in answers if answer.status_code >= 300]
    assert (len(won), lost) == (twin.wins, [twin.refused] * (2 - twin.wins)), [a.text for a in answers]
    assert two_keys.changed == Counter({what: twin.effects * count for what, count in alone.changed.items()})
    assert database.read(balances.faults) == []
    assert invariants_trades.standing(database) == before


def assert_one_answer(answers: list[Any]) -> None:
    """One was carried out; the other was told the same, or to come again."""
    done = [answer for answer in answers if answer.status_code < 300]
    late = [code(answer) for answer in answers if answer.status_code >= 300]
    assert set(late) <= {(409, "idempotency_in_progress")}, [a.text for a in answers]
    assert sum("Idempotent-Replayed" not in answer.headers for answer in done) == 1
    assert len({answer.data for answer in done}) == 1


class Observed:
    """A call that is ready to be sent, and what changed in the whole database when it was."""

    def __init__(self, database: Database, town: Town, call: Callable[[Town], Call]) -> None:
        self._database, self._shop = database, town.shop
        path, self._body = call(town)
        method, _, rest = path.rpartition(" ")
        self._method, self._path = method or "POST", rest
        self.changed: Counter[Any] = Counter()

    def send(self, keys: list[str]) -> list[Any]:
        """One call for each key, all at once."""
        before = self._database.read(standing, consistent=True)
        answers = at_once(len(keys), lambda number: self._once(keys[number]))
        after = self._database.read(standing, consistent=True)
        self.changed = Counter({what: after[what] - before[what] for what in after | before})
        self.changed = Counter({what: count for what, count in self.changed.items() if count})
        return answers

    def _once(self, key: str) -> Any:
        raw = None if self._body is None else json.dumps(self._body).encode()
        headers = {"Idempotency-Key": key} if self._method == "POST" else {}
        return self._shop.call(self._method, self._path, raw, headers)


def standing(tx: Tx) -> Counter[Any]:
    """How many rows stand in each state of each table, and how much money in each kind of account."""
    found: Counter[Any] = Counter()
    for table in metadata.sorted_tables:
        if table.name in ASIDE:
            continue
        state = table.c.get("state")
        if state is None:
            found[table.name] = tx.value(select(func.count()).select_from(table))
            continue
        for value, count in tx.all(select(state, func.count()).group_by(state)):
            found[table.name, value] = count
    a = ledger_account.c
    for kind, asset, units in tx.all(select(a.kind, a.asset, balance.c.units).join(balance)):
        found[kind, asset] += units
    return found
