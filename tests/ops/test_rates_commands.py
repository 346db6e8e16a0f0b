"""`coffer rates`, `coffer hedges`, and the rates worker as a process."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import insert, select

from jobs.rates import usable as rates_of
from ledger.ids import new_id
from ledger.schema import audit, hedge, task
from tests import rates
from tests.ops.installation import Installation, wait_for

Install = Callable[..., Installation]


@pytest.fixture
def here(install: Install) -> Installation:
    return install()


def test_rates_are_shown_with_their_sources(here: Installation) -> None:
    assert json.loads(here.said("rates", "show", "--json"))[0]["problem"] == "unavailable"
    rates.write(here.database, XMR=None)
    found = {row["asset"]: row for row in json.loads(here.said("rates", "show", "--json"))}
    assert (found["BTC"]["price"], found["BTC"]["usable"]) == ("60000", True)
    assert (found["XMR"]["price"], found["XMR"]["problem"]) == (None, "unavailable")
    told = here.said("rates", "show", "--sources")
    assert "60000" in told
    assert "unknown_pair" in told


def test_fetching_is_an_act_in_the_audit_log(here: Installation) -> None:
    here.said("rates", "fetch", "--as", "ann")
    row = here.database.read(lambda tx: tx.one(select(task).where(task.c.name == "rates")))
    assert row.due_at <= here.database.now()
    assert here.engine.rows(audit)[-1].actor == "operator:ann"


def test_a_rates_worker_fetches_and_is_woken_by_who_needs_rates(install: Install) -> None:
    here = install()
    here.variables["COFFER_RATES_FIXED"] = "BTC=61000,XMR=150,ETH=3000"
    worker = here.started("worker", "rates")
    wait_for(lambda: newest(here) is not None, "the first rate")
    rates.age(here.database, 61)
    asked = here.database.now()
    here.database.run(rates_of.want, "test")
    wait_for(lambda: newest(here).quoted_at > asked, "a fresh rate")
    assert newest(here).price == "61000"
    worker.stop()
    assert worker.exit_code == 0, worker.log_tail()


def test_a_wrong_source_ends_the_worker_with_its_name(here: Installation) -> None:
    here.variables["COFFER_RATES_EXCHANGES"] = "kraken"
    worker = here.start("worker", "rates")
    wait_for(lambda: not worker.alive, "the worker to end")
    assert worker.exit_code == 1
    assert "COFFER_RATES_EXCHANGES" in worker.log_tail()
    assert "Traceback" not in worker.log_tail()


def test_hedges_are_listed_settled_and_closed(here: Installation) -> None:
    filled, unclear = planned(here, "filled", filled="0.25"), planned(here, "review", placed_at=5)
    rows = {row["id"]: row for row in json.loads(here.said("hedges", "list", "--json"))}
    assert rows[filled]["order"] == "sell 0.50000000 BTC/USD"
    assert "review" in here.said("hedges", "list")
    assert f"coffer hedges close {unclear}" in here.said("explain", unclear)
    assert f"coffer hedges settle {filled}" in here.said("explain", f"client-{filled}"[-40:])
    here.said("hedges", "settle", filled)
    assert "settled already" in here.refused("hedges", "settle", filled)
    assert filled not in here.said("hedges", "list")
    assert "is filled" in here.refused("hedges", "close", filled, "--filled", "1")
    for wrong in ("much", "-1", "NaN", "1e40"):
        assert here.coffer("hedges", "close", unclear, "--filled", wrong).exit_code != 0
    here.said("hedges", "close", unclear, "--filled", "0")
    assert {row.public_id: row.state for row in here.engine.rows(hedge)} == {filled: "filled", unclear: "failed"}
    assert [act.action for act in here.engine.rows(audit)[-2:]] == ["hedge.settle", "hedge.close"]
    assert "no hedge" in here.refused("hedges", "look", "hg_nothing")


def test_an_order_that_was_never_sent_is_closed_by_looking(here: Installation) -> None:
    never = planned(here, "review")
    here.said("hedges", "look", never)
    (row,) = here.engine.rows(hedge)
    assert (row.state, row.status_reason) == ("failed", "never_sent")


def newest(here: Installation):  # type: ignore[no-untyped-def]
    return here.database.read(lambda tx: rates_of.newest(tx, ["BTC"]).get("BTC"))


def planned(here: Installation, state: str, **more: object) -> str:
    """A hedge in some state."""
    public_id, now = new_id("hg"), here.database.now()
    values = {"public_id": public_id, "queue": "rates", "venue": "kraken", "symbol": "BTC/USD", "side": "sell"}
    values |= {"asset": "BTC", "units": 50_000_000, "client_order_id": f"client-{public_id}"[-40:], "state": state}
    values |= {"created_at": now, "updated_at": now}
    here.database.run(lambda tx: tx.execute(insert(hedge).values(values | more)), "test")
    return public_id
