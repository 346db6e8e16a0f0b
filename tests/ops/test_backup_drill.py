"""The drill: a backup, more traffic, everything lost, a restore. Nothing is paid twice, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from jobs.caller import Caller
from jobs.reconcile.chain import reconcile
from jobs.resolve import paid_before
from ledger.db import Database
from ledger.errors import StateConflict
from ledger.schema import account, deposit, pause, payment, withdrawal
from tests.flows.engine import Engine
from tests.flows.test_yesterdays_database import freeze, stopped_at
from tests.ops.installation import Installation
from wallets.fake.chain import Lie
from wallets.fake.model import WalletState

Installer = Callable[..., Installation]


@dataclass
class Drill:
    """An installation on the model chain, the life that it loses, and the one that goes on from the backup."""

    shop: Installation
    payees: dict[str, int] = field(default_factory=dict)  #: address -> what it was promised

    @property
    def engine(self) -> Engine:
        return self.shop.engine

    @property
    def backup_folder(self) -> str:
        return str(self.shop.folder / "backup")

    def withdraw(self, account_id: int, units: int, payee: str | None = None, **more: str) -> int:
        payee = payee or self.shop.chain.outside_address()
        self.payees[payee] = units
        return self.engine.withdraw(account_id, units, payee, **more)

    def mine(self, blocks: int = 6) -> None:
        self.shop.chain.mine(blocks)
        self.engine.tick(3)

    def lose(self, *, record: bool) -> None:
        """The machine is gone: database and wallet, and with `record` the signer's record too. The chain is not."""
        self.shop.database.close()
        for lying in self.shop.folder.glob("coffer.sqlite3*"):
            lying.unlink()
        with self.shop.chain.state(write=True) as s:
            s.wallets.clear()
        if record:
            shutil.rmtree(self.shop.folder / "signer")

    def restore(self, *options: str) -> None:
        self.shop.said("restore", self.backup_folder, *options)
        self.shop.database = Database(self.shop.url)
        self.shop.engine = Engine(self.shop.folder, self.shop.database, self.shop.chain)

    def received(self) -> dict[str, int]:
        return {payee: self.shop.chain.received(payee) for payee in self.payees}

    def address(self, withdrawal_id: int) -> str:
        return str(self.engine.row(withdrawal, withdrawal_id).address)

    def state(self, withdrawal_id: int) -> tuple[str, str | None]:
        row = self.engine.row(withdrawal, withdrawal_id)
        return row.state, row.status_reason


@pytest.fixture
def drill(install: Installer) -> Drill:
    return Drill(install())


def backed_up(drill: Drill) -> dict[str, int]:
    """Traffic and a backup in the middle of it: one withdrawal settled, one sent, one that waits; and one account."""
    engine = drill.engine
    rich = engine.funded(9_000_000)
    found = {"rich": rich, "settled": drill.withdraw(rich, 100_000)}
    engine.tick()
    drill.mine()
    found["sent"] = drill.withdraw(rich, 200_000)
    engine.tick()
    found["waiting"] = drill.withdraw(rich, 300_000)
    drill.shop.said("backup", drill.backup_folder)
    return found


def lost_life(drill: Drill) -> str:
    """What was done after the backup: the waiting one is paid, another is asked for and paid, somebody gets an address
    and pays in. Returns that address."""
    engine = drill.engine
    engine.tick()
    drill.mine()
    newcomer = engine.account("newcomer")
    home = str(engine.address(newcomer).address)
    drill.shop.chain.fund(home, 700_000, blocks=6)
    engine.tick(2)
    drill.withdraw(newcomer, 50_000)
    engine.tick()
    drill.mine()
    assert engine.available(newcomer) == 700_000 - 50_000 - 2_000
    return home


@pytest.mark.parametrize("record", [False, True], ids=["record survives", "record is lost too"])
def test_after_a_restore_nobody_is_paid_twice(drill: Drill, record: bool) -> None:
    rows = backed_up(drill)
    lost_life(drill)
    paid = drill.received()
    assert paid == drill.payees
    drill.lose(record=record)
    drill.restore()
    drill.engine.tick(3)
    drill.mine(110)
    assert drill.received() == paid, "nothing leaves in quarantine"
    assert drill.state(rows["sent"])[0] == "completed", "what was out is followed all the same"

    refused = drill.shop.refused("quarantine", "lift", "bitcoin")
    assert "unexplained" in refused
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "each was looked at", "--as", "me")
    drill.engine.tick(5)
    drill.mine(110)
    drill.engine.tick(5)
    assert drill.received() == paid
    assert drill.state(rows["waiting"]) == ("review", "restored")


