"""Deposits on the model chain, on both databases: FAULTS sections E and F."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import select

from jobs import addresses
from jobs.deposit import scan
from ledger import pauses
from ledger.accounts import HOUSE_ACCOUNT
from ledger.errors import WrongNetwork
from ledger.money import BTC
from ledger.schema import address as address_table
from ledger.schema import chain as chain_table
from ledger.schema import deposit
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine
from wallets.protocol import DepositPage, Output, SeenDeposit


def test_a_deposit_is_shown_then_credited_then_final(engine: Engine) -> None:
    account = engine.account()
    engine.chain.pay(Output(engine.address(account).address, 500_000))
    engine.tick()
    assert engine.deposit_of(account).state == "detected"
    assert engine.available(account) == 0
    engine.check_invariants()
    engine.chain.mine(1)
    engine.tick()
    assert engine.deposit_of(account).state == "credited"
    assert engine.available(account) == 500_000
    engine.chain.mine(100)
    engine.tick()
    assert engine.deposit_of(account).state == "final"
    assert [t for t in engine.event_types() if t.startswith("deposit.")] == [
        "deposit.detected",
        "deposit.confirming",
        "deposit.credited",
        "deposit.final",
    ]
    engine.check_invariants()


def test_confirmations_follow_the_amount_and_the_emergency_floor(engine: Engine) -> None:
    account = engine.account()
    engine.chain.fund(engine.address(account).address, 50_000_000, blocks=2)
    engine.tick()
    assert engine.deposit_of(account).state == "confirming"
    assert engine.deposit_of(account).confirmations_needed == 3
    engine.set_policy(deposit_confirmations_floor=5)
    engine.chain.mine(1)
    engine.tick()
    assert engine.deposit_of(account).state == "confirming"
    engine.chain.mine(2)
    engine.tick()
    assert engine.available(account) == 50_000_000


def test_every_output_of_one_transaction_is_credited_by_its_own_key(engine: Engine) -> None:
    accounts = [engine.account() for _ in range(20)]
    outputs = [Output(engine.address(a).address, 10_000 + n) for n, a in enumerate(accounts)]
    outputs += [Output(engine.address(accounts[0]).address, 30_000) for _ in range(3)]
    engine.chain.pay(*outputs)
    engine.chain.mine(1)
    engine.tick()
    assert engine.available(accounts[0]) == 10_000 + 3 * 30_000
    assert [engine.available(a) for a in accounts[1:]] == [10_000 + n for n in range(1, 20)]
    engine.check_invariants()


def test_a_deposit_below_the_minimum_is_listed_and_owed_to_nobody(engine: Engine) -> None:
    account = engine.account()
    engine.chain.fund(engine.address(account).address, 999)
    engine.tick()
    row = engine.deposit_of(account)
    assert (row.state, row.status_reason) == ("ignored", "below_minimum")
    assert engine.available(account) == 0
    assert engine.house("dust") == 999
    engine.check_invariants()


def test_money_to_an_address_that_nobody_has_goes_to_suspense(engine: Engine) -> None:
    wallet = engine.services.wallet("bitcoin")
    key = engine.database.read(
        lambda tx: tx.value(select(chain_table.c.account_public_key).where(chain_table.c.name == "bitcoin"))
    )
    engine.chain.fund(engine.services.address_book("bitcoin").at(key, 77), 20_000, blocks=1)
    engine.tick()
    (row,) = engine.rows(deposit)
    assert (row.state, row.status_reason, row.account_id) == ("held", "unknown_address", None)
    assert engine.house("suspense") == 20_000
    assert wallet.balance().total_units == 20_000
    engine.check_invariants()


def test_a_refill_of_the_treasury_is_no_customers_deposit(engine: Engine) -> None:
    row = engine.address(HOUSE_ACCOUNT, purpose=("treasury", HOUSE_ACCOUNT))
    engine.chain.fund(row.address, 5_000_000, blocks=3)
    engine.tick()
    assert engine.house("capital") == 5_000_000
    assert engine.house("treasury_hot") == -5_000_000
    engine.check_invariants()


def test_a_replaced_payment_is_never_credited_and_its_replacement_is(engine: Engine) -> None:
    account = engine.account()
    home = engine.address(account).address
    first = engine.chain.pay(Output(home, 40_000))
    engine.tick()
    engine.chain.replace(first, Output(home, 60_000))
    engine.chain.mine(1)
    engine.tick()
    assert engine.available(account) == 60_000
    states = {row.units: (row.state, row.status_reason) for row in engine.rows(deposit)}
    assert states[40_000][0] == "reversed"
    assert states[60_000][0] == "credited"
    engine.check_invariants()


def test_a_coinbase_waits_until_the_chain_lets_it_be_spent(engine: Engine) -> None:
    account = engine.account()
    engine.chain.mine(1, coinbase_to=engine.address(account).address)
    engine.chain.mine(98)
    engine.tick()
    assert engine.deposit_of(account).state == "confirming"
    engine.chain.mine(1)
    engine.tick()
    assert engine.deposit_of(account).state in ("credited", "final")
    assert engine.available(account) > 0
    engine.check_invariants()


def test_a_reorg_before_credit_undoes_silently(engine: Engine) -> None:
    account = engine.account()
    txid = engine.chain.fund(engine.address(account).address, 50_000_000, blocks=2)
    engine.tick()
    engine.chain.reorg(2, double_spent=[txid])
    engine.tick()
    assert engine.deposit_of(account).state == "reversed"
    assert engine.available(account) == 0
    assert "deposit.credited" not in engine.event_types()
    engine.check_invariants()


def test_a_reorg_after_credit_reverses_and_the_return_credits_once(engine: Engine) -> None:
    account = engine.account()
    txid = engine.chain.fund(engine.address(account).address, 500_000, blocks=2)
    engine.tick()
    assert engine.available(account) == 500_000
    engine.chain.reorg(2)  # back in the pool
    engine.tick()
    assert engine.available(account) == 0
    assert engine.deposit_of(account).state == "detected"
    engine.check_invariants()
    engine.chain.mine(1)
    engine.tick()
    assert engine.available(account) == 500_000
    assert engine.deposit_of(account).credits == 2
    assert engine.chain.received(engine.deposit_of(account).address) == 500_000
    assert txid == engine.deposit_of(account).txid
    assert engine.frozen(account) is None
    engine.check_invariants()


def test_a_reorg_after_the_money_was_spent_leaves_a_debt_that_its_return_repays(engine: Engine) -> None:
    other = engine.funded(10_000_000)
    account = engine.account()
    txid = engine.chain.fund(engine.address(account).address, 500_000, blocks=2)
    engine.tick()
    paid = engine.withdraw(account, 300_000)
    engine.tick()
    assert engine.state(paid) == "broadcast"
    # the block of the deposit goes; the withdrawal was paid from other coins and stands in the pool
    engine.chain.reorg(2, gone=[txid])
    engine.tick()
    assert engine.available(account) == 0
    assert engine.balance(account, "receivable") == 302_000
    assert engine.frozen(account) == "reorg_debt"
    assert engine.balance(other, "receivable") == 0
    assert "deposit.reversed" in engine.event_types()
    engine.check_invariants()
    again = engine.chain.submit(engine.chain.transaction(txid))
    engine.chain.mine(2)
    engine.tick()
    assert again == txid
    assert engine.balance(account, "receivable") == 0
    assert engine.available(account) == 500_000 - 302_000
    assert engine.frozen(account) is None
    engine.check_invariants()


def test_a_payment_request_tells_of_under_over_and_late_payment(engine: Engine) -> None:
    account = engine.account()
    home = engine.address(account, expected_units=100_000)
    assert home.request_state == "open"

    def state() -> str:
        return str(engine.row(address_table, home.id).request_state)

    engine.chain.fund(home.address, 40_000)
    engine.tick()
    assert state() == "underpaid"
    engine.chain.fund(home.address, 60_000)
    engine.tick()
    assert state() == "paid"
    engine.chain.fund(home.address, 1_000)
    engine.tick()
    assert state() == "overpaid"
    assert engine.available(account) == 101_000
    types = [t for t in engine.event_types() if t.startswith("address.")]
    assert types == ["address.underpaid", "address.paid", "address.overpaid"]


def test_a_late_payment_is_told_and_credited(engine: Engine) -> None:
    account = engine.account()
    soon = engine.database.now() + 60_000_000
    home = engine.address(account, expected_units=100_000, expires_at=soon)
    past = address_table.update().where(address_table.c.id == home.id).values(expires_at=1)
    engine.database.run(lambda tx: tx.execute(past), "t")
    engine.tick()
    assert engine.row(address_table, home.id).request_state == "expired"
    engine.chain.fund(home.address, 100_000)
    engine.tick()
    assert engine.available(account) == 100_000
    assert engine.deposit_of(account).late == 1
    assert engine.row(address_table, home.id).request_state == "paid"
    assert {"address.expired", "address.paid", "address.paid_late"} <= set(engine.event_types())


def test_a_node_that_is_not_ready_credits_nothing_and_says_why(engine: Engine) -> None:
    account = engine.account()
    engine.chain.fund(engine.address(account).address, 500_000)
    engine.chain.unready("syncing", "headers 10 ahead")
    engine.tick(3)
    assert engine.available(account) == 0
    row = engine.database.read(lambda tx: tx.one(select(chain_table).where(chain_table.c.name == "bitcoin")))
    assert row.health_reason == "syncing"
    engine.chain.up()
    engine.tick()
    assert engine.available(account) == 500_000


def test_paused_deposits_wait_and_then_arrive(engine: Engine) -> None:
    account = engine.account()
    home = engine.address(account).address
    engine.database.run(lambda tx: pauses.stop(tx, "BTC", "deposits", "drill", "op"), "t")
    engine.chain.fund(home, 500_000)
    engine.tick()
    assert engine.available(account) == 0
    assert engine.deposit_of(account).status_reason == "paused"
    engine.database.run(lambda tx: pauses.resume(tx, "BTC", "deposits", "op"), "t")
    engine.tick()
    assert engine.available(account) == 500_000


def test_more_deposits_than_one_run_takes_are_all_credited(engine: Engine) -> None:
    scan_max, scan.NEW_MAX = scan.NEW_MAX, 7
    try:
        account = engine.account()
        wish = addresses.Wish(account, BTC)
        homes = [
            engine.database.run(lambda tx: addresses.issue(tx, engine.caller, wish, engine.services), "t")
            for _ in range(30)
        ]
        engine.chain.pay(*(Output(home.address, 5_000) for home in homes))
        engine.chain.mine(1)
        engine.tick()
    finally:
        scan.NEW_MAX = scan_max
    assert engine.available(account) == 150_000
    engine.check_invariants()


def test_a_node_that_lost_its_last_blocks_takes_nothing_back(engine: Engine) -> None:
    account = engine.account()
    engine.chain.fund(engine.address(account).address, 500_000, blocks=1)
    engine.tick()
    with engine.chain.state(write=True) as s:
        s.disconnect(1)
        s.drop(list(s.pool))
    engine.tick(2)
    assert engine.deposit_of(account).state == "credited"
    assert engine.available(account) == 500_000
    row = engine.database.read(lambda tx: tx.one(select(chain_table).where(chain_table.c.name == "bitcoin")))
    assert row.health_reason == "syncing"


def test_a_node_exchanged_for_one_of_another_chain_stops_its_chain(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = engine.services.wallet("bitcoin")
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)

    def other() -> None:
        raise WrongNetwork("the node is on 'test', the settings say 'regtest'")

    monkeypatch.setattr(wallet, "health", other)
    scan_task = next(r for r in engine.rows(engine.runtime.sagas["task"].table) if r.name == "scan:bitcoin")
    engine.runtime.advance("task", scan_task.id, woken=True)
    engine.tick()
    assert (
        engine.database.read(
            lambda tx: tx.one(select(chain_table).where(chain_table.c.name == "bitcoin"))
        ).health_reason
        == "wrong_network"
    )
    assert engine.row(withdrawals, row_id).state == "queued"
    monkeypatch.undo()
    engine.tick(2)
    assert engine.row(withdrawals, row_id).state == "broadcast"


def tell_otherwise(engine: Engine, monkeypatch: pytest.MonkeyPatch, told: dict[str, int]) -> None:
    """The node tells these amounts, by key, from now on."""
    wallet = engine.services.wallet("bitcoin")
    listed, asked = wallet.deposits_since, wallet.look_up_deposits

    def since(cursor: str | None) -> DepositPage:
        page = listed(cursor)
        return replace(page, deposits=tuple(replace(d, units=told.get(d.key, d.units)) for d in page.deposits))

    def look_up(deposits: Sequence[SeenDeposit]) -> dict[str, SeenDeposit]:
        return {key: replace(d, units=told.get(key, d.units)) for key, d in asked(deposits).items()}

    monkeypatch.setattr(wallet, "deposits_since", since)
    monkeypatch.setattr(wallet, "look_up_deposits", look_up)


@pytest.mark.parametrize("now", [200_000, 0])
def test_a_deposit_whose_amount_changes_is_for_a_person_and_stops_no_reading(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, now: int
) -> None:
    """The second of two Monero outputs under one key: told in full in the pool, and less once the first is mined."""
    account, other = engine.account(), engine.account()
    engine.chain.pay(Output(engine.address(account).address, 500_000))
    engine.tick()
    row = engine.deposit_of(account)
    tell_otherwise(engine, monkeypatch, {row.output_key: now})
    engine.chain.fund(engine.address(other).address, 300_000, blocks=3)
    for _ in range(2):
        engine.tick()
    held = engine.deposit_of(account)
    assert (held.state, held.status_reason, held.units) == ("held", "amount_changed", 500_000)
    assert (engine.available(account), engine.available(other)) == (0, 300_000)
    assert engine.house("suspense") == 500_000
    assert engine.alarms() == set()
    engine.chain.mine(3)
    engine.tick()
    assert engine.deposit_of(account).state == "held"


def test_a_credit_whose_amount_changes_is_taken_back_first(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reorganisation may change which of the two is mined first."""
    account = engine.funded(500_000)
    row = engine.deposit_of(account)
    tell_otherwise(engine, monkeypatch, {row.output_key: 200_000})
    engine.chain.reorg(1)
    engine.chain.mine(2)
    for _ in range(4):
        engine.tick()
    held = engine.deposit_of(account)
    assert (held.state, held.status_reason) == ("held", "amount_changed")
    assert (engine.available(account), engine.house("suspense")) == (0, 500_000)
    assert "deposit.reversed" in engine.event_types()
