"""Hedging on both databases: an order is sent once, whatever becomes of its reply, its worker or its look-ups."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Row, select, update

from exchanges import ccxt_source
from exchanges.ccxt_hedge import CcxtVenue
from exchanges.protocol import Desk, Hedging
from jobs import alarms, bootstrap
from jobs.hedge import plan as hedge_plan
from jobs.hedge import resolve as hedge_resolve
from jobs.services import Services
from jobs.sweeper import Sweeper
from ledger import accounts, crashpoint, pauses, policy, postings
from ledger.db import Database, Tx
from ledger.errors import InvalidInput, StateConflict
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import alarm, audit, hedge, task
from tests import rates as rows
from tests.clock import end_leases
from tests.stranger import CUT, GARBAGE, HANG, Stranger, strangers
from tests.stranger_orders import KRAKEN_PLACE, KrakenOrders
from tests.unit.test_ccxt_hedge import SECRETS
from wallets.fake import FakeAddressBook

BTC = 10**8


class Died(BaseException):
    """The worker's end, as a power cut makes it."""


class House:
    """A rates worker with an exchange, and inventory that is out of bounds when a test says so."""

    def __init__(self, database: Database, server: Stranger) -> None:
        self.database = database
        hedging = Hedging(CcxtVenue("kraken", SECRETS, server.url), "USD", {"BTC": Decimal("0.5")})
        self.services = Services(database, "test", lambda _: FakeAddressBook(), desk=Desk(), hedging=hedging)
        self.runtime = bootstrap.runtime(self.services)
        self.run(lambda tx: policy.change(tx, "BTC", "inventory_low_units", 2 * BTC, "test"))
        self.run(lambda tx: policy.change(tx, "BTC", "inventory_high_units", 4 * BTC, "test"))
        self.stock(3 * BTC)
        rows.write(database)

    def run(self, unit: Any) -> Any:
        return self.database.run(unit, "test")

    def stock(self, units: int) -> None:
        """So much more inventory, or so much less."""
        legs = [accounts.house("capital"), accounts.house("inventory")]
        leg = Leg(*(legs if units > 0 else legs[::-1]), abs(units))
        self.run(lambda tx: postings.post(tx, new_id("xx"), "inventory", "BTC", [leg], ("account", 1)))

    def plan(self) -> list[Row[Any]]:
        """Run the planner once, on fresh rates."""
        rows.write(self.database)
        name = select(task.c.id).where(task.c.name == "hedge")
        self.runtime.advance("task", self.database.read(lambda tx: tx.value(name)), woken=True)
        return self.hedges()

    def work(self) -> None:
        """Let every wait be over, and do what is due of orders."""
        t = task.c
        self.run(lambda tx: tx.execute(update(task).where(t.queue == "rates").values(due_at=tx.now + 10**12)))
        self.run(lambda tx: tx.execute(update(hedge).where(hedge.c.due_at.is_not(None)).values(due_at=1)))
        Sweeper(self.runtime, "rates").sweep()

    def work_on(self) -> None:
        for _ in range(5):
            self.work()

    def wait_out(self) -> None:
        """As if the order had been sent long ago: the database lets its moment be written once, so time goes on."""
        self.services.database = Later(self.database)  # type: ignore[assignment]

    def hedges(self) -> list[Row[Any]]:
        return list(self.database.read(lambda tx: tx.all(select(hedge).order_by(hedge.c.id))))

    def only(self) -> Row[Any]:
        (row,) = self.hedges()
        return row

    def alarms(self) -> set[str]:
        return {row.name for row in self.database.read(lambda tx: tx.all(select(alarm).where(alarm.c.open == 1)))}

    def position(self) -> int:
        return int(self.database.read(lambda tx: hedge_plan.position(tx, "BTC", 8)))