def test_what_was_committed_but_never_seen_stays_here_until_the_quarantine_is_lifted(drill: Drill) -> None:
    """In the life that was lost it may have been proven dead and paid by another payment."""
    rich = drill.engine.funded(9_000_000)
    committed = drill.withdraw(rich, 200_000)
    drill.shop.chain.lie("broadcast", Lie.LOST_UNDONE, times=50)
    drill.engine.tick()
    assert drill.engine.payment_of(committed).state == "broadcast"
    drill.shop.said("backup", drill.backup_folder)
    drill.lose(record=False)
    with drill.shop.chain.state(write=True) as s:
        s.lies.clear()
    drill.restore()
    drill.engine.tick(3)
    assert drill.shop.chain.pool == ()
    assert "nothing is sent on bitcoin" in str(drill.engine.payment_of(committed).status_detail)
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "nothing was done since")
    drill.engine.tick(2)
    assert len(drill.shop.chain.pool) == 1
    drill.mine(6)
    assert drill.state(committed)[0] == "completed"


def test_a_database_that_came_back_in_another_way_is_put_into_quarantine_by_hand(drill: Drill) -> None:
    backed_up(drill)
    refused = drill.shop.refused("quarantine", "lift", "bitcoin")
    assert "bitcoin is not in quarantine" in refused
    first = drill.engine.address(drill.engine.account()).idx
    drill.shop.said("quarantine", "begin", "--record-lost")
    assert "unexplained" not in drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "looked at")
    assert drill.engine.address(drill.engine.account()).idx == first + 1 + 1_000


def test_a_fee_that_was_raised_since_is_known_again(drill: Drill) -> None:
    """The backup knows the payment, not the candidate that was mined: chain and signer's record give it back."""
    rich = drill.engine.funded(9_000_000)
    raised = drill.withdraw(rich, 200_000)
    drill.engine.tick()
    drill.shop.said("backup", drill.backup_folder)
    first = drill.shop.chain.pool[0]
    drill.shop.said("payments", "bump", drill.engine.payment_of(raised).public_id)
    drill.engine.tick(2)
    (second,) = drill.shop.chain.pool
    assert second != first
    drill.mine(6)
    drill.lose(record=False)
    drill.restore()
    found = json.loads(drill.shop.coffer("quarantine", "--json").stdout)[0]["findings"]
    assert not [finding for finding in found if finding["open"]], found
    drill.shop.said("quarantine", "lift", "bitcoin")
    drill.engine.tick(3)
    assert drill.state(raised)[0] == "completed"
    assert drill.engine.payment_of(raised).txid == second
    assert drill.received() == drill.payees
    drill.engine.check_invariants()


def test_a_fee_that_was_raised_since_is_not_paid_again_where_nobody_knows_of_it(drill: Drill) -> None:
    """Without the signer's record the chain seems to have paid somebody else: a person looks at the payee."""
    rich = drill.engine.funded(9_000_000)
    raised = drill.withdraw(rich, 200_000)
    drill.engine.tick()
    drill.shop.said("backup", drill.backup_folder)
    drill.shop.said("payments", "bump", drill.engine.payment_of(raised).public_id)
    drill.engine.tick(2)
    (second,) = drill.shop.chain.pool
    drill.mine(6)
    drill.lose(record=True)
    drill.restore()
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "the payee has it")
    drill.mine(110)
    assert drill.state(raised) == ("review", "inputs_spent")
    for choice in ("--refund", "--retry"):
        refused = drill.shop.refused("payments", "resolve", drill.engine.payment_of(raised).public_id, choice)
        assert "no signer's record can tell: see --aside" in refused
    drill.shop.said("payments", "resolve", drill.engine.payment_of(raised).public_id, "--aside")
    drill.engine.tick(2)
    assert drill.state(raised)[0] == "review"
    drill.shop.said(
        "withdrawals", "resolve", drill.engine.row(withdrawal, raised).public_id, "--paid", second, "--by-word"
    )
    drill.mine(6)
    assert drill.received() == drill.payees
    fee = drill.shop.chain.transaction(second).fee_units
    assert reconcile(drill.engine.services, "bitcoin")[0].unexplained_units == -fee


