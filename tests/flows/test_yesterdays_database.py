"""The signer's record against a database, or a record, that is not the one that knows what was sent."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Executable, delete, text, update

from jobs import runtime
from jobs.payment import books as payment_books
from jobs.payment import second_line, succession
from jobs.reconcile import differences
from jobs.resolve import by_hand, paid_before, payments
from jobs.signer import Signer
from jobs.signer.record import FILE
from ledger import halts, pauses
from ledger.db import Database
from ledger.errors import StateConflict
from ledger.ids import new_id
from ledger.schema import account as account_table
from ledger.schema import candidate, halt, installation, outgoing, payment
from ledger.schema import withdrawal as withdrawals
from tests import databases
from tests.flows.engine import MAC, Engine
from tests.flows.test_tampering import joined
from tests.flows.yesterday import Yesterday
from wallets.fake import FakeWallet


def copy(record: Path, to: Path) -> None:
    """A consistent copy, as a backup takes it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(record)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def replace(folder: Path, kept: Path) -> None:
    """Put an older copy in the record's place."""
    for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
        (folder / name).unlink(missing_ok=True)
    copy(kept, folder / FILE)


def freeze(engine: Engine, account_id: int, reason: str | None) -> None:
    changed = update(account_table).where(account_table.c.id == account_id).values(frozen_reason=reason)
    engine.database.run(lambda tx: tx.execute(changed), "t")


def forge(engine: Engine, verb: str, statement: Executable) -> None:
    """Whoever writes to the database by hand may drop its triggers, too. They are there again for the next test."""
    name = f"candidate_no_{verb}"
    engine.database.run(lambda tx: tx.execute(text(f"DROP TRIGGER {name}")), "t")
    engine.database.run(lambda tx: tx.execute(statement), "t")
    if not engine.database.sqlite:
        done = {"update": "changed", "delete": "deleted"}[verb]
        guard = f"CREATE TRIGGER {name} BEFORE {verb.upper()} ON candidate FOR EACH ROW "
        guard += f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'candidate rows are never {done}'"
        engine.database.run(lambda tx: tx.execute(text(guard)), "t")


def causes(engine: Engine) -> set[str]:
    """Why the chain is halted."""
    return {row.cause for row in engine.rows(halt)}


def believe(engine: Engine) -> None:
    """An operator who looked, and would have things go on as they are: the worst that he could say."""
    head = engine.services.require_signer().record.head()
    engine.database.run(lambda tx: second_line.accept(tx, engine.name, head), "accept")
    for cause in causes(engine):
        engine.database.run(lambda tx, c=cause: halts.lift(tx, engine.name, c, "op"), "lift")
    seen = update(outgoing).values(state="accepted", actor="op", note="seen")
    engine.database.run(lambda tx: tx.execute(seen), "accept")
    coin = engine.coin.code
    engine.database.run(lambda tx: differences.accept(tx, coin, "withdrawals", "seen", "op"), "accept")
    engine.database.run(lambda tx: pauses.resume(tx, coin, "withdrawals", "op"), "resume")


def aside(engine: Engine, payment_id: int) -> None:
    """`coffer payments resolve --aside`."""
    name = engine.row(payment, payment_id).public_id
    row, asked = engine.database.read(lambda tx: payments.needs_proof(tx, name))
    proof = payments.prove(engine.services, row, asked)
    engine.database.run(lambda tx: payments.resolve_payment(tx, name, "aside", proof, "op"), "aside")


def stopped_at(engine: Engine, row_id: int, state: str) -> int:
    """Let a withdrawal's payment go one step after the other up to a state; the payment's id."""
    payment_id = joined(engine, row_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "STEPS_MAX", 1)
        while engine.row(payment, payment_id).state != state:
            engine._let_time_pass()
            engine.runtime.advance("payment", payment_id)
    return payment_id


@pytest.mark.parametrize("payee", ["same", "other"])
def test_a_shop_that_repeats_the_call_that_a_restored_database_lost_is_not_paid_again(
    engine: Engine, tmp_path: Path, payee: str
) -> None:
    account, first = engine.funded(1_000_000), engine.chain.outside_address()
    second = first if payee == "same" else engine.chain.outside_address()
    yesterday = Yesterday(engine.database, tmp_path)
    engine.withdraw(account, 100_000, first, reference="order-1")
    engine.tick(2)
    engine.chain.mine(6)
    engine.tick(2)
    assert engine.chain.received(first) == 100_000

    yesterday.restore()
    again = engine.withdraw(account, 100_000, second, reference="order-1")
    engine.tick(2)
    assert causes(engine) & {"restored", "unknown_outgoing"}  # whichever looks first
    assert engine.state(again) == "queued"
    believe(engine)
    engine.tick(3)
    assert (engine.state(again), engine.row(withdrawals, again).status_reason) == ("review", "order_signed_before")
    assert "the same order" in engine.row(withdrawals, again).status_detail
    assert engine.chain.received(first) + (payee == "other") * engine.chain.received(second) == 100_000
    assert engine.database.read(lambda tx: pauses.reason(tx, "BTC", "withdrawals")) is None  # others go on


