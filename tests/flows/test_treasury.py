"""The house's own money: capital, refills from cold, and where all of it lies."""

from __future__ import annotations

from jobs import treasury
from ledger import balances
from ledger.db import Tx
from tests.flows.engine import Engine
from tests.flows.ethereum_engine import ETHER, EthereumEngine


def address_for(engine: Engine, code: str, **options: bool) -> str:
    def unit(tx: Tx) -> str:
        return str(treasury.address_for(tx, engine.services, code, "operator:test", **options).address)

    return engine.database.run(unit, "test_treasury")


def house(engine: Engine, code: str, kind: str) -> int:
    return engine.database.read(lambda tx: balances.of_house(tx, code)[kind])


def lies(engine: Engine, code: str) -> treasury.Holdings:
    return next(each for each in engine.database.read(treasury.by_asset) if each.asset == code)


def test_capital_and_a_refill_are_told_apart(engine: Engine) -> None:
    capital, refill = address_for(engine, "BTC"), address_for(engine, "BTC", refill=True)
    assert capital != refill
    engine.chain.fund(capital, 700, blocks=6)
    engine.chain.fund(refill, 300_000, blocks=6)
    engine.tick()
    assert (house(engine, "BTC", "capital"), house(engine, "BTC", "treasury_cold")) == (700, 300_000)
    assert lies(engine, "BTC") == treasury.Holdings("BTC", hot=300_700, on_indices=0, cold=-300_000, in_flight=0)
    engine.check_invariants()


def test_on_ethereum_the_hot_address_is_the_treasurys(ethereum: EthereumEngine) -> None:
    token = ethereum.add_token("GOOD")
    assert address_for(ethereum, "ETH") == address_for(ethereum, "GOOD") == ethereum.hot
    ethereum.pay(ethereum.hot, ETHER)
    ethereum.give("GOOD", ethereum.hot, 5_000_000)
    assert lies(ethereum, "ETH").hot == house(ethereum, "ETH", "capital") == ETHER
    assert lies(ethereum, token.code).hot == house(ethereum, "GOOD", "capital") == 5_000_000
    ethereum.agree()


def test_a_refill_on_ethereum_comes_back_from_cold_and_is_collected(ethereum: EthereumEngine) -> None:
    refill = address_for(ethereum, "ETH", refill=True)
    assert refill != ethereum.hot
    ethereum.pay(refill, 3 * ETHER)
    now = lies(ethereum, "ETH")
    assert (now.hot, now.on_indices, now.cold) == (0, 3 * ETHER, -3 * ETHER)
    assert house(ethereum, "ETH", "capital") == 0
    for _ in range(3):
        ethereum.mine()
    later = lies(ethereum, "ETH")
    assert 0 < later.on_indices < 10**15  # what the fee did not take of its ceiling
    assert later.hot + later.on_indices == 3 * ETHER + house(ethereum, "ETH", "network_fees")
    assert ethereum.node.balance(ethereum.hot) == later.hot
    ethereum.agree()


def test_dust_is_listed_with_its_reason(ethereum: EthereumEngine) -> None:
    ethereum.funded(10**15)
    left = ethereum.database.read(lambda tx: treasury.left_behind(tx, ethereum.services))
    (place,) = left["ethereum"]
    assert (place.asset, place.units) == ("ETH", 10**15)
    assert place.reason is not None
