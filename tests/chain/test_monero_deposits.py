"""Deposits on a real monerod and monero-wallet-rpc: what is told, when it may be spent, and when it is not told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ledger.errors import NodeNotReady, NodeUnavailable
from tests.contract.monero_rig import WALLET_PASSWORD, MoneroGround, MoneroRig
from wallets.monero.blob import read_blob
from wallets.monero.client import MoneroClient
from wallets.monero.deposits import Deposits
from wallets.protocol import DepositStatus, Output, SeenDeposit

XMR = 10**12


@pytest.fixture
def rig(monero_ground: MoneroGround) -> Iterator[MoneroRig]:
    rig = MoneroRig(monero_ground)
    yield rig
    rig.close()


def seen(rig: MoneroRig, cursor: str | None = None) -> dict[str, SeenDeposit]:
    return {deposit.key: deposit for deposit in rig.wallet.deposits_since(cursor).deposits}


def test_several_outputs_to_one_subaddress_are_one_deposit(rig: MoneroRig) -> None:
    """FAULTS F12, as Monero's wallet tells it: one entry with the sum."""
    twice, once = rig.address(0), rig.address(1)
    txid = rig.pay(Output(twice, XMR), Output(twice, 2 * XMR), Output(once, 5), Output(twice, 3 * XMR))
    for _ in range(2):
        found = seen(rig)
        assert {key: deposit.units for key, deposit in found.items()} == {f"{txid}:0:1": 6 * XMR, f"{txid}:0:2": 5}
        assert {deposit.suspect for deposit in found.values()} == {""}
        rig.mine()


def test_money_is_spendable_after_ten_blocks(rig: MoneroRig) -> None:
    key = rig.fund(0, XMR, blocks=1)
    deposit = seen(rig)[key]
    assert (deposit.status, deposit.spendable_depth, deposit.locked) == (DepositStatus.CONFIRMED, 10, False)
    assert deposit.height is not None
    assert (
        deposit.block_hash
        == rig.node.rpc.call("get_block_header_by_height", height=deposit.height)["block_header"]["hash"]
    )
    rig.mine(8)
    assert rig.wallet.balance().spendable_units == 0
    rig.mine()
    assert rig.wallet.balance().spendable_units == XMR


def test_a_deposit_with_an_unlock_time_is_locked_until_then(rig: MoneroRig) -> None:
    """FAULTS F6: however deep it is, nobody can spend it."""
    unlock = rig.node.height() + 20
    txid = rig.payer.pay({rig.address(0): XMR}, unlock_time=unlock)
    key = f"{txid}:0:1"
    assert seen(rig)[key].locked
    rig.mine(12)
    deposit = seen(rig)[key]
    assert deposit.locked
    assert rig.wallet.look_up_deposits([deposit])[key].locked
    assert rig.wallet.balance().locked_units == XMR
    rig.mine(unlock - rig.node.height() + 1)
    assert not seen(rig)[key].locked
    assert not rig.wallet.look_up_deposits([deposit])[key].locked
    assert rig.wallet.balance().spendable_units == XMR


def test_a_deposit_to_an_address_that_nobody_was_given_is_told_with_that_address(rig: MoneroRig) -> None:
    """FAULTS F10: the primary address and other accounts are ours and stand for no index."""
    other = str(rig.rpc("create_account")["address"])
    txid = rig.pay(Output(rig.hot_address(), XMR), Output(other, 2 * XMR))
    rig.mine(10)
    found = {deposit.key: (deposit.address, deposit.units) for deposit in seen(rig).values()}
    assert found == {f"{txid}:0:0": (rig.hot_address(), XMR), f"{txid}:1:0": (other, 2 * XMR)}
    assert rig.wallet.balance().total_units == 3 * XMR
    assert rig.wallet.balance().spendable_units == XMR