def test_a_withdrawal_that_a_restored_database_has_unpaid_is_not_paid_again(engine: Engine, tmp_path: Path) -> None:
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    yesterday = Yesterday(engine.database, tmp_path)
    engine.tick(2)
    engine.chain.mine(6)
    engine.tick(2)
    yesterday.restore()
    engine.tick(2)
    assert causes(engine) & {"restored", "unknown_outgoing"}
    believe(engine)
    engine.tick(3)
    assert engine.state(row_id) == "review"
    assert engine.chain.received(payee) == 100_000


def test_a_database_from_before_a_signature_is_told_by_the_record_alone(engine: Engine, tmp_path: Path) -> None:
    """As a worker looks when it starts: before the chain is read."""
    account = engine.funded(1_000_000)
    yesterday = Yesterday(engine.database, tmp_path)
    engine.withdraw(account, 100_000)
    engine.tick()
    assert second_line.look(engine.services, engine.name) is None
    yesterday.restore()
    assert (second_line.look(engine.services, engine.name) or "").startswith("restored: ")
    assert causes(engine) == {"restored"}


def test_a_coin_that_was_signed_away_is_not_signed_away_again(engine: Engine, tmp_path: Path) -> None:
    """The first payment has left the pool: the coin looks free to the node and to the restored rows."""
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    yesterday = Yesterday(engine.database, tmp_path)
    engine.withdraw(account, 100_000, payee)
    engine.tick()
    for tx in engine.chain.pool:
        engine.chain.evict(tx)
    yesterday.restore()
    engine.tick(2)
    believe(engine)
    other = engine.chain.outside_address()
    engine.withdraw(account, 200_000, other)
    engine.tick(2)
    assert "resource_moved" in causes(engine)
    assert (engine.chain.pool, engine.chain.received(other)) == ((), 0)


def test_bytes_that_were_let_go_are_not_sent_by_an_older_database(engine: Engine, tmp_path: Path) -> None:
    """Signed, then let go for a frozen account, and paid in another payment; yesterday's rows have it as signed."""
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    row_id = engine.withdraw(account, 100_000, payee)
    payment_id = stopped_at(engine, row_id, "signed")
    yesterday = Yesterday(engine.database, tmp_path)
    freeze(engine, account, "looks odd")
    engine.tick()
    assert engine.row(payment, payment_id).state == "dead"
    freeze(engine, account, None)
    engine.tick(2)
    assert engine.state(row_id) == "broadcast"
    sent = engine.chain.pool
    yesterday.restore()
    engine.tick(2)
    assert "restored" in causes(engine)
    believe(engine)
    engine.tick(2)
    assert "restored" in causes(engine)
    assert (engine.row(payment, payment_id).state, engine.state(row_id)) == ("review", "review")
    believe(engine)
    engine.tick(2)
    assert causes(engine) == set(), "lifted once it stays lifted"
    aside(engine, payment_id)
    engine.tick(2)
    assert (engine.row(payment, payment_id).state, engine.state(row_id)) == ("dead", "review")
    assert engine.row(withdrawals, row_id).status_reason == "restored"
    assert engine.chain.pool == sent


