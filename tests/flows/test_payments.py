"""Payments on the model chain: batches, bumps, vanished and reorganised payments, lies of the node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Row, select, update

from jobs import withdrawal
from jobs.resolve import payments as resolve_payments
from ledger import halts, pauses
from ledger.errors import StateConflict
from ledger.schema import alarm, candidate, payment, resource
from ledger.schema import chain as chains
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine
from wallets.fake import FakeWallet, Lie
from wallets.fake.model import Tx
from wallets.protocol import Output


def txids_paying(engine: Engine, address: str) -> set[str]:
    """Every transaction that the chain or its pool has for this payee."""
    with engine.chain.state() as s:
        active = [*s.height_of, *s.pool]
        return {t for t in active if any(o.address == address for o in s.txs[t].outputs)}


def test_withdrawals_due_together_leave_in_one_payment(engine: Engine) -> None:
    accounts = [engine.funded(1_000_000) for _ in range(3)]
    ids = [engine.withdraw(a, 100_000 + a) for a in accounts]
    engine.tick()
    assert len({engine.row(withdrawals, i).txid for i in ids}) == 1
    assert len(engine.rows(payment)) == 1
    engine.chain.mine(3)
    engine.tick()
    assert {engine.state(i) for i in ids} == {"completed"}
    engine.check_invariants()


def test_two_to_the_same_address_leave_in_separate_payments(engine: Engine) -> None:
    payee = engine.chain.outside_address()
    ids = [engine.withdraw(engine.funded(1_000_000), 100_000, payee) for _ in range(2)]
    engine.tick(2)
    engine.chain.mine(3)
    engine.tick(2)
    assert {engine.state(i) for i in ids} == {"completed"}
    assert len({engine.row(withdrawals, i).txid for i in ids}) == 2
    assert engine.chain.received(payee) == 200_000
    engine.check_invariants()


def test_an_oversize_withdrawal_steps_aside_and_goes_when_coins_come(engine: Engine) -> None:
    rich, poor = engine.funded(3_000_000), engine.funded(1_000_000)
    cold = engine.withdraw(rich, 2_900_000)  # most of the hot money leaves first
    engine.tick()
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(cold) == "completed"
    other = engine.funded(50_000)
    credit_without_coins(engine, poor, 5_000_000)
    large, small = engine.withdraw(poor, 4_000_000), engine.withdraw(other, 30_000)
    engine.tick()
    assert engine.state(small) == "broadcast"
    row = engine.row(withdrawals, large)
    assert (row.state, row.status_reason, row.payment_id) == ("queued", "insufficient_hot_funds", None)
    engine.funded(6_000_000)
    engine.tick(2)
    assert engine.state(large) == "broadcast"


def credit_without_coins(engine: Engine, account: int, units: int) -> None:
    """What an operator's credit from outside money would post; it lets a balance exceed the hot wallet."""
    from ledger.accounts import house
    from ledger.postings import Leg, post

    leg = Leg(house("treasury_cold"), (account, "available"), units)
    engine.database.run(lambda tx: post(tx, f"test:{account}:{units}", "test", "BTC", [leg], ("test", account)), "t")


def test_a_payment_that_the_coins_cannot_quite_bear_lets_the_rest_pass(engine: Engine) -> None:
    account = engine.funded(1_000_000)
    credit_without_coins(engine, account, 5_000_000)
    small, large = engine.withdraw(account, 100_000), engine.withdraw(account, 899_990)  # no room for the network fee
    engine.tick(3)
    assert engine.state(small) == "broadcast"
    assert engine.row(withdrawals, large).status_reason == "insufficient_hot_funds"
    assert engine.state(large) == "queued"


@pytest.mark.parametrize("lie", [Lie.LOST_DONE, Lie.LOST_UNDONE, Lie.REFUSED_DONE, Lie.ACCEPTED_UNDONE])
def test_whatever_the_node_says_to_a_send_one_payment_arrives(engine: Engine, lie: Lie) -> None:
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    engine.chain.lie("broadcast", lie, times=2)
    engine.tick(5)
    assert engine.state(row_id) == "broadcast"
    assert len(txids_paying(engine, payee)) == 1
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"
    assert engine.chain.received(payee) == 100_000
    engine.check_invariants()