def test_a_mined_coin_is_a_coinbase_deposit(rig: MoneroRig) -> None:
    """FAULTS F13."""
    rig.mine(1, coinbase_to=rig.hot_address())
    [deposit] = seen(rig).values()
    assert (deposit.coinbase, deposit.spendable_depth, deposit.locked) == (True, 60, False)
    assert rig.wallet.look_up_deposits([deposit])[deposit.key] == deposit
    rig.reorg(1)
    gone = rig.wallet.look_up_deposits([deposit])[deposit.key]
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "orphaned")


def test_what_the_wallet_paid_to_itself_is_no_deposit(rig: MoneroRig) -> None:
    """FAULTS F11: change, payments to an address of ours, and money moved between accounts."""
    first = rig.fund(0, XMR)
    second = rig.fund(1, XMR)
    other = str(rig.rpc("create_account")["address"])
    rig.rpc("transfer", destinations=[{"address": rig.address(5), "amount": XMR // 10}], account_index=0)
    moved = rig.rpc("transfer", destinations=[{"address": other, "amount": XMR // 10}], account_index=0)["tx_hash"]
    assert set(seen(rig)) == {first, second}
    rig.mine(10)
    assert set(seen(rig)) == {first, second}
    back = rig.rpc("sweep_all", address=rig.hot_address(), account_index=1)["tx_hash_list"]
    rig.mine()
    assert set(seen(rig)) == {first, second}
    for txid, place in ((moved, (1, 0)), (back[0], (0, 0))):
        asked = SeenDeposit(f"{txid}:{place[0]}:{place[1]}", txid, other, XMR, DepositStatus.POOL)
        assert rig.wallet.look_up_deposits([asked])[asked.key].status is DepositStatus.GONE


def test_own_change_is_no_deposit_though_the_wallet_forgot_that_it_paid(rig: MoneroRig) -> None:
    """Killed after the node had the transaction: the wallet finds its own payment in the pool like anyone's."""
    key = rig.fund(0, XMR)
    rig.rpc("store")
    sent = rig.rpc("transfer", destinations=[{"address": rig.outside_address(), "amount": XMR // 10}])["tx_hash"]
    assert sent in rig.node.pool()
    rig.ground.wallet_rpc.kill()
    rig.ground.wallet_rpc.start()
    assert set(seen(rig)) == {key}
    rig.mine()
    assert set(seen(rig)) == {key}


def test_a_payment_whose_coins_a_rival_claims_is_not_told_as_coming(rig: MoneroRig) -> None:
    """FAULTS F9: the node has seen another transaction for the same outputs, and remembers it (`double_spend_seen`)."""
    txid = rig.pay(Output(rig.address(0), XMR))
    deposit = seen(rig)[f"{txid}:0:1"]
    raw = rig.bytes_of(txid)
    rig.node.flush_pool(txid)
    rig.payer.wallet_rpc.call("rescan_spent")  # or the outsider would not spend them again
    rig._spend_otherwise(read_blob(raw).key_images)
    rival = rig.bytes_of(rig.node.pool()[0])
    rig.node.flush_pool()
    for each, status in ((raw, "OK"), (rival, "Failed")):
        assert rig.node.rpc.post("send_raw_transaction", {"tx_as_hex": each})["status"] == status
    assert rig.node.pool() == [txid]
    assert seen(rig) == {}
    gone = rig.wallet.look_up_deposits([deposit])[deposit.key]
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "replaced")
    rig.mine()
    assert seen(rig)[deposit.key].status is DepositStatus.CONFIRMED


class OtherAnswers(MoneroClient):
    """The wallet's answers after `alter` has changed them."""

    def __init__(self, rig: MoneroRig, alter: Callable[[str, dict[str, Any]], None]) -> None:
        super().__init__(rig.ground.wallet_rpc.url, rig.node.url, rig.name, WALLET_PASSWORD)
        self._alter = alter

    def read(self, method: str, **params: object) -> Any:
        answer = super().read(method, **params)
        self._alter(method, answer)
        return answer


def test_a_list_that_tells_of_more_than_the_wallet_can_spend_is_suspect(rig: MoneroRig) -> None:
    """FAULTS F7, F8: the list of payments over-reported, the outputs did not."""
    honest, padded = rig.fund(0, XMR), rig.fund(1, 2 * XMR)

    def pad(method: str, answer: dict[str, Any]) -> None:
        for entry in answer.get("in", []) if method == "get_transfers" else []:
            if entry["txid"] in padded:
                entry["amount"] *= 3

    deposits = Deposits(OtherAnswers(rig, pad))
    found = {deposit.key: deposit for deposit in deposits.since(None).deposits}
    assert (found[honest].suspect, found[padded].suspect) == ("", "balance_mismatch")
    present = deposits.look_up(list(found.values()))
    assert (present[honest].suspect, present[padded].suspect) == ("", "balance_mismatch")


def test_two_payments_that_share_an_output_are_right_together(rig: MoneroRig) -> None:
    """The burning bug: of two outputs with one key only the larger can be spent. The wallet lists the second payment
    with what it added, and holds one output, under the second payment."""
    first, second = rig.fund(0, XMR), rig.fund(0, 3 * XMR)

    def burn(method: str, answer: dict[str, Any]) -> None:
        if method == "get_transfers":
            for entry in answer.get("in", []):
                entry["amount"] = {first: XMR, second: 2 * XMR}[f"{entry['txid']}:0:1"]
        if method == "incoming_transfers":
            answer["transfers"] = [output for output in answer["transfers"] if output["tx_hash"] in second]

    found = Deposits(OtherAnswers(rig, burn)).since(None).deposits
    assert {deposit.key: (deposit.units, deposit.suspect) for deposit in found} == {
        first: (XMR, ""),
        second: (2 * XMR, ""),
    }


def test_a_deposit_that_the_chain_has_and_the_wallet_does_not_list_is_suspect(rig: MoneroRig) -> None:
    """A wallet file older than its addresses, say."""
    outside = rig.outside_address()
    txid = rig.pay(Output(outside, XMR))
    rig.mine()
    known = SeenDeposit(f"{txid}:0:400", txid, outside, XMR, DepositStatus.CONFIRMED)
    present = rig.wallet.look_up_deposits([known])[known.key]
    assert (present.status, present.suspect) == (DepositStatus.CONFIRMED, "balance_mismatch")


def test_a_page_is_read_again_from_a_hundred_blocks_back(rig: MoneroRig) -> None:
    old = rig.fund(0, XMR, blocks=1)
    rig.mine(30)
    page = rig.wallet.deposits_since(None)
    rig.mine(60)
    new = rig.fund(1, XMR, blocks=1)
    assert set(seen(rig, page.cursor)) == {old, new}
    later = rig.wallet.deposits_since(page.cursor).cursor
    rig.mine(102)
    last = rig.wallet.deposits_since(rig.wallet.deposits_since(later).cursor)
    assert last.deposits == ()
    height, block_hash = last.cursor.split(":")
    assert int(height) == last.tip.height - 100
    header = rig.node.rpc.call("get_block_header_by_height", height=int(height))["block_header"]
    assert header["hash"] == block_hash


def test_with_the_node_away_nothing_is_answered_from_memory(rig: MoneroRig) -> None:
    """wallet-rpc alone would answer the last balance it knew (NODES 3.1)."""
    key = rig.fund(0, XMR)
    deposit = seen(rig)[key]
    rig.node.stop()
    try:
        assert int(rig.rpc("get_balance", account_index=0)["balance"]) == XMR  # it does
        asked = (
            rig.wallet.balance,
            lambda: rig.wallet.deposits_since(None),
            lambda: rig.wallet.look_up_deposits([deposit]),
        )
        for ask in asked:
            with pytest.raises((NodeUnavailable, NodeNotReady)):
                ask()
        assert rig.wallet.health().reason == "unreachable"
    finally:
        rig.node.start()
    assert seen(rig)[key] == deposit
    assert rig.wallet.health().ok
