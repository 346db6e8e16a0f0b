"""Payments on a real monerod and monero-wallet-rpc: what only these two show."""

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
    NodeUnavailable,
    TransactionRefused,
    WalletBusy,
)
from tests.contract.monero_rig import WALLET_PASSWORD, MoneroGround, MoneroRig
from wallets.monero.blob import read_blob
from wallets.monero.prepared import Prepared
from wallets.protocol import HOT, Output, Spend, TxState

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


# Proposals and signatures


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


# Sending


def test_sending_a_confirmed_payment_again_leaves_no_ghost(rig: MoneroRig) -> None:
    """`relay_tx` would: the second call here shows that the wallet still does that, in a file of its own."""
    fund(rig, 2)
    tx = rig.send(payee(rig))
    rig.mine(2)
    rest = 2 * XMR - XMR // 10 - tx.fee_units
    rig.proxy.requests.clear()
    rig.wallet.broadcast(tx)
    rig.new_adapter().broadcast(tx)
    assert not any(b"relay_tx" in request for request in rig.proxy.requests)
    assert balance(rig) == rest
    assert rig.state(tx) is TxState.CONFIRMED
    rig.rpc("relay_tx", hex=Prepared.read(tx.payload).metadata)
    assert balance(rig) > rest, "this version of the wallet leaves no ghosts: the guard may be simplified"


@pytest.mark.parametrize("acted", [True, False])
def test_a_lost_reply_of_the_wallet_is_settled_by_sending_again(rig: MoneroRig, acted: bool) -> None:
    fund(rig, 1)
    output = payee(rig)
    tx = rig.make(output)
    rig.wallet.hold(tx.resources)
    rig.lose_reply("broadcast", acted=acted)
    with pytest.raises(NodeUnavailable):
        rig.wallet.broadcast(tx)
    assert rig.state(tx) is (TxState.POOL if acted else TxState.UNKNOWN)
    rig.wallet.broadcast(tx)
    rig.mine()
    assert rig.received(output.address) == output.units
    assert balance(rig) == XMR - output.units - tx.fee_units


def test_a_payment_that_the_wallet_forgot_in_a_kill_is_not_made_twice(rig: MoneroRig) -> None:
    """Killed after the daemon took it and before `store`: its output stays held."""
    fund(rig, 1)
    output = payee(rig)
    tx = rig.make(output)
    rig.wallet.hold(tx.resources)
    rig.rpc("relay_tx", hex=Prepared.read(tx.payload).metadata)
    rig.ground.wallet_rpc.kill()
    rig.ground.wallet_rpc.start()
    assert rig.wallet.held() == set(tx.resources)
    with pytest.raises(InsufficientHotFunds):
        rig.propose(payee(rig))
    rig.wallet.broadcast(tx)
    rig.mine(1)
    assert (rig.received(output.address), balance(rig)) == (output.units, XMR - output.units - tx.fee_units)


@pytest.mark.parametrize("when", ["prepared", "held", "sent"])
def test_a_kill_of_the_wallet_at_any_step_pays_once(rig: MoneroRig, when: str) -> None:
    fund(rig, 2)
    output = payee(rig)
    tx = rig.make(output)
    if when != "prepared":
        rig.wallet.hold(tx.resources)
    if when == "sent":
        rig.wallet.broadcast(tx)
    rig.ground.wallet_rpc.kill()
    rig.ground.wallet_rpc.start()
    rig.wallet.hold(tx.resources)
    rig.wallet.broadcast(tx)
    rig.wallet.broadcast(tx)
    rig.mine(2)
    assert rig.state(tx) is TxState.CONFIRMED
    assert (rig.received(output.address), balance(rig)) == (output.units, 2 * XMR - output.units - tx.fee_units)


def test_a_wallet_restored_from_its_seed_sends_what_the_lost_one_prepared(rig: MoneroRig) -> None:
    """The metadata means nothing to it, the bytes all (FAULTS D10)."""
    fund(rig, 2)
    output = payee(rig)
    tx = rig.make(output)
    rig.wallet.hold(tx.resources)
    restored = _restored(rig)
    rig.proxy.requests.clear()
    restored.wallet.hold(tx.resources)
    restored.wallet.broadcast(tx)
    assert not any(b"relay_tx" in request for request in rig.proxy.requests)
    assert restored.state(tx) is TxState.POOL
    rig.mine(2)
    restored.wallet.broadcast(tx)
    assert restored.status(tx).depth == 2
    assert (rig.received(output.address), balance(rig)) == (output.units, 2 * XMR - output.units - tx.fee_units)


def _restored(rig: MoneroRig) -> MoneroRig:
    """The same keys in a new file, as after the loss of the old one; open from here on."""
    seed = rig.rpc("query_key", key_type="mnemonic")["key"]
    name = f"{rig.name}-restored"
    rig.rpc("restore_deterministic_wallet", filename=name, password=WALLET_PASSWORD, seed=seed, restore_height=0)
    rig.rpc("refresh")
    rig.wallet = rig.new_adapter(name)
    rig.wallet.open()
    return rig


def test_a_payment_lives_through_a_restart_of_both_programs(rig: MoneroRig) -> None:
    fund(rig, 1)
    output = payee(rig)
    prepared = rig.make(output)
    rig.wallet.hold(prepared.resources)
    rig.restart()
    rig.wallet.broadcast(prepared)
    rig.restart()
    assert rig.state(prepared) in (TxState.POOL, TxState.UNKNOWN)
    rig.wallet.broadcast(prepared)
    rig.mine()
    assert rig.received(output.address) == output.units


def test_the_wallets_own_failed_does_not_count(rig: MoneroRig) -> None:
    """A payment that left the pool: the wallet may call it failed; it is nowhere, and is sent again (FAULTS D8)."""
    fund(rig, 1)
    output = payee(rig)
    tx = rig.send(output)
    rig.evict(tx.txid)
    status = rig.status(tx)
    assert (status.state, status.conflicting) == (TxState.UNKNOWN, ())
    rig.wallet.broadcast(tx)
    assert rig.state(tx) is TxState.POOL
    rig.mine()
    assert rig.received(output.address) == output.units
    assert balance(rig) == XMR - output.units - tx.fee_units


def test_the_loser_of_two_that_share_an_output_is_conflicted(rig: MoneroRig) -> None:
    fund(rig, 1)
    winner, loser = rig.make(payee(rig)), rig.make(payee(rig))
    rig.wallet.broadcast(winner)
    with pytest.raises(TransactionRefused) as refused:
        rig.wallet.broadcast(loser)
    assert not refused.value.invalid
    assert (rig.state(loser), rig.status(loser).conflicting) == (TxState.UNKNOWN, (winner.txid,))
    rig.mine(3)
    with pytest.raises(TransactionRefused):
        rig.wallet.broadcast(loser)
    status = rig.status(loser)
    assert (status.state, status.depth, status.conflicting) == (TxState.CONFLICTED, 3, (winner.txid,))


def test_bytes_and_metadata_of_two_payments_are_not_mixed(rig: MoneroRig) -> None:
    """A tampered row cannot make `relay_tx` send another transaction than the one that was checked."""
    fund(rig, 2)
    tx = rig.make(payee(rig))
    other = rig.make(payee(rig))
    metadata = Prepared.read(other.payload).metadata
    forged = replace(Prepared.read(tx.payload), metadata=metadata).payload()
    for wrong in (replace(tx, payload=forged), replace(tx, raw=other.raw), replace(tx, payload=other.payload)):
        with pytest.raises(NodeProtocolError):
            rig.wallet.broadcast(wrong)
    assert rig.node.pool() == []
