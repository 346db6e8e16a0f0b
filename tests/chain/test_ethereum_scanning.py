"""Reading an EVM chain on: pages, cursors, reorganisations, and answers that come too late."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from devstack.anvil import Anvil
from ledger.errors import NodeProtocolError, NodeUnavailable, WalletError
from tests.contract.ethereum_rig import AnvilRig
from wallets.ethereum import deposits as deposits_module
from wallets.ethereum.client import EthereumClient, RpcRefused
from wallets.ethereum.contracts import encode, load
from wallets.ethereum.tokens import TRANSFER
from wallets.protocol import DepositStatus, SeenDeposit

ETH = 10**18
TOKENS = 1_000_000


def present(rig: AnvilRig, deposit: SeenDeposit) -> SeenDeposit:
    return rig.wallet.look_up_deposits([deposit])[deposit.key]


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
    assert present(evm, replace(before, key=f"{txid}:call:1:{'5' * 24}")).status is DepositStatus.GONE


#: Says that it has paid five tokens; passes on what it is sent: both to whom its first slot names.
CLAIMS = f"7f{5 * TOKENS:064x}5f525f545f7f{TRANSFER[2:]}60205fa300"
PASSES_ON = "5f5f5f5f345f545af100"


@pytest.mark.parametrize("code", [CLAIMS, PASSES_ON])
@pytest.mark.parametrize("ours", [False, True])
def test_a_payment_that_goes_to_somebody_else_in_its_new_block_is_gone(evm: AnvilRig, code: str, ours: bool) -> None:
    """Whoever writes a contract may have it look at the block: the same amount, in the same place, to himself."""
    contract, other = evm.outside_address(), evm.address(4) if ours else evm.outside_address()
    evm.node.rpc("anvil_setCode", contract, "0x" + code)
    evm.directory.contracts.add(contract)
    name(evm, contract, evm.address(3))
    txid = evm.node.send({"to": contract, "value": hex(ETH if code == PASSES_ON else 0)})
    evm.node.settle(txid)
    [before] = evm.seen(txid)
    assert before.address == evm.address(3)
    raw = str(evm.node.rpc("eth_getRawTransactionByHash", txid))
    evm.node.reorg(1)
    cursor = evm.read_on().cursor
    name(evm, contract, other)
    evm.node.send_raw(raw)
    assert evm.node.settle(txid)["status"] == "0x1"
    assert (present(evm, before).status, present(evm, before).reason) == (DepositStatus.GONE, "orphaned")
    after = [d for d in evm.read_on(cursor).deposits if d.txid == txid]
    assert [(d.address, d.units) for d in after] == ([(other, before.units)] if ours else [])
    assert before.key not in {d.key for d in after}


@pytest.mark.parametrize("error", [RpcRefused("debug_traceTransaction", -32000, "historical state"), NodeUnavailable()])
def test_a_node_that_has_no_trace_any_more_stops_no_reading(
    evm: AnvilRig, monkeypatch: pytest.MonkeyPatch, error: WalletError
) -> None:
    """A node keeps the states of its last 128 blocks. What is gone stays gone; of what it had in another block it
    cannot say, and the balance decides; a plain payment needs no trace."""
    forwarder = evm.deploy("Forwarder")
    txid = evm.invoke(forwarder, "Forwarder", "forward", evm.address(3), wei=ETH)
    plain = evm.node.pay(evm.address(4), ETH)
    evm.mine()
    before, paid = evm.seen(txid)[0], evm.seen(plain)[0]
    evm.reorg(2)
    evm.mine()
    real = EthereumClient.read

    def read(client: EthereumClient, method: str, *params: object) -> object:
        if method == "debug_traceTransaction":
            raise error
        return real(client, method, *params)

    monkeypatch.setattr(EthereumClient, "read", read)
    moved = present(evm, before)
    assert (moved.status, moved.suspect) == (DepositStatus.CONFIRMED, "balance_unknown")
    assert moved.block_hash != before.block_hash
    gone = replace(before, status=DepositStatus.GONE, height=None, block_hash=None)
    assert present(evm, gone).status is DepositStatus.GONE
    assert (present(evm, paid).status, present(evm, paid).suspect) == (DepositStatus.CONFIRMED, "")


def name(evm: AnvilRig, contract: str, payee: str) -> None:
    evm.node.rpc("anvil_setStorageAt", contract, "0x" + "00" * 32, "0x" + payee[2:].lower().rjust(64, "0"))


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
    """A client that once gives these receipts, which are not those of the chain any more, or not yet."""

    def __init__(self, rig: AnvilRig, *receipts: object) -> None:
        self._client = rig.client
        self._receipts = list(receipts)

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def read_many(self, calls: list[tuple[str, list[object]]], *more: object) -> list[object]:
        answers = self._client.read_many(calls)
        if calls and calls[0][0] == "eth_getTransactionReceipt" and self._receipts:
            answers, self._receipts = self._receipts, []
        return answers


def test_a_receipt_of_a_block_that_is_gone_confirms_no_deposit(evm: AnvilRig) -> None:
    key = evm.fund(3, ETH)
    [deposit] = evm.seen(key.split(":")[0])
    receipt = evm.node.receipt(deposit.txid)
    evm.node.reorg(1)
    evm.client = Late(evm, receipt)  # type: ignore[assignment]
    evm.wallet = evm.wallet_with()
    assert present(evm, deposit).status is DepositStatus.GONE


def test_a_deposit_that_is_mined_while_it_is_looked_up_does_not_wait(evm: AnvilRig) -> None:
    key = evm.fund(3, ETH)
    [deposit] = evm.seen(key.split(":")[0])
    evm.client = Late(evm, None)  # type: ignore[assignment]
    evm.wallet = evm.wallet_with()
    assert present(evm, deposit) == deposit


def test_a_node_of_another_chain_is_not_read_on(evm: AnvilRig, make_anvil: Callable[..., Anvil]) -> None:
    evm.mine(5)
    cursor = evm.read_on().cursor
    other = AnvilRig(make_anvil("--timestamp", "1000000000", keep_chain=False))
    other.mine(50)
    with pytest.raises(NodeProtocolError, match="cursor"):
        other.wallet.deposits_since(cursor)
    other.close()
