"""The whole engine on a real bitcoind: what the model chain promises, asked of the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from ledger import halts
from ledger.db import Database
from ledger.schema import outgoing, payment
from ledger.schema import withdrawal as withdrawals
from tests import databases
from tests.chain.conftest import BitcoinRig
from tests.contract.bitcoin_rig import PASSPHRASE
from tests.flows.engine import Engine
from wallets.protocol import Output


class Shop:
    """An engine whose wallet is a rig's."""

    def __init__(self, folder: Path, database: Database, rig: BitcoinRig) -> None:
        self.rig = rig
        self.engine = Engine(folder, database, wallet=rig.wallet, books=rig.addresses)

    def funded(self, units: int, deposits: int = 1) -> int:
        account = self.engine.account()
        self.rig.pay(*(Output(self.engine.address(account).address, units) for _ in range(deposits)))
        self.rig.mine(1)
        self.engine.tick()
        assert self.engine.available(account) == units * deposits
        return account

    def withdraw(self, account: int, units: int) -> tuple[int, str]:
        payee = self.rig.outside_address()
        return self.engine.withdraw(account, units, payee), payee

    def mine(self, blocks: int = 1) -> None:
        self.rig.mine(blocks)
        self.engine.tick()


@pytest.fixture
def shop(rig: BitcoinRig, tmp_path: Path, server_folder: Path) -> Iterator[Shop]:
    database = Database(databases.sqlite_url(tmp_path, server_folder / "template.sqlite3"))
    yield Shop(tmp_path, database, rig)
    database.close()


def test_deposit_batch_bump_and_settlement_add_up_to_the_satoshi(shop: Shop) -> None:
    engine = shop.engine
    accounts = [shop.funded(900_000), shop.funded(800_000), shop.funded(700_000)]
    paid = [shop.withdraw(account, 100_000 + account) for account in accounts]
    engine.tick()
    first = engine.payment_of(paid[0][0])
    assert {engine.row(withdrawals, row_id).txid for row_id, _ in paid} == {first.txid}
    engine.check_invariants()
    chosen = payment.c.id == first.id
    engine.database.run(lambda tx: tx.execute(update(payment).where(chosen).values(bump_rate=20_000)), "t")
    engine.tick()
    second = engine.payment_of(paid[0][0])
    assert second.txid != first.txid
    assert shop.rig.node.admin("getrawmempool") == [second.txid]
    engine.check_invariants()
    shop.mine(3)
    assert {engine.state(row_id) for row_id, _ in paid} == {"completed"}
    assert [shop.rig.received(payee) for _, payee in paid] == [100_000 + account for account in accounts]
    assert engine.house("network_fees") == -second.fee_units
    engine.check_invariants()


def test_a_deposit_reorganised_out_and_double_spent_after_credit_is_taken_back(shop: Shop) -> None:
    engine = shop.engine
    account = engine.account()
    txid = shop.rig.pay(Output(engine.address(account).address, 500_000))
    shop.mine(1)
    assert engine.available(account) == 500_000
    shop.rig.reorg(1, double_spent=txid)
    engine.tick()
    assert engine.available(account) == 0
    assert engine.deposit_of(account).state == "reversed"
    engine.check_invariants()


def test_a_reorganised_deposit_that_is_mined_again_is_credited_once(shop: Shop) -> None:
    engine = shop.engine
    account = engine.account()
    shop.rig.pay(Output(engine.address(account).address, 500_000))
    shop.mine(1)
    shop.rig.reorg(1)
    engine.tick()
    assert engine.available(account) == 0
    engine.check_invariants()
    shop.mine(1)
    assert engine.available(account) == 500_000
    engine.check_invariants()


def test_a_replaced_deposit_leaves_nothing_behind(shop: Shop) -> None:
    engine = shop.engine
    account = engine.account()
    home = engine.address(account).address
    txid = shop.rig.pay(Output(home, 300_000))
    engine.tick()
    shop.rig.replace(txid, Output(home, 200_000))
    shop.mine(1)
    assert engine.available(account) == 200_000
    engine.check_invariants()


