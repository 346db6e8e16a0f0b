"""Contract calls and deployments: ordered by a person, sent once, signed only as they were ordered."""

from __future__ import annotations

import pytest

from jobs.payment import calls
from jobs.payment.calls import Order
from ledger import pauses
from ledger.db import Tx
from ledger.errors import AssetPaused, CofferError, InvalidInput, StateConflict
from ledger.schema import audit, payment
from tests.flows.engine import MAC
from tests.flows.ethereum_engine import ETHER, EthereumEngine
from wallets.ethereum.contracts import creation, encode, load

DEPLOYMENT = Order("ethereum", None, creation(load("Forwarder"), ()), "Forwarder")


def order(engine: EthereumEngine, wanted: Order, **more: bool) -> str:
    return engine.database.run(
        lambda tx: calls.order(tx, engine.services, wanted, "operator:ann", **more), "test_order"
    )


def found(engine: EthereumEngine, public_id: str):  # type: ignore[no-untyped-def]
    return engine.database.read(lambda tx: calls.found(tx, public_id))


@pytest.fixture
def chain(ethereum: EthereumEngine) -> EthereumEngine:
    ethereum.stock()
    return ethereum


def test_a_deployment_tells_its_contract_and_books_its_gas(chain: EthereumEngine) -> None:
    sweeper = Order("ethereum", None, creation(load("Sweeper"), [chain.hot]), "Sweeper")
    public_id = order(chain, sweeper)
    chain.tick()
    for _ in range(2):
        chain.mine()
    row = found(chain, public_id)
    assert row.state == "settled"
    code = chain.node.rpc("eth_getCode", row.created, "latest")
    assert code == load("Sweeper").deployed({"treasury": chain.hot, "self": row.created})
    act = next(a for a in chain.rows(audit) if a.action == "call.order")
    assert (act.target, act.actor, act.details["note"]) == (public_id, "operator:ann", "Sweeper")
    assert chain.house("network_fees") != 0
    chain.agree()


def test_a_call_runs_at_its_contract(chain: EthereumEngine) -> None:
    contract = chain.deployed("PausableToken", "PAUSE", 6, chain.hot, 10**12)
    wanted = Order("ethereum", contract, encode(load("PausableToken"), "approve", [chain.outside(), 5]), "approve")
    public_id = order(chain, wanted)
    for _ in range(3):
        chain.mine()
    assert found(chain, public_id).state == "settled"
    chain.agree()


def test_what_the_chain_refuses_ends_without_a_transaction(chain: EthereumEngine) -> None:
    rejecter = chain.deployed("Rejecter")
    public_id = order(chain, Order("ethereum", rejecter, "0x12345678", "nothing"))
    chain.tick()
    row = found(chain, public_id)
    assert (row.state, row.candidates) == ("dead", 0)
    assert "refuses" in row.status_detail
    chain.agree()


def test_the_same_order_twice_is_one_unless_it_is_said(chain: EthereumEngine) -> None:
    first = order(chain, DEPLOYMENT)
    with pytest.raises(StateConflict, match=first):
        order(chain, DEPLOYMENT)
    second = order(chain, DEPLOYMENT, again=True)
    for _ in range(3):
        chain.mine()
    assert {found(chain, first).state, found(chain, second).state} == {"settled"}
    assert found(chain, first).created != found(chain, second).created
    order(chain, DEPLOYMENT)


def test_tokens_are_not_called_and_paused_coins_not_spent(chain: EthereumEngine) -> None:
    chain.add_token("GOOD")
    transfer = encode(load("GoodToken"), "transfer", [chain.outside(), 5])
    with pytest.raises(InvalidInput, match="contract of GOOD"):
        order(chain, Order("ethereum", chain.contracts["GOOD"], transfer, "transfer"))
    chain.database.run(lambda tx: pauses.stop(tx, "ETH", "withdrawals", "look", "test"), "test")
    with pytest.raises(AssetPaused):
        order(chain, DEPLOYMENT)
    assert chain.payments("call") == []


def test_nobody_without_the_key_can_order_one(chain: EthereumEngine) -> None:
    chain.services.mac = None
    with pytest.raises(CofferError, match="COFFER_ROW_MAC_KEY"):
        order(chain, DEPLOYMENT)
    chain.services.mac = MAC


def test_an_order_made_by_hand_in_the_database_is_not_signed(chain: EthereumEngine) -> None:
    """The columns of an ordered call are frozen; a row made by hand has no MAC of ours."""
    from jobs.payment import make as payment_make

    forged = {"chain": "ethereum", "to": chain.outside(), "data": "0x1234", "note": "x"}

    def unit(tx: Tx) -> int:
        mac = MAC.call("pay_other", forged)
        plan = payment_make.Plan("ethereum", "ETH", "call", (), 10**10, 10**11, call=forged, mac=mac)
        return payment_make.make(tx, plan)

    payment_id = chain.database.run(unit, "test")
    chain.tick()
    row = chain.row(payment, payment_id)
    assert (row.state, row.declined, row.candidates) == ("dead", "mac_mismatch", 0)
    assert chain.node.balance(chain.hot) == ETHER
    assert chain.database.read(lambda tx: pauses.reason(tx, "ETH", "withdrawals")) is not None
