"""What left and no payment here made: signing stops at once, on the whole chain, until an operator knows why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from jobs import halting
from jobs.reconcile import differences, outgoing
from ledger import halts, pauses
from ledger.db import Tx
from ledger.schema import candidate, chain, deposit, halt, payment, resource
from ledger.schema import outgoing as seen
from tests.flows.engine import Engine
from tests.flows.ethereum_engine import ETHER, EthereumEngine
from tests.flows.test_crash_old_database import use_hot_key
from wallets.protocol import Output, Spend


def by_hand(engine: Engine, units: int) -> str:
    """Somebody has the wallet pay, past this database."""
    wallet = engine.services.wallet("bitcoin")
    spend = Spend((Output(engine.chain.outside_address(), units),))
    signed = wallet.sign(wallet.propose(spend, 2_000, 9_000), spend)
    wallet.broadcast(signed)
    return signed.txid


def causes(engine: Engine) -> set[str]:
    return {row.cause for row in engine.rows(halt)}


def look_into(engine: Engine, *found: str) -> list[str]:
    """What `coffer lift-halt` does, for each cause."""

    def unit(tx: Tx) -> list[str]:
        known = [row.name for row in tx.all(select(seen))]
        names = outgoing.accept(tx, engine.name, known, "it was us, by hand", "operator:ann")
        for cause in found:
            assert halting.lift(tx, engine.name, cause, "operator:ann")
        return names

    return engine.database.run(unit, "t")


def test_a_payment_that_nobody_here_made_stops_signing_while_it_still_waits_in_the_pool(engine: Engine) -> None:
    account = engine.funded(1_000_000)
    row_id = engine.withdraw(account, 100_000)
    txid = by_hand(engine, 1_000)
    engine.tick(2)
    assert causes(engine) == {"unknown_outgoing"}
    assert txid in str(engine.database.read(lambda tx: halts.reason(tx, "bitcoin")))
    assert (engine.state(row_id), engine.rows(payment)) == ("queued", [])
    engine.chain.mine(2)
    engine.tick(2)
    assert [row.name for row in engine.rows(seen)] == [txid]  # told once, however often it is listed
    assert look_into(engine, "unknown_outgoing") == [txid]
    engine.tick()
    assert causes(engine) == set()


def test_what_takes_the_coins_of_a_payment_of_ours_is_named_as_that(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    ours = engine.chain.transaction(engine.payment_of(row_id).txid)
    theft = replace(ours, outputs=(Output(engine.chain.outside_address(), 50_000),))
    engine.chain.mine_instead(theft)
    engine.tick()
    assert causes(engine) == {"resource_moved"}
    assert ours.inputs[0] in str(engine.database.read(lambda tx: halts.reason(tx, "bitcoin")))


def test_own_payments_are_known_whatever_becomes_of_them(engine: Engine) -> None:
    """Bumped, evicted, reorganised out and mined again: always a candidate of a payment here."""
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    engine.database.run(lambda tx: tx.execute(payment.update().values(bump_rate=8_000)), "t")
    engine.tick(2)
    assert len(engine.rows(candidate)) == 2
    engine.chain.mine(3)
    engine.tick()
    engine.chain.reorg(3)
    engine.tick(2)
    engine.chain.mine(3)
    engine.tick(2)
    assert engine.state(row_id) == "completed"
    assert (engine.rows(seen), causes(engine)) == ([], set())


def test_what_was_sent_before_this_database_knew_the_wallet_is_history(engine: Engine) -> None:
    """A database made new on a wallet that had a life before."""
    engine.funded(1_000_000)
    txid = by_hand(engine, 1_000)
    forget = lambda tx: tx.execute(engine.runtime.sagas["task"].table.update().values(progress=None))  # noqa: E731
    engine.database.run(forget, "t")
    engine.database.run(lambda tx: tx.execute(chain.update().values(scan_cursor=None)), "t")
    engine.tick(2)
    assert [(row.name, row.state) for row in engine.rows(seen)] == [(txid, "before")]
    assert causes(engine) == set()


def go_on_without(ethereum: EthereumEngine) -> None:
    """What was taken is missing on chain: the brake has its own word about that."""

    def unit(tx: Tx) -> None:
        differences.accept(tx, "ETH", "withdrawals", "the house bears it", "operator:ann")
        pauses.resume(tx, "ETH", "withdrawals", "operator:ann")

    ethereum.run_task("reconcile")
    ethereum.database.run(unit, "t")


@pytest.mark.parametrize("mined", [True, False], ids=["mined", "waiting"])
def test_a_nonce_used_elsewhere_stops_signing_before_anybody_asks_for_one(
    ethereum: EthereumEngine, mined: bool
) -> None:
    ethereum.stock()
    account = ethereum.funded(3 * ETHER)
    ethereum.withdraw(account, ETHER // 4, ethereum.outside())
    ethereum.tick()
    ethereum.mine(3)
    assert causes(ethereum) == set()
    use_hot_key(ethereum, nonce=1)
    if mined:
        ethereum.node.mine()
    ethereum.tick()
    assert causes(ethereum) == {"unknown_outgoing" if mined else "chain_ahead"}
    ethereum.mine(1)
    ethereum.tick()
    names = look_into(ethereum, *causes(ethereum))
    assert names
    go_on_without(ethereum)
    payee = ethereum.outside()
    late = ethereum.withdraw(account, ETHER // 4, payee)
    ethereum.tick(2)
    ethereum.mine(3)
    ethereum.tick()
    assert (ethereum.state(late), ethereum.node.balance(payee)) == ("completed", ETHER // 4)
    assert causes(ethereum) == set()
    assert {row.resource_key.rpartition(":")[2] for row in ethereum.rows(resource)} >= {"0", "1", "2"}


def test_a_batch_of_deposits_halts_nothing(ethereum: EthereumEngine) -> None:
    """Payments to us, sweeps and their gas are all our own or others'."""
    ethereum.stock()
    for _ in range(2):
        ethereum.funded(ETHER)
    ethereum.run_task("sweep")
    ethereum.tick(2)
    ethereum.mine(3)
    assert {row.purpose for row in ethereum.rows(payment)} == {"sweep"}
    assert len(ethereum.rows(deposit)) == 3
    assert causes(ethereum) == set()
