"""Ways to get more out of escrows and swaps than is one's own; each of them was open once."""

from __future__ import annotations

import pytest
from sqlalchemy import Row, insert, select

from jobs.resolve import by_hand as resolve
from jobs.swap.books import deal_of
from ledger.db import Tx
from ledger.errors import AccountFrozen
from ledger.ids import new_id
from ledger.schema import account, deposit, frozen_part, quote, swap
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine
from tests.flows.escrow_desk import Desk as EscrowDesk
from tests.flows.swap_desk import Desk


@pytest.fixture
def shop(engine: Engine) -> EscrowDesk:
    return EscrowDesk(engine)


# A database writer without the keys


@pytest.mark.parametrize("state", ["executed", "refunding"])
def test_a_swap_made_by_hand_is_never_paid_out(desk: Desk, state: str) -> None:
    victim = desk.engine.funded_in(BTC=10**8, XMR=10**13)
    held = 0
    if state == "refunding":
        helper = desk.open(account=victim, refund=None)
        desk.pay(helper, 10**6)
        held = desk.row(helper).held_units
        assert held == 10**6
    taken = desk.engine.database.read(lambda tx: tx.first(select(quote).where(quote.c.public_id == desk.quote()["id"])))
    thief = {"BTC": desk.engine.outside("BTC"), "XMR": desk.engine.outside("XMR")}
    made = desk.engine.database.run(lambda tx: _forge(tx, taken, victim, thief, state, held), "test_forge")
    desk.settle()
    assert desk.engine.received(thief["XMR"], "XMR") == 0
    assert desk.engine.received(thief["BTC"], "BTC") == 0
    assert desk.engine.rows(withdrawals) == []
    assert desk.state(made)[0] == {"executed": "failed", "refunding": "refunded"}[state]
    assert [line.split()[0] for line in desk.alarms()] == ["swap_changed"]  # and no row that is due for ever


def _forge(tx: Tx, taken: Row, victim: int, thief: dict[str, str], state: str, held: int) -> int:  # type: ignore[type-arg]
    values = {"public_id": new_id("sw"), "queue": "tasks", "account_id": victim, "quote_id": taken.id, "mac": "0" * 64}
    values |= {"project_id": taken.project_id, "form": "deposit", "state": state, "reference": "forged"}
    values |= {name: getattr(taken, name) for name in ("sell_asset", "buy_asset", "rate")}
    values |= dict(deal_of(taken).columns()) | {"held_units": held, "received_units": held, "actor": "nobody"}
    values |= {"payout_address": thief["XMR"], "refund_address": thief["BTC"], "due_at": tx.now}
    values |= {"created_at": tx.now, "updated_at": tx.now, "deposit_deadline": tx.now}
    return tx.insert(insert(swap).values(values))


# A chain that takes money back


def test_what_an_order_account_owes_is_not_released_to_a_vendor(shop: EscrowDesk) -> None:
    order = shop.engine.account()
    txid = shop.engine.chain.fund(shop.engine.address(order).address, 500_000, blocks=6)
    shop.engine.tick()
    escrow_id = shop.make(order_id=order, deadline=shop.engine.database.now() + 10**12, at_deadline="release")
    shop.fund(escrow_id)
    shop.lose(txid, 6)
    assert shop.engine.frozen(order) == "reorg_debt"
    with pytest.raises(AccountFrozen):
        shop.release(escrow_id)
    shop.over(escrow_id, "deadline")
    assert shop.state(escrow_id) == ("funded", "account_frozen")
    shop.again(txid)
    shop.step(escrow_id)
    assert shop.state(escrow_id) == ("released", "deadline")
    assert shop.money() == (0, 500_000)


@pytest.mark.parametrize("end", ["refund", "cancel", "lapse"])
def test_what_an_order_account_owes_is_not_given_to_the_buyer(shop: EscrowDesk, end: str) -> None:
    order = shop.engine.account()
    shop.top_up(100_000)
    txid = shop.engine.chain.fund(shop.engine.address(order).address, 400_000, blocks=6)
    shop.engine.tick()
    escrow_id = shop.make(order_id=order, funding_deadline=shop.engine.database.now() + 10**12)
    shop.fund(escrow_id, 400_000)
    if end == "refund":
        shop.fund(escrow_id, payer=shop.buyer)
    shop.lose(txid, 6)
    assert shop.engine.frozen(order) == "reorg_debt"
    if end == "lapse":
        shop.over(escrow_id)
    else:
        getattr(shop, end)(escrow_id)
    assert shop.money() == (100_000, 0)
    assert shop.engine.frozen(order) is None
    shop.again(txid)
    assert shop.engine.available(order) == 400_000
    shop.check()


def test_a_deposit_that_an_operator_gives_back_pays_back_what_was_taken_for_it(shop: EscrowDesk) -> None:
    escrow_id = shop.by_address()
    txid = shop.pay(escrow_id, 500_000)
    shop.release(escrow_id)
    shop.lose(txid, 6)
    (part,) = shop.engine.rows(frozen_part)
    assert shop.take(part.id) == 500_000
    shop.engine.set_policy("BTC", deposit_minimum_units=600_000)  # so that its return waits for a person
    shop.again(txid)
    (paid,) = shop.engine.rows(deposit)
    assert paid.state == "ignored"
    buyer = shop.engine.row(account, shop.buyer).public_id
    shop.run(lambda tx: resolve.credit_deposit(tx, paid.public_id, buyer, "operator:ada"))
    assert shop.money() == (0, 500_000)
    assert shop.parts(escrow_id).undone_units == 0
    shop.check()


def test_a_disputed_escrow_that_nothing_is_left_of_can_be_ended(shop: EscrowDesk) -> None:
    escrow_id = shop.by_address(arbiter="operator")
    txid = shop.pay(escrow_id, 500_000)
    shop.dispute(escrow_id)
    shop.lose(txid, 6)
    shop.decide(escrow_id, "return")
    assert shop.state(escrow_id) == ("resolved", "returned")
    shop.again(txid)
    assert shop.money() == (500_000, 0)
    shop.check()
