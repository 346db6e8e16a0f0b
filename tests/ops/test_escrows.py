"""`coffer escrows`: disputes, decisions and frozen money, as an operator meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from ledger.schema import account, address, audit, escrow, frozen_part
from tests.flows.escrow_desk import Desk
from tests.ops.installation import Installation, wait_for

Install = Callable[..., Installation]


@pytest.fixture
def here(install: Install) -> Installation:
    return install()


@pytest.fixture
def desk(here: Installation) -> Desk:
    return Desk(here.engine)


def name(desk: Desk, escrow_id: int) -> str:
    return str(desk.row(escrow_id).public_id)


def told(here: Installation, *arguments: str) -> Any:
    return json.loads(here.said(*arguments, "--json"))


def acts(here: Installation) -> list[tuple[str, str]]:
    return [(row.actor, row.action) for row in here.engine.rows(audit) if row.action.startswith(("escrow", "frozen"))]


def test_a_dispute_is_listed_and_split_by_an_operator(here: Installation, desk: Desk) -> None:
    escrow_id, other = desk.funded(arbiter="operator", fee_ppm=10_000), desk.funded()
    desk.dispute(escrow_id)
    listed = told(here, "escrows", "list", "--waiting")
    assert [(row["id"], row["state"], row["amount"]) for row in listed] == [
        (name(desk, escrow_id), "disputed", "0.00500000 BTC")
    ]
    assert {row["id"] for row in told(here, "escrows", "list")} == {name(desk, escrow_id), name(desk, other)}
    stuck = told(here, "status")["stuck"]
    assert [(row["kind"], row["id"]) for row in stuck] == [("escrow", name(desk, escrow_id))]
    assert "more than is left" in here.refused("escrows", "resolve", name(desk, escrow_id), "--vendor", "0.00500001")
    assert "decimals" in here.refused("escrows", "resolve", name(desk, escrow_id), "--vendor", "0.000000001")
    said = here.said("escrows", "resolve", name(desk, escrow_id), "--vendor", "0.002", "--as", "ada")
    assert "0.00200000 of the price to the vendor, 0.00300000 to the buyer" in said
    assert desk.money() == (300_000, 198_000)
    assert acts(here) == [("operator:ada", "escrow.resolve")]
    assert "it is resolved" in here.refused("escrows", "resolve", name(desk, escrow_id), "--vendor", "all")
    assert "it is funded" in here.refused("escrows", "resolve", name(desk, other), "--vendor", "0")
    assert "no escrow" in here.refused("escrows", "resolve", "es_nothing", "--vendor", "0")


@pytest.mark.parametrize(("share", "money"), [("0", (500_000, 0)), ("all", (0, 500_000))])
def test_an_operator_may_give_all_to_one_side(
    here: Installation, desk: Desk, share: str, money: tuple[int, int]
) -> None:
    escrow_id = desk.funded()
    desk.dispute(escrow_id)
    here.said("escrows", "resolve", name(desk, escrow_id), "--vendor", share)
    assert desk.money() == money


def test_what_waits_for_a_decision_is_told_and_decided(here: Installation, desk: Desk) -> None:
    escrow_id = desk.by_address(on_underpaid="hold")
    desk.pay(escrow_id, 300_000)
    desk.over(escrow_id)
    public_id = name(desk, escrow_id)
    assert [row["reason"] for row in told(here, "escrows", "list", "--waiting")] == ["underpaid"]
    steps = told(here, "explain", public_id)["next_steps"]
    assert [step.split("   ")[0] for step in steps if "escrows" in step] == [
        f"coffer escrows decide {public_id} --accept",
        f"coffer escrows decide {public_id} --return",
    ]
    assert here.coffer("escrows", "decide", public_id).exit_code == 2
    assert "funded" in here.said("escrows", "decide", public_id, "--accept", "--as", "ada")
    assert desk.parts(escrow_id).units == 300_000
    assert "nothing about it waits" in here.refused("escrows", "decide", public_id, "--return")
    assert acts(here) == [("operator:ada", "escrow.accept")]


def test_frozen_money_is_listed_thawed_or_taken(here: Installation, desk: Desk) -> None:
    other = Desk(here.engine)
    for one in (desk, other):
        escrow_id = one.by_address()
        txid = one.pay(escrow_id, 500_000, blocks=1)
        one.release(escrow_id)
        one.lose(txid, 1)
    rows = told(here, "escrows", "frozen")
    assert [row["amount"] for row in rows] == ["0.00500000 BTC"] * 2
    assert [row["account"] for row in rows] == [here.engine.row(account, d.vendor).public_id for d in (desk, other)]
    assert [row["debtor"] for row in rows] == [here.engine.row(account, d.buyer).public_id for d in (desk, other)]
    assert "BTC" in here.said("escrows", "frozen")
    first, second = (str(row["number"]) for row in rows)
    assert any(f"escrows thaw {first}" in step for step in told(here, "explain", rows[0]["of"])["next_steps"])
    here.said("escrows", "thaw", first, "--as", "ada")
    assert "0.00500000 BTC" in here.said("escrows", "take", second, "--as", "ada")
    assert (desk.money(), other.money()) == ((0, 500_000), (0, 0))
    assert [here.engine.balance(d.buyer, "receivable") for d in (desk, other)] == [500_000, 0]
    assert told(here, "escrows", "frozen") == []
    assert acts(here) == [("operator:ada", "frozen.thaw"), ("operator:ada", "frozen.take")]
    for act in ("thaw", "take"):
        assert "decided before" in here.refused("escrows", act, first)
        assert "no such frozen part" in here.refused("escrows", act, "99")
    assert [row.live for row in here.engine.rows(frozen_part)] == [None, None]
    desk.check()


def test_an_escrow_is_explained_with_its_parties_its_address_and_its_payout(here: Installation, desk: Desk) -> None:
    escrow_id = desk.by_address(reference="order-77")
    desk.pay(escrow_id, 500_000)
    desk.release(escrow_id, 200_000, here.chain.outside_address())
    found = told(here, "explain", name(desk, escrow_id))
    kinds = [subject["kind"] for subject in found["subjects"]]
    assert kinds == ["address", "deposit", "withdrawal", "escrow"]
    shown = found["subjects"][-1]
    assert (shown["amount"], shown["held"]) == ("0.00500000 BTC", "0.00300000 BTC")
    assert shown["vendor"] == here.engine.row(account, desk.vendor).public_id
    words = " ".join(moment["what"] for moment in found["timeline"])
    for word in ("awaiting_funds -> funded", "escrow_release", "event escrow.partially_released", "deposit"):
        assert word in words
    assert [s["id"] for s in told(here, "explain", "order-77")["subjects"]][-1] == name(desk, escrow_id)
    home = here.engine.row(address, desk.row(escrow_id).address_id)
    assert "escrow" in [s["kind"] for s in told(here, "explain", home.address)["subjects"]]
    vendor = here.engine.row(account, desk.vendor).public_id
    assert "escrow" in [s["kind"] for s in told(here, "explain", vendor)["subjects"]]


def test_a_worker_of_the_tasks_queue_keeps_deadlines(here: Installation, desk: Desk) -> None:
    deadline = here.engine.database.now() + 3_600_000_000
    escrow_id = desk.funded(deadline=deadline, at_deadline="release")
    here.started("worker", "tasks")
    assert desk.state(escrow_id) == ("funded", None)
    desk.run(lambda tx: tx.execute(update(escrow).values(deadline=1, due_at=1)))
    wait_for(lambda: desk.state(escrow_id)[0] == "released", "the deadline to be kept")
    assert desk.money() == (0, 500_000)