def test_what_was_only_begun_here_and_signed_in_the_lost_life_is_let_go_and_paid_once(
    engine: Engine, tmp_path: Path
) -> None:
    """The backup has the payment without a coin or a byte; the signer's record has what was signed for it."""
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    payment_id = stopped_at(engine, row_id, "building")
    yesterday = Yesterday(engine.database, tmp_path)
    engine.tick(2)
    engine.chain.mine(6)
    engine.tick(2)
    assert engine.state(row_id) == "completed"
    yesterday.restore()
    engine.tick(2)
    believe(engine)
    engine.tick(2)
    assert (engine.row(payment, payment_id).state, engine.state(row_id)) == ("review", "review")
    believe(engine)
    aside(engine, payment_id)
    engine.tick(2)
    row = engine.row(payment, payment_id)
    assert row.state == "dead", row.status_detail
    assert (engine.state(row_id), engine.row(withdrawals, row_id).status_reason) == ("review", "signed_before")
    known = engine.services.require_signer().known(row.public_id)
    assert known is not None
    assert known.released is None, "or the signer would pay it again"
    records = [engine.services.require_signer().record]
    name = engine.row(withdrawals, row_id).public_id
    with pytest.raises(StateConflict, match="which may have paid it"):
        paid_before.check_unsigned(engine.services, records, name, by_word=True)
    engine.database.run(lambda tx: by_hand.requeue_withdrawal(tx, name, MAC, "op"), "requeue")
    engine.tick(3)
    assert (engine.state(row_id), engine.row(withdrawals, row_id).status_reason) == ("review", "signed_before")
    paid_before.prove(engine.services, records, name, known.candidates[0].txid, by_word=False)
    assert engine.chain.received(payee) == 100_000


def test_a_record_that_was_rolled_back_is_not_signed_by(engine: Engine, tmp_path: Path) -> None:
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    kept = tmp_path / "kept.sqlite3"
    copy(engine.folder / "signer" / FILE, kept)
    engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    engine.chain.mine(6)
    engine.tick(2)
    assert engine.chain.received(payee) == 200_000
    replace(engine.folder / "signer", kept)
    engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    assert causes(engine) == {"signer_record"}
    assert engine.chain.received(payee) == 200_000
    assert engine.chain.pool == ()


def test_a_lost_record_is_noticed_even_by_a_worker_that_starts_anew(engine: Engine) -> None:
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    shutil.rmtree(engine.folder / "signer")
    engine.services.signer = Signer(engine.folder / "signer", MAC, {"BTC": 10**12}, engine.cold())
    engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    assert causes(engine) == {"signer_record"}
    assert len(engine.chain.pool) == 1


def test_a_new_record_learns_what_was_signed_and_goes_on(engine: Engine) -> None:
    """The old one is lost for good: what is on its way arrives, what waits is paid, nothing is signed a second time."""
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    first = engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    before = engine.services.require_signer().known(engine.payment_of(first).public_id)
    shutil.rmtree(engine.folder / "signer")
    signer = Signer(engine.folder / "signer", MAC, {"BTC": 10**12}, engine.cold())
    engine.services.signer = signer
    second = engine.withdraw(account, 200_000, payee)
    engine.tick(2)
    assert causes(engine) == {"signer_record"}
    succession.accept(engine.services, engine.name, "the disk is gone", "op")
    after = signer.known(engine.payment_of(first).public_id)
    assert before is not None
    assert after is not None
    assert (after.payload, after.orders, after.candidates, after.left) == (
        before.payload, before.orders, before.candidates, True
    )  # fmt: skip
    believe(engine)
    for tx in engine.chain.pool:
        engine.chain.evict(tx)  # and the old bytes may be sent again
    engine.tick(3)
    engine.chain.mine(6)
    engine.tick(2)
    assert (engine.state(first), engine.state(second)) == ("completed", "completed")
    assert engine.chain.received(payee) == 300_000
    assert (causes(engine), signer.faults()) == (set(), [])
    engine.check_invariants()


