"""The hot wallet: alarms when it runs low, moves to cold when it holds too much."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from jobs.hot import Facts, to_cold
from ledger import accounts, pauses, policy
from ledger.errors import NodeUnavailable
from ledger.policy import AssetPolicy
from ledger.schema import payment
from tests.flows.engine import Engine
from tests.flows.ethereum_engine import ETHER, EthereumEngine
from wallets.protocol import Proposal, SignedTransaction, Spend


def cold_payments(engine: Engine) -> list[str]:
    query = select(payment.c.state).where(payment.c.purpose == "cold").order_by(payment.c.id)
    return [row.state for row in engine.database.read(lambda tx: tx.all(query))]


def test_too_little_hot_money_raises_an_alarm_until_there_is_more(engine: Engine) -> None:
    engine.set_policy(hot_low_units=1_000_000)
    engine.tick()
    assert engine.alarms() == {("hot_low", "hot_low:BTC")}
    engine.funded(2_000_000)
    engine.tick()
    assert engine.alarms() == set()


def test_little_ether_is_little_gas_where_tokens_depend_on_it(ethereum: EthereumEngine) -> None:
    ethereum.set_policy(hot_low_units=10**17)
    ethereum.add_token("GOOD", hot_low_units=5)
    ethereum.tick()
    assert ethereum.alarms() == {("gas_low", "hot_low:ETH"), ("hot_low", "hot_low:GOOD")}
    ethereum.stock()
    ethereum.give("GOOD", ethereum.hot, 10)
    ethereum.tick()
    assert ethereum.alarms() == set()


def test_what_is_above_the_ceiling_moves_to_cold_once(engine: Engine) -> None:
    engine.set_policy(hot_ceiling_units=3_000_000, hot_keep_units=1_000_000)
    engine.funded(5_000_000)
    engine.tick(2)
    assert len(cold_payments(engine)) == 1
    engine.chain.mine(3)
    engine.tick(2)
    assert cold_payments(engine) == ["settled"]
    assert engine.chain.received(engine.cold()["bitcoin"]) == 4_000_000
    assert -engine.house("treasury_cold") == 4_000_000
    assert 900_000 < -engine.house("treasury_hot") < 1_000_000  # the fee came out of what stays
    engine.check_invariants()


def test_nothing_moves_to_cold_while_withdrawals_are_paused_nor_without_an_address(engine: Engine) -> None:
    engine.database.run(lambda tx: pauses.stop(tx, "BTC", "withdrawals", "test", "test"), "test")
    engine.set_policy(hot_ceiling_units=3_000_000, hot_keep_units=1_000_000)
    engine.funded(5_000_000)
    engine.tick(2)
    assert cold_payments(engine) == []
    engine.services.cold_addresses = {}
    engine.database.run(lambda tx: pauses.resume(tx, "BTC", "withdrawals", "test"), "test")
    engine.tick(2)
    assert cold_payments(engine) == []


def test_a_move_to_another_address_than_the_settings_name_is_not_signed(engine: Engine) -> None:
    stranger = engine.chain.outside_address()
    engine.services.cold_addresses = {"bitcoin": stranger}  # the signer has its own copy
    engine.set_policy(hot_ceiling_units=3_000_000, hot_keep_units=1_000_000)
    engine.funded(5_000_000)
    engine.tick(3)
    assert cold_payments(engine) == ["dead"]
    assert engine.chain.received(stranger) == 0
    assert ("signer_refused", "payment:1") in engine.alarms()
    engine.check_invariants()


def test_a_move_to_cold_that_came_to_nothing_is_made_anew_after_a_rest(engine: Engine) -> None:
    engine.services.cold_addresses = {"bitcoin": engine.chain.outside_address()}
    engine.set_policy(hot_ceiling_units=1_000_000, hot_keep_units=900_000)
    engine.funded(5_000_000)
    engine.tick(2)
    engine.services.cold_addresses = engine.cold()
    engine.database.run(lambda tx: pauses.resume(tx, "BTC", "withdrawals", "test"), "test")
    engine.tick(2)
    assert cold_payments(engine) == ["dead"]
    engine.database.run(lambda tx: tx.execute(update(payment).values(updated_at=1)), "test")
    engine.tick(2)
    assert cold_payments(engine) == ["dead", "confirming"]


def test_tokens_and_ether_move_to_cold(ethereum: EthereumEngine) -> None:
    ethereum.add_token("GOOD", hot_ceiling_units=100 * 10**6, hot_keep_units=40 * 10**6)
    ethereum.set_policy(hot_ceiling_units=2 * ETHER, hot_keep_units=ETHER)
    ethereum.stock(3 * ETHER)
    ethereum.give("GOOD", ethereum.hot, 150 * 10**6)
    ethereum.mine(3)
    ethereum.tick()
    cold = ethereum.cold()["ethereum"]
    assert ethereum.node.balance(cold) == 2 * ETHER
    assert ethereum.tokens_of("GOOD", cold) == 110 * 10**6
    assert (-ethereum.house("treasury_cold"), -ethereum.house("treasury_cold", "GOOD")) == (2 * ETHER, 110 * 10**6)
    ethereum.agree()


def facts(rules: AssetPolicy, *, queued: int = 0, arriving: int = 0, promised: int = 0) -> Facts:
    return Facts("BTC", None, rules, queued, arriving, promised, True, True, False, False)


RULES = AssetPolicy(hot_ceiling_units=100_000, hot_keep_units=40_000)


@pytest.mark.parametrize(
    ("spendable", "queued", "arriving", "apart", "moved"),
    [
        (100_000, 0, 0, False, 0),
        (100_001, 0, 0, False, 60_001),
        (160_000, 60_000, 0, False, 0),  # who waits to be paid comes first
        (160_000, 0, 60_000, False, 0),  # not the house's yet
        (160_000, 0, 60_000, True, 120_000),  # and elsewhere
    ],
)
def test_what_may_leave_for_cold(spendable: int, queued: int, arriving: int, apart: bool, moved: int) -> None:
    assert to_cold(facts(RULES, queued=queued, arriving=arriving), spendable, apart=apart) == moved


def test_what_is_promised_already_does_not_leave_for_cold() -> None:
    assert to_cold(facts(RULES, promised=60_000), 160_000, apart=True) == 0
    assert to_cold(facts(RULES, promised=60_000), 160_001, apart=True) == 60_001


def test_without_a_part_to_keep_the_ceiling_stays() -> None:
    rules = AssetPolicy(hot_ceiling_units=100_000)
    assert to_cold(facts(rules), 150_000, apart=False) == 50_000
    assert to_cold(facts(rules), 100_900, apart=False) == 0  # below the least withdrawal: a fee for crumbs
    assert to_cold(facts(AssetPolicy()), 10**12, apart=False) == 0
    assert policy.DEFAULTS["BTC"].hot_ceiling_units == 0


def test_a_nonce_that_was_left_behind_is_used_up(ethereum: EthereumEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two payments is let go when both have their nonces; nothing else is paid that would fill the gap."""
    ethereum.stock()
    good, paused = ethereum.add_token("GOOD"), ethereum.add_token("PAUSE", "PausableToken")
    for asset in (good, paused):
        ethereum.set_policy(asset.code, sweep_minimum_units=10**12)
        ethereum.give(asset.code, ethereum.hot, 50 * 10**6)
    one, two = ethereum.funded(50 * 10**6, good), ethereum.funded(50 * 10**6, paused)
    wallet = ethereum.services.wallet("ethereum")
    sign = wallet.sign

    def falters(proposal: Proposal, spend: Spend) -> SignedTransaction:
        if spend.token == ethereum.contracts["GOOD"]:
            raise NodeUnavailable("it went away")
        return sign(proposal, spend)

    monkeypatch.setattr(wallet, "sign", falters)
    first = ethereum.withdraw(one, 10**7, ethereum.outside(), asset="GOOD")
    ethereum.tick()
    second = ethereum.withdraw(two, 10**7, ethereum.outside(), asset="PAUSE")
    ethereum.tick()
    monkeypatch.undo()
    ethereum.database.run(lambda tx: accounts.freeze(tx, one, "test"), "test")
    ethereum.tick()
    assert (ethereum.state(first), ethereum.state(second)) == ("queued", "broadcast")
    for _ in range(3):
        ethereum.mine(2)
    assert [row.state for row in ethereum.payments("fill")] == ["settled"]
    assert ethereum.state(second) == "completed"
    ethereum.agree()
