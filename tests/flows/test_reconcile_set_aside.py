"""Books and chain after a restore: what comes to an address of the life that was lost lies where it lies."""

from __future__ import annotations

from collections import defaultdict

import pytest
from sqlalchemy import select, update

from jobs.backup import quarantine
from jobs.reconcile import books, brake
from jobs.reconcile.chain import survey
from jobs.saga import SECOND
from ledger.db import Tx
from ledger.money import UNITS_BOUND
from ledger.schema import deposit, index_counter, pause, payment_item, ready_address
from tests.clock import Clock
from tests.flows.ethereum_engine import ETHER, EthereumEngine

TOKENS = 5_000_000


def restored(ethereum: EthereumEngine) -> int:
    """A quarantine that began and was lifted; the first index that it set aside."""

    def unit(tx: Tx) -> int:
        counter = index_counter.c
        first = tx.value(select(counter.next_index).where(counter.chain == "ethereum"))
        begun = quarantine.Beginning("bk", tx.now, defaultdict(lambda: "survived"), "operator:ann", 20)
        quarantine.begin(tx, begun, defaultdict(lambda: ethereum.books))
        quarantine.end(tx, "ethereum", "operator:ann", "compared")
        return int(first)

    return ethereum.database.run(unit, "test_restore")


def look(ethereum: EthereumEngine, clock: Clock) -> list[int]:
    """The brake's two looks at a difference; what is unexplained in each asset after them."""
    for _ in range(2):
        ethereum.run_task("reconcile")
        clock.forward(seconds=brake.AGAIN_US // SECOND)
    ethereum.run_task("sync")
    assert (ethereum.rows(pause), ethereum.alarms()) == ([], set())
    return [each.report.unexplained_units for each in survey(ethereum.services, "ethereum").looks]


def test_what_comes_to_an_address_that_was_set_aside_is_neither_missing_nor_too_much(
    ethereum: EthereumEngine, clock: Clock
) -> None:
    slowly = {"deposit_tiers": ((UNITS_BOUND, 3),), "sweep_minimum_units": UNITS_BOUND - 1}
    ethereum.add_token("GOOD", **slowly)
    ethereum.set_policy(**slowly)
    first = restored(ethereum)
    coin, token = ethereum.keys.address(first + 3), ethereum.keys.address(first + 4)
    ethereum.node.pay(coin, ETHER)
    ethereum.call(ethereum.contracts["GOOD"], "GoodToken", "transfer", token, TOKENS)
    ethereum.node.mine(1)
    assert look(ethereum, clock) == [0, 0], "in a block that the rows do not know"
    ethereum.run_task("scan")
    assert [(row.seen, row.credited, row.address_id) for row in ethereum.deposits()] == [("confirmed", 0, None)] * 2
    assert look(ethereum, clock) == [0, 0], "on its way"
    ethereum.mine(3)
    assert [(row.state, row.status_reason) for row in ethereum.deposits()] == [("held", "unknown_address")] * 2
    assert look(ethereum, clock) == [0, 0], "booked"
    assert (ethereum.held(first + 3), ethereum.held(first + 4, "GOOD")) == (ETHER, TOKENS)
    ethereum.agree()


def test_what_came_to_such_an_address_is_swept_and_what_is_in_doubt_stays(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    ethereum.add_token("GOOD", sweep_minimum_units=TOKENS)
    ethereum.set_policy(sweep_minimum_units=ETHER // 2)
    first = restored(ethereum)
    ethereum.node.pay(ethereum.keys.address(first), ETHER)
    for index in (first + 1, first + 2):
        ethereum.call(ethereum.contracts["GOOD"], "GoodToken", "transfer", ethereum.keys.address(index), TOKENS)
    ethereum.node.mine(1)
    ethereum.run_task("scan")
    odd = (
        update(deposit).where(deposit.c.address == ethereum.keys.address(first + 2)).values(suspect="balance_mismatch")
    )
    ethereum.database.run(lambda tx: tx.execute(odd), "test_doubt")
    ethereum.mine(3)
    came = [row for row in ethereum.deposits() if row.address_id is None]
    assert [(row.state, row.status_reason) for row in came] == [("held", "unknown_address")] * 3
    for _ in range(6):
        ethereum.mine(3)
    assert ethereum.held(first) < ETHER // 2
    assert (ethereum.held(first + 1, "GOOD"), ethereum.held(first + 2, "GOOD")) == (0, TOKENS)
    assert ethereum.alarms() == set()
    ethereum.agree()


def test_such_an_address_is_given_no_code_by_a_batch(ethereum: EthereumEngine) -> None:
    """It may be whose coin it waits for: a plain transfer to it would fail."""
    ethereum.stock()
    ethereum.services.wallets = {"ethereum": ethereum.make_wallet(ethereum.deployed("Sweeper", ethereum.hot))}
    token = ethereum.add_token("GOOD", sweep_batched=1, sweep_minimum_units=10**12)
    for _ in range(2):
        ethereum.funded(50 * TOKENS, token)
    first = restored(ethereum)
    home = ethereum.keys.address(first)
    ethereum.call(ethereum.contracts["GOOD"], "GoodToken", "transfer", home, 50 * TOKENS)
    ethereum.mine(3)
    ethereum.set_policy("GOOD", sweep_minimum_units=TOKENS)
    for _ in range(8):
        ethereum.mine(3)
    batched = {row.id for row in ethereum.payments("sweep") if row.batched}
    sources = {row.source_idx for row in ethereum.rows(payment_item) if row.payment_id in batched}
    assert (len(sources), first in sources) == (2, False)
    assert (ethereum.node.code(home), ethereum.held(first, "GOOD")) == ("0x", 0)
    ethereum.agree()


def test_a_doubt_about_such_a_deposit_is_about_its_own_index(ethereum: EthereumEngine) -> None:
    first = restored(ethereum)
    ethereum.pay(ethereum.keys.address(first), ETHER)
    odd = update(deposit).values(suspect="balance_mismatch")
    ethereum.database.run(lambda tx: tx.execute(odd), "test_doubt")
    [found] = ethereum.database.read(lambda tx: books.read(tx, "ethereum", apart=True)).assets
    assert found.suspect == {first: ETHER}


def test_without_a_restore_no_address_made_ahead_of_use_is_anybodys(ethereum: EthereumEngine) -> None:
    text = ethereum.keys.address(99)
    assert ethereum.database.read(lambda tx: books.places_of(tx, "ethereum", {text, ethereum.hot})) == {ethereum.hot: 0}


def test_all_addresses_are_set_aside_whatever_is_derived_at_once(
    ethereum: EthereumEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two statements the server must not take the transaction for one whose process sleeps."""
    monkeypatch.setattr(quarantine, "DERIVED_AT_ONCE", 7)
    first = restored(ethereum)
    kept = {row.idx: row.address for row in ethereum.rows(ready_address)}
    assert kept == {index: ethereum.keys.address(index) for index in range(first, first + 20)}
