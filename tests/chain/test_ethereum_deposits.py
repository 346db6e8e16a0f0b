"""What counts as money that came in: tokens good and bad, contracts that send on, reorganisations."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from devstack.anvil import Anvil
from devstack.geth import Geth
from ledger.errors import NodeProtocolError
from ledger.money import UNITS_BOUND
from tests.contract.ethereum_rig import AnvilRig, EthereumRig, GethRig
from wallets.ethereum import deposits as deposits_module
from wallets.ethereum.contracts import creation, encode, load
from wallets.protocol import DepositStatus, Output, SeenDeposit, TxState

ETH = 10**18
TOKENS = 1_000_000


def shown(rig: EthereumRig, txid: str) -> list[tuple[str, int, str | None, str]]:
    """Address, units, token and doubt of each deposit of a transaction."""
    return [(d.address, d.units, d.token, d.suspect) for d in rig.seen(txid)]


def present(rig: AnvilRig, deposit: SeenDeposit) -> SeenDeposit:
    return rig.wallet.look_up_deposits([deposit])[deposit.key]


def calling(*calls: tuple[str, str]) -> str:
    """The code of a deployment that makes these calls (contract, data) and leaves nothing."""
    datas = [bytes.fromhex(data[2:]) for _, data in calls]
    step = 40  # bytes of code for each call
    start = step * len(calls) + 1
    code = b""
    for (contract, _), data in zip(calls, datas, strict=True):
        copy = b"\x61" + len(data).to_bytes(2, "big") + b"\x61" + start.to_bytes(2, "big") + b"\x5f\x39"
        call = b"\x5f\x5f\x60" + bytes([len(data)]) + b"\x5f\x5f\x73" + bytes.fromhex(contract[2:]) + b"\x5a\xf1\x50"
        code += (copy + call).ljust(step, b"\x5b")
        start += len(data)
    return "0x" + (code + b"\x00" + b"".join(datas)).hex()


# Tokens


def test_a_token_payment_is_a_deposit_of_that_token(evm: AnvilRig) -> None:
    token = evm.token()
    txid = evm.give_tokens(token, 3, 5 * TOKENS)
    [deposit] = evm.seen(txid)
    assert shown(evm, txid) == [(evm.address(3), 5 * TOKENS, token, "")]
    assert (deposit.status, deposit.txid) == (DepositStatus.CONFIRMED, txid)
    assert present(evm, deposit) == deposit


def test_each_payee_of_a_batch_has_a_deposit_of_its_own_and_twice_the_same_one_two(evm: AnvilRig) -> None:
    token = evm.token()
    to = [evm.address(3), evm.outside_address(), evm.address(4), evm.address(3)]
    txid = evm.invoke(token, "GoodToken", "transferMany", to, TOKENS)
    found = evm.seen(txid)
    assert sorted(d.address for d in found) == sorted([evm.address(3), evm.address(3), evm.address(4)])
    assert len({d.key for d in found}) == 3
    assert {d.suspect for d in found} == {""}


def test_a_token_that_is_not_listed_is_nothing(evm: AnvilRig) -> None:
    """Whatever it calls itself (FAULTS F2)."""
    evm.token()
    fake = evm.token(listed=False)
    assert shown(evm, evm.give_tokens(fake, 3, 5 * TOKENS)) == []


def test_a_listed_and_an_unlisted_token_in_one_transaction_are_told_apart(evm: AnvilRig) -> None:
    listed, other = evm.token(), evm.token(listed=False)
    mint = encode(load("GoodToken"), "mint", [evm.address(3), 5 * TOKENS])
    txid = evm.node.send({"data": calling((other, mint), (listed, mint), (other, mint))})
    assert len(evm.node.settle(txid)["logs"]) == 3
    assert shown(evm, txid) == [(evm.address(3), 5 * TOKENS, listed, "")]
    assert [d.key.split(":")[1:3] for d in evm.seen(txid)] == [["log", "1"]]


def test_a_transfer_that_only_says_false_is_nothing(evm: AnvilRig) -> None:
    token = evm.token("FalseToken")
    assert shown(evm, evm.give_tokens(token, 3, 5 * TOKENS, "FalseToken")) == []


@pytest.mark.parametrize(("name", "more"), [("LyingToken", ()), ("FeeToken", (True,))])
def test_an_event_that_the_balance_does_not_bear_out_is_doubted(
    evm: AnvilRig, name: str, more: tuple[object, ...]
) -> None:
    token = evm.token(name, *more)
    txid = evm.give_tokens(token, 3, 5 * TOKENS, name)
    assert shown(evm, txid) == [(evm.address(3), 5 * TOKENS, token, "balance_mismatch")]


def test_a_fee_that_is_told_leaves_what_arrived(evm: AnvilRig) -> None:
    token = evm.token("FeeToken", False)
    txid = evm.give_tokens(token, 3, 500, "FeeToken")
    assert shown(evm, txid) == [(evm.address(3), 495, token, "")]


def test_nothing_and_more_than_can_be_are_not_credited(evm: AnvilRig) -> None:
    """FAULTS F15: no amount overflows anything."""
    token = evm.token()
    assert shown(evm, evm.give_tokens(token, 3, 0)) == []
    txid = evm.invoke(token, "GoodToken", "mint", evm.address(3), 2**256 - 1 - 10**16)
    assert shown(evm, txid) == [(evm.address(3), UNITS_BOUND - 1, token, "amount_too_large")]
    [deposit] = evm.seen(txid)
    assert present(evm, deposit) == deposit


def test_what_one_address_of_ours_pays_another_is_no_deposit(evm: AnvilRig) -> None:
    token = evm.token()
    evm.fund(0, ETH)
    evm.give_tokens(token, 0, 5 * TOKENS)
    sent = evm.perform(evm.token_spend(token, evm.address(3), TOKENS))
    assert shown(evm, sent.txid) == []


def test_coming_and_going_in_one_block_adds_up(evm: AnvilRig) -> None:
    """The balance is compared with all that the block's events say of the address."""
    token = evm.token()
    evm.fund(3, ETH)
    evm.give_tokens(token, 3, 5 * TOKENS)
    away = evm.do(evm.sweep_spend(3, 2 * TOKENS, token))
    evm.wallet.broadcast(away)
    txid = evm.give_tokens(token, 3, 7 * TOKENS)
    assert evm.state(away) is TxState.CONFIRMED
    assert evm.node.receipt(away.txid)["blockHash"] == evm.node.receipt(txid)["blockHash"]
    assert shown(evm, txid) == [(evm.address(3), 7 * TOKENS, token, "")]