def test_a_vanished_payment_is_sent_again_from_the_stored_bytes(engine: Engine) -> None:
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    engine.tick()
    before = engine.payment_of(row_id).txid
    engine.chain.evict(before)
    engine.tick()
    assert txids_paying(engine, payee) == {before}
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"
    engine.check_invariants()


def bumped(engine: Engine, row_id: int) -> None:
    """An operator's bump, as `coffer payments bump` orders it."""
    chosen = payment.c.id == engine.payment_of(row_id).id
    engine.database.run(lambda tx: tx.execute(update(payment).where(chosen).values(bump_rate=50_000)), "t")
    engine.tick()


def test_a_bump_pays_the_same_payees_from_the_same_inputs_and_settles_once(engine: Engine) -> None:
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    engine.tick()
    first = engine.payment_of(row_id)
    bumped(engine, row_id)
    second = engine.payment_of(row_id)
    assert second.txid != first.txid
    assert second.fee_units > first.fee_units
    assert engine.chain.transaction(first.txid).inputs == engine.chain.transaction(second.txid).inputs
    assert txids_paying(engine, payee) == {second.txid}
    engine.check_invariants()
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"
    assert engine.row(withdrawals, row_id).txid == second.txid
    assert engine.house("network_fees") == -second.fee_units
    engine.check_invariants()


def test_the_original_may_confirm_after_a_bump_and_settles_with_its_own_fee(engine: Engine) -> None:
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    engine.tick()
    first = engine.payment_of(row_id)
    original = engine.chain.transaction(first.txid)
    bumped(engine, row_id)
    engine.chain.mine_instead(original)
    engine.chain.mine(2)
    engine.tick()
    assert engine.state(row_id) == "completed"
    assert engine.row(withdrawals, row_id).txid == first.txid
    assert engine.house("network_fees") == -first.fee_units
    assert engine.chain.received(payee) == 100_000
    engine.check_invariants()


