"""Swaps between balances on the model chains, on both databases: one transaction, whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from devstack.programs import ROOT
from jobs import explain, withdrawal
from jobs.swap import books as swap_books
from jobs.swap import inventory
from ledger import accounts, ownership, pauses
from ledger.errors import (
    AccountFrozen,
    AssetPaused,
    InsufficientFunds,
    InvalidAddress,
    InvalidInput,
    InventoryShort,
    LedgerBroken,
    LimitExceeded,
    QuoteExpired,
    QuoteUsed,
    ReferenceExists,
)
from ledger.schema import ledger_account, posting, quote, swap, transfer
from ledger.schema import withdrawal as withdrawals
from tests.clock import Clock
from tests.flows.books_engine import BooksEngine
from tests.flows.engine import MAC
from tests.flows.swapping import BTC, XMR, accept, ask, units, written
from tests.flows.trade_engine import ASSETS, INVENTORY, TradeEngine


def test_both_sides_are_exchanged_at_the_quoted_price(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    done = accept(counter, owner, made, reference="first", metadata={"order": "7"})
    assert (done["status"], done["form"], done["quote"], done["reference"]) == (
        "completed",
        "balance",
        made["id"],
        "first",
    )
    assert {name: done[name] for name in ("sell", "buy", "service_fee", "rate")} == {
        name: made[name] for name in ("sell", "buy", "service_fee", "rate")
    }
    assert counter.available(owner, "BTC") == BTC - BTC // 10
    assert counter.available(owner, "XMR") == units(made, "buy")
    assert counter.guarded("inventory", "BTC") == INVENTORY["BTC"] + BTC // 10
    assert counter.guarded("inventory", "XMR") == INVENTORY["XMR"] - units(made, "buy") - units(made, "service_fee")
    assert counter.house("service_fees", "XMR") == units(made, "service_fee")
    row = counter.rows(swap)[0]
    assert (row.executed_at, row.due_at) == (row.created_at, None)
    assert [step["status"] for step in done["history"]] == ["completed"]
    assert counter.event_types()[-1] == "swap.completed"
    assert counter.rows(quote)[0].state == "accepted"
    counter.check_invariants()


def test_what_a_sold_unit_buys_too_much_is_booked_as_rounding(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", buys=XMR + 1)
    accept(counter, owner, made)
    assert counter.available(owner, "XMR") == XMR + 1
    assert counter.house("rounding", "XMR") == units(made, "rounding") > 0
    counter.check_invariants()


def test_a_quote_serves_one_swap(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    first = accept(counter, owner, made)
    before = written(counter)
    with pytest.raises(QuoteUsed) as refused:
        accept(counter, owner, made)
    assert refused.value.context["existing"] == first["id"]
    assert written(counter) == before


def test_an_expired_quote_never_executes(counter: BooksEngine, clock: Clock) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    clock.forward(seconds=60)
    before = written(counter)
    with pytest.raises(QuoteExpired):
        accept(counter, owner, made)
    assert written(counter) == before
    assert counter.available(owner, "BTC") == BTC


def test_a_reference_names_one_swap_and_its_quote_stays_open(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    first = accept(counter, owner, ask(counter, "BTC", "XMR", sells=BTC // 10), reference="r")
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    with pytest.raises(ReferenceExists) as refused:
        accept(counter, owner, made, reference="r")
    assert refused.value.context["existing"] == first["id"]
    assert accept(counter, owner, made, reference="s")["status"] == "completed"


def test_more_than_the_balance_is_refused_and_the_quote_stays_open(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC // 10)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10 + 1)
    before = written(counter)
    with pytest.raises(InsufficientFunds):
        accept(counter, owner, made)
    assert written(counter) == before
    assert counter.rows(quote)[0].state == "open"


def test_an_inventory_emptied_since_the_quote_refuses_and_nothing_is_taken(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    out = units(made, "buy") + units(made, "service_fee")
    rest = counter.guarded("inventory", "XMR") - out + 1
    counter.database.run(lambda tx: inventory.withdraw(tx, "XMR", rest, "test"), "test")
    before = written(counter)
    with pytest.raises(InventoryShort):
        accept(counter, owner, made)
    assert written(counter) == before
    assert counter.available(owner, "BTC") == BTC
    counter.database.run(lambda tx: inventory.fund(tx, "XMR", 1, "test"), "test")
    assert accept(counter, owner, made)["status"] == "completed"
    assert counter.guarded("inventory", "XMR") == 0


def test_what_is_reserved_for_others_is_not_given(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    other = (
        accept(counter, owner, ask(counter, "XMR", "BTC", sells=XMR // 10)) if counter.available(owner, "XMR") else None
    )
    assert other is None
    first = accept(counter, owner, ask(counter, "BTC", "XMR", sells=BTC // 100))
    swap_id = counter.database.read(lambda tx: tx.value(select(swap.c.id).where(swap.c.public_id == first["id"])))
    rest = counter.guarded("inventory", "XMR") - XMR
    counter.database.run(lambda tx: swap_books.reserve(tx, "XMR", rest, swap_id), "test")
    with pytest.raises(InventoryShort):
        accept(counter, owner, made)
    row = counter.row(swap, swap_id)
    counter.database.run(lambda tx: swap_books.unreserve(tx, row), "test")
    assert (counter.guarded("reserved", "XMR"), counter.row(swap, swap_id).reserved_units) == (0, 0)
    assert accept(counter, owner, made)["status"] == "completed"


def test_a_frozen_account_swaps_nothing(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    counter.database.run(lambda tx: accounts.freeze(tx, owner, "test"), "test")
    with pytest.raises(AccountFrozen):
        accept(counter, owner, made)
    assert counter.available(owner, "BTC") == BTC


@pytest.mark.parametrize("asset", ["BTC", "XMR"])
def test_a_pause_since_the_quote_stops_the_swap(counter: BooksEngine, asset: str) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    counter.database.run(lambda tx: pauses.stop(tx, asset, "swaps", "test", "test"), "test")
    with pytest.raises(AssetPaused):
        accept(counter, owner, made)
    counter.database.run(lambda tx: pauses.resume(tx, asset, "swaps", "test"), "test")
    assert accept(counter, owner, made)["status"] == "completed"


# Payouts


def test_what_is_bought_is_paid_out_at_the_promised_fee(trades: TradeEngine) -> None:
    owner, payee = trades.funded_in(BTC=BTC), trades.outside("XMR")
    made = ask(trades, "BTC", "XMR", buys=10 * XMR, payout=True)
    trades.set_policy("XMR", withdrawal_fee_units=XMR)  # it costs more since; the quote has promised
    done = accept(trades, owner, made, payout_address=payee)
    assert done["status"] == "paying_out"
    row = trades.rows(withdrawals)[0]
    assert (row.units, row.fee_units, row.address) == (10 * XMR, units(made, "network_fee"), payee)
    assert (row.public_id, row.reference) == (done["withdrawal"], f"swap:{done['id']}")
    assert trades.balance(owner, "held", "XMR") == 10 * XMR + units(made, "network_fee")
    assert trades.available(owner, "XMR") == 0
    trades.settle()
    assert trades.received(payee, "XMR") == 10 * XMR
    assert (trades.state(row.id), trades.rows(swap)[0].state) == ("completed", "completed")
    assert [kind for kind in trades.event_types() if kind.startswith("swap.")] == ["swap.paying_out", "swap.completed"]
    assert trades.balance(owner, "held", "XMR") == 0
    trades.check_invariants()


def test_a_large_payout_waits_for_its_approvals(trades: TradeEngine) -> None:
    trades.set_policy("XMR", withdrawal_approval_above_units=XMR)
    owner, payee = trades.funded_in(BTC=BTC), trades.outside("XMR")
    made = ask(trades, "BTC", "XMR", buys=2 * XMR, payout=True)
    accept(trades, owner, made, payout_address=payee)
    row = trades.rows(withdrawals)[0]
    assert (row.state, row.approvals_needed) == ("pending_approval", 2)
    trades.settle()
    assert trades.received(payee, "XMR") == 0
    for holder in ("ann", "bob"):
        person = trades.person(holder)
        trades.database.run(lambda tx, p=person: withdrawal.approve(tx, p, row.id, trades.services), "test_approve")
    trades.settle()
    assert trades.received(payee, "XMR") == 2 * XMR


def test_a_payout_that_people_refuse_leaves_what_was_bought_in_the_balance(counter: BooksEngine) -> None:
    counter.set_policy("XMR", withdrawal_approval_above_units=XMR)
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", buys=2 * XMR, payout=True)
    accept(counter, owner, made, payout_address=counter.outside("XMR"))
    row = counter.rows(withdrawals)[0]
    counter.database.run(lambda tx: withdrawal.reject(tx, counter.person("ann"), row.id, "no"), "test_reject")
    counter.tick()
    assert counter.rows(swap)[0].state == "failed"
    assert counter.available(owner, "XMR") == 2 * XMR + units(made, "network_fee")
    counter.check_invariants()


def test_a_limit_passed_by_the_payout_refuses_the_whole_swap(counter: BooksEngine) -> None:
    owner, payee = counter.funded_in(BTC=BTC), counter.outside("XMR")
    made = ask(counter, "BTC", "XMR", buys=10 * XMR, payout=True)
    before = written(counter)
    for rules in ({"withdrawal_daily_units": 10 * XMR - 1}, {"withdrawal_maximum_units": 10 * XMR - 1}):
        counter.set_policy("XMR", **rules)
        with pytest.raises(LimitExceeded):
            accept(counter, owner, made, payout_address=payee)
        counter.set_policy("XMR", **dict.fromkeys(rules))
    counter.set_policy("XMR", withdrawal_minimum_units=10 * XMR + 1)
    with pytest.raises(InvalidInput) as refused:
        accept(counter, owner, made, payout_address=payee)
    assert (refused.value.pointer, refused.value.code) == ("/quote", "amount_below_minimum")
    counter.database.run(lambda tx: pauses.stop(tx, "XMR", "withdrawals", "test", "test"), "test")
    with pytest.raises(AssetPaused):
        accept(counter, owner, made, payout_address=payee)
    assert written(counter) == before
    assert (counter.available(owner, "BTC"), counter.rows(quote)[0].state) == (BTC, "open")


def test_a_payout_to_another_chain_or_to_ourselves_is_refused(trades: TradeEngine) -> None:
    owner = trades.funded_in(BTC=BTC)
    made = ask(trades, "BTC", "XMR", buys=10 * XMR, payout=True)
    own = trades.address(owner, ASSETS["XMR"]).address
    wrong = {trades.outside("BTC"): "address_invalid", "nonsense": "address_invalid", own: "address_own"}
    before = written(trades)
    for payee, code in wrong.items():
        with pytest.raises(InvalidAddress, match="XMR") as refused:
            accept(trades, owner, made, payout_address=payee)
        assert (refused.value.pointer, refused.value.code) == ("/payout_address", code)
    assert written(trades) == before


def test_a_payout_is_made_for_a_quote_that_has_its_fee_and_for_no_other(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    with pytest.raises(InvalidInput) as refused:
        accept(counter, owner, ask(counter, "BTC", "XMR", buys=XMR), payout_address=counter.outside("XMR"))
    assert refused.value.pointer == "/payout_address"
    with pytest.raises(InvalidInput) as refused:
        accept(counter, owner, ask(counter, "BTC", "XMR", buys=XMR, payout=True))
    assert (refused.value.pointer, refused.value.code) == ("/payout_address", "field_required")


def test_an_orders_history_goes_on_with_what_its_money_became(counter: BooksEngine) -> None:
    owner = counter.account_of("order", "order-7")
    counter.give((owner, "available"), "BTC", BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    accept(counter, owner, made)
    rows = counter.database.read(lambda tx: ownership.of(tx, ("order", owner)))
    told = [(row.event, row.account_id, row.asset, row.units) for row in rows][-2:]
    assert told == [("sold", 1, "BTC", BTC // 10), ("bought", owner, "XMR", units(made, "buy"))]


# Crashes


def test_a_process_that_dies_between_the_legs_leaves_nothing(counter: BooksEngine, tmp_path: Path) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", sells=BTC // 10)
    before = written(counter)
    child = _accepting(counter, owner, made["id"], "swap.between_legs")
    assert child.returncode == 137, child.stderr
    assert written(counter) == before
    assert (counter.available(owner, "BTC"), counter.rows(quote)[0].state) == (BTC, "open")
    child = _accepting(counter, owner, made["id"], "test_accept.after_commit")
    assert child.returncode == 137, child.stderr
    assert counter.available(owner, "XMR") == units(made, "buy")
    with pytest.raises(QuoteUsed):
        accept(counter, owner, made)
    counter.check_invariants()


def test_a_swap_executes_once(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    accept(counter, owner, ask(counter, "BTC", "XMR", sells=BTC // 10))
    row = counter.rows(swap)[0]
    with pytest.raises(LedgerBroken, match="executed before"):
        counter.database.run(lambda tx: swap_books.execute(tx, row, source=(owner, "available"), mac=MAC), "test")


def test_both_legs_are_named_by_the_swap(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    accept(counter, owner, ask(counter, "BTC", "XMR", buys=XMR + 1))
    t, p, a = transfer.c, posting.c, ledger_account.c
    query = select(t.transfer_key, p.asset, a.kind).join(transfer, t.id == p.transfer_id)
    query = query.join(ledger_account, a.id == p.credit_id).where(t.ref_kind == "swap").order_by(p.id)
    rows = [tuple(row) for row in counter.database.read(lambda tx: tx.all(query))]
    assert rows == [
        ("swap:1:sell", "BTC", "inventory"),
        ("swap:1:buy", "XMR", "available"),
        ("swap:1:buy", "XMR", "service_fees"),
        ("swap:1:buy", "XMR", "rounding"),
    ]


def _accepting(counter: BooksEngine, owner: int, quote_id: str, crashpoint: str) -> subprocess.CompletedProcess[str]:
    """Another process accepts the quote and dies at that point."""
    url = counter.database.engine.url.render_as_string(hide_password=False)
    environ = os.environ | {"COFFER_CRASHPOINT": crashpoint, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.flows.accepting", url, str(counter.caller.project_id), str(owner), quote_id]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_quote_is_explained_with_its_swap_and_a_swap_with_its_quote(counter: BooksEngine) -> None:
    owner = counter.funded_in(BTC=BTC)
    made = ask(counter, "BTC", "XMR", buys=10 * XMR, payout=True)
    done = accept(counter, owner, made, payout_address=counter.outside("XMR"))
    for name in (made["id"], done["id"], done["reference"], done["withdrawal"]):
        found = counter.database.read(lambda tx, n=name: explain.explain(tx, n))
        kinds = {subject["kind"]: subject for subject in found.subjects}
        assert kinds.keys() >= {"quote", "swap", "withdrawal"}, name
        assert (kinds["quote"]["state"], kinds["quote"]["buys"]) == ("accepted", "10.000000000000 XMR")
        assert any("swap:1:buy" in moment.what for moment in found.timeline)