def test_a_token_is_doubted_where_the_node_has_forgotten_the_balance(geth: Geth) -> None:
    """geth keeps the state of its last 128 blocks."""
    rig = GethRig(geth)
    token = rig.token()
    old = rig.give_tokens(token, 3, 5 * TOKENS)
    rig.mine(140)
    new = rig.give_tokens(token, 3, 5 * TOKENS)
    assert shown(rig, new) == [(rig.address(3), 5 * TOKENS, token, "")]
    assert shown(rig, old) == [(rig.address(3), 5 * TOKENS, token, "balance_unknown")]
    rig.close()


# The coin


def test_a_failed_transaction_is_nothing(evm: AnvilRig) -> None:
    contract = evm.deploy("Rejecter")
    evm.directory.addresses.add(contract)
    txid = evm.node.pay(contract, ETH, gas=100_000)
    assert evm.node.settle(txid)["status"] == "0x0"
    assert shown(evm, txid) == []


def test_coins_that_a_contract_sends_on_are_found(evm: AnvilRig) -> None:
    forwarder = evm.deploy("Forwarder")
    one = evm.invoke(forwarder, "Forwarder", "forward", evm.address(3), wei=ETH)
    assert shown(evm, one) == [(evm.address(3), ETH, None, "")]
    to = [evm.address(3), evm.outside_address(), evm.address(4), evm.address(3)]
    many = evm.invoke(forwarder, "Forwarder", "forwardMany", to, wei=4 * ETH)
    found = evm.seen(many)
    assert sorted(d.address for d in found) == sorted([evm.address(3), evm.address(3), evm.address(4)])
    assert {d.units for d in found} == {ETH}
    assert len({d.key for d in found}) == 3
    assert evm.wallet.balance(None, [3, 4]).at_index == {0: 0, 3: 3 * ETH, 4: ETH}
    assert evm.wallet.look_up_deposits(found) == {d.key: d for d in found}


def test_coins_that_came_back_before_the_end_are_nothing(evm: AnvilRig) -> None:
    """The transaction succeeded, a call inside it did not (FAULTS F3)."""
    forwarder = evm.deploy("Forwarder")
    txid = evm.invoke(forwarder, "Forwarder", "pretend", evm.address(3), wei=ETH)
    assert shown(evm, txid) == []
    assert evm.wallet.balance(None, [3]).total_units == 0


def test_what_a_contract_leaves_when_it_ends_is_found(evm: AnvilRig) -> None:
    address = evm.address(3)
    txid = evm.node.send({"data": creation(load("Destructor"), [address]), "value": hex(ETH)})
    evm.node.settle(txid)
    assert shown(evm, txid) == [(address, ETH, None, "")]