def test_a_payment_is_not_refunded_whose_withdrawals_another_one_paid_in_the_lost_life(drill: Drill) -> None:
    """Signed in the backup; then let go, and paid by a payment that only the signer's record knows."""
    rich = drill.engine.funded(9_000_000)
    row_id = drill.withdraw(rich, 200_000)
    first = drill.engine.row(payment, stopped_at(drill.engine, row_id, "signed")).public_id
    drill.shop.said("backup", drill.backup_folder)
    freeze(drill.engine, rich, "looks odd")
    drill.engine.tick()
    freeze(drill.engine, rich, None)
    drill.engine.tick(2)
    drill.mine()
    second = drill.engine.payment_of(row_id)
    assert (second.public_id != first, drill.state(row_id)[0]) == (True, "completed")
    drill.lose(record=False)
    drill.restore()
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "the drill")
    drill.engine.tick(2)
    assert drill.state(row_id) == ("review", "restored")
    said = drill.shop.refused("payments", "resolve", first, "--refund")
    assert f"was signed in {second.public_id}, which may have paid it: see --aside" in said
    drill.shop.said("payments", "resolve", first, "--aside")
    drill.engine.tick(2)
    name = drill.engine.row(withdrawal, row_id).public_id
    assert "which may have paid it" in drill.shop.refused("withdrawals", "resolve", name, "--refund")
    drill.shop.said("withdrawals", "resolve", name, "--paid", second.txid)
    drill.mine()
    assert drill.received() == drill.payees


def test_a_payment_that_was_let_go_in_the_lost_life_is_not_sent_by_a_recheck(drill: Drill) -> None:
    """Signed in the backup, then let go, and its withdrawal paid by another that no record knows of: its bytes are good
    to this day."""
    rich, other = drill.engine.funded(9_000_000), drill.engine.account("other")
    row_id = drill.withdraw(rich, 200_000)
    first = drill.engine.row(payment, stopped_at(drill.engine, row_id, "signed")).public_id
    drill.shop.said("backup", drill.backup_folder)
    freeze(drill.engine, rich, "looks odd")
    drill.engine.tick()
    drill.shop.chain.fund(str(drill.engine.address(other).address), 50_000_000, blocks=6)
    drill.engine.tick(3)
    freeze(drill.engine, rich, None)
    drill.engine.tick(3)
    drill.mine()
    assert (drill.engine.payment_of(row_id).public_id != first, drill.received()) == (True, drill.payees)
    drill.lose(record=True)
    drill.restore()
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "the payee has it")
    drill.shop.said("payments", "recheck", first)
    drill.engine.tick(2)
    if drill.engine.rows(pause):
        drill.shop.said("resume", "BTC", "withdrawals", "--despite-difference", "what the lost time took")
    drill.engine.tick(2)
    drill.mine()
    assert drill.received() == drill.payees
    assert drill.engine.payment_of(row_id).status_reason == "restored"
    assert drill.state(row_id) == ("review", "restored")


def test_a_payment_that_the_backup_only_began_is_told_with_its_owner_and_booked_as_paid(drill: Drill) -> None:
    row_id = drill.withdraw(drill.engine.funded(9_000_000), 200_000)
    begun = drill.engine.row(payment, stopped_at(drill.engine, row_id, "building")).public_id
    drill.shop.said("backup", drill.backup_folder)
    drill.engine.tick(2)
    drill.mine()
    txid = drill.engine.row(withdrawal, row_id).txid
    name = drill.engine.row(withdrawal, row_id).public_id
    assert drill.state(row_id)[0] == "completed"
    drill.lose(record=False)
    drill.restore()
    found = json.loads(drill.shop.coffer("quarantine", "--json").stdout)[0]["findings"]
    assert any(f["kind"] == "left" and f["subject"] == txid and name in f["detail"] for f in found), found
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "the drill")
    assert drill.state(row_id) == ("review", "restored")
    drill.engine.tick(3)
    row = next(row for row in drill.engine.rows(payment) if row.public_id == begun)
    assert (row.state, drill.state(row_id)) == ("dead", ("review", "restored"))
    drill.shop.said("withdrawals", "resolve", name, "--paid", txid)
    drill.mine()
    assert (drill.state(row_id)[0], drill.received()) == ("completed", drill.payees)


