"""What went wrong once on the way of money over an EVM chain, each with the books held against the chain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update

from jobs import hot
from jobs.payment import make as payment_make
from jobs.payment import sealed
from jobs.sweep import rows as sweep_rows
from ledger import pauses, policy
from ledger.db import Tx
from ledger.errors import InvalidAddress
from ledger.money import UNITS_BOUND
from ledger.schema import candidate, chain, deposit, withdrawal
from tests.flows.ethereum_engine import ETHER, EthereumEngine
from wallets.ethereum import spending
from wallets.ethereum.client import EthereumClient
from wallets.ethereum.transaction import Plan
from wallets.protocol import HOT, Proposal, SignedTransaction, Spend


def test_a_deposit_that_brought_less_than_it_says_stays_suspect_when_it_is_asked_for_again(
    ethereum: EthereumEngine,
) -> None:
    fee = ethereum.add_token("FEE", "FeeToken", True, deposit_tiers=((UNITS_BOUND, 3),))
    customer = ethereum.account()
    home = ethereum.address(customer, fee)
    ethereum.give("FEE", home.address, 100 * 10**6)
    ethereum.mine(1)
    ethereum.mine(3)
    [row] = ethereum.deposits()
    assert (row.state, row.suspect) == ("held", "balance_mismatch")
    assert ethereum.available(customer, "FEE") == 0


def test_an_outage_does_not_forget_why_a_deposit_is_held(ethereum: EthereumEngine) -> None:
    """Its index would be swept, though the chain may not have what the deposit says."""
    fee = ethereum.add_token("FEE", "FeeToken", True, deposit_tiers=((UNITS_BOUND, 3),))
    home = ethereum.address(ethereum.account(), fee)
    ethereum.give("FEE", home.address, 100 * 10**6)
    ethereum.mine(1)
    ethereum.mine(3)
    [row] = ethereum.deposits()

    def unread(tx: Tx) -> None:
        tx.execute(update(chain).where(chain.c.name == "ethereum").values(scanned_at=1))
        tx.execute(update(deposit).where(deposit.c.id == row.id).values(due_at=1))

    ethereum.database.run(unread, "t")
    ethereum.runtime.advance("deposit", row.id)
    now = ethereum.row(deposit, row.id)
    assert (now.state, now.status_reason, now.attempts) == ("held", "balance_mismatch", 0)
    assert ethereum.database.read(lambda tx: sweep_rows.suspect(tx, "ethereum")) == {("FEE", home.idx)}


def test_tokens_on_their_way_out_are_not_promised_twice(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    good = ethereum.add_token("GOOD", sweep_minimum_units=10**9)
    first, second = ethereum.funded(100 * 10**6, good), ethereum.funded(100 * 10**6, good)
    ethereum.give("GOOD", ethereum.hot, 150 * 10**6)
    one = ethereum.withdraw(first, 90 * 10**6, ethereum.outside(), asset="GOOD")
    ethereum.tick()
    two = ethereum.withdraw(second, 90 * 10**6, ethereum.outside(), asset="GOOD")
    ethereum.tick()
    assert (ethereum.state(one), ethereum.state(two)) == ("broadcast", "queued")
    ethereum.mine(3)
    assert (ethereum.state(one), ethereum.state(two)) == ("completed", "queued")
    assert ethereum.row(withdrawal, two).status_reason == "insufficient_hot_funds"
    ethereum.give("GOOD", ethereum.hot, 50 * 10**6)
    ethereum.mine(3)
    assert ethereum.state(two) == "completed"
    ethereum.agree()


def test_sweeps_that_wait_for_cheaper_gas_do_not_keep_withdrawals_out(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    ethereum.set_policy(sweep_minimum_units=10 * ETHER)
    customer = ethereum.funded(ETHER)
    home = ethereum.address(customer)
    item = payment_make.Item(home.address, 1, target_idx=home.idx)
    plan = payment_make.Plan("ethereum", "ETH", "gas", [item], rate=1, rate_max=1)
    for _ in range(payment_make.BUILDING_MAX):
        ethereum.database.run(lambda tx: payment_make.make(tx, plan), "test_waiting")
    wanted = ethereum.withdraw(customer, ETHER // 2, ethereum.outside())
    ethereum.tick()
    assert {row.state for row in ethereum.payments("gas")} == {"building"}
    assert ethereum.state(wanted) == "broadcast"


def test_what_the_hot_wallet_signs_for_itself_may_rise_as_high_as_what_queues_behind_it(
    ethereum: EthereumEngine,
) -> None:
    """All that it signs is mined in the order of its nonces: one that is stuck for its price stops every withdrawal."""
    ethereum.stock()
    ethereum.funded(50 * 10**6, ethereum.add_token("GOOD"))
    [gas] = ethereum.payments("gas")
    rules = ethereum.database.read(lambda tx: policy.of(tx, "ETH"))
    assert gas.rate_max == rules.payment_rate_max


def test_a_token_that_is_paused_when_it_is_signed_gives_its_nonce_back(
    ethereum: EthereumEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ethereum.stock()
    good = ethereum.add_token("GOOD", sweep_minimum_units=10**9)
    holder, other = ethereum.funded(100 * 10**6, good), ethereum.funded(ETHER)
    ethereum.give("GOOD", ethereum.hot, 100 * 10**6)
    wallet = ethereum.services.wallets["ethereum"]
    really_sign = wallet.sign

    def paused_meanwhile(proposal: Proposal, spend: Spend) -> SignedTransaction:
        ethereum.database.run(lambda tx: pauses.stop(tx, "GOOD", "withdrawals", "test", "test"), "test_pause")
        return really_sign(proposal, spend)

    monkeypatch.setattr(wallet, "sign", paused_meanwhile)
    token = ethereum.withdraw(holder, 50 * 10**6, ethereum.outside(), asset="GOOD")
    ethereum.tick(2)
    assert ethereum.state(token) == "queued"
    monkeypatch.undo()
    coin = ethereum.withdraw(other, ETHER // 2, ethereum.outside())
    ethereum.mine(1)
    ethereum.mine(3)
    assert ethereum.state(coin) == "completed"
    ethereum.database.run(lambda tx: pauses.resume(tx, "GOOD", "withdrawals", "test"), "test_pause")
    ethereum.mine(1)
    ethereum.mine(3)
    assert ethereum.state(token) == "completed"
    ethereum.agree()


def test_what_was_mined_again_at_another_price_is_booked_anew(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    ethereum.set_policy(sweep_minimum_units=10 * ETHER)
    customer = ethereum.funded(ETHER)
    paid = ethereum.withdraw(customer, ETHER // 2, ethereum.outside())
    ethereum.tick()
    ethereum.mine(2)
    assert ethereum.state(paid) == "completed"
    before = ethereum.payment_of(paid)
    kept = next(row for row in ethereum.rows(candidate) if row.payment_id == before.id)
    raw = sealed.opened(ethereum.services, before, kept).raw
    ethereum.node.reorg(2)
    ethereum.node.rpc("eth_sendRawTransaction", raw)
    ethereum.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9 + 12_345))
    ethereum.mine(2)
    ethereum.mine(1)
    after = ethereum.payment_of(paid)
    assert (after.state, after.settlements) == ("settled", 2)
    assert after.fee_units != before.fee_units
    ethereum.agree()


def test_one_index_that_a_token_refuses_does_not_keep_a_batch_from_being_collected(
    ethereum: EthereumEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has his own deposit address put on a token's list would stop the sweeps of all in his batch."""
    ethereum.stock()
    ethereum.services.wallets = {"ethereum": ethereum.make_wallet(ethereum.deployed("Sweeper", ethereum.hot))}
    good = ethereum.add_token("GOOD", sweep_batched=1, sweep_minimum_units=10**12)
    listed, *others = [ethereum.address(ethereum.funded(50 * 10**6, good)) for _ in range(3)]

    def refuses(client: EthereumClient, what: Plan) -> None:
        if listed.address in {move.sender for move in what.moves}:
            raise InvalidAddress("/address", "the token's contract will not take from it")

    monkeypatch.setattr(spending, "check_willing", refuses)
    ethereum.set_policy("GOOD", sweep_minimum_units=10**6)
    for _ in range(6):
        ethereum.mine(2)
    assert {ethereum.held(home.idx, "GOOD") for home in others} == {0}
    ethereum.agree()


def test_a_sweep_that_waits_for_cheaper_gas_does_not_keep_a_gap_open(ethereum: EthereumEngine) -> None:
    """Its nonce is that of its index: it would never fill a gap of the hot wallet."""
    item = payment_make.Item(ethereum.hot, 1, source_idx=1, target_idx=HOT)
    plan = payment_make.Plan("ethereum", "ETH", "sweep", [item], rate=1, rate_max=1)
    ethereum.database.run(lambda tx: payment_make.make(tx, plan), "test_waiting")
    assert ethereum.database.read(lambda tx: hot._idle(tx, "ethereum"))
    batch = replace(plan, batched=True)
    ethereum.database.run(lambda tx: payment_make.make(tx, batch), "test_waiting")
    assert not ethereum.database.read(lambda tx: hot._idle(tx, "ethereum"))