def test_without_traces_only_what_receipts_show_is_found(evm: AnvilRig) -> None:
    evm.wallet = evm.wallet_with(trace=False)
    forwarder = evm.deploy("Forwarder")
    inner = evm.invoke(forwarder, "Forwarder", "forward", evm.address(3), wei=ETH)
    plain = evm.fund(3, ETH)
    assert shown(evm, inner) == []
    assert plain in {d.key for d in evm.read_on().deposits}


def test_money_from_nowhere_is_in_the_balance_alone(evm: AnvilRig) -> None:
    """A validator's withdrawal, say: reconciliation finds it (FAULTS F4)."""
    evm.node.set_balance(evm.address(3), ETH)
    evm.mine()
    assert evm.read_on().deposits == ()
    assert evm.wallet.balance(None, [3]).at_index[3] == ETH


# Reading on


def test_blocks_come_in_pages_and_the_directory_is_asked_for_all_of_a_page(
    evm: AnvilRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deposits_module, "PAGE_BLOCKS", 7)
    keys = [evm.fund(index, ETH, blocks=index) for index in range(1, 6)]
    evm.directory.asked = 0
    found, cursor, pages, tips = [], None, 0, []
    while True:
        page = evm.wallet.deposits_since(cursor)
        found += [d.key for d in page.deposits]
        cursor, pages = page.cursor, pages + 1
        tips.append(page.tip.height)
        if not page.more:
            break
    assert found == keys
    assert tips == sorted(set(tips))
    assert tips[-1] == evm.node.height()
    assert pages == -(-15 // 7)
    assert evm.directory.asked <= 2 * pages


def test_a_first_reading_begins_near_the_tip(evm: AnvilRig) -> None:
    evm.start_block = None
    evm.wallet = evm.wallet_with()
    evm.node.settle(evm.node.pay(evm.address(3), ETH))
    evm.mine(deposits_module.FIRST_OVERLAP + 5)
    new = evm.fund(3, ETH)
    assert [d.key for d in evm.read_on().deposits] == [new]


def test_a_node_that_was_away_for_two_hundred_blocks_is_caught_up_with(evm: AnvilRig) -> None:
    cursor = evm.read_on().cursor
    evm.down()
    first = evm.node.pay(evm.address(3), ETH)
    evm.node.mine(200)
    second = evm.node.pay(evm.address(4), 2 * ETH)
    evm.node.mine(1)
    assert not evm.wallet.health().ok
    evm.up()
    page = evm.wallet.deposits_since(cursor)
    assert page.more
    news = evm.read_on(cursor)
    assert [d.txid for d in news.deposits] == [first, second]
    assert news.tip.height == evm.node.height()


def test_the_cursor_stays_small_on_a_long_chain(evm: AnvilRig) -> None:
    cursor = evm.read_on().cursor
    for _ in range(30):
        evm.mine(10)
        cursor = evm.read_on(cursor).cursor
    heights = [height for height, _ in json.loads(cursor)]
    assert heights[0] == evm.node.height()
    assert len(heights) <= 40
    final = evm.wallet.deposits_since(cursor).final_height
    assert final == evm.node.height() - 64
    assert heights[-1] <= final


def test_a_deep_reorganisation_is_read_again_from_where_the_branches_part(
    evm: AnvilRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one page at least as far as before, however short pages are: a lower tip would look like lost blocks."""
    kept = evm.fund(3, ETH)
    evm.mine(2)
    lost = evm.fund(4, ETH, blocks=30)
    page = evm.read_on()
    assert {kept, lost} <= {d.key for d in page.deposits}
    [credited] = [d for d in page.deposits if d.key == lost]
    evm.reorg(30, double_spent=credited.txid)
    new = evm.fund(5, 2 * ETH)
    monkeypatch.setattr(deposits_module, "PAGE_BLOCKS", 4)
    assert evm.wallet.deposits_since(page.cursor).tip.height >= page.tip.height
    after = evm.read_on(page.cursor)
    assert new in {d.key for d in after.deposits}
    assert lost not in {d.key for d in after.deposits}
    assert (present(evm, credited).status, present(evm, credited).reason) == (DepositStatus.GONE, "vanished")


def test_a_token_deposit_keeps_its_key_in_another_block_behind_other_events(evm: AnvilRig) -> None:
    """The block-wide number of its event changes."""
    token = evm.token()
    txid = evm.give_tokens(token, 3, 5 * TOKENS)
    [before] = evm.seen(txid)
    evm.mine()
    old_index = evm.node.receipt(txid)["logs"][0]["logIndex"]
    evm.reorg(2)
    cursor = evm.read_on().cursor
    assert present(evm, before).status is DepositStatus.POOL
    louder = {"to": token, "data": encode(load("GoodToken"), "mint", [evm.outside_address(), 1])}
    evm.as_another(louder | {"gasPrice": hex(10**11)})
    evm.mine()
    [after] = evm.seen(txid, cursor)
    assert evm.node.receipt(txid)["logs"][0]["logIndex"] != old_index
    assert (after.key, after.units) == (before.key, before.units)
    assert after.block_hash != before.block_hash
    assert present(evm, before) == after


def test_a_deposit_whose_transaction_does_something_else_in_its_new_block_is_gone(evm: AnvilRig) -> None:
    """A token payment that a reorganisation put behind the pause of its token."""
    token = evm.token("PausableToken")
    txid = evm.give_tokens(token, 3, 5 * TOKENS, "PausableToken")
    [before] = evm.seen(txid)
    raw = str(evm.node.rpc("eth_getRawTransactionByHash", txid))
    evm.node.reorg(1)
    evm.node.settle(evm.as_another({"to": token, "data": encode(load("PausableToken"), "setPaused", [True])}))
    evm.node.send_raw(raw)
    assert evm.node.settle(txid)["status"] == "0x0"
    gone = present(evm, before)
    assert (gone.status, gone.reason, gone.height) == (DepositStatus.GONE, "orphaned", None)


def test_coins_whose_transaction_fails_in_its_new_block_are_gone(evm: AnvilRig) -> None:
    key = evm.fund(3, ETH)
    [before] = evm.seen(key.split(":")[0])
    raw = str(evm.node.rpc("eth_getRawTransactionByHash", before.txid))
    evm.node.reorg(1)
    evm.node.rpc("anvil_setCode", evm.address(3), "0x5f5ffd")  # the address runs code now, which refuses
    evm.node.send_raw(raw)
    assert evm.node.settle(before.txid)["status"] == "0x0"
    assert (present(evm, before).status, present(evm, before).reason) == (DepositStatus.GONE, "orphaned")


def test_an_inner_payment_is_found_again_in_its_new_block(evm: AnvilRig) -> None:
    forwarder = evm.deploy("Forwarder")
    txid = evm.invoke(forwarder, "Forwarder", "forward", evm.address(3), wei=ETH)
    [before] = evm.seen(txid)
    evm.reorg(1)
    evm.mine()
    after = present(evm, before)
    assert after.status is DepositStatus.CONFIRMED
    assert after.block_hash != before.block_hash
    assert present(evm, replace(before, key=f"{txid}:call:1:5")).status is DepositStatus.GONE


def test_a_page_that_the_chain_leaves_while_it_is_read_is_read_again(
    evm: AnvilRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = evm.read_on().cursor
    lost = evm.node.pay(evm.address(3), ETH)
    evm.mine(2)
    real: Callable[..., object] = deposits_module.follow
    moved: list[bool] = []

    def follow(*args: object) -> object:
        blocks = real(*args)
        if not moved:
            moved.append(True)
            evm.reorg(2, double_spent=lost)
        return blocks

    monkeypatch.setattr(deposits_module, "follow", follow)
    page = evm.wallet.deposits_since(cursor)
    assert moved
    assert [d for d in page.deposits if d.txid == lost] == []
    assert page.tip.hash == evm.node.block()["hash"]


class Late:
    """A client that once gives the receipts of a chain that is gone, as one of several nodes might."""

    def __init__(self, rig: AnvilRig, receipt: object) -> None:
        self._client = rig.client
        self._receipt = receipt

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def read_many(self, calls: list[tuple[str, list[object]]], *more: object) -> list[object]:
        answers = self._client.read_many(calls)
        if calls and calls[0][0] == "eth_getTransactionReceipt" and self._receipt is not None:
            answers, self._receipt = [self._receipt], None
        return answers


def test_a_receipt_of_a_block_that_is_gone_confirms_no_deposit(evm: AnvilRig) -> None:
    key = evm.fund(3, ETH)
    [deposit] = evm.seen(key.split(":")[0])
    receipt = evm.node.receipt(deposit.txid)
    evm.node.reorg(1)
    evm.client = Late(evm, receipt)  # type: ignore[assignment]
    evm.wallet = evm.wallet_with()
    assert present(evm, deposit).status is DepositStatus.GONE


def test_a_node_of_another_chain_is_not_read_on(evm: AnvilRig, make_anvil: Callable[..., Anvil]) -> None:
    evm.mine(5)
    cursor = evm.read_on().cursor
    other = AnvilRig(make_anvil("--timestamp", "1000000000", keep_chain=False))
    other.mine(50)
    with pytest.raises(NodeProtocolError, match="cursor"):
        other.wallet.deposits_since(cursor)
    other.close()


def test_deposits_to_the_hot_wallet_itself_are_told(evm: AnvilRig) -> None:
    """A refill from cold storage, which no account's address takes."""
    address = evm.keys.address(0)
    assert address not in evm.directory.addresses
    txid = evm.arrive(Output(address, ETH))
    assert shown(evm, txid) == [(address, ETH, None, "")]
