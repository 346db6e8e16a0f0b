"""Operators' decisions through the commands: only the safe ones, audited, on both databases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from jobs.signer.record import Record
from ledger import halts, pauses
from ledger.schema import account, audit, deposit, payment, task, withdrawal
from tests import databases
from tests.flows.test_payments import forge
from tests.ops.installation import Installation
from wallets.fake.model import Tx as ChainTx
from wallets.protocol import Output

Install = Callable[..., Installation]


@pytest.fixture
def here(install: Install, request: pytest.FixtureRequest) -> Installation:
    return install(dialect=getattr(request, "param", "sqlite"))


#: For the acts that move money or meet a worker.
on_both = pytest.mark.parametrize("here", databases.DIALECTS, indirect=True)


# Deposits


@on_both
def test_a_held_deposit_is_given_to_a_customer_once(here: Installation) -> None:
    parked = held(here, 500_000)
    customer = here.engine.account()
    listed = json.loads(here.said("held", "list", "--json"))
    assert [(row["id"], row["reason"]) for row in listed] == [(parked, "unknown_address")]
    here.said("deposits", "resolve", parked, "--credit", public_id(here, customer), "--as", "alice")
    assert here.engine.available(customer) == 500_000
    assert here.engine.house("suspense") == 0
    assert acts(here)[-1] == ("operator:alice", "deposit.credit", parked)
    assert "only held and ignored" in here.refused("deposits", "resolve", parked, "--keep")
    assert here.said("held", "list") == "none\n"
    here.engine.tick()
    here.engine.check_invariants()


def test_a_reorganisation_takes_a_resolved_deposit_back(here: Installation) -> None:
    parked = held(here, 500_000)
    customer = here.engine.account()
    here.said("deposits", "resolve", parked, "--credit", public_id(here, customer))
    txid = here.engine.rows(deposit)[0].txid
    here.chain.reorg(10, gone=[txid])
    here.engine.tick(2)
    assert here.engine.available(customer) == 0
    assert here.engine.rows(deposit)[0].state == "reversed"
    here.engine.check_invariants()


def test_a_held_deposit_may_be_kept_by_the_house(here: Installation) -> None:
    parked = held(here, 500_000)
    here.said("deposits", "resolve", parked, "--keep")
    assert (here.engine.house("suspense"), here.engine.house("capital")) == (0, 500_000)
    assert "decided before" in here.refused("deposits", "resolve", parked, "--keep")
    assert here.said("held", "list") == "none\n"
    here.engine.tick()
    here.engine.check_invariants()


def test_dust_goes_only_to_the_account_whose_address_it_came_to(here: Installation) -> None:
    owner, stranger = here.engine.account(), here.engine.account()
    here.chain.fund(here.engine.address(owner).address, 500, blocks=6)
    here.engine.tick()
    row = here.engine.deposit_of(owner)
    assert row.state == "ignored"
    said = here.refused("deposits", "resolve", row.public_id, "--credit", public_id(here, stranger))
    assert "only that account can get it" in said
    here.said("deposits", "resolve", row.public_id, "--credit", public_id(here, owner))
    assert here.engine.available(owner) == 500
    here.engine.tick()
    here.engine.check_invariants()


@on_both
def test_a_deposit_in_a_workers_hands_is_left_alone(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    parked = held(here, 500_000)
    monkeypatch.setattr("cli.patience.TRIES", 2)
    lease = update(deposit).values(lease_until=10**18, lease_token="somebody")
    here.database.run(lambda tx: tx.execute(lease), "test")
    assert "busy" in here.refused("deposits", "resolve", parked, "--keep")
    assert here.engine.house("suspense") == 500_000


# Withdrawals


@on_both
def test_a_forged_withdrawal_can_only_be_refunded(here: Installation) -> None:
    customer = here.engine.funded(1_000_000)
    row_id = here.engine.withdraw(customer, 100_000)
    thief = here.chain.outside_address()
    forge(here.engine, row_id, thief)
    here.engine.tick(2)
    name = here.engine.row(withdrawal, row_id).public_id
    assert here.engine.state(row_id) == "review"
    here.said("resume", "BTC", "withdrawals")
    here.engine.tick()
    assert "only be refunded" in here.refused("withdrawals", "resolve", name, "--requeue")
    here.said("withdrawals", "resolve", name, "--refund", "--as", "alice")
    assert here.engine.available(customer) == 1_000_000
    assert here.engine.state(row_id) == "failed"
    assert "only withdrawals in review" in here.refused("withdrawals", "resolve", name, "--refund")
    here.engine.tick()
    assert here.chain.received(thief) == 0
    here.engine.check_invariants()


@pytest.mark.parametrize("reason", ["signer_refused", "order_signed_before"])
def test_a_refund_needs_an_operators_word_where_the_signers_record_is_gone(here: Installation, reason: str) -> None:
    """Something was signed on this chain, and there is nothing to ask for whom."""
    customer = here.engine.funded(1_000_000)
    here.engine.withdraw(customer, 50_000)
    here.engine.tick()
    row_id = here.engine.withdraw(customer, 100_000)
    forge(here.engine, row_id, here.chain.outside_address())
    here.engine.tick(2)
    assert here.engine.state(row_id) == "review"
    said = update(withdrawal).where(withdrawal.c.id == row_id).values(status_reason=reason)
    here.database.run(lambda tx: tx.execute(said), "test")
    shutil.rmtree(here.folder / "signer")
    Record.make(here.folder / "signer")
    name = here.engine.row(withdrawal, row_id).public_id
    assert "say --by-word" in here.refused("withdrawals", "resolve", name, "--refund")
    here.said("withdrawals", "resolve", name, "--refund", "--by-word")
    assert here.engine.state(row_id) == "failed"


def test_a_withdrawal_whose_payment_may_confirm_is_not_decided_alone(here: Installation) -> None:
    row_id = contested(here)
    name = here.engine.row(withdrawal, row_id).public_id
    for choice in ("--refund", "--requeue"):
        assert "decide about that one" in here.refused("withdrawals", "resolve", name, choice)
    assert here.engine.balance(here.engine.row(withdrawal, row_id).account_id, "held") == 102_000


# Payments


@on_both
@pytest.mark.parametrize("choice", ["--retry", "--refund"])
def test_a_payment_is_let_go_only_when_the_chain_proves_it_dead(here: Installation, choice: str) -> None:
    row_id = contested(here)
    row = here.engine.row(withdrawal, row_id)
    name = here.engine.payment_of(row_id).public_id
    assert "may still confirm" in here.refused("payments", "resolve", name, choice)
    here.chain.mine(92)
    here.engine.tick()
    assert "may still confirm" in here.refused("payments", "resolve", name, choice)  # 99 deep
    here.chain.mine(1)
    here.chain.unready("syncing", "catching up")
    assert "cannot be relied on" in here.refused("payments", "resolve", name, choice)
    here.chain.down()
    here.refused("payments", "resolve", name, choice)
    here.chain.up()
    assert here.engine.payment_of(row_id).state == "review"
    here.engine.tick()
    assert "resource_moved" in here.refused("payments", "resolve", name, choice)  # whose keys made that other one?
    assert any("lift-halt bitcoin resource_moved" in step for step in steps(here, name))
    here.said("lift-halt", "bitcoin", "resource_moved", "--reason", "a drill")
    here.said("payments", "resolve", name, choice, "--as", "alice")
    assert acts(here)[-1] == ("operator:alice", f"payment.{choice[2:]}", name)
    here.engine.tick(2)
    assert payment_state(here, name) == "dead"
    if choice == "--refund":
        assert here.engine.state(row_id) == "failed"
        assert here.engine.balance(row.account_id, "held") == 0
    else:
        assert (here.engine.state(row_id), here.engine.row(withdrawal, row_id).payment_id) == ("queued", None)
    # What the stranger took is missing on chain, and reconciliation says so before anything else leaves.
    assert "unexplained" in str(here.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")))


def test_recheck_sends_the_same_bytes_again(here: Installation) -> None:
    row_id = contested(here)
    before = here.engine.payment_of(row_id)
    thief = here.chain.transaction(before.txid).inputs[0]
    with here.chain.state() as state:
        rival = state.spender[thief]
    here.chain.reorg(7, gone=[rival])  # the other transaction is forgotten
    here.said("payments", "recheck", before.public_id)
    here.engine.tick(2)
    after = here.engine.payment_of(row_id)
    assert (after.id, after.txid, after.candidates) == (before.id, before.txid, 1)
    here.chain.mine(3)
    here.engine.tick(2)
    assert here.engine.state(row_id) == "completed"
    here.engine.check_invariants()


def test_a_payment_that_was_signed_and_set_aside_goes_on_with_the_same_bytes(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    payee = here.chain.outside_address()
    row_id = here.engine.withdraw(here.engine.funded(1_000_000), 100_000, payee)
    monkeypatch.setattr("jobs.runtime.STEPS_MAX", 2)  # reserved and signed, and no further
    batch = here.database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == "batch:bitcoin")))
    here.engine.runtime.advance("task", batch, woken=True)
    here.engine.runtime.advance("payment", here.engine.payment_of(row_id).id)
    monkeypatch.undo()
    signed = here.engine.payment_of(row_id).txid
    here.said("payments", "recheck", in_review(here, row_id))
    here.engine.tick()
    here.chain.mine(3)
    here.engine.tick()
    assert here.engine.state(row_id) == "completed"
    assert here.engine.payment_of(row_id).txid == signed
    assert here.chain.received(payee) == 100_000
    here.engine.check_invariants()


def test_a_payment_that_was_never_sent_is_let_go_without_a_word_of_the_node(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = here.engine.funded(1_000_000)
    payee = here.chain.outside_address()
    row_id = here.engine.withdraw(customer, 100_000, payee)
    monkeypatch.setattr("jobs.runtime.STEPS_MAX", 2)  # reserved and signed, and no further
    batch = here.database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == "batch:bitcoin")))
    here.engine.runtime.advance("task", batch, woken=True)
    here.engine.runtime.advance("payment", here.engine.payment_of(row_id).id)
    assert here.engine.payment_of(row_id).state == "signed"
    name = in_review(here, row_id)
    here.chain.down()
    here.said("payments", "resolve", name, "--refund")
    here.chain.up()
    monkeypatch.undo()
    here.engine.tick(2)
    assert here.engine.state(row_id) == "failed"
    assert here.engine.available(customer) == 1_000_000
    here.chain.mine(3)
    here.engine.tick()
    assert here.chain.received(payee) == 0
    here.engine.check_invariants()


def test_a_payment_that_was_sent_is_not_let_go_because_it_is_in_review(here: Installation) -> None:
    row_id = here.engine.withdraw(here.engine.funded(1_000_000), 100_000)
    here.engine.tick()
    name = in_review(here, row_id)
    for choice in ("--retry", "--refund"):
        assert "may still confirm" in here.refused("payments", "resolve", name, choice)
    here.chain.evict(here.engine.payment_of(row_id).txid)
    assert "may still confirm" in here.refused("payments", "resolve", name, "--refund")  # unknown is not dead
    here.said("payments", "recheck", name)
    here.engine.tick(2)
    here.chain.mine(3)
    here.engine.tick(2)
    assert here.engine.state(row_id) == "completed"
    here.engine.check_invariants()


def test_a_settled_payment_in_review_is_only_rechecked(here: Installation) -> None:
    customer = here.engine.funded(1_000_000)
    row_id = here.engine.withdraw(customer, 100_000)
    here.engine.tick()
    here.chain.mine(3)
    here.engine.tick(2)
    assert here.engine.state(row_id) == "completed"
    name = in_review(here, row_id)
    assert "was paid" in here.refused("payments", "resolve", name, "--refund")
    here.said("payments", "recheck", name)
    here.engine.tick(2)
    assert payment_state(here, name) == "settled"
    assert here.engine.state(row_id) == "completed"
    here.engine.check_invariants()


def test_an_operator_bumps_a_payment_below_its_ceiling(here: Installation) -> None:
    customer = here.engine.funded(1_000_000)
    payee = here.chain.outside_address()
    row_id = here.engine.withdraw(customer, 100_000, payee)
    here.engine.tick()
    first = here.engine.payment_of(row_id)
    assert "at most" in here.refused("payments", "bump", first.public_id, "--rate", "9000000")
    assert "must be above" in here.refused("payments", "bump", first.public_id, "--rate", str(first.rate))
    here.said("payments", "bump", first.public_id, "--rate", str(first.rate * 3))
    here.engine.tick()
    second = here.engine.payment_of(row_id)
    assert second.candidates == 2
    assert second.txid != first.txid
    here.chain.mine(3)
    here.engine.tick(2)
    assert here.chain.received(payee) == 100_000
    here.engine.check_invariants()


# Accounts, the house, the rest


def test_a_frozen_account_waits_and_an_unfrozen_one_is_paid(here: Installation) -> None:
    customer = here.engine.funded(1_000_000)
    name = public_id(here, customer)
    row_id = here.engine.withdraw(customer, 100_000)
    here.said("accounts", "freeze", name, "--reason", "a question", "--as", "alice")
    here.engine.tick(2)
    assert here.engine.state(row_id) == "queued"
    assert "frozen already" in here.refused("accounts", "freeze", name, "--reason", "again")
    here.said("accounts", "unfreeze", name)
    here.engine.tick()
    assert here.engine.state(row_id) == "broadcast"
    assert [action for _, action, _ in acts(here)[-2:]] == ["account.freeze", "account.unfreeze"]


@on_both
def test_a_debt_is_written_off_as_the_houses_loss(here: Installation) -> None:
    customer = here.engine.funded(1_000_000)
    name = public_id(here, customer)
    assert "owes no BTC" in here.refused("accounts", "write-off", name, "BTC")
    here.engine.withdraw(customer, 400_000)
    here.engine.tick()
    here.chain.mine(3)
    here.engine.tick(2)
    txid = here.engine.deposit_of(customer).txid
    here.chain.reorg(12, double_spent=[txid])
    here.engine.tick(2)
    owed = here.engine.balance(customer, "receivable")
    assert owed > 0
    assert "write-off" in here.refused("accounts", "unfreeze", name)
    here.said("accounts", "write-off", name, "BTC")
    assert here.engine.balance(customer, "receivable") == 0
    assert here.engine.house("reorg_loss") == -owed
    assert here.engine.frozen(customer) is None


@on_both
def test_a_withdrawal_that_waits_is_cancelled_and_one_that_has_left_is_not(here: Installation) -> None:
    customer = here.engine.funded(1_000_000)
    sent = here.engine.withdraw(customer, 100_000)
    here.engine.tick()
    waiting = here.engine.withdraw(customer, 200_000)
    names = [here.engine.row(withdrawal, row_id).public_id for row_id in (sent, waiting)]
    assert "joined a payment" in here.refused("withdrawals", "cancel", names[0])
    here.said("withdrawals", "cancel", names[1], "--as", "alice")
    assert here.engine.state(waiting) == "cancelled"
    assert here.engine.available(customer) == 1_000_000 - 102_000
    assert acts(here)[-1] == ("operator:alice", "withdrawal.cancel", names[1])
    assert "can no longer be cancelled" in here.refused("withdrawals", "cancel", names[1])
    assert "no withdrawal" in here.refused("withdrawals", "cancel", "wd_nothing")


@on_both
def test_no_debt_is_written_off_while_the_debtors_own_money_waits_to_be_paid_out(here: Installation) -> None:
    customer = here.engine.funded(1_000_000)
    name = public_id(here, customer)
    row_id = here.engine.withdraw(customer, 400_000)
    waiting = here.engine.row(withdrawal, row_id).public_id
    here.said("pause", "BTC", "withdrawals", "--reason", "a drill")
    here.database.run(lambda tx: halts.stop(tx, "bitcoin", "unknown_outgoing", "a drill", "test"), "test")
    here.chain.reorg(6, double_spent=[here.engine.deposit_of(customer).txid])
    here.engine.tick(2)
    assert here.engine.balance(customer, "receivable") == 402_000
    assert f"withdrawals cancel {waiting}" in here.refused("accounts", "write-off", name, "BTC")
    steps = json.loads(here.said("explain", name, "--json"))["next_steps"]
    assert [step for step in steps if f"withdrawals cancel {waiting}" in step]
    assert not [step for step in steps if "write-off" in step]
    here.said("lift-halt", "bitcoin", "unknown_outgoing", "--reason", "it was a drill")
    here.said("withdrawals", "cancel", waiting)
    assert here.engine.frozen(customer) is None
    assert "owes no BTC" in here.refused("accounts", "write-off", name, "BTC")
    here.engine.check_invariants()


def test_money_to_a_treasury_address_is_capital(here: Installation) -> None:
    address = here.said("treasury", "address", "BTC", "--wait", "0").strip()
    here.chain.fund(address, 5_000_000, blocks=6)
    here.engine.tick()
    assert here.engine.house("capital") == 5_000_000
    assert json.loads(here.said("reconcile", "BTC", "--json"))["unexplained_units"] == 0
    here.engine.check_invariants()


def test_reconcile_fails_on_a_difference(here: Installation) -> None:
    here.engine.funded(1_000_000)
    here.said("reconcile", "BTC")
    here.chain.fund(here.said("treasury", "address", "BTC", "--wait", "0").strip(), 7_000, blocks=1)
    away = update(deposit).values(credited=0)
    here.database.run(lambda tx: tx.execute(away), "test")
    assert here.coffer("reconcile", "BTC").exit_code == 1


def test_pause_and_resume_are_audited_and_stop_withdrawals(here: Installation) -> None:
    customer = here.engine.funded(1_000_000)
    here.said("pause", "BTC", "withdrawals", "--reason", "a drill", "--as", "alice")
    assert here.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")) == "a drill"
    with pytest.raises(Exception, match="a drill"):
        here.engine.withdraw(customer, 100_000)
    here.said("resume", "BTC", "withdrawals", "--as", "bob")
    assert acts(here)[-2:] == [
        ("operator:alice", "pause", "BTC/withdrawals"),
        ("operator:bob", "resume", "BTC/withdrawals"),
    ]
    assert here.said("audit", "verify").endswith("\n")


@on_both
def test_explain_tells_one_story_with_safe_steps_only(here: Installation) -> None:
    row_id = contested(here)
    row = here.engine.row(withdrawal, row_id)
    name = here.engine.payment_of(row_id).public_id
    told = json.loads(here.said("explain", row.public_id, "--json"))
    whole = json.dumps(told)
    for part in (row.public_id, name, row.address, "building -> reserved", "candidate 1 signed", "payment_intent"):
        assert part in whole, part
    assert any("conflicted" in line for line in told["node"])
    assert any(f"payments resolve {name} --refund" in step for step in told["next_steps"])
    assert not any(f"withdrawals resolve {row.public_id}" in step for step in told["next_steps"])
    moments = [moment["at"] for moment in told["timeline"]]
    assert moments == sorted(moments)
    for other in (name, row.txid, row.address, row.reference, public_id(here, row.account_id)):
        assert row.public_id in here.said("explain", other)
    here.chain.down()
    assert "cannot be asked" in here.said("explain", row.public_id)


def held(here: Installation, units: int) -> str:
    """A deposit to an address of the wallet that was never given out, deep enough; its id."""
    from wallets.fake.addresses import derive

    here.chain.fund(derive("fakepub:coffer/77"), units, blocks=6)
    here.engine.tick()
    row = here.engine.rows(deposit)[-1]
    assert row.state == "held"
    return str(row.public_id)


def contested(here: Installation) -> int:
    """A withdrawal whose payment is in review: a stranger spent its inputs, seven blocks deep."""
    customer = here.engine.funded(1_000_000)
    here.engine.funded(3_000_000)
    row_id = here.engine.withdraw(customer, 100_000)
    here.engine.tick()
    ours = here.chain.transaction(here.engine.payment_of(row_id).txid)
    here.chain.mine_instead(ChainTx(ours.inputs, (Output(here.chain.outside_address(), 50_000),), 500))
    here.chain.mine(6)
    here.engine.tick(3)
    assert here.engine.payment_of(row_id).state == "review"
    return row_id


def in_review(here: Installation, row_id: int) -> str:
    """Set a withdrawal's payment aside, as the runtime does when its step has killed many workers; its id."""
    values = {"state": "review", "status_reason": "crashed_repeatedly", "due_at": None}
    here.database.run(lambda tx: tx.execute(update(payment).values(values)), "test")
    return str(here.engine.payment_of(row_id).public_id)


