"""Signed bytes at rest: what the database holds of them pays nobody, and looks up everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobs.payment import sealed
from jobs.row_mac import RowMac, Unsealable
from jobs.signer import SignerRefused
from wallets.protocol import Proposal, SignedTransaction

MAC = RowMac(b"m" * 32)
PROPOSAL = Proposal(("coin:0",), 7, '{"blob": "beef"}', 9)


def services(mac: RowMac = MAC) -> Any:
    return SimpleNamespace(require_mac=lambda: mac)


def row(public_id: str = "pay_1") -> Any:
    named = SimpleNamespace(public_id=public_id)
    return SimpleNamespace(public_id=public_id, proposal=sealed.seal_proposal(services(), named, PROPOSAL))


def stored(signed: SignedTransaction) -> Any:
    return SimpleNamespace(txid=signed.txid, raw=signed.raw, payload=signed.payload, fee_units=signed.fee_units)


@pytest.mark.parametrize("payload", ["a draft without them", "a wallet's file with beef in it"])
def test_signed_bytes_are_read_back_and_cannot_be_read_without_the_key(payload: str) -> None:
    signed = SignedTransaction("t1", "beef", 7, ("coin:0",), payload)
    kept = sealed.seal(services(), row(), signed)
    assert "beef" not in kept.raw + kept.payload
    assert (kept.payload == payload) == ("beef" not in payload)  # what it takes to look it up stays readable
    assert sealed.opened(services(), row(), stored(kept)) == signed


def test_bytes_of_another_payment_another_name_or_another_key_are_refused() -> None:
    signed = SignedTransaction("t1", "beef", 7, ("coin:0",), "draft")
    kept = stored(sealed.seal(services(), row(), signed))
    renamed = SimpleNamespace(**(vars(kept) | {"txid": "t2"}))
    plain = SimpleNamespace(**(vars(kept) | {"raw": "beef"}))
    for key, payment, found in ((MAC, "pay_2", kept), (MAC, "pay_1", renamed), (MAC, "pay_1", plain)):
        with pytest.raises(SignerRefused) as refused:
            sealed.opened(services(key), row(payment), found)
        assert refused.value.code == "bytes_changed"
    with pytest.raises(SignerRefused):
        sealed.opened(services(RowMac(b"n" * 32)), row(), kept)


def test_a_proposal_may_hold_signed_bytes_and_is_sealed_whole() -> None:
    kept = row()
    assert "beef" not in kept.proposal["payload"]
    assert sealed.opened_proposal(services(), kept) == PROPOSAL
    with pytest.raises(SignerRefused):
        sealed.opened_proposal(services(), SimpleNamespace(public_id="pay_2", proposal=kept.proposal))


@pytest.mark.parametrize("text", ["", "sealed:", "sealed:!!", "sealed:AAAA", "beef"])
def test_what_was_never_sealed_is_not_opened(text: str) -> None:
    with pytest.raises(Unsealable):
        MAC.unseal(text, "x")