@pytest.mark.parametrize("acted", [True, False])
def test_a_lost_reply_to_the_send_pays_once(shop: Shop, acted: bool) -> None:
    engine = shop.engine
    row_id, payee = shop.withdraw(shop.funded(900_000), 100_000)
    shop.rig.lose_reply("broadcast", acted=acted)
    engine.tick(3)
    assert engine.state(row_id) == "broadcast"
    assert shop.rig.received(payee) == 100_000
    shop.mine(3)
    assert engine.state(row_id) == "completed"
    assert shop.rig.received(payee) == 100_000
    engine.check_invariants()


def test_a_payment_that_the_pool_forgot_is_sent_again(shop: Shop) -> None:
    engine = shop.engine
    row_id, payee = shop.withdraw(shop.funded(900_000), 100_000)
    engine.tick()
    txid = engine.payment_of(row_id).txid
    shop.rig.evict(txid)
    engine.tick(2)
    assert txid in shop.rig.node.admin("getrawmempool")
    shop.mine(3)
    assert shop.rig.received(payee) == 100_000
    engine.check_invariants()


def test_a_settled_payment_that_a_reorganisation_takes_is_settled_again(shop: Shop) -> None:
    engine = shop.engine
    account = shop.funded(900_000)
    row_id, payee = shop.withdraw(account, 100_000)
    engine.tick()
    shop.mine(2)
    assert engine.state(row_id) == "completed"
    shop.rig.reorg(2)
    engine.tick()
    assert engine.state(row_id) == "broadcast"
    assert engine.balance(account, "held") == 102_000
    engine.check_invariants()
    shop.mine(2)
    assert engine.state(row_id) == "completed"
    assert shop.rig.received(payee) == 100_000
    engine.check_invariants()


def test_the_hot_key_used_elsewhere_ends_in_review_not_in_a_second_payment(shop: Shop) -> None:
    engine = shop.engine
    row_id, payee = shop.withdraw(shop.funded(900_000), 100_000)
    engine.tick()
    shop.rig.node.admin("generateblock", shop.rig.node.miner_address(), [])  # the block that the theft replaces
    shop.rig.reorg(1, double_spent=engine.payment_of(row_id).txid)
    shop.mine(6)
    engine.tick()
    assert engine.state(row_id) == "review"
    assert engine.payment_of(row_id).status_reason == "inputs_spent"
    assert shop.rig.received(payee) == 0


def test_many_small_coins_pay_a_batch_of_a_hundred(shop: Shop) -> None:
    engine = shop.engine
    account = shop.funded(60_000, deposits=100)
    paid = [shop.withdraw(account, 40_000) for _ in range(100)]
    engine.tick()
    assert len({engine.row(withdrawals, row_id).txid for row_id, _ in paid}) == 1
    shop.mine(3)
    assert {engine.state(row_id) for row_id, _ in paid} == {"completed"}
    engine.check_invariants()


def test_somebody_who_pays_from_the_wallet_by_hand_stops_signing_before_a_block_has_it(shop: Shop) -> None:
    """J2 as it happens: bitcoin-cli on the wallet that the engine uses."""
    engine = shop.engine
    account = shop.funded(900_000)
    row_id, payee = shop.withdraw(account, 100_000)
    shop.rig.rpc("walletpassphrase", PASSPHRASE, 30)
    sent = shop.rig.rpc("send", [{shop.rig.outside_address(): "0.001"}], None, "unset", 5)
    txid = sent["txid"]
    engine.tick(2)
    halted = str(engine.database.read(lambda tx: halts.reason(tx, "bitcoin")))
    assert halted.startswith(f"unknown_outgoing: {txid}")
    assert (engine.state(row_id), engine.rows(payment)) == ("queued", [])
    shop.mine(3)
    assert shop.rig.received(payee) == 0
    assert [row.name for row in engine.rows(outgoing)] == [txid]
