"""Pings, redeliveries and new secrets."""

from __future__ import annotations

import pytest

from jobs.webhooks import endpoints as webhook_endpoints
from jobs.webhooks import log as webhook_log
from ledger.errors import StateConflict
from tests.receiver import Receiver, receiving
from tests.webhooks.shop import DAY, HOUR, Shop


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


def test_a_second_rotation_within_the_overlap_is_refused_as_the_shop_still_checks_by_the_first_secret(
    shop: Shop, receiver: Receiver
) -> None:
    endpoint = shop.endpoint(receiver.url)
    shop.change(endpoint, webhook_endpoints.rotate, 3_600)
    with pytest.raises(StateConflict):
        shop.change(endpoint, webhook_endpoints.rotate, 3_600)
    shop.happens("detected")
    shop.work()
    assert receiver.got[0].signed_by(shop.secret(endpoint, 1))


def test_a_rotation_without_overlap_ends_the_old_secret_at_once(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.endpoint(receiver.url)
    shop.change(endpoint, webhook_endpoints.rotate, 0)
    shop.happens("detected")
    shop.work()
    assert [receiver.got[0].signed_by(shop.secret(endpoint, n)) for n in (1, 2)] == [False, True]