class Later:
    """The same database, an hour later by its clock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> int:
        return self._database.now() + 3_600 * 10**6

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


@pytest.fixture
def server() -> Iterator[Stranger]:
    with strangers(lambda stranger: None) as [stranger]:
        yield stranger


@pytest.fixture
def orders(server: Stranger) -> KrakenOrders:
    return KrakenOrders(server)


@pytest.fixture
def house(database: Database, server: Stranger, orders: KrakenOrders, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(ccxt_source, "TIMEOUT_MS", 2_000)
    return House(database, server)


def test_within_its_bounds_nothing_is_ordered(house: House) -> None:
    assert house.plan() == []


def test_too_much_is_sold_and_too_little_is_bought(house: House, orders: KrakenOrders) -> None:
    house.stock(5 * BTC // 4)
    (row,) = house.plan()
    assert (row.side, row.units, row.symbol, row.venue) == ("sell", BTC // 2, "BTC/USD", "kraken")
    house.work()
    house.work()
    assert (house.only().state, house.only().filled, orders.sent) == ("filled", "0.5", 1)
    assert (orders.orders[0]["type"], orders.orders[0]["price"]) == ("sell", "59400")
    house.stock(-5 * BTC // 2)
    assert [row.side for row in house.plan()] == ["sell", "buy"]
    house.work()
    assert orders.orders[1]["price"] == "60600"


def test_what_was_traded_counts_until_it_is_settled(house: House) -> None:
    house.stock(5 * BTC // 4)
    house.plan()
    house.work()
    house.work()
    assert house.position() == 17 * BTC // 4 - BTC // 2
    assert len(house.plan()) == 1
    house.run(lambda tx: hedge_resolve.settle(tx, house.only().public_id, "operator:ann"))
    assert house.position() == 17 * BTC // 4
    assert len(house.plan()) == 2
    with pytest.raises(StateConflict, match="settled already"):
        house.run(lambda tx: hedge_resolve.settle(tx, house.hedges()[0].public_id, "operator:ann"))


def test_one_order_of_an_asset_at_a_time(house: House) -> None:
    house.stock(5 * BTC)
    for _ in range(3):
        assert len(house.plan()) == 1


def test_a_partial_fill_counts_as_what_it_is(house: House, orders: KrakenOrders) -> None:
    orders.filled = 25
    house.stock(5 * BTC // 4)
    house.plan()
    house.work()
    house.work()
    row = house.only()
    assert (row.state, Decimal(row.filled), Decimal(row.average_price)) == (
        "filled",
        Decimal("0.125"),
        Decimal("60001.5"),
    )
    assert house.position() == 17 * BTC // 4 - BTC // 8


def test_an_order_that_nobody_took_has_failed_and_the_next_one_waits(house: House, orders: KrakenOrders) -> None:
    orders.filled = 0
    house.stock(5 * BTC)
    house.plan()
    house.work()
    house.work()
    assert (house.only().state, house.only().status_reason) == ("failed", "not_filled")
    assert house.alarms() == {"hedge_failed"}
    assert len(house.plan()) == 1


@pytest.mark.parametrize("trouble", [(CUT,), (HANG,), (502,), (GARBAGE,)])
def test_a_lost_reply_is_looked_up_and_never_a_second_order(
    house: House, server: Stranger, orders: KrakenOrders, trouble: Any
) -> None:
    server.troubles[KRAKEN_PLACE] = [trouble]
    house.stock(5 * BTC)
    house.plan()
    house.work()
    assert (house.only().state, house.only().status_reason) == ("placed", "unknown")
    for _ in range(3):
        house.work()
    assert (house.only().state, orders.sent, len(orders.orders)) == ("filled", 1, 1)


def test_a_lost_reply_that_the_lists_show_late_is_waited_for(
    house: House, server: Stranger, orders: KrakenOrders
) -> None:
    server.troubles[KRAKEN_PLACE] = [(HANG,)]
    orders.hidden = True
    house.stock(5 * BTC)
    house.plan()
    for _ in range(4):
        house.work()
    assert (house.only().state, house.only().status_reason) == ("placed", "not_shown")
    orders.hidden = False
    house.work()
    assert (house.only().state, orders.sent) == ("filled", 1)


def test_an_order_that_never_shows_is_for_a_person_and_holds_up_the_next(
    house: House, server: Stranger, orders: KrakenOrders
) -> None:
    server.troubles[KRAKEN_PLACE] = [CUT]
    house.stock(5 * BTC)
    house.plan()
    house.work()
    house.wait_out()
    house.work()
    assert (house.only().state, house.alarms(), orders.sent) == ("review", {"hedge_unclear"}, 1)
    for _ in range(3):
        assert len(house.plan()) == 1
        house.work()
    assert orders.sent == 1
    house.run(lambda tx: hedge_resolve.close(tx, house.only().public_id, Decimal(0), "operator:ann"))
    assert (house.only().state, house.only().status_reason, house.alarms()) == ("failed", "by_operator", set())


@pytest.mark.parametrize("reason", ["exchange_unavailable", None])
def test_an_order_that_is_unclear_after_an_outage_has_its_alarm(
    house: House, server: Stranger, orders: KrakenOrders, reason: str | None
) -> None:
    """The outage's own alarm goes, with the outage; also where the row does not say any more what it was."""
    server.troubles[KRAKEN_PLACE] = [CUT]
    house.stock(5 * BTC)
    house.plan()
    house.work()
    failed = {"attempts": 9, "status_reason": reason}
    house.run(lambda tx: tx.execute(update(hedge).values(failed)))
    house.run(lambda tx: alarms.raise_(tx, "exchange_unavailable", f"hedge:{house.only().id}", "t"))
    house.wait_out()
    house.work()
    assert (house.only().state, house.alarms()) == ("review", {"hedge_unclear"})


