"""A database that is not the one that knows what was sent (J3, C6): the chain shows more than it ever owned, and
nothing more is signed.
"""

from __future__ import annotations

import pytest

from devstack.evm import TRANSFER_GAS
from ledger import halts
from ledger.schema import alarm, payment
from tests.flows.ethereum_engine import ETHER, GWEI, EthereumEngine
from tests.flows.test_tampering import joined

CHAIN_ID = 31337


@pytest.mark.parametrize("mined", [True, False], ids=["mined", "waiting"])
def test_a_hot_key_that_was_used_elsewhere_signs_nothing_more(ethereum: EthereumEngine, mined: bool) -> None:
    """J3. The next free nonce would be free indeed; what it was that used the last one nobody here knows."""
    ethereum.stock()
    account = ethereum.funded(3 * ETHER)
    known = ethereum.withdraw(account, ETHER // 4, ethereum.outside())
    ethereum.tick()
    ethereum.mine(3)
    assert ethereum.state(known) == "completed"
    use_hot_key(ethereum, nonce=1)
    if mined:
        ethereum.node.mine()
    payee = ethereum.outside()
    late = ethereum.withdraw(account, ETHER // 4, payee)
    ethereum.tick(2)
    ethereum.mine(3)
    assert ethereum.node.balance(payee) == 0
    assert ethereum.state(late) == "queued"
    cause = "unknown_outgoing" if mined else "chain_ahead"
    assert cause in {row.name for row in ethereum.rows(alarm) if row.open}
    assert cause in (ethereum.database.read(lambda tx: halts.reason(tx, "ethereum")) or "")


def test_a_nonce_that_is_used_is_seen_before_anything_is_reserved(ethereum: EthereumEngine) -> None:
    """By the step itself: nothing has compared books and chain since."""
    ethereum.stock()
    account = ethereum.funded(3 * ETHER)
    ethereum.withdraw(account, ETHER // 4, ethereum.outside())
    ethereum.tick()
    ethereum.mine(3)
    use_hot_key(ethereum, nonce=1)
    payment_id = joined(ethereum, ethereum.withdraw(account, ETHER // 4, ethereum.outside()))
    ethereum.runtime.advance("payment", payment_id)
    row = ethereum.row(payment, payment_id)
    assert (row.state, row.proposal) == ("building", None)
    assert "chain_ahead" in (ethereum.database.read(lambda tx: halts.reason(tx, "ethereum")) or "")


def use_hot_key(ethereum: EthereumEngine, nonce: int) -> None:
    """Somebody with the seed sends from the hot wallet, past this database."""
    fields = {"chainId": CHAIN_ID, "nonce": nonce, "gas": TRANSFER_GAS, "to": ethereum.outside(), "value": 1}
    fields |= {"maxFeePerGas": 20 * GWEI, "maxPriorityFeePerGas": GWEI}
    ethereum.node.send_raw(ethereum.keys.sign_transaction(0, fields).raw)
