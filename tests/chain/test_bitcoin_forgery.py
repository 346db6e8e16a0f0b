"""Proposals that someone with write access to the database might have put there: the signer's process refuses them.

Each is well formed, pays the payee, and names its own inputs and fee truthfully; one thing is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from ledger.errors import NodeProtocolError
from tests.contract.bitcoin_rig import BitcoinRig
from wallets.bitcoin.psbt import SEQUENCE, outpoint_of
from wallets.bitcoin.reply import btc_of
from wallets.protocol import Output, Proposal, Spend

COIN = 10**8
FEE = 1_000
PAID = 30_000_000


@dataclass
class Forgery:
    """What a forger writes into the PSBT beside the payee."""

    resources: list[str]
    change: list[Output] = field(default_factory=list)
    sequence: int = SEQUENCE
    locktime: int = 0

    def proposal(self, rig: BitcoinRig, payee: Output) -> Proposal:
        inputs = [{**outpoint_of(resource), "sequence": self.sequence} for resource in self.resources]
        outputs = [{output.address: btc_of(output.units)} for output in (payee, *self.change)]
        bare = rig.rpc("createpsbt", inputs, outputs, self.locktime)
        filled: dict[str, Any] = rig.rpc("walletprocesspsbt", bare, False)
        return Proposal(tuple(self.resources), FEE, filled["psbt"], FEE)


def left(inputs: int = 1) -> int:
    return inputs * COIN - PAID - FEE


def test_an_honest_proposal_built_the_same_way_is_signed(rig: BitcoinRig) -> None:
    payee = Output(rig.outside_address(), PAID)
    honest = Forgery([rig.fund(0, COIN)], [Output(rig.rpc("getrawchangeaddress", "bech32"), left())])
    signed = rig.wallet.sign(honest.proposal(rig, payee), Spend((payee,)))
    rig.wallet.broadcast(signed)
    assert signed.txid in rig.node.admin("getrawmempool")


def test_change_that_does_not_come_back_to_us_is_refused(rig: BitcoinRig) -> None:
    key, payee = rig.fund(0, COIN), Output(rig.outside_address(), PAID)
    for thief in (rig.outside_address(), rig.address(9), rig.rpc("getrawchangeaddress", "legacy")):
        with pytest.raises(NodeProtocolError, match="change does not come back"):
            rig.wallet.sign(Forgery([key], [Output(thief, left())]).proposal(rig, payee), Spend((payee,)))


def test_more_than_one_change_output_is_refused(rig: BitcoinRig) -> None:
    key, payee = rig.fund(0, COIN), Output(rig.outside_address(), PAID)
    change = [Output(rig.rpc("getrawchangeaddress", "bech32"), left() // 2) for _ in range(2)]
    with pytest.raises(NodeProtocolError, match="one change output at most"):
        rig.wallet.sign(Forgery([key], change).proposal(rig, payee), Spend((payee,)))


@pytest.mark.parametrize(("sequence", "locktime"), [(0xFFFFFFFF, 0), (0xFFFFFFFE, 0), (SEQUENCE, 500_000), (10, 0)])
def test_a_transaction_that_could_not_be_replaced_or_mined_now_is_refused(
    rig: BitcoinRig, sequence: int, locktime: int
) -> None:
    payee = Output(rig.outside_address(), PAID)
    change = [Output(rig.rpc("getrawchangeaddress", "bech32"), left())]
    forged = Forgery([rig.fund(0, COIN)], change, sequence, locktime)
    with pytest.raises(NodeProtocolError, match="sequence or locktime"):
        rig.wallet.sign(forged.proposal(rig, payee), Spend((payee,)))


def test_an_input_that_lets_others_change_the_txid_is_refused(rig: BitcoinRig) -> None:
    payee = Output(rig.outside_address(), PAID)
    for kind in ("legacy", "p2sh-segwit"):
        address = rig.rpc("getnewaddress", "", kind)
        txid = rig.pay(Output(address, COIN))
        rig.mine()
        key = rig.key_of(txid, address)
        forged = Forgery([key], [Output(rig.rpc("getrawchangeaddress", "bech32"), left())])
        with pytest.raises(NodeProtocolError, match="not native segwit"):
            rig.wallet.sign(forged.proposal(rig, payee), Spend((payee,)))


def test_a_fee_or_an_input_that_the_row_does_not_name_is_refused(rig: BitcoinRig) -> None:
    first, second = rig.fund(0, COIN), rig.fund(1, COIN)
    payee = Output(rig.outside_address(), PAID)
    change = rig.rpc("getrawchangeaddress", "bech32")
    burning = Forgery([first], [Output(change, left() - COIN // 2)]).proposal(rig, payee)
    with pytest.raises(NodeProtocolError, match="another fee"):
        rig.wallet.sign(burning, Spend((payee,)))
    wider = Forgery([first, second], [Output(change, left(2))]).proposal(rig, payee)
    hidden = Proposal((first,), FEE, wider.payload, FEE)
    with pytest.raises(NodeProtocolError, match="other inputs"):
        rig.wallet.sign(hidden, Spend((payee,)))
    with pytest.raises(NodeProtocolError):
        rig.wallet.sign(Proposal((first,), FEE, "not a psbt", FEE), Spend((payee,)))


def test_an_input_that_is_not_ours_is_refused(rig: BitcoinRig) -> None:
    """Its amount is not known to our wallet, so the fee cannot be what the row says."""
    [coin] = rig.node.admin("listunspent", 1, 9999999, [], False, {"maximumCount": 1}, wallet="miner")
    foreign = f"{coin['txid']}:{coin['vout']}"
    payee = Output(rig.outside_address(), PAID)
    forged = Forgery([rig.fund(0, COIN), foreign], [Output(rig.rpc("getrawchangeaddress", "bech32"), left())])
    with pytest.raises(NodeProtocolError):
        rig.wallet.sign(forged.proposal(rig, payee), Spend((payee,)))