def test_a_withdrawal_is_not_booked_as_paid_by_the_payment_of_another_to_the_same_address(drill: Drill) -> None:
    rich, payee = drill.engine.funded(9_000_000), drill.shop.chain.outside_address()
    waiting = drill.engine.withdraw(rich, 100_000, payee)
    drill.shop.said("backup", drill.backup_folder)
    drill.engine.tick(2)
    drill.mine()
    later = drill.engine.withdraw(rich, 100_000, payee)
    drill.engine.tick(2)
    drill.mine()
    own, others = (drill.engine.row(withdrawal, row_id).txid for row_id in (waiting, later))
    name = drill.engine.row(withdrawal, waiting).public_id
    assert own != others
    drill.lose(record=False)
    drill.restore()
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "the drill")
    assert drill.state(waiting) == ("review", "restored")
    assert "does not say" in drill.shop.refused("withdrawals", "resolve", name, "--paid", others)
    drill.shop.said("withdrawals", "resolve", name, "--paid", own)


def test_what_another_withdrawal_waits_to_be_settled_by_pays_no_second_one(drill: Drill) -> None:
    """By an operator's word: the other one has it in flight."""
    rich, payee = drill.engine.funded(9_000_000), drill.shop.chain.outside_address()
    sent = drill.engine.withdraw(rich, 100_000, payee)
    drill.engine.tick()
    waiting = drill.engine.withdraw(rich, 100_000, payee)
    drill.shop.said("backup", drill.backup_folder)
    drill.lose(record=True)
    drill.restore()
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "the drill")
    assert drill.state(waiting) == ("review", "restored")
    first = drill.engine.row(withdrawal, sent)
    assert first.state in ("broadcast", "confirming")
    name = drill.engine.row(withdrawal, waiting).public_id
    with pytest.raises(StateConflict, match=f"is the payment of {first.public_id}"):
        drill.shop.database.run(lambda tx: paid_before.settle(tx, name, first.txid, "an operator's word", "op"), "t")


def test_money_that_came_to_addresses_given_out_since_is_credited(drill: Drill) -> None:
    backed_up(drill)
    home = lost_life(drill)
    later = str(drill.engine.address(drill.engine.account("later")).address)
    drill.lose(record=False)
    drill.restore()
    drill.shop.chain.fund(later, 40_000, blocks=6)
    drill.shop.coffer("quarantine")
    drill.engine.tick(3)
    held = {row.address: row for row in drill.engine.rows(deposit) if row.state == "held"}
    assert {address: row.units for address, row in held.items()} == {home: 700_000, later: 40_000}

    newcomer = drill.engine.account("newcomer")
    public_id = drill.engine.row(account, newcomer).public_id
    said = drill.shop.said("quarantine", "give", home, public_id, "--asset", "BTC")
    assert held[home].public_id in said
    assert drill.engine.available(newcomer) == 700_000
    drill.shop.said("quarantine", "give", later, public_id, "--asset", "BTC")
    drill.shop.chain.fund(later, 5_000_000, blocks=6)
    drill.engine.tick(3)
    assert drill.engine.available(newcomer) == 700_000 + 40_000 + 5_000_000
    assert "somebody's" in drill.shop.refused("quarantine", "give", home, public_id, "--asset", "BTC")