def test_an_unclear_order_is_looked_up_again_on_demand(house: House, server: Stranger, orders: KrakenOrders) -> None:
    server.troubles[KRAKEN_PLACE] = [(CUT,)]
    orders.hidden = True
    house.stock(5 * BTC)
    house.plan()
    house.work()
    house.wait_out()
    house.work()
    assert (house.only().state, house.alarms()) == ("review", {"hedge_unclear"})
    house.run(lambda tx: hedge_resolve.look_again(tx, house.only().public_id, "operator:ann"))
    assert house.alarms() == set()  # unclear again, it is told of again
    house.wait_out()
    house.work()
    assert (house.only().state, house.alarms()) == ("review", {"hedge_unclear"})
    orders.hidden = False
    house.run(lambda tx: hedge_resolve.look_again(tx, house.only().public_id, "operator:ann"))
    house.work()
    assert (house.only().state, house.only().filled, orders.sent) == ("filled", "0.5", 1)
    told = house.database.read(lambda tx: tx.all(select(audit.c.action).where(audit.c.action.startswith("hedge"))))
    assert [row.action for row in told] == ["hedge.look"] * 2


def test_an_unclear_order_is_closed_by_what_the_exchange_shows(house: House, server: Stranger) -> None:
    server.troubles[KRAKEN_PLACE] = [CUT]
    house.stock(5 * BTC // 4)
    house.plan()
    house.work()
    with pytest.raises(StateConflict, match="is placed"):
        house.run(lambda tx: hedge_resolve.close(tx, house.only().public_id, Decimal(1), "operator:ann"))
    house.wait_out()
    house.work()
    house.run(lambda tx: hedge_resolve.close(tx, house.only().public_id, Decimal("0.4"), "operator:ann"))
    assert (house.only().state, house.position()) == ("filled", 17 * BTC // 4 - 4 * BTC // 10)


@pytest.mark.parametrize("filled", ["0.50000001", "50000000", "-0.1", "Infinity", "NaN"])
def test_an_unclear_order_is_not_closed_by_more_than_was_ordered(house: House, server: Stranger, filled: str) -> None:
    """A mistake of the unit would have the engine order all of it back, for real."""
    server.troubles[KRAKEN_PLACE] = [CUT]
    house.stock(5 * BTC // 4)
    house.plan()
    house.work()
    house.wait_out()
    house.work()
    before = house.only()
    assert (before.state, before.units) == ("review", BTC // 2)
    with pytest.raises(InvalidInput, match=r"0\.5") as refused:
        house.run(lambda tx: hedge_resolve.close(tx, before.public_id, Decimal(filled), "operator:ann"))
    assert refused.value.pointer == "/filled"
    assert (house.only(), house.alarms(), house.position()) == (before, {"hedge_unclear"}, 17 * BTC // 4)
    told = house.database.read(lambda tx: tx.all(select(audit.c.action).where(audit.c.action.startswith("hedge"))))
    assert told == []
    house.run(lambda tx: hedge_resolve.close(tx, before.public_id, Decimal("0.5"), "operator:ann"))
    assert (house.only().state, house.position()) == ("filled", 15 * BTC // 4)


def test_an_order_that_stays_open_is_for_a_person(house: House, orders: KrakenOrders) -> None:
    orders.open = True
    house.stock(5 * BTC)
    house.plan()
    for _ in range(3):
        house.work()
    assert (house.only().state, house.only().status_reason) == ("placed", "open")
    house.wait_out()
    house.work()
    assert house.only().state == "review"


def test_a_refused_order_has_failed(house: House, server: Stranger, orders: KrakenOrders) -> None:
    server.answers[KRAKEN_PLACE] = {"error": ["EOrder:Insufficient funds"]}
    house.stock(5 * BTC)
    house.plan()
    house.work()
    assert (house.only().state, house.only().status_reason, orders.sent) == ("failed", "refused", 1)
    house.work()
    assert orders.sent == 1


@pytest.mark.parametrize(
    ("point", "sent"),
    [
        ("hedge.intend.before_commit", 0),
        ("hedge.intend.after_commit", 0),
        ("hedge.place.before", 0),
        ("hedge.place.after", 1),
        ("hedge.planned.finish.before_commit", 1),
        ("hedge.planned.finish.after_commit", 1),
        ("hedge.placed.finish.before_commit", 1),
        ("hedge.placed.finish.after_commit", 1),
    ],
)
def test_a_death_anywhere_is_never_a_second_order(
    house: House, orders: KrakenOrders, point: str, sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.stock(5 * BTC)
    house.plan()
    deaths: list[str] = []

    def die(name: str) -> None:
        if name == point and not deaths:
            deaths.append(name)
            raise Died

    monkeypatch.setattr(crashpoint, "_armed", die)
    with pytest.raises(Died):
        house.work_on()
    assert orders.sent == sent
    house.run(lambda tx: end_leases(tx.execute))
    for _ in range(4):
        house.work()
    row = house.only()
    if point in ("hedge.intend.after_commit", "hedge.place.before"):  # nobody can know that nothing was sent
        assert (row.state, row.status_reason, orders.sent) == ("placed", "not_shown", 0)
        house.wait_out()
        house.work()
        assert (house.only().state, orders.sent) == ("review", 0)
    else:
        assert (row.state, orders.sent, len(orders.orders)) == ("filled", 1, 1)


def test_two_workers_with_one_row_send_it_once(house: House, orders: KrakenOrders) -> None:
    house.stock(5 * BTC)
    (row,) = house.plan()
    at_once = threading.Barrier(4)

    def send() -> None:
        at_once.wait(10)
        bootstrap.sagas()["hedge"].steps[row.state].run(row, house.services)  # as if no lease had kept them apart

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert orders.sent == 1


def test_the_database_lets_an_order_be_placed_once(house: House) -> None:
    house.stock(5 * BTC)
    house.plan()
    house.work()

    def again(tx: Tx) -> None:
        tx.execute(update(hedge).values(placed_at=None))

    with pytest.raises(Exception, match="placed_at never changes"):
        house.run(again)


def test_without_usable_rates_an_order_waits_and_asks_for_them(house: House, orders: KrakenOrders) -> None:
    house.stock(5 * BTC)
    house.plan()
    rows.age(house.database, 61)
    house.work()
    assert (house.only().state, house.only().status_reason, orders.sent) == ("planned", "rate_stale", 0)
    progress = house.database.read(lambda tx: tx.value(select(task.c.progress).where(task.c.name == "rates")))
    assert progress["wanted_until"] > house.database.now()
    rows.write(house.database)
    house.work()
    assert orders.sent == 1


def test_a_pause_of_swaps_holds_orders_back(house: House, orders: KrakenOrders) -> None:
    house.stock(5 * BTC)
    house.plan()
    house.run(lambda tx: pauses.stop(tx, "BTC", "swaps", "a check", "operator:ann"))
    house.work()
    assert (house.only().status_reason, orders.sent) == ("paused", 0)
    house.run(lambda tx: pauses.resume(tx, "BTC", "swaps", "operator:ann"))
    house.work()
    assert orders.sent == 1


def test_a_venue_that_is_down_is_asked_again_and_told_of(house: House, server: Stranger, orders: KrakenOrders) -> None:
    server.troubles[KRAKEN_PLACE] = [(CUT,)]
    house.stock(5 * BTC)
    house.plan()
    house.work()
    server.troubles["/0/private/OpenOrders"] = [500] * 3
    for _ in range(3):
        house.work()
    assert (house.only().state, house.alarms()) == ("placed", {"exchange_unavailable"})
    house.work()
    assert (house.only().state, house.alarms(), orders.sent) == ("filled", set(), 1)


def test_without_an_exchange_nothing_is_planned(house: House) -> None:
    house.services.hedging = None
    house.stock(5 * BTC)
    assert house.plan() == []


def test_the_middle_of_the_bounds_is_aimed_at() -> None:
    rules = policy.AssetPolicy(inventory_low_units=10, inventory_high_units=30)
    assert [hedge_plan.wanted(units, rules) for units in (9, 10, 20, 30, 31)] == [11, 0, 0, 0, -11]
    low_only = policy.AssetPolicy(inventory_low_units=10)
    assert [hedge_plan.wanted(units, low_only) for units in (0, 10, 10**9)] == [10, 0, 0]
    assert hedge_plan.wanted(0, policy.AssetPolicy()) == 0
