"""Whom a prepared Monero transaction pays is read from its bytes; the samples were made by monero-wallet-rpc."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import NodeProtocolError
from wallets.monero.blob import Blob, read_blob
from wallets.monero.prepared import Prepared
from wallets.monero.verify import Ours, Receiver, check_payees
from wallets.protocol import Output

NAMES = ["one payee", "one subaddress", "payees of both kinds and ourselves", "nothing left for change"]
MIXED = "payees of both kinds and ourselves"


@cache
def samples() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("monero_transactions.json").read_text("ascii"))
    return found


def sample(name: str) -> tuple[Blob, str, list[Output]]:
    found = samples()["transactions"][name]
    return read_blob(found["blob"]), found["tx_key"], [Output(*pair) for pair in found["paid"]]


def ours() -> Ours:
    primary = Receiver.of(samples()["primary"])
    return Ours(primary, primary, bytes.fromhex(samples()["view_secret"]))


def prepared(name: str) -> Prepared:
    found = samples()["transactions"][name]
    return Prepared(
        txid=found["txid"],
        blob=found["blob"],
        metadata=f"01{found['blob']}00",
        tx_key=found["tx_key"],
        key_images=tuple(found["key_images"]),
        fee_units=found["fee_units"],
        weight=1507,
        account=0,
        destinations=tuple((address, units) for address, units in found["paid"]),
        wallet="ab",
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_tell_what_the_wallet_said(name: str) -> None:
    blob, found = sample(name)[0], samples()["transactions"][name]
    assert (blob.txid, blob.fee_units) == (found["txid"], found["fee_units"])
    assert list(blob.key_images) == found["key_images"]


@pytest.mark.parametrize("name", NAMES)
def test_each_payment_and_the_change_are_found(name: str) -> None:
    assert check_payees(*sample(name), ours()) is (name != "nothing left for change")


@pytest.mark.parametrize("name", NAMES)
def test_another_amount_or_payee_is_noticed(name: str) -> None:
    blob, key, paid = sample(name)
    stranger = samples()["transactions"]["one payee"]["paid"][0][0]
    for place, output in enumerate(paid):
        others = [replace(output, units=output.units + 1), replace(output, units=output.units - 1)]
        if output.address != stranger:
            others.append(replace(output, address=stranger))
        for other in others:
            with pytest.raises(NodeProtocolError, match="does not pay"):
                check_payees(blob, key, [*paid[:place], other, *paid[place + 1 :]], ours())


def test_a_payment_too_many_or_too_few_is_noticed() -> None:
    blob, key, paid = sample(MIXED)
    with pytest.raises(NodeProtocolError, match="does not pay"):
        check_payees(blob, key, [*paid, paid[0]], ours())
    with pytest.raises(NodeProtocolError, match="other outputs"):
        check_payees(blob, key, paid[1:], ours())
    with pytest.raises(NodeProtocolError, match="other outputs"):
        check_payees(*sample("one payee")[:2], [], ours())


@pytest.mark.parametrize("name", NAMES[:3])
def test_change_to_somebody_else_is_noticed(name: str) -> None:
    blob, key, paid = sample(name)
    paid = [output for output in paid if output.address != samples()["primary"]]
    if name == MIXED:  # what was ours is somebody's now, and one too many
        with pytest.raises(NodeProtocolError, match="other outputs"):
            check_payees(blob, key, paid, replace(ours(), view_secret=bytes([7, *[0] * 31])))
        return
    assert check_payees(blob, key, paid, replace(ours(), view_secret=bytes([7, *[0] * 31]))) is False
    assert check_payees(blob, key, paid, replace(ours(), change=Receiver.of(paid[0].address))) is False


def test_an_output_that_its_payee_could_not_find_or_open_is_no_payment() -> None:
    blob, key, paid = sample("one payee")
    other = sample("one subaddress")[0]
    spoilt = [replace(blob, public_key=other.public_key)]
    for name in ("key", "amount", "commitment", "view_tag"):
        value = bytes([blob.outputs[0].view_tag[0] ^ 1]) if name == "view_tag" else getattr(other.outputs[0], name)
        one, two = (replace(output, **{name: value}) for output in blob.outputs)
        spoilt.append(replace(blob, outputs=(one, two)))
    for forged in spoilt:
        with pytest.raises(NodeProtocolError):
            check_payees(forged, key, paid, ours())
    with pytest.raises(NodeProtocolError):
        check_payees(blob, sample("one subaddress")[1], paid, ours())
    for wrong in ("", "zz", key[2:], key + key):
        with pytest.raises(NodeProtocolError):
            check_payees(blob, wrong, paid, ours())


def test_bytes_cut_off_added_or_changed_are_noticed() -> None:
    raw = samples()["transactions"][MIXED]["blob"]
    for broken in (
        "",
        "00",
        raw[:-2],
        raw + "00",
        raw[2:],
        "zz" + raw,
        raw[:-1],
        "02" + "01" + raw[4:],
        "01" + raw[2:],
    ):
        with pytest.raises(NodeProtocolError):
            read_blob(broken)
    good = prepared(MIXED)
    for at in range(0, len(raw), 2):
        changed = f"{raw[:at]}{int(raw[at : at + 2], 16) ^ 1:02x}{raw[at + 2 :]}"
        with pytest.raises(NodeProtocolError):
            replace(good, blob=changed, metadata=f"01{changed}00").checked()


def test_a_prepared_transaction_survives_being_stored() -> None:
    for name in NAMES:
        stored = Prepared.read(prepared(name).payload())
        assert stored == prepared(name)
        assert stored.payload() == prepared(name).payload()
        assert stored.checked().txid == stored.txid


def test_a_stored_transaction_that_contradicts_itself_is_refused() -> None:
    good, other = prepared("one payee"), prepared("one subaddress")
    wrong = [
        replace(good, txid=other.txid),
        replace(good, blob=other.blob),
        replace(good, metadata=other.metadata),
        replace(good, key_images=("ab" * 32,)),
        replace(good, key_images=good.key_images * 2),
        replace(good, fee_units=good.fee_units + 1),
    ]
    for forged in wrong:
        with pytest.raises(NodeProtocolError):
            Prepared.read(forged.payload()).checked()
    for text in (
        "",
        "[]",
        "{}",
        good.payload().replace('"weight"', '"size"'),
        good.payload().replace("1507", '"1507"'),
    ):
        with pytest.raises(NodeProtocolError):
            Prepared.read(text)
