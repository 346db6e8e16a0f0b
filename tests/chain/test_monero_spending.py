"""What a real monero-wallet-rpc prepares: chosen, held, checked, and told apart when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.errors import (
    FundsLocked,
    InsufficientHotFunds,
    InvalidAddress,
    NodeProtocolError,
    WalletBusy,
)
from tests.contract.monero_rig import MoneroGround, MoneroRig
from wallets.monero.blob import read_blob
from wallets.protocol import HOT, Output, Spend

XMR = 10**12


@pytest.fixture
def rig(monero_ground: MoneroGround) -> Iterator[MoneroRig]:
    rig = MoneroRig(monero_ground)
    yield rig
    rig.close()


def payee(rig: MoneroRig, units: int = XMR // 10) -> Output:
    return Output(rig.outside_address(), units)


def fund(rig: MoneroRig, coins: int, units: int = XMR) -> list[str]:
    """So many outputs that may be spent, in one payment to as many indices; their deposit keys."""
    txid = rig.pay(*(Output(rig.address(index), units) for index in range(coins)))
    rig.mine(10)
    return [rig.key_of(txid, rig.address(index)) for index in range(coins)]


def balance(rig: MoneroRig) -> int:
    """As the wallet itself tells it: what a ghost would spoil."""
    rig.rpc("refresh")
    return int(rig.rpc("get_balance", account_index=0)["balance"])


@pytest.mark.parametrize("payees", [1, 15])
def test_one_transaction_pays_one_and_fifteen(rig: MoneroRig, payees: int) -> None:
    fund(rig, 1)
    outputs = [payee(rig, XMR // 100 + number) for number in range(payees)]
    tx = rig.send(*outputs)
    assert len(read_blob(tx.raw).outputs) == payees + 1
    rig.mine()
    assert [rig.received(output.address) for output in outputs] == [output.units for output in outputs]
    assert balance(rig) == XMR - sum(output.units for output in outputs) - tx.fee_units


def test_sixteen_payees_and_the_same_one_twice_are_refused(rig: MoneroRig) -> None:
    output = payee(rig)
    with pytest.raises(ValueError, match="one to fifteen"):
        rig.propose(*(replace(output, address=rig.outside_address()) for _ in range(16)))
    with pytest.raises(ValueError, match="different addresses"):
        rig.propose(output, output)
    with pytest.raises(ValueError, match="nothing else"):
        rig.wallet.propose(Spend((output,), token="0x00"), rig.rate, rig.rate_max)


def test_payees_of_every_kind_are_paid_and_checked(rig: MoneroRig) -> None:
    fund(rig, 2)
    outputs = [payee(rig), Output(rig.payer.address, XMR // 50), payee(rig), Output(rig.address(7), XMR // 20)]
    proposal = rig.propose(*outputs)
    assert proposal.own_payees == (rig.address(7),)
    tx = rig.sign(proposal, *outputs)
    rig.wallet.broadcast(tx)
    rig.mine()
    assert [rig.received(output.address) for output in outputs[::2]] == [XMR // 10] * 2


def test_a_proposal_names_the_deposits_and_the_change_behind_it(rig: MoneroRig) -> None:
    [key] = fund(rig, 1)
    first = rig.propose(payee(rig))
    assert (first.spends, len(first.resources)) == ((key,), 1)
    sent = rig.send(payee(rig))
    rig.mine(10)
    assert rig.propose(payee(rig)).spends == (f"{sent.txid}:0:0",)


def test_excluded_deposits_and_key_images_are_left_alone(rig: MoneroRig) -> None:
    keys = fund(rig, 3)
    first = rig.propose(payee(rig))
    rest = set(keys) - set(first.spends)
    spared = rest.pop()
    second = rig.propose(payee(rig), excluded=[*first.resources, spared])
    assert set(second.spends) == rest
    with pytest.raises(InsufficientHotFunds):
        rig.propose(payee(rig), excluded=keys)
    assert rig.wallet.held() == frozenset()
    assert balance(rig) == 3 * XMR


def test_two_prepared_payments_cannot_share_an_output_once_it_is_held(rig: MoneroRig) -> None:
    fund(rig, 2)
    first = rig.propose(payee(rig))
    shared = rig.propose(payee(rig), excluded=set(_images(rig)) - set(first.resources))
    assert shared.resources == first.resources  # nothing keeps them apart yet
    rig.wallet.hold(first.resources)
    second = rig.propose(payee(rig))
    assert not set(second.resources) & set(first.resources)
    rig.wallet.hold(second.resources)
    with pytest.raises(InsufficientHotFunds):
        rig.propose(payee(rig))


def _images(rig: MoneroRig) -> list[str]:
    return [coin["key_image"] for coin in rig.rpc("incoming_transfers", transfer_type="available")["transfers"]]


def test_holds_survive_a_kill_of_the_wallet(rig: MoneroRig) -> None:
    fund(rig, 2)
    first = rig.propose(payee(rig))
    rig.wallet.hold(first.resources)
    rig.ground.wallet_rpc.kill()
    rig.ground.wallet_rpc.start()
    assert rig.wallet.held() == set(first.resources)
    assert not set(rig.propose(payee(rig)).resources) & set(first.resources)


def test_locked_and_short_are_told_apart_with_the_time(rig: MoneroRig) -> None:
    fund(rig, 1)
    with pytest.raises(InsufficientHotFunds) as short:
        rig.propose(payee(rig, 2 * XMR))
    assert not isinstance(short.value, FundsLocked)
    rig.send(payee(rig))
    for mined, blocks in ((0, 10), (1, 9), (3, 6)):
        if mined:
            rig.mine(mined)
        with pytest.raises(FundsLocked) as locked:
            rig.propose(payee(rig, XMR // 2))
        assert locked.value.blocks == blocks
    with pytest.raises(InsufficientHotFunds) as short:
        rig.propose(payee(rig, XMR))
    assert not isinstance(short.value, FundsLocked)
    rig.mine(6)
    assert rig.propose(payee(rig, XMR // 2))


def test_an_outsiders_money_on_its_way_is_no_reason_to_wait(rig: MoneroRig) -> None:
    fund(rig, 1)
    rig.pay(Output(rig.address(5), 5 * XMR))
    with pytest.raises(InsufficientHotFunds) as short:
        rig.propose(payee(rig, 3 * XMR))
    assert not isinstance(short.value, FundsLocked)


def test_a_fee_above_the_ceiling_is_refused(rig: MoneroRig) -> None:
    fund(rig, 1)
    with pytest.raises(WalletBusy):
        rig.propose(payee(rig), rate=10, rate_max=1_000)
    assert rig.propose(payee(rig), rate=10**9).fee_units <= 1_600 * rig.rate_max


def test_an_address_that_the_wallet_refuses_is_named(rig: MoneroRig) -> None:
    fund(rig, 1)
    with pytest.raises(InvalidAddress):
        rig.propose(Output(rig.foreign_address, XMR // 10))


def test_only_what_pays_the_very_payment_is_signed(rig: MoneroRig) -> None:
    fund(rig, 2)
    output = payee(rig)
    proposal = rig.propose(output)
    other = rig.propose(payee(rig), excluded=proposal.resources)
    fields = json.loads(proposal.payload)
    other_fields = json.loads(other.payload)
    for name in ("blob", "metadata", "tx_key", "txid", "key_images"):
        forged = json.dumps(fields | {name: other_fields[name]})
        with pytest.raises(NodeProtocolError):
            rig.sign(replace(proposal, payload=forged), output)
    with pytest.raises(NodeProtocolError):
        rig.sign(proposal, replace(output, address=rig.outside_address()))
    with pytest.raises(NodeProtocolError):
        rig.wallet.sign(proposal, Spend((output,), targets=(HOT,)))
    assert rig.sign(proposal, output).txid == fields["txid"]


def test_money_that_stays_ours_goes_to_the_address_that_the_keys_name(rig: MoneroRig) -> None:
    fund(rig, 1)
    hot, other = rig.hot_address(), rig.address(4)
    good = Spend((Output(hot, XMR // 4), Output(hot, XMR // 5)), targets=(HOT, HOT))
    tx = rig.wallet.sign(rig.wallet.propose(good, rig.rate, rig.rate_max), good)
    bad = Spend((Output(other, XMR // 4),), targets=(5,))
    proposal = rig.wallet.propose(bad, rig.rate, rig.rate_max)
    with pytest.raises(NodeProtocolError, match="not the one named"):
        rig.wallet.sign(proposal, bad)
    assert rig.wallet.sign(proposal, replace(bad, targets=(4,))).txid
    rig.wallet.broadcast(tx)
    rig.mine()
    assert balance(rig) == XMR - tx.fee_units


def test_a_payment_of_the_last_unit_needs_no_change(rig: MoneroRig) -> None:
    """Then the wallet adds an output of nothing to nobody."""
    fund(rig, 1)
    fee = rig.propose(payee(rig)).fee_units
    output = payee(rig, XMR - fee)
    tx = rig.send(output)
    rig.mine()
    assert (tx.fee_units, rig.received(output.address), balance(rig)) == (fee, XMR - fee, 0)


# Accounts that keep their own money


@pytest.fixture
def apart(monero_ground: MoneroGround) -> Iterator[MoneroRig]:
    rig = MoneroRig(monero_ground, layout="account")
    yield rig
    rig.close()


def sweep_of(rig: MoneroRig, index: int, held_units: int) -> Spend:
    terms = rig.wallet.sweep_terms()
    units = held_units - terms.weight * rig.rate
    return Spend((Output(terms.hot_address, units),), sources=(index,), targets=(HOT,))


def test_an_index_is_swept_to_the_hot_wallet_and_what_the_fee_leaves_stays_there(apart: MoneroRig) -> None:
    txid = apart.pay(*(Output(apart.address(1), XMR) for _ in range(4)), Output(apart.address(2), XMR))
    apart.mine(10)
    spend = sweep_of(apart, 1, 4 * XMR)
    proposal = apart.wallet.propose(spend, apart.rate, apart.rate)
    assert set(proposal.spends) == {f"{txid}:2:0"}
    assert proposal.own_payees == (apart.hot_address(),)
    apart.wallet.hold(proposal.resources)
    assert apart.wallet.held() == set(proposal.resources)
    tx = apart.wallet.sign(proposal, spend)
    apart.wallet.broadcast(tx)
    apart.mine(10)
    [output] = spend.outputs
    left = 4 * XMR - output.units - tx.fee_units
    assert left >= 0
    balance = apart.wallet.balance(indices=[1, 2])
    assert balance.at_index == {1: left, 2: XMR}
    assert balance.spendable_units == output.units
    assert apart.rpc("get_balance", account_index=0)["balance"] == output.units


def test_holds_of_an_index_are_found_by_a_worker_that_did_not_make_them(apart: MoneroRig) -> None:
    apart.pay(Output(apart.address(1), XMR), Output(apart.address(2), XMR))
    apart.mine(10)
    made = []
    for index in (1, 2):
        proposal = apart.wallet.propose(sweep_of(apart, index, XMR), apart.rate, apart.rate)
        apart.wallet.hold(proposal.resources)
        made += proposal.resources
    apart.ground.wallet_rpc.kill()
    apart.ground.wallet_rpc.start()
    assert apart.new_adapter().held() == set(made)
    with pytest.raises(InsufficientHotFunds):
        apart.wallet.propose(sweep_of(apart, 1, XMR), apart.rate, apart.rate)
    apart.new_adapter().free(made)
    assert apart.wallet.held() == frozenset()


def test_money_of_two_indices_is_never_moved_together(apart: MoneroRig, rig: MoneroRig) -> None:
    two = Spend((payee(rig), payee(rig)), sources=(1, 2))
    for wallet in (apart.wallet, rig.wallet):
        with pytest.raises(ValueError, match="one account"):
            wallet.propose(two, rig.rate, rig.rate_max)
    with pytest.raises(ValueError, match="one account"):
        rig.wallet.propose(replace(two, sources=(1, 1)), rig.rate, rig.rate_max)
    with pytest.raises(LookupError):
        rig.wallet.sweep_terms()