def steps(here: Installation, name: str) -> list[str]:
    return list(json.loads(here.said("explain", name, "--json"))["next_steps"])


def payment_state(here: Installation, name: str) -> str:
    query = select(payment.c.state).where(payment.c.public_id == name)
    return str(here.database.read(lambda tx: tx.value(query)))


def public_id(here: Installation, account_id: int) -> str:
    return str(here.engine.row(account, account_id).public_id)


def acts(here: Installation) -> list[tuple[Any, ...]]:
    return [(row.actor, row.action, row.target) for row in here.engine.rows(audit)]


# The house's own money


@on_both
def test_a_loss_is_booked_to_the_house_and_moves_no_customers_balance(here: Installation) -> None:
    customer = here.engine.funded(900_000)
    here.said("treasury", "loss", "BTC", "0.00300000", "--reason", "the key was used elsewhere", "--as", "ada")
    assert here.engine.house("reorg_loss") == -300_000
    assert here.engine.house("treasury_hot") == -600_000
    assert here.engine.available(customer) == 900_000
    assert "treasury" in here.refused("treasury", "loss", "BTC", "1", "--reason", "a typing error")
    acts = here.database.read(
        lambda tx: tx.all(select(audit.c.actor, audit.c.details).where(audit.c.action == "treasury.loss"))
    )
    assert [(act.actor, act.details["units"]) for act in acts] == [("operator:ada", "300000")]