def test_in_the_end_every_book_is_right_again(drill: Drill) -> None:
    """The shop repeats the calls that it made since; operators book what was paid before."""
    rows = backed_up(drill)
    home = lost_life(drill)
    lost = next(row for row in drill.engine.rows(withdrawal) if row.units == 50_000)
    sent = {row.address: row.txid for row in drill.engine.rows(withdrawal)}
    drill.lose(record=False)
    drill.restore()
    drill.engine.caller = Caller(lost.project_id, None, "shop", "shop")
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "the drill")
    drill.engine.tick(2)
    newcomer = drill.engine.account("newcomer")
    drill.shop.said("quarantine", "give", home, drill.engine.row(account, newcomer).public_id, "--asset", "BTC")
    drill.shop.coffer("resume", "BTC", "withdrawals", "--despite-difference", "being booked")
    again = drill.withdraw(newcomer, 50_000, lost.address, reference=lost.reference)
    drill.engine.tick(3)
    assert drill.received() == drill.payees
    for row_id in (rows["waiting"], again):
        row = drill.engine.row(withdrawal, row_id)
        assert row.state == "review"
        wrong = sent[next(payee for payee in drill.payees if payee != row.address)]
        assert "does not say" in drill.shop.refused("withdrawals", "resolve", row.public_id, "--paid", wrong)
        assert "which may have paid it" in drill.shop.refused("withdrawals", "resolve", row.public_id, "--refund")
        assert f"resolve {row.public_id} --paid TXID" in drill.shop.said("explain", row.public_id)
        drill.shop.said("withdrawals", "resolve", row.public_id, "--paid", sent[row.address])
        assert drill.state(row_id) == ("completed", "paid_before_restore")
    assert drill.engine.available(newcomer) == 700_000 - 50_000 - 2_000
    left = reconcile(drill.engine.services, "bitcoin")[0].unexplained_units
    fees = sum(drill.shop.chain.transaction(sent[p]).fee_units for p in (lost.address, drill.address(rows["waiting"])))
    assert left == -fees
    drill.shop.said("treasury", "loss", "BTC", f"{fees / 10**8:.8f}", "--reason", "fees of the life that was lost")
    drill.engine.check_invariants()
    drill.mine(110)
    assert drill.received() == drill.payees


def test_an_address_of_the_lost_life_is_given_to_nobody_else(drill: Drill) -> None:
    backed_up(drill)
    home = lost_life(drill)
    drill.lose(record=False)
    drill.restore()
    fresh = {str(drill.engine.address(drill.engine.account()).address) for _ in range(20)}
    assert home not in fresh


def test_the_quarantine_tells_what_happened_since(drill: Drill) -> None:
    rows = backed_up(drill)
    home = lost_life(drill)
    drill.lose(record=False)
    drill.restore()
    result = drill.shop.coffer("quarantine", "--json")
    assert result.exit_code == 1
    found = {(f["kind"], f["open"]) for f in json.loads(result.stdout)[0]["findings"]}
    assert {("signed", True), ("books", True), ("deposit", False)} <= found
    waiting = drill.engine.row(withdrawal, rows["waiting"]).public_id
    text = json.dumps(json.loads(result.stdout))
    assert waiting in text
    assert home in text


def test_a_node_that_knows_less_than_the_backup_is_waited_for(drill: Drill, tmp_path: Path) -> None:
    backed_up(drill)
    shutil.copy(tmp_path / "chain", tmp_path / "younger")
    drill.mine(3)
    folder = drill.backup_folder
    drill.shop.said("backup", f"{folder}-2")
    drill.lose(record=False)
    shutil.copy(tmp_path / "younger", tmp_path / "chain")
    with drill.shop.chain.state(write=True) as s:
        s.wallets.clear()
    drill.shop.said("restore", f"{folder}-2")
    refused = drill.shop.refused("quarantine", "lift", "bitcoin", "--accept", "in a hurry")
    assert "before it has caught up" in refused


def test_a_wallet_that_is_older_than_the_database_finds_all_that_is_its_own(drill: Drill) -> None:
    """As old as can be: made anew from its seed, it has no address and has seen nothing."""
    backed_up(drill)
    drill.mine(6)
    drill.shop.said("backup", f"{drill.backup_folder}-2")
    drill.lose(record=False)
    with drill.shop.chain.state(write=True) as s:
        s.wallets["coffer"] = WalletState("fakepub:coffer")
    said = drill.shop.said("restore", f"{drill.backup_folder}-2")
    assert "one lay there" in said
    found = json.loads(drill.shop.coffer("quarantine", "--json").stdout)[0]
    assert [finding for finding in found["findings"] if finding["open"]] == []
    assert found["reports"][0]["unexplained_units"] == 0


def test_deposits_are_credited_and_nothing_moves_between_customers_in_quarantine(drill: Drill) -> None:
    rows = backed_up(drill)
    drill.lose(record=False)
    drill.restore()
    with drill.shop.database.engine.connect() as connection:
        home = connection.execute(select(deposit.c.address)).scalars().first()
    assert {(row.asset, row.flow) for row in drill.engine.rows(pause)} >= {("*", "transfers"), ("*", "swaps")}
    before = drill.engine.available(rows["rich"])
    drill.shop.chain.fund(str(home), 60_000, blocks=6)
    drill.engine.tick(2)
    assert drill.engine.available(rows["rich"]) == before + 60_000
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "nothing else was done")
    assert drill.engine.rows(pause) == []