def test_a_record_that_was_rolled_back_and_accepted_goes_on_with_the_bytes_since(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows the payment, and not the bytes that left for it: its chain would be halted for them again and again."""
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    signer, kept = engine.services.require_signer(), tmp_path / "kept.sqlite3"
    note = signer.note
    row_id = engine.withdraw(account, 100_000, payee)
    with monkeypatch.context() as patch:
        patch.setattr(signer, "note", lambda *given: (copy(engine.folder / "signer" / FILE, kept), note(*given))[1])
        engine.tick(2)
    for tx in engine.chain.pool:
        engine.chain.evict(tx)  # its bytes are sent again
    replace(engine.folder / "signer", kept)
    engine.tick(2)
    assert causes(engine) == {"signer_record"}
    succession.accept(engine.services, engine.name, "the disk came back as it was", "op")
    believe(engine)
    engine.tick(3)
    engine.chain.mine(6)
    engine.tick(2)
    assert (engine.state(row_id), causes(engine), signer.faults()) == ("completed", set(), [])


def test_of_two_workers_with_copies_of_the_record_one_signs_no_more(engine: Engine, tmp_path: Path) -> None:
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    copy(engine.folder / "signer" / FILE, tmp_path / "other" / FILE)
    engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    sent = len(engine.chain.pool)
    engine.services.signer = Signer(tmp_path / "other", MAC, {"BTC": 10**12}, engine.cold())
    engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    assert causes(engine) == {"signer_record"}
    assert len(engine.chain.pool) == sent


def test_another_installations_record_signs_nothing_here(engine: Engine, tmp_path: Path, server_folder: Path) -> None:
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    engine.withdraw(account, 100_000, payee)
    engine.tick(2)
    folder = tmp_path / "second"
    folder.mkdir()
    database = Database(databases.sqlite_url(folder, server_folder / "template.sqlite3"))
    renamed = update(installation).values(public_id=new_id("in"))  # both are copies of one template
    database.run(lambda tx: tx.execute(renamed), "t")
    second = Engine(tmp_path, database, engine.chain, FakeWallet(engine.chain, "second"))
    owner = second.funded(500_000)
    sent = len(engine.chain.pool)
    second.withdraw(owner, 100_000, payee)
    second.tick(2)
    assert causes(second) == {"other_installation"}
    assert len(engine.chain.pool) == sent
    database.close()


@pytest.mark.parametrize("rows", ["intent", "candidates", "both"])
def test_rows_that_say_unsent_of_what_the_record_knows_as_sent_let_nothing_go(
    engine: Engine, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone deletes what shows that a payment is on its way, has it let go, and its withdrawal paid once more."""
    payee = engine.chain.outside_address()
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000, payee)
    payment_id = stopped_at(engine, row_id, "broadcast")
    for tx in engine.chain.pool:
        engine.chain.evict(tx)  # the node forgets it for a while
    if rows != "candidates":
        monkeypatch.setattr(payment_books, "intent_stands", lambda tx, payment_id: False)  # as if its row were gone
    if rows != "intent":
        forge(engine, "delete", delete(candidate).where(candidate.c.payment_id == payment_id))
    released = {"state": "releasing", "declined": "paused", "due_at": 1}
    engine.database.run(lambda tx: tx.execute(update(payment).values(released)), "t")
    engine.tick(2)
    assert engine.row(payment, payment_id).state == "review"
    assert engine.state(row_id) == "review"


@pytest.mark.parametrize("state", ["signed", "broadcast"])
def test_other_bytes_than_those_that_were_signed_are_not_sent(engine: Engine, state: str) -> None:
    """Bytes of a payment that was let go, put into the row of one that may be sent."""
    account, payee = engine.funded(1_000_000), engine.chain.outside_address()
    row_id = engine.withdraw(account, 100_000, payee)
    payment_id = stopped_at(engine, row_id, state)
    row = engine.row(payment, payment_id)
    forge(engine, "update", update(candidate).where(candidate.c.payment_id == payment_id).values(raw="00"))
    engine.tick(2)
    assert causes(engine) == {"signer_record"}
    assert (engine.row(payment, row.id).state, engine.chain.pool) == ("review", ())
    believe(engine)
    engine.tick(2)
    assert causes(engine) == set(), "lifted once it stays lifted"
    assert (engine.state(row_id), engine.chain.pool) == ("review", ())


def test_a_payment_on_its_way_whose_stored_bytes_were_changed_is_not_bumped_and_settles(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    sent = engine.payment_of(row_id)
    forge(engine, "update", update(candidate).where(candidate.c.payment_id == sent.id).values(raw="00"))
    asked = update(payment).where(payment.c.id == sent.id).values(bump_rate=50_000)
    engine.database.run(lambda tx: tx.execute(asked), "test_bump")
    engine.tick(2)
    assert causes(engine) == {"signer_record"}
    assert (engine.payment_of(row_id).state, engine.chain.pool) == ("confirming", (sent.txid,))
    engine.chain.mine(3)
    engine.tick()
    assert engine.state(row_id) == "completed"


def test_a_new_record_is_accepted_where_stored_bytes_were_changed(engine: Engine) -> None:
    """It learns whom the payment was to pay, and no bytes that it would let out."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    payment_id = stopped_at(engine, row_id, "broadcast")
    row = engine.row(payment, payment_id)
    forge(engine, "update", update(candidate).where(candidate.c.payment_id == payment_id).values(raw="00"))
    shutil.rmtree(engine.folder / "signer")
    signer = Signer(engine.folder / "signer", MAC, {"BTC": 10**12}, engine.cold())
    engine.services.signer = signer
    succession.accept(engine.services, engine.name, "the disk is gone", "op")
    known = signer.known(row.public_id)
    assert known is not None
    assert (known.withdrawals, known.candidates, known.left) == (
        (engine.row(withdrawals, row_id).public_id,), (), True
    )  # fmt: skip
