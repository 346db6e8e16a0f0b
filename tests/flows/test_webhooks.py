"""Events reach a real receiver: in order, at least once, over outages of either side, and nobody waits for another."""

from __future__ import annotations

import ipaddress
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, insert, select, update

from jobs import bootstrap, delivery, webhook_endpoints, webhook_fanout, webhook_log, webhook_parts
from jobs.runtime import Runtime
from jobs.services import Services
from jobs.sweeper import Sweeper
from jobs.webhook_urls import Guard
from ledger import history
from ledger.db import Database
from ledger.ids import new_id
from ledger.schema import alarm, event, project, task, webhook_delivery, webhook_endpoint
from tests import databases
from tests.receiver import Got, Receiver, receiving
from wallets.fake import FakeAddressBook

MINUTE = 60 * 1_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
D, E = webhook_delivery.c, webhook_endpoint.c
LOOPBACK = Guard([ipaddress.ip_network("127.0.0.0/8")])


class Shop:
    """A project with events, and a webhooks worker that runs when asked. Time passes by moving rows back."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.services = Services(database, "test", lambda _: FakeAddressBook())
        self.services.webhooks = webhook_parts.make(b"w" * 32, LOOPBACK)
        self.runtime = Runtime(database, bootstrap.sagas(), self.services)
        self.project_id = int(database.run(_project, "test"))

    def endpoint(self, url: str, *events: str) -> Row[Any]:
        return self.database.run(
            lambda tx: webhook_endpoints.create(tx, self.project_id, url, events or ("*",), None, LOOPBACK, "test"),
            "test",
        )

    def secret(self, endpoint: Row[Any], version: int = 1) -> str:
        return self.services.require_webhooks().keys.secret(endpoint.public_id, version)

    def happens(self, *states: str, about: str | None = None, kind: str = "deposit") -> str:
        """Events of one resource, numbered."""
        resource = about or new_id("dp")

        def unit(tx: Any) -> None:
            for state in states:
                history.emit(tx, self.project_id, f"{kind}.{state}", resource, {"id": resource, "status": state})
            history.number_events(tx)

        self.database.run(unit, "test")
        return resource

    def fan_out(self) -> None:
        row_id = self.database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == "fanout")))
        self.runtime.advance("task", row_id, woken=True)

    def work(self, pause_us: int = 0) -> None:
        """Let this much time pass, then do all that is due."""
        if pause_us:
            self.later(pause_us)
        self.fan_out()
        while any([self.runtime.advance("delivery", row_id) for row_id in self.due()]):  # noqa: C419  # all of them
            pass

    def due(self) -> list[int]:
        own = (D.project_id == self.project_id) & (D.lease_until == 0)

        def unit(tx: Any) -> list[int]:
            return [row.id for row in tx.all(select(D.id).where(own, D.due_at <= tx.now).order_by(D.due_at, D.id))]

        return self.database.read(unit)

    def set_pending(self, **values: Any) -> None:
        own = (D.project_id == self.project_id) & (D.state == "pending")
        self.database.run(lambda tx: tx.execute(update(webhook_delivery).where(own).values(values)), "test_clock")

    def set_endpoints(self, **values: Any) -> None:
        own = update(webhook_endpoint).where(E.project_id == self.project_id)
        self.database.run(lambda tx: tx.execute(own.values(values)), "test_clock")

    def close(self) -> None:
        """Leave nothing to do: tests share a database."""
        self.set_endpoints(state="deleted")
        self.set_pending(state="failed", due_at=None, lease_until=0)

    def later(self, micros: int) -> None:
        """As if this much time had passed: everything that was, or will be, is so much longer ago."""

        def unit(tx: Any) -> None:
            own = update(webhook_delivery).where(D.project_id == self.project_id, D.due_at.is_not(None))
            tx.execute(own.values(due_at=D.due_at - micros))
            for name in ("failing_since", "previous_secret_until"):
                found = update(webhook_endpoint).where(E.project_id == self.project_id, E[name].is_not(None))
                tx.execute(found.values({name: E[name] - micros}))

        self.database.run(unit, "test_clock")

    def row(self, endpoint: Row[Any]) -> Row[Any]:
        return self.database.read(lambda tx: tx.one(select(webhook_endpoint).where(E.id == endpoint.id)))

    def change(self, endpoint: Row[Any], call: Any, *more: Any) -> Row[Any]:
        """`call(tx, row, *more, actor)` on the locked endpoint."""

        def unit(tx: Any) -> Row[Any]:
            row = webhook_endpoints.find(tx, self.project_id, endpoint.public_id, locked=True)
            return call(tx, row, *more, "test")

        return self.database.run(unit, "test")

    def deliveries(self) -> list[Row[Any]]:
        own = select(webhook_delivery).where(D.project_id == self.project_id).order_by(D.id)
        return list(self.database.read(lambda tx: tx.all(own)))

    def states(self) -> list[str]:
        return [row.state for row in self.deliveries()]

    def log(self, delivery_id: int) -> list[dict[str, Any]]:
        return list(self.database.read(lambda tx: webhook_log.view(tx, delivery_id))["attempts"])

    def events(self) -> list[Row[Any]]:
        own = event.c.project_id == self.project_id
        return list(self.database.read(lambda tx: tx.all(select(event).where(own).order_by(event.c.sequence))))

    def alarms_of(self, endpoint: Row[Any]) -> list[str]:
        own = select(alarm).where(alarm.c.open == 1, alarm.c.subject == endpoint.public_id)
        return [row.name for row in self.database.read(lambda tx: tx.all(own))]


def _project(tx: Any) -> int:
    values = {"public_id": new_id("pj"), "name": new_id("shop"), "created_at": tx.now}
    return int(tx.insert(insert(project).values(values)))


@pytest.fixture(scope="module", params=databases.DIALECTS)
def database(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[Database]:
    """One of each kind for the whole file; each test has a project of its own."""
    if request.param == "sqlite":
        folder = server_folder / f"webhooks-{secrets.token_hex(4)}"
        folder.mkdir()
        url = databases.sqlite_url(folder, server_folder / "template.sqlite3")
    else:
        url = request.getfixturevalue("mariadb_server").create_database(f"webhooks_{secrets.token_hex(4)}")
        databases.make(url)
    found = Database(url)
    yield found
    found.close()


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    found = Shop(database)
    yield found
    found.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


# What arrives


def test_an_event_arrives_signed_and_exactly_as_the_api_shows_it(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    resource = shop.happens("detected")
    shop.work()
    (got,) = receiver.got
    (told,) = shop.events()
    assert got.path == "/hooks"
    assert got.signed_by(shop.secret(endpoint))
    assert got.id == told.public_id
    assert got.json == {
        "id": told.public_id,
        "type": "deposit.detected",
        "timestamp": got.json["timestamp"],
        "livemode": False,
        "sequence": 1,
        "data": {"object": {"id": resource, "status": "detected"}},
    }
    assert shop.states() == ["delivered"]
    assert shop.row(endpoint).delivered_at is not None
    (attempt,) = shop.log(shop.deliveries()[0].id)
    assert (attempt["number"], attempt["http_status"], attempt["error"]) == (1, 204, None)


def test_an_endpoint_gets_what_it_asked_for_and_what_came_after_it_was_made(shop: Shop, receiver: Receiver) -> None:
    before = shop.happens("detected")
    shop.endpoint(receiver.url, "deposit.credited", "withdrawal.*")
    shop.happens("confirming", "credited", about=before)
    shop.happens("queued", "completed", kind="withdrawal")
    shop.happens("completed", kind="transfer")
    shop.work()
    assert receiver.events() == ["deposit.credited", "withdrawal.queued", "withdrawal.completed"]


def test_each_endpoint_of_a_project_gets_every_event_and_no_other_projects(shop: Shop, receiver: Receiver) -> None:
    other = Shop(shop.database)
    with receiving() as second:
        shop.endpoint(receiver.url)
        shop.endpoint(second.url)
        shop.happens("detected", "credited")
        other.happens("reversed")
        shop.work()
        assert receiver.events() == second.events() == ["deposit.detected", "deposit.credited"]


def test_more_events_than_one_pass_takes_all_get_a_row_in_order(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_fanout, "EVENTS_MAX", 3)
    monkeypatch.setattr(webhook_fanout, "ENDPOINTS_MAX", 1)
    with receiving() as second:
        ids = [shop.endpoint(url).id for url in (receiver.url, second.url)]
        for _ in range(5):
            shop.happens("detected", "credited")
        for _ in range(8):
            shop.work()
        for one, endpoint_id in zip((receiver, second), ids, strict=True):
            assert sorted(got.json["sequence"] for got in one.got) == list(range(1, 11))
            rows = [row.event_id for row in shop.deliveries() if row.endpoint_id == endpoint_id]
            assert rows == [row.id for row in shop.events()]


# Order


def test_events_of_a_resource_keep_their_order_while_others_overtake(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    stuck = shop.happens("detected", "confirming", "credited")
    receiver.reply = lambda got: 500 if got.json["data"]["object"]["id"] == stuck else 204
    free = shop.happens("detected", "credited")
    shop.work()
    arrived = [(got.json["data"]["object"]["id"], got.json["type"]) for got in receiver.got]
    assert arrived == [(stuck, "deposit.detected"), (free, "deposit.detected"), (free, "deposit.credited")]
    assert [row.state for row in shop.deliveries() if row.resource_id == stuck] == ["pending"] * 3
    receiver.answers(200)
    shop.work(10 * MINUTE)
    later = [got.json["type"] for got in receiver.got if got.json["data"]["object"]["id"] == stuck]
    assert later == ["deposit.detected", "deposit.detected", "deposit.confirming", "deposit.credited"]


def test_what_is_woken_too_early_waits_for_the_one_before(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.answers(500)
    shop.happens("detected", "credited")
    shop.work()
    first = shop.deliveries()[0].id
    shop.set_pending(due_at=1)
    shop.database.run(lambda tx: tx.execute(update(webhook_delivery).where(D.id == first).values(due_at=2**62)), "test")
    shop.work()
    assert receiver.events() == ["deposit.detected"]
    assert shop.deliveries()[1].status_reason == "waits_for_earlier"


def test_an_event_that_is_given_up_lets_the_next_one_go(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.reply = lambda got: 500 if got.json["type"] == "deposit.detected" else 204
    shop.happens("detected", "credited")
    for _ in range(20):
        shop.work(DAY + 3 * HOUR)
        shop.set_endpoints(failing_since=None)  # or it would be switched off before
    assert shop.states() == ["failed", "delivered"]
    assert receiver.events() == ["deposit.detected"] * 10 + ["deposit.credited"]


def test_an_event_that_comes_while_the_one_before_ends_is_not_left_asleep(shop: Shop, receiver: Receiver) -> None:
    """The fan-out runs in the moment between the answer and its commit."""
    shop.endpoint(receiver.url)
    resource = shop.happens("detected")
    shop.fan_out()

    def reply(got: Got) -> int:
        if got.json["type"] == "deposit.detected":
            shop.happens("credited", about=resource)
            shop.fan_out()
        return 204

    receiver.reply = reply
    shop.work()
    assert receiver.events() == ["deposit.detected", "deposit.credited"]


# Retries


def test_retries_follow_the_schedule_and_then_end(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.answers(503)
    shop.happens("detected")
    shop.work()
    for number, seconds in enumerate(delivery.SCHEDULE, start=1):
        (row,) = shop.deliveries()
        assert (row.state, row.tries, row.status_reason) == ("pending", number, "http_503")
        wait = (row.due_at - row.updated_at) / 1_000_000
        assert 0.89 * seconds <= wait <= 1.11 * seconds
        shop.work(int(0.85 * seconds) * 1_000_000)
        assert len(receiver.got) == number
        shop.work(int(0.27 * seconds) * 1_000_000 + MINUTE)
        assert len(receiver.got) == number + 1
    (row,) = shop.deliveries()
    assert (row.state, row.tries, row.due_at) == ("failed", 10, None)
    assert sum(delivery.SCHEDULE) > 3 * 86_400
    assert len({got.id for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1
    attempts = shop.log(row.id)
    assert [(a["number"], a["http_status"]) for a in attempts] == [(n, 503) for n in range(1, 11)]


def test_a_receiver_may_ask_for_more_time_but_not_for_less(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.answers((429, {"Retry-After": "3600"}), (429, {"Retry-After": "1"}), (503, {"Retry-After": "9" * 9}), 204)
    shop.happens("detected")
    shop.work()
    waits = []
    for _ in range(3):
        (row,) = shop.deliveries()
        waits.append((row.due_at - row.updated_at) // 1_000_000)
        shop.work(row.due_at - row.updated_at)
    assert (waits[0], waits[2]) == (3600, delivery.RETRY_AFTER_MAX_SECONDS)
    assert 270 <= waits[1] <= 330
    assert shop.states() == ["delivered"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_miss_and_nobody_goes_there(shop: Shop, receiver: Receiver, status: int) -> None:
    with receiving() as other:
        receiver.answers((status, {"Location": other.url}))
        shop.endpoint(receiver.url)
        shop.happens("detected")
        shop.work()
        assert (len(receiver.got), other.got) == (1, [])
    assert shop.deliveries()[0].status_reason == f"http_{status}"


def test_a_receiver_that_was_off_for_a_day_misses_nothing(shop: Shop) -> None:
    with receiving() as receiver:
        endpoint = shop.endpoint(receiver.url)
        port = receiver.port
    resources = []
    for hour in range(24):
        resources.append(shop.happens("detected"))
        if hour:
            shop.happens("credited", about=resources[hour - 1])
        shop.work(HOUR)
    assert set(shop.states()) == {"pending"}
    assert shop.row(endpoint).state == "enabled"
    with receiving(port) as receiver:
        for _ in range(10):
            shop.work(2 * HOUR)
        assert set(shop.states()) == {"delivered"}
        got = [(g.json["data"]["object"]["id"], g.json["type"]) for g in receiver.got]
        assert sorted(g.json["sequence"] for g in receiver.got) == list(range(1, 48))
        for resource in resources[:-1]:
            assert [type_ for about, type_ in got if about == resource] == ["deposit.detected", "deposit.credited"]


def test_when_a_receiver_is_back_all_that_waits_comes_at_once(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.answers(500)
    for _ in range(5):
        shop.happens("detected", "credited")
    for _ in range(4):
        shop.work(HOUR)
    receiver.got.clear()
    receiver.answers(204)
    shop.happens("final")
    shop.work()  # no time passes: without the new event nothing would be due
    assert sorted(got.json["sequence"] for got in receiver.got) == list(range(1, 12))


def test_an_attempt_before_its_time_uses_up_none_of_the_schedule(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    poison = shop.happens("detected")
    receiver.reply = lambda got: 500 if got.json["data"]["object"]["id"] == poison else 204
    shop.work()
    for _ in range(30):
        shop.later(11 * MINUTE)
        shop.set_pending(due_at=2**62)  # time passes for the endpoint only
        shop.happens("detected")
        shop.work()
    row = shop.deliveries()[0]
    assert (row.state, row.tries) == ("pending", 1)
    assert len(shop.log(row.id)) == 31


# Switched off


def test_410_switches_the_endpoint_off_and_it_misses_nothing(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(410, 204)
    resource = shop.happens("detected")
    shop.work()
    row = shop.row(endpoint)
    assert (row.state, row.disabled_reason) == ("disabled", "gone")
    assert shop.alarms_of(endpoint) == ["webhook_endpoint_disabled"]
    shop.database.run(history.number_events, "test")
    assert [row.type for row in shop.events()] == ["deposit.detected", "webhook_endpoint.disabled"]
    shop.happens("credited", about=resource)
    for _ in range(3):
        shop.work(DAY)
    assert len(receiver.got) == 1
    shop.change(endpoint, webhook_endpoints.enable)
    shop.work()
    assert receiver.events() == [
        "deposit.detected",
        "deposit.detected",
        "webhook_endpoint.disabled",
        "deposit.credited",
    ]
    assert shop.alarms_of(endpoint) == []


def test_an_endpoint_that_fails_for_five_days_is_switched_off_with_an_alarm(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(500)
    for _ in range(5):
        shop.happens("detected")
        shop.work(DAY + HOUR)
        assert shop.row(endpoint).state == "enabled"
    shop.happens("detected")
    shop.work(DAY + HOUR)
    row = shop.row(endpoint)
    assert (row.state, row.disabled_reason) == ("disabled", "failing")
    assert shop.alarms_of(endpoint) == ["webhook_endpoint_disabled"]
    sent = len(receiver.got)
    shop.work(DAY)
    assert len(receiver.got) == sent


def test_one_success_ends_the_count_of_failing_days(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    for day in range(12):
        receiver.answers(204 if day % 4 == 3 else 500)
        shop.happens("detected")
        shop.work(DAY + HOUR)
    assert shop.row(endpoint).state == "enabled"


def test_disabled_and_enabled_again_misses_nothing(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(500)
    resource = shop.happens("detected")
    shop.work()
    shop.change(endpoint, webhook_endpoints.disable, "customer")
    shop.happens("confirming", about=resource)
    for _ in range(5):
        shop.work(DAY)
    shop.happens("credited", about=resource)
    assert len(receiver.got) == 1
    receiver.got.clear()
    receiver.answers(204)
    shop.change(endpoint, webhook_endpoints.enable)
    shop.work()
    assert receiver.events() == ["deposit.detected", "deposit.confirming", "deposit.credited"]
    assert shop.deliveries()[0].tries == 1  # a whole schedule again


def test_enabled_while_a_delivery_finds_it_disabled_leaves_nothing_asleep(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = shop.endpoint(receiver.url)
    shop.happens("detected")
    shop.fan_out()
    shop.change(endpoint, webhook_endpoints.disable, "customer")
    real = delivery._message

    def slowly(*given: Any, **more: Any) -> Any:
        found = real(*given, **more)
        if found.endpoint.state == "disabled":
            woken.append(True)
        return found

    woken: list[bool] = []
    monkeypatch.setattr(delivery, "_message", slowly)
    original = delivery.Waits

    def waits(*given: Any, **more: Any) -> Any:
        if more.get("reason") == "endpoint_disabled" and shop.row(endpoint).state == "disabled":
            shop.change(endpoint, webhook_endpoints.enable)
        return original(*given, **more)

    class Between(original):  # type: ignore[misc,valid-type]
        def __new__(cls, *given: Any, **more: Any) -> Any:
            return waits(*given, **more)

    monkeypatch.setattr(delivery, "Waits", Between)
    shop.work()
    assert woken
    assert receiver.events() == ["deposit.detected"]


def test_what_waits_for_a_deleted_endpoint_fails(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(500)
    shop.happens("detected", "confirming", "credited")
    shop.happens("detected")
    shop.work()
    shop.change(endpoint, webhook_endpoints.delete)
    shop.happens("detected")
    shop.work()
    assert shop.states() == ["failed"] * 4
    assert {row.status_reason for row in shop.deliveries()} == {"endpoint_deleted"}
    assert len(receiver.got) == 2


def test_a_new_url_gets_what_the_old_one_refused(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    receiver.answers(500)
    shop.happens("detected")
    shop.work()
    with receiving() as second:
        shop.change(endpoint, webhook_endpoints.change, {"url": second.url}, LOOPBACK)
        shop.work()
        assert second.events() == ["deposit.detected"]


# By hand


def test_a_ping_goes_out_once_and_changes_nothing_of_the_endpoint(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    shop.change(endpoint, webhook_endpoints.disable, "customer")
    receiver.answers(410)
    before = shop.row(endpoint)
    first = shop.change(endpoint, lambda tx, row, _: webhook_log.ping(tx, row))
    shop.work()
    receiver.answers(204)
    second = shop.change(endpoint, lambda tx, row, _: webhook_log.ping(tx, row))
    shop.work(DAY)
    assert [got.json["type"] for got in receiver.got] == ["webhook_endpoint.ping"] * 2
    assert all(got.signed_by(shop.secret(endpoint)) for got in receiver.got)
    assert receiver.got[0].json["sequence"] is None
    assert receiver.got[0].id != receiver.got[1].id
    assert [row.state for row in shop.deliveries()] == ["failed", "delivered"]
    assert [row.id for row in shop.deliveries()] == [first, second]
    after = shop.row(endpoint)
    assert (after.state, after.failing_since, after.version) == ("disabled", None, before.version)


def test_a_redelivery_is_the_same_message_again(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    shop.happens("detected")
    shop.work()
    (row,) = shop.deliveries()
    again = {shop.database.run(lambda tx: webhook_log.redeliver(tx, row), "test") for _ in range(2)}
    shop.work()
    assert len(again) == 2
    assert [(row.state, row.round) for row in shop.deliveries()] == [("delivered", n) for n in (0, 1, 2)]
    assert len(receiver.got) == 3
    assert len({(got.id, got.body) for got in receiver.got}) == 1


def test_a_pending_delivery_is_brought_forward(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    receiver.answers(500, 500, 204)
    shop.happens("detected")
    shop.work()
    (row,) = shop.deliveries()
    for state, tries in (("pending", 1), ("delivered", 2)):
        assert shop.database.run(lambda tx: webhook_log.redeliver(tx, shop.deliveries()[0]), "test") == row.id
        shop.work()
        found = shop.deliveries()[0]
        assert (found.state, found.tries) == (state, tries)


def test_a_redelivery_that_fails_holds_up_nothing(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    resource = shop.happens("detected")
    shop.work()
    receiver.answers(500)
    shop.database.run(lambda tx: webhook_log.redeliver(tx, shop.deliveries()[0]), "test")
    shop.work()
    receiver.answers(204)
    shop.happens("credited", about=resource)
    shop.work()
    assert receiver.events()[-1] == "deposit.credited"


def test_an_event_is_sent_again_to_all_who_want_it_or_to_one(shop: Shop, receiver: Receiver) -> None:
    with receiving() as second:
        shop.endpoint(receiver.url, "deposit.detected")
        other = shop.endpoint(second.url, "withdrawal.*")
        shop.happens("detected")
        shop.work()
        (told,) = shop.events()
        shop.database.run(lambda tx: webhook_log.resend(tx, shop.project_id, told.public_id, None), "test")
        shop.work()
        assert (len(receiver.got), len(second.got)) == (2, 0)
        shop.database.run(lambda tx: webhook_log.resend(tx, shop.project_id, told.public_id, other.public_id), "test")
        shop.work()
        assert (len(receiver.got), second.events()) == (2, ["deposit.detected"])


def test_an_event_sent_by_hand_before_its_turn_is_still_delivered_in_its_turn(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    shop.happens("detected")
    (told,) = shop.events()
    shop.database.run(lambda tx: webhook_log.resend(tx, shop.project_id, told.public_id, None), "test")
    shop.work()
    assert sorted(row.round for row in shop.deliveries()) == [0, 1]


def test_during_the_overlap_of_a_rotation_both_secrets_hold(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    shop.change(endpoint, webhook_endpoints.rotate, 3_600)
    shop.happens("detected")
    shop.work()
    shop.happens("detected")
    shop.work(2 * HOUR)
    old, new = shop.secret(endpoint, 1), shop.secret(endpoint, 2)
    assert [(got.signed_by(old), got.signed_by(new)) for got in receiver.got] == [(True, True), (False, True)]


def test_a_rotation_without_overlap_ends_the_old_secret_at_once(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    shop.change(endpoint, webhook_endpoints.rotate, 0)
    shop.happens("detected")
    shop.work()
    assert [receiver.got[0].signed_by(shop.secret(endpoint, n)) for n in (1, 2)] == [False, True]


# Deaths and twins


class Killed(BaseException):
    """As a power cut: nothing of ours catches it."""


@pytest.mark.parametrize(("place", "arrivals"), [("webhook_post.before", 1), ("webhook_post.after", 2)])
def test_a_death_around_the_post_delivers_at_least_once_under_one_id(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, place: str, arrivals: int
) -> None:
    shop.endpoint(receiver.url)
    shop.happens("detected", "credited")
    shop.fan_out()

    def die(name: str) -> None:
        if name == place:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "crashpoint", die)
        with pytest.raises(Killed):
            shop.work()
    shop.work()
    assert len(receiver.got) == arrivals - 1  # its lease is still the dead worker's
    shop.set_pending(lease_until=0)
    shop.work()
    assert receiver.events() == ["deposit.detected"] * arrivals + ["deposit.credited"]
    assert len({got.id for got in receiver.got}) == 2
    assert shop.states() == ["delivered", "delivered"]


def test_a_death_in_the_fan_out_neither_loses_nor_doubles(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.endpoint(receiver.url)
    shop.happens("detected", "credited")
    with monkeypatch.context() as patch:
        patch.setattr(webhook_fanout, "_serve", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            shop.fan_out()
    shop.database.run(lambda tx: tx.execute(update(task).values(lease_until=0)), "test_clock")
    shop.work()
    assert receiver.events() == ["deposit.detected", "deposit.credited"]


def test_two_workers_at_once_deliver_each_event_once_and_in_order(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    resources = [shop.happens("detected", "confirming", "credited") for _ in range(8)]
    twins = [Runtime(shop.database, bootstrap.sagas(), shop.services) for _ in range(2)]
    barrier = threading.Barrier(len(twins))

    def work(runtime: Runtime) -> None:
        barrier.wait(10)
        for _ in range(200):
            Sweeper(runtime, "webhooks").sweep()
            if len(receiver.got) >= 24:
                return

    threads = [threading.Thread(target=work, args=(twin,)) for twin in twins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    shop.work()
    assert len(receiver.got) == 24
    for resource in resources:
        own = [got.json["type"] for got in receiver.got if got.json["data"]["object"]["id"] == resource]
        assert own == ["deposit.detected", "deposit.confirming", "deposit.credited"]
    assert set(shop.states()) == {"delivered"}
    assert [len(shop.log(row.id)) for row in shop.deliveries()] == [1] * 24


def test_an_address_that_is_no_longer_allowed_is_not_called(shop: Shop, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    shop.services.webhooks = webhook_parts.make(b"w" * 32, Guard())
    shop.happens("detected")
    shop.work()
    assert (receiver.got, shop.deliveries()[0].status_reason) == ([], "address_refused")