def test_an_old_payment_is_bumped_by_itself_below_the_ceiling(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    first = engine.payment_of(row_id)
    engine.set_policy(payment_bump_after_seconds=10)
    engine.chain.set_rate(40_000)
    long_ago = engine.database.now() - 11_000_000
    chosen = payment.c.id == first.id
    engine.database.run(lambda tx: tx.execute(update(payment).where(chosen).values(sent_at=long_ago)), "t")
    engine.tick()
    second = engine.payment_of(row_id)
    assert second.candidates == 2
    assert first.fee_units < second.fee_units <= second.fee_max_units
    assert [row.number for row in engine.rows(candidate)] == [1, 2]


def test_a_payment_reorganised_after_settlement_settles_again_without_a_second_payment(engine: Engine) -> None:
    payee = engine.chain.outside_address()
    account = engine.funded(1_000_000)
    row_id = engine.withdraw(account, 100_000, payee)
    engine.tick()
    txid = engine.payment_of(row_id).txid
    engine.chain.mine(2)
    engine.tick()
    assert engine.state(row_id) == "completed"
    engine.chain.reorg(2, gone=[txid])
    engine.tick()
    assert engine.state(row_id) == "broadcast"
    assert engine.balance(account, "held") == 102_000
    engine.check_invariants()
    engine.chain.mine(2)
    engine.tick()
    assert engine.state(row_id) == "completed"
    assert engine.payment_of(row_id).settlements == 2
    assert txids_paying(engine, payee) == {txid}
    assert (engine.available(account), engine.balance(account, "held")) == (1_000_000 - 102_000, 0)
    engine.check_invariants()


def test_inputs_spent_by_a_stranger_end_in_review_and_never_in_a_second_payment(engine: Engine) -> None:
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    engine.tick()
    ours = engine.chain.transaction(engine.payment_of(row_id).txid)
    engine.chain.mine_instead(Tx(ours.inputs, (Output(engine.chain.outside_address(), 50_000),), 500))
    engine.tick(3)
    assert engine.state(row_id) in ("broadcast", "confirming")  # not deep enough to be a fact
    engine.chain.mine(6)
    engine.tick(3)
    row = engine.payment_of(row_id)
    assert (row.state, row.status_reason) == ("review", "inputs_spent")
    assert engine.state(row_id) == "review"
    assert engine.chain.received(payee) == 0
    assert engine.balance(engine.row(withdrawals, row_id).account_id, "held") == 102_000
    assert "payment_contested" in {a.name for a in engine.rows(alarm)}


def outrun(engine: Engine, row_id: int, blocks: int) -> Row[Any]:
    """Its payment in review, whose inputs a stranger has spent so many blocks ago; that halt is lifted."""
    ours = engine.chain.transaction(engine.payment_of(row_id).txid)
    engine.chain.mine_instead(Tx(ours.inputs, (Output(engine.chain.outside_address(), 50_000),), 500))
    engine.chain.mine(blocks)
    engine.tick(3)
    row = engine.payment_of(row_id)
    assert (row.state, row.status_reason) == ("review", "inputs_spent")
    engine.database.run(lambda tx: halts.lift(tx, "bitcoin", "resource_moved", "op"), "t")
    return row


def test_what_a_final_block_has_spent_otherwise_is_dead_however_deep_the_node_says_it_is(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that keeps few states never says more than 65 (Ethereum): the chain's own word is enough."""
    payee = engine.chain.outside_address()
    account = engine.funded(1_000_000)
    engine.funded(1_000_000)
    row_id = engine.withdraw(account, 100_000, payee)
    engine.tick()
    row = outrun(engine, row_id, 64)
    with pytest.raises(StateConflict, match="may still confirm"):
        retry(engine, row.public_id)
    look_up = FakeWallet.look_up
    monkeypatch.setattr(FakeWallet, "look_up", lambda wallet, tx: replace(look_up(wallet, tx), final=True))
    retry(engine, row.public_id)
    engine.runtime.advance("payment", row.id)
    assert (engine.row(payment, row.id).state, engine.state(row_id)) == ("dead", "queued")


@pytest.mark.parametrize("buried", [False, True])
def test_where_the_chain_has_a_word_for_final_depth_alone_proves_nobody_dead(engine: Engine, buried: bool) -> None:
    """Finality may stand still for longer than a hundred blocks take; that branch may be undone yet."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    row = outrun(engine, row_id, 120)
    if buried:
        retry(engine, row.public_id)
        say_final(engine, 1)
        engine.runtime.advance("payment", row.id)
        assert engine.row(payment, row.id).state == "review"  # asked once more before it is let go
        assert "payment_still_alive" in {a.name for a in engine.rows(alarm)}
        return
    say_final(engine, 1)
    engine.chain.mine(1)
    engine.run_task("scan")  # whose node has no such word at the moment
    with pytest.raises(StateConflict, match="in a block that the chain calls final"):
        retry(engine, row.public_id)


def say_final(engine: Engine, height: int) -> None:
    engine.database.run(lambda tx: tx.execute(update(chains).values(final_height=height)), "t")


def test_a_payment_whose_block_is_gone_is_in_no_block(engine: Engine) -> None:
    """Who reads its height counts what it takes, and may raise its fee."""
    engine.set_policy(withdrawal_confirmations=3)
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    paid = engine.payment_of(row_id)
    engine.chain.mine(1)
    engine.tick()
    assert engine.row(payment, paid.id).height == engine.chain.tip.height
    engine.chain.reorg(1, gone=[paid.txid])
    engine.run_task("scan")
    engine.runtime.advance("payment", paid.id)
    found = engine.row(payment, paid.id)
    assert (found.state, found.height) == ("confirming", None)  # sent again, in the pool
    engine.database.run(lambda tx: resolve_payments.bump_payment(tx, paid.public_id, None, "op"), "t")


def test_a_payment_whose_block_is_gone_is_bumped_as_one_in_no_block(engine: Engine) -> None:
    engine.set_policy(withdrawal_confirmations=3)
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    paid = engine.payment_of(row_id)
    engine.chain.mine(1)
    engine.tick()
    engine.chain.reorg(1)  # back in the pool
    engine.run_task("scan")
    asked = update(payment).where(payment.c.id == paid.id).values(bump_rate=50_000)
    engine.database.run(lambda tx: tx.execute(asked), "t")
    engine.runtime.advance("payment", paid.id)
    found = engine.row(payment, paid.id)
    assert (found.candidates, found.height) == (2, None)


def retry(engine: Engine, public_id: str) -> None:
    """`coffer payments resolve --retry`."""
    row, asked = engine.database.read(lambda tx: resolve_payments.needs_proof(tx, public_id))
    proof = resolve_payments.prove(engine.services, row, asked)
    engine.database.run(lambda tx: resolve_payments.resolve_payment(tx, public_id, "retry", proof, "op"), "t")


def test_a_pause_stops_new_payments_and_those_not_yet_sent(engine: Engine) -> None:
    account = engine.funded(1_000_000)
    row_id = engine.withdraw(account, 100_000)
    engine.database.run(lambda tx: pauses.stop(tx, "BTC", "withdrawals", "drill", "op"), "t")
    engine.tick(2)
    assert engine.state(row_id) == "queued"
    engine.database.run(lambda tx: pauses.resume(tx, "BTC", "withdrawals", "op"), "t")
    engine.tick()
    assert engine.state(row_id) == "broadcast"


def test_a_node_down_for_long_fails_nothing_and_the_queue_moves_when_it_is_back(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.chain.down()
    engine.tick(8)
    assert engine.state(row_id) == "queued"
    reasons = {row.status_reason for row in engine.rows(engine.runtime.sagas["task"].table)}
    assert "node_unavailable" in reasons or "unreachable" in reasons
    engine.chain.up()
    engine.tick(2)
    assert engine.state(row_id) == "broadcast"
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"
    engine.check_invariants()


def test_a_row_changed_by_hand_is_never_signed_and_stops_its_asset(engine: Engine) -> None:
    account = engine.funded(1_000_000)
    honest = engine.withdraw(account, 100_000)
    forged = engine.withdraw(account, 50_000)
    thief = engine.chain.outside_address()
    forge(engine, forged, thief)
    engine.tick(2)
    assert engine.chain.received(thief) == 0
    assert (engine.state(forged), engine.row(withdrawals, forged).status_reason) == ("review", "signer_refused")
    assert engine.state(honest) == "queued"
    assert engine.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")) is not None
    assert engine.balance(account, "held") == 154_000
    engine.database.run(lambda tx: pauses.resume(tx, "BTC", "withdrawals", "op"), "t")
    engine.tick(2)
    assert engine.state(honest) == "broadcast"
    assert engine.chain.received(thief) == 0


def forge(engine: Engine, row_id: int, address: str) -> None:
    """What someone with the database's own password could do: the trigger is dropped first."""
    from sqlalchemy import text

    def unit(tx) -> None:  # type: ignore[no-untyped-def]
        sql = tx.value(text("SELECT sql FROM sqlite_master WHERE name = 'withdrawal_fixed'")) if tx.sqlite else None
        tx.execute(text("DROP TRIGGER withdrawal_fixed"))
        tx.execute(update(withdrawals).where(withdrawals.c.id == row_id).values(address=address))
        if sql is not None:
            tx.execute(text(sql))

    created = None
    if not engine.database.sqlite:
        with engine.database.engine.connect() as connection:
            created = (
                connection.exec_driver_sql("SHOW CREATE TRIGGER withdrawal_fixed")
                .mappings()
                .one()["SQL Original Statement"]
            )
    engine.database.run(unit, "forge")
    if created is not None:
        with engine.database.engine.connect() as connection:
            body = created[created.index("TRIGGER") :]
            connection.exec_driver_sql("CREATE " + body)


def test_the_signers_cap_holds_whatever_the_database_says(engine: Engine) -> None:
    engine.services.require_signer()._caps["BTC"] = 400_000
    account = engine.funded(3_000_000)
    first = engine.withdraw(account, 100_000)
    engine.tick()
    assert engine.state(first) == "broadcast"
    second = engine.withdraw(account, 350_000)
    engine.tick(2)
    row = engine.row(withdrawals, second)
    assert (row.state, row.status_reason) == ("queued", "outflow_cap")
    assert (
        engine.database.read(lambda tx: tx.value(select(resource.c.id).where(resource.c.live == 1).limit(1)))
        is not None
    )


def test_large_withdrawals_need_two_people_who_did_not_ask(engine: Engine) -> None:
    engine.set_policy(withdrawal_approval_above_units=50_000)
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    assert engine.state(row_id) == "pending_approval"
    engine.tick()
    assert engine.state(row_id) == "pending_approval"
    approve(engine, row_id, "ada")
    with pytest.raises(StateConflict):
        approve(engine, row_id, "ada")
    assert engine.state(row_id) == "pending_approval"
    approve(engine, row_id, "bob")
    assert engine.state(row_id) == "queued"
    engine.tick()
    assert engine.state(row_id) == "broadcast"


def approve(engine: Engine, row_id: int, holder: str) -> None:
    engine.database.run(lambda tx: withdrawal.approve(tx, engine.person(holder), row_id, engine.services), "approve")


def test_cancel_gives_the_money_back_until_it_has_joined_a_payment(engine: Engine) -> None:
    account = engine.funded(1_000_000)
    early, late = engine.withdraw(account, 100_000), None
    engine.database.run(lambda tx: withdrawal.cancel(tx, engine.caller, early), "cancel")
    assert engine.state(early) == "cancelled"
    assert engine.available(account) == 1_000_000
    late = engine.withdraw(account, 100_000)
    engine.tick()
    with pytest.raises(StateConflict):
        engine.database.run(lambda tx: withdrawal.cancel(tx, engine.caller, late), "cancel")
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(late) == "completed"
    assert engine.state(early) == "cancelled"
    engine.check_invariants()


def test_all_that_is_available_can_leave(engine: Engine) -> None:
    engine.funded(100_000)
    account = engine.funded(1_000_000)
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(account, None, payee)
    engine.tick()
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"
    assert engine.chain.received(payee) == 998_000
    assert engine.available(account) == 0
    engine.check_invariants()


def test_a_frozen_accounts_withdrawal_waits(engine: Engine) -> None:
    from ledger import accounts

    account = engine.funded(1_000_000)
    row_id = engine.withdraw(account, 100_000)
    engine.database.run(lambda tx: accounts.freeze(tx, account, "operator"), "t")
    engine.tick(2)
    assert engine.state(row_id) == "queued"
    engine.database.run(lambda tx: accounts.unfreeze(tx, account, "operator"), "t")
    engine.tick()
    assert engine.state(row_id) == "broadcast"


def test_deposits_not_yet_credited_are_never_spent(engine: Engine) -> None:
    account = engine.funded(200_000)
    other = engine.account()
    engine.chain.fund(engine.address(other).address, 90_000_000, blocks=1)  # needs three confirmations
    row_id = engine.withdraw(account, 100_000)
    engine.tick()
    unripe = engine.deposit_of(other)
    assert unripe.state == "confirming"
    assert unripe.output_key not in engine.chain.transaction(engine.payment_of(row_id).txid).inputs
    engine.check_invariants()


def test_a_payment_that_may_yet_pay_is_never_let_go(engine: Engine) -> None:
    """Whoever sets the row to releasing: the chain has the last word."""
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    engine.tick()
    chosen = payment.c.id == engine.payment_of(row_id).id
    forged = update(payment).where(chosen).values(state="releasing", resolution="refund", due_at=1)
    engine.database.run(lambda tx: tx.execute(forged), "forge")
    engine.tick(2)
    assert engine.payment_of(row_id).state == "review"
    assert engine.state(row_id) == "review"
    assert engine.balance(engine.row(withdrawals, row_id).account_id, "held") == 102_000
    assert len(txids_paying(engine, payee)) == 1
