"""What counts as money that came in: tokens good and bad, contracts that send on, reorganisations."""

from __future__ import annotations

import pytest

from devstack.geth import Geth
from ledger.money import UNITS_BOUND
from tests.contract.ethereum_rig import AnvilRig, EthereumRig, GethRig
from wallets.ethereum.contracts import creation, encode, load
from wallets.ethereum.tokens import TRANSFER
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


def test_a_token_that_pays_us_as_it_is_made_is_doubted_and_stops_no_reading(evm: AnvilRig) -> None:
    """A block before, nobody was there to say what we had. What comes later is compared again."""
    cursor = evm.read_on().cursor
    token = evm.deploy("GoodToken", "TOK", 6, evm.address(3), 5 * TOKENS)
    evm.directory.contracts.add(token)
    page = evm.read_on(cursor)
    assert page.tip.height == evm.node.height()
    assert [(d.address, d.units, d.token, d.suspect) for d in page.deposits] == [
        (evm.address(3), 5 * TOKENS, token, "balance_unknown")
    ]
    later = evm.invoke(token, "GoodToken", "mint", evm.address(3), TOKENS)
    assert shown(evm, later) == [(evm.address(3), TOKENS, token, "")]
    assert evm.read_on(page.cursor).tip.height == evm.node.height()


def test_a_token_that_answers_nothing_is_doubted_and_another_in_its_block_is_not(evm: AnvilRig) -> None:
    """Any call makes it tell of a payment, and it gives nothing back, also when asked for a balance."""
    good, mute = evm.token(), evm.outside_address()
    code = f"7f{5 * TOKENS:064x}5f5273{evm.address(3)[2:]}5f7f{TRANSFER[2:]}60205fa300"
    evm.node.rpc("anvil_setCode", mute, "0x" + code)
    evm.directory.contracts.add(mute)
    cursor = evm.read_on().cursor
    claimed = evm.node.send({"to": mute})
    paid = evm.give_tokens(good, 3, TOKENS)
    assert evm.node.receipt(claimed)["blockHash"] == evm.node.receipt(paid)["blockHash"]
    page = evm.read_on(cursor)
    assert [(d.txid, d.units, d.token, d.suspect) for d in page.deposits] == [
        (claimed, 5 * TOKENS, mute, "balance_unknown"),
        (paid, TOKENS, good, ""),
    ]
    assert page.tip.height == evm.node.height()


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


def test_a_block_too_heavy_to_trace_does_not_stop_the_reading(evm: AnvilRig) -> None:
    """The node answers all else: what the trace would have shown is for the balance sync to find."""
    forwarder = evm.deploy("Forwarder")
    assert shown(evm, evm.invoke(forwarder, "Forwarder", "forward", evm.address(3), wei=ETH))
    cursor = evm.read_on().cursor
    evm.invoke(forwarder, "Forwarder", "forward", evm.address(3), wei=ETH)
    plain = evm.node.pay(evm.address(3), ETH)
    evm.mine()
    for _ in range(2):  # it is asked twice
        evm.proxy.lose("debug_traceBlockByHash", delivered=False)
    assert [d.txid for d in evm.read_on(cursor).deposits] == [plain]


def test_money_from_nowhere_is_in_the_balance_alone(evm: AnvilRig) -> None:
    """A validator's withdrawal, say: reconciliation finds it (FAULTS F4)."""
    evm.node.set_balance(evm.address(3), ETH)
    evm.mine()
    assert evm.read_on().deposits == ()
    assert evm.wallet.balance(None, [3]).at_index[3] == ETH


def test_deposits_to_the_hot_wallet_itself_are_told(evm: AnvilRig) -> None:
    """A refill from cold storage, which no account's address takes."""
    address = evm.keys.address(0)
    assert address not in evm.directory.addresses
    txid = evm.arrive(Output(address, ETH))
    assert shown(evm, txid) == [(address, ETH, None, "")]
