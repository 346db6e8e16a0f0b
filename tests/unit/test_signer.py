"""The signer signs what committed rows say, once a payment, and never more of an asset in a day than its own cap."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.row_mac import RowMac
from jobs.signer import Signer, SignerRefused, SignRequest
from jobs.signer.entries import KEYS
from jobs.signer.record import FILE, Record, RecordMissing
from jobs.signer.signer import Learnt, Leftover
from wallets.protocol import SignedTransaction

MAC = RowMac(b"m" * 32)
CAP = 1_000_000
COLD = {"bitcoin": "cold1", "ethereum": "cold2"}
CALL = {"chain": "ethereum", "to": None, "data": "0x6000", "note": "Sweeper"}


def row(row_id: int = 1, **changes: Any) -> SimpleNamespace:
    """A withdrawal as the API committed it, then changed by hand."""
    values: dict[str, Any] = {
        "public_id": f"wd_{row_id}", "project_id": 1, "account_id": 1, "asset": "BTC", "chain": "bitcoin",
        "units": 100_000, "fee_units": 2_000, "address": f"payee{row_id}", "reference": f"r{row_id}",
        "approvals_needed": changes.pop("approvals_needed", 0), "created_by": 7,
    }  # fmt: skip
    return SimpleNamespace(**(values | {"id": row_id, "mac": MAC.withdrawal(values)} | changes))


def ask(*rows: SimpleNamespace, payment: str = "pay_1", fee: int = 1_000, **more: Any) -> SignRequest:
    given: dict[str, Any] = {"items": {r.id: (r.address, r.units) for r in rows}, "approvals": {}, "asset": "BTC"}
    given = given | {"fee_units": fee, "resources": [f"{payment}:0"]} | more
    given.setdefault("outputs", list(given["items"].values()))
    given.setdefault("chain", "bitcoin" if given["asset"] == "BTC" else "")
    return SignRequest(payment_id=payment, fee_max_units=fee, withdrawals=rows, **given)


def own(purpose: str, *outputs: tuple[str, int], payment: str = "pay_1", **more: Any) -> SignRequest:
    """A payment that pays no customer, on Ethereum: its fee is in ETH."""
    given: dict[str, Any] = {"asset": "ETH", "fee_asset": "ETH", "fee_units": 700, "fee_max_units": 1_000}
    given |= {"resources": ["nonce:0"], "withdrawals": (), "items": {}, "approvals": {}, "chain": "ethereum"}
    return SignRequest(payment_id=payment, outputs=list(outputs), purpose=purpose, **(given | more))


def ordered(payment: str = "pay_1", **changes: Any) -> SignRequest:
    """A contract call with the MAC that its operator gave it, then changed by hand."""
    return own("call", payment=payment, **({"call": CALL, "mac": MAC.call(payment, CALL)} | changes))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Signer]:
    return lambda cap=CAP, **caps: Signer(tmp_path / "signer", MAC, {"BTC": cap, "ETH": CAP} | caps, COLD)


def recorded(folder: Path) -> list[tuple[Any, ...]]:
    """(payment, asset, units) of all that was let out, in order; what was signed and lets nothing out has no units."""
    with closing(sqlite3.connect(folder / "signer" / FILE)) as record:
        joined = "SELECT s.payment, o.asset, SUM(o.units) FROM signed s LEFT JOIN outflow o ON o.payment = s.payment"
        found = record.execute(f"{joined} GROUP BY s.number, o.asset ORDER BY s.number, o.asset").fetchall()
    return [(payment, asset, None if units is None else str(int(units))) for payment, asset, units in found]


def refusal(signer: Signer, request: SignRequest) -> str:
    """The word with which a request is refused, by both of the signer's questions unless the cap alone is at stake."""
    with pytest.raises(SignerRefused) as refused:
        signer.admit(request)
    return refused.value.code


def test_a_payment_as_committed_is_admitted_and_recorded(make: Callable[..., Signer], tmp_path: Path) -> None:
    make().admit(ask(row(1), row(2)))
    assert recorded(tmp_path) == [("pay_1", "BTC", "201000")]


@pytest.mark.parametrize(
    "changes",
    [{"units": 100_001}, {"address": "thief"}, {"reference": "x"}, {"account_id": 9}, {"project_id": 9},
     {"fee_units": 0}, {"mac": "0" * 64}, {"mac": ""}, {"public_id": "wd_9"}, {"chain": "other"}],
    ids="-".join,  # the columns
)  # fmt: skip
def test_a_row_changed_by_hand_is_refused(make: Callable[..., Signer], tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(row(1), row(2, **changes)))
    assert (refused.value.code, refused.value.withdrawal_id) == ("mac_mismatch", 2)
    assert recorded(tmp_path) == []


@pytest.mark.parametrize(
    "items", [{1: ("thief", 100_000)}, {1: ("payee1", 99_999)}, {1: ("payee1", 100_001)}, {2: ("payee1", 100_000)}, {}]
)
def test_a_payment_of_something_else_is_refused(
    make: Callable[..., Signer], tmp_path: Path, items: dict[int, tuple[str, int]]
) -> None:
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(row(1), items=items))
    assert refused.value.code == "item_mismatch"
    assert recorded(tmp_path) == []


def test_an_output_that_no_withdrawal_asked_for_is_refused(make: Callable[..., Signer], tmp_path: Path) -> None:
    items = {1: ("payee1", 100_000), 7: ("thief", 5_000)}
    with pytest.raises(SignerRefused):
        make().admit(ask(row(1), items=items))
    assert recorded(tmp_path) == []


@pytest.mark.parametrize("extra", [("thief", 5_000), ("payee1", 100_000), ("payee1", 1)])
def test_an_output_beside_those_of_the_withdrawals_is_refused(
    make: Callable[..., Signer], tmp_path: Path, extra: tuple[str, int]
) -> None:
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(row(1), outputs=[("payee1", 100_000), extra]))
    assert refused.value.code == "item_mismatch"
    assert recorded(tmp_path) == []


def test_a_withdrawal_named_twice_is_refused(make: Callable[..., Signer], tmp_path: Path) -> None:
    with pytest.raises(SignerRefused):
        make().admit(ask(row(1), row(1)))
    assert recorded(tmp_path) == []


def test_another_assets_withdrawal_is_refused(make: Callable[..., Signer]) -> None:
    with pytest.raises(SignerRefused):
        make().admit(ask(row(1), asset="ETH"))


def test_approvals_are_counted_by_the_signer_itself(make: Callable[..., Signer], tmp_path: Path) -> None:
    wanted = row(1, approvals_needed=2)
    ann, bob = (("ann", MAC.approval(wanted.mac, "ann")), ("bob", MAC.approval(wanted.mac, "bob")))
    forged, elsewhere = ("eve", "0" * 64), ("bob", MAC.approval(row(2, approvals_needed=2).mac, "bob"))
    for given in ([], [ann], [ann, ann], [ann, forged], [ann, elsewhere], [("bob", ann[1]), ann]):
        with pytest.raises(SignerRefused) as refused:
            make().admit(ask(wanted, approvals={1: given}))
        assert refused.value.code == "approvals_missing"
    assert recorded(tmp_path) == []
    make().admit(ask(wanted, approvals={1: [ann, bob]}))
    assert len(recorded(tmp_path)) == 1


def test_lowering_the_approvals_needed_breaks_the_mac(make: Callable[..., Signer]) -> None:
    wanted = row(1, approvals_needed=2)
    wanted.approvals_needed = 0
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(wanted))
    assert refused.value.code == "mac_mismatch"


def test_the_same_payment_twice_counts_once(make: Callable[..., Signer], tmp_path: Path) -> None:
    signer = make(150_000)
    for _ in range(3):
        signer.admit(ask(row(1)))
    make(150_000).admit(ask(row(1)))
    assert recorded(tmp_path) == [("pay_1", "BTC", "101000")]


def test_the_same_payment_with_another_sum_is_refused(make: Callable[..., Signer], tmp_path: Path) -> None:
    make().admit(ask(row(1)))
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(row(1), row(2)))
    assert refused.value.code == "payload_changed"
    assert recorded(tmp_path) == [("pay_1", "BTC", "101000")]


def test_the_same_payment_to_others_is_refused(make: Callable[..., Signer], tmp_path: Path) -> None:
    """Same id and same sum, other payees: as a restored or altered database could ask."""
    make().admit(ask(row(1)))
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(row(2)))
    assert refused.value.code == "payload_changed"
    assert len(recorded(tmp_path)) == 1


def test_the_same_payment_from_other_coins_is_refused(make: Callable[..., Signer], tmp_path: Path) -> None:
    """Both could confirm. A database restored to before its coins were chosen would ask so."""
    make().admit(ask(row(1)))
    assert refusal(make(), ask(row(1), resources=["coin:1"])) == "payload_changed"
    assert len(recorded(tmp_path)) == 1


def test_a_fee_above_the_payments_own_ceiling_is_refused(make: Callable[..., Signer], tmp_path: Path) -> None:
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(row(1), fee=1_000, fee_units=1_001))
    assert refused.value.code == "fee_above_ceiling"
    assert recorded(tmp_path) == []


def test_one_withdrawal_is_not_signed_in_two_payments(make: Callable[..., Signer], tmp_path: Path) -> None:
    """Unless the record is told that the first is dead: FAULTS 2.3, rule 19."""
    make().admit(ask(row(1), payment="pay_1"))
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(row(1), payment="pay_2"))
    assert refused.value.code == "signed_before"
    assert len(recorded(tmp_path)) == 1


def test_a_released_payments_withdrawals_may_be_signed_in_another(make: Callable[..., Signer], tmp_path: Path) -> None:
    signer = make()
    signer.admit(ask(row(1), row(2), payment="pay_1"))
    for _ in range(2):
        signer.release("pay_1", "unsent")
    signer.admit(ask(row(1), payment="pay_2"))
    signer.admit(ask(row(2), payment="pay_3"))
    for number in (1, 2):
        with pytest.raises(SignerRefused) as refused:
            make().admit(ask(row(number), payment="pay_4"))
        assert refused.value.code == "signed_before"
    assert len(recorded(tmp_path)) == 3


def test_releasing_a_payment_that_was_never_signed_does_nothing(make: Callable[..., Signer], tmp_path: Path) -> None:
    make().release("pay_9", "unsent")
    assert recorded(tmp_path) == []


def test_the_cap_counts_a_day_of_all_payments_with_fees(
    make: Callable[..., Signer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [1_800_000_000]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    signer = make(202_000)
    signer.admit(ask(row(1), payment="a"))
    signer.admit(ask(row(2), payment="b"))
    for fee in (0, 1_000):
        with pytest.raises(SignerRefused) as refused:
            signer.admit(ask(row(3), payment="c", fee=fee))
        assert (refused.value.code, refused.value.withdrawal_id) == ("outflow_cap", None)
    clock[0] += 86_399
    with pytest.raises(SignerRefused):
        signer.admit(ask(row(3), payment="c"))
    clock[0] += 2
    signer.admit(ask(row(3), payment="c"))
    assert [p for p, *_ in recorded(tmp_path)] == ["a", "b", "c"]


def test_an_asset_without_a_cap_is_never_signed(tmp_path: Path) -> None:
    with pytest.raises(SignerRefused) as refused:
        Signer(tmp_path / "signer", MAC, {}).admit(ask(row(1)))
    assert refused.value.code == "outflow_cap"


@pytest.mark.parametrize("table", list(KEYS))
@pytest.mark.parametrize("verb", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "REPLACE INTO {0} SELECT * FROM {0}"])
def test_the_record_is_append_only(make: Callable[..., Signer], tmp_path: Path, table: str, verb: str) -> None:
    signer = full(make)
    with closing(sqlite3.connect(tmp_path / "signer" / FILE)) as record:
        assert record.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] > 0
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            record.execute(verb.format(table, f'"{KEYS[table][0]}"'))
    assert signer.faults() == []


def full(make: Callable[..., Signer]) -> Signer:
    """A signer whose record has every kind of entry."""
    signer = make(USDT=CAP)
    signer.found("in_1")
    signer.admit(ask(row(1)))
    signer.note(ask(row(1)), signed())
    signer.leave("pay_1", signed())
    signer.admit(ask_token(token_row(2), payment="pay_2", resources=["nonce:0"]))
    signer.release("pay_2", "unsent")
    request = ask(row(3), payment="pay_3", resources=["k1", "k2"])
    signer.admit(request)
    for bytes_ in (signed("t3", "k1", "k2"), signed("t4", "k1")):
        signer.note(request, bytes_)
    signer.spare("pay_3", signed("t4", "k1"))
    return signer


def signed(txid: str = "t1", *resources: str, raw: str = "00") -> SignedTransaction:
    return SignedTransaction(txid, raw, 700, resources or ("pay_1:0",), "draft")


def test_the_record_is_its_owners_alone(make: Callable[..., Signer], tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        full(make)
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.rglob("*") if path.stat().st_mode & 0o077] == []


def test_parallel_requests_cannot_pass_the_cap(make: Callable[..., Signer], tmp_path: Path) -> None:
    signer, start = make(303_000), threading.Barrier(8)
    refused: list[str] = []

    def admit(number: int) -> None:
        start.wait()
        try:
            signer.admit(ask(row(number), payment=f"pay_{number}"))
        except SignerRefused as error:
            refused.append(error.code)

    threads = [threading.Thread(target=admit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert refused == ["outflow_cap"] * 5
    assert len(recorded(tmp_path)) == 3


def _admit_many(folder: Path, first: int, start: Any) -> None:
    signer = Signer(folder / "signer", MAC, {"BTC": 505_000})
    start.wait()
    for number in range(first, first + 5):
        try:
            signer.admit(ask(row(number), payment=f"pay_{number}"))
        except SignerRefused:
            continue


def test_two_processes_share_one_record(make: Callable[..., Signer], tmp_path: Path) -> None:
    """Opened at the same moment, asked for the same payments and for others: the cap holds and none counts twice."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    processes = [context.Process(target=_admit_many, args=(tmp_path, first, start)) for first in (1, 4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(recorded(tmp_path)) == 5


# Payments that pay no customer


@pytest.mark.parametrize("purpose", ["sweep", "gas", "split"])
def test_money_that_stays_ours_needs_an_own_index_behind_each_output(
    make: Callable[..., Signer], tmp_path: Path, purpose: str
) -> None:
    """The wallet proves each index by its keys; an output without one could be anybody's."""
    for targets in ((), (-1,), (-1, 4, 5)):
        assert refusal(make(), own(purpose, ("a", 5), ("b", 6), targets=targets)) == "target_missing"
    assert recorded(tmp_path) == []
    make().admit(own(purpose, ("a", 5), ("b", 6), targets=(-1, 4)))
    assert recorded(tmp_path) == [("pay_1", "ETH", "1000")]


def test_using_up_a_nonce_pays_nobody(make: Callable[..., Signer], tmp_path: Path) -> None:
    assert refusal(make(), own("fill", ("thief", 5))) == "target_missing"
    make().admit(own("fill"))
    assert recorded(tmp_path) == [("pay_1", "ETH", "1000")]


@pytest.mark.parametrize("purpose", ["sweep", "gas", "split", "fill", "cold", "call"])
def test_only_a_withdrawals_payment_pays_withdrawals(make: Callable[..., Signer], tmp_path: Path, purpose: str) -> None:
    paid = row(1)
    disguised = ask(paid, purpose=purpose, targets=(-1,), chain="ethereum", call=CALL, mac=MAC.call("pay_1", CALL))
    assert refusal(make(), disguised) == "item_mismatch"
    assert recorded(tmp_path) == []


@pytest.mark.parametrize("more", [{"targets": (-1,)}, {"call": CALL}], ids=str)
def test_a_withdrawals_payment_does_nothing_else(
    make: Callable[..., Signer], tmp_path: Path, more: dict[str, Any]
) -> None:
    assert refusal(make(), ask(row(1), **more)) == "item_mismatch"
    assert recorded(tmp_path) == []


@pytest.mark.parametrize(
    "outputs", [[("thief", 5)], [("cold1", 5)], [("cold2", 5), ("thief", 1)], [("cold2", 5), ("cold2", 1)], []]
)
def test_a_move_to_cold_pays_the_cold_address_of_its_chain_alone(
    make: Callable[..., Signer], tmp_path: Path, outputs: list[tuple[str, int]]
) -> None:
    assert refusal(make(), own("cold", *outputs)) == "cold_mismatch"
    assert refusal(make(), own("cold", ("cold2", 5), chain="monero")) == "cold_mismatch"
    assert refusal(make(), own("cold", ("cold2", 5), call=CALL)) == "cold_mismatch"
    assert recorded(tmp_path) == []


def test_a_move_to_cold_counts_its_fee_only(make: Callable[..., Signer], tmp_path: Path) -> None:
    make().admit(own("cold", ("cold2", 50 * CAP)))
    assert recorded(tmp_path) == [("pay_1", "ETH", "1000")]


@pytest.mark.parametrize(
    "changes",
    [
        {"mac": None},
        {"mac": "0" * 64},
        {"mac": MAC.call("pay_2", CALL)},
        {"call": CALL | {"to": "0xthief"}},
        {"call": CALL | {"data": "0x60ff"}},
        {"call": CALL | {"chain": "other"}},
        {"chain": "other"},
        {"call": None},
        {"outputs": [("thief", 5)]},
    ],
    ids=str,
)
def test_a_contract_call_is_signed_as_its_operator_ordered_it(
    make: Callable[..., Signer], tmp_path: Path, changes: dict[str, Any]
) -> None:
    outputs = changes.pop("outputs", [])
    request = ordered(**changes)
    assert refusal(make(), replace(request, outputs=outputs)) in ("call_mismatch", "mac_mismatch")
    assert recorded(tmp_path) == []


def test_a_contract_call_counts_its_fee(make: Callable[..., Signer], tmp_path: Path) -> None:
    make().admit(ordered())
    assert recorded(tmp_path) == [("pay_1", "ETH", "1000")]


def test_the_same_payment_with_another_call_is_refused(make: Callable[..., Signer]) -> None:
    make().admit(ordered())
    other = CALL | {"data": "0x6001"}
    assert refusal(make(), ordered(call=other, mac=MAC.call("pay_1", other))) == "payload_changed"


def test_the_same_sweep_to_another_index_is_refused(make: Callable[..., Signer]) -> None:
    make().admit(own("sweep", ("a", 5), targets=(-1,)))
    assert refusal(make(), own("sweep", ("a", 5), targets=(3,))) == "payload_changed"
    assert refusal(make(), own("gas", ("a", 5), targets=(-1,))) == "payload_changed"


# Tokens: the amount in one asset, the fee in another


def token_row(row_id: int = 1) -> SimpleNamespace:
    values = vars(row(row_id)) | {"asset": "USDT", "chain": "ethereum"}
    return SimpleNamespace(**(values | {"mac": MAC.withdrawal(values)}))


def ask_token(*rows: SimpleNamespace, **more: Any) -> SignRequest:
    given = {"asset": "USDT", "fee_asset": "ETH", "token": "0xc1", "chain": "ethereum"}
    return ask(*rows, **(given | more))


def test_a_tokens_fee_is_counted_in_the_chains_coin(make: Callable[..., Signer], tmp_path: Path) -> None:
    make(USDT=CAP).admit(ask_token(token_row()))
    assert recorded(tmp_path) == [("pay_1", "ETH", "1000"), ("pay_1", "USDT", "100000")]


def test_either_cap_holds_a_token_back(make: Callable[..., Signer], tmp_path: Path) -> None:
    for caps in ({"USDT": 99_999}, {"USDT": CAP, "ETH": 999}, {}):
        assert refusal(make(**caps), ask_token(token_row())) == "outflow_cap"
    assert recorded(tmp_path) == []


def test_a_token_that_is_swept_needs_a_cap_for_its_fee_only(make: Callable[..., Signer], tmp_path: Path) -> None:
    make().admit(own("sweep", ("a", 5), targets=(-1,), asset="USDT", token="0xc1"))
    assert recorded(tmp_path) == [("pay_1", "ETH", "1000")]


def test_an_asset_stands_for_the_contract_that_it_was_first_signed_with(
    make: Callable[..., Signer], tmp_path: Path
) -> None:
    signer = make(USDT=CAP, USDC=CAP)
    signer.admit(ask_token(token_row(1)))
    again = ask_token(token_row(2), payment="pay_2")
    assert refusal(signer, replace(again, token="0xc2")) == "token_changed"
    assert len(recorded(tmp_path)) == 2
    signer.admit(again)


def test_a_token_that_lost_its_contract_is_not_paid_in_the_coin(make: Callable[..., Signer]) -> None:
    paid = own("gas", ("0x1", 10**18), targets=(1,), asset="USDT", token=None)
    assert refusal(make(), paid) == "token_changed"
    make().check(replace(paid, token="0xc1"))


# The record: what was signed, left and was let go


def test_the_same_order_under_another_id_is_refused(make: Callable[..., Signer]) -> None:
    """A shop repeats a call that a restored database has lost: another withdrawal, the same project and reference."""
    make().admit(ask(row(1)))
    again = row(1)
    values = vars(again) | {"id": 2, "public_id": "wd_2", "address": "elsewhere"}
    again = SimpleNamespace(**(values | {"mac": MAC.withdrawal(values)}))
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(again, payment="pay_2"))
    assert (refused.value.code, refused.value.withdrawal_id) == ("order_signed_before", 2)
    make().release("pay_1", "unsent")
    make().admit(ask(again, payment="pay_2"))


def test_a_coin_serves_one_payment_until_it_is_let_go(make: Callable[..., Signer]) -> None:
    make().admit(ask(row(1)))
    other = ask(row(2), payment="pay_2", resources=["pay_1:0"])
    assert refusal(make(), other) == "resource_bound"
    make().release("pay_1", "dead")
    make().admit(other)


def remade(signer: Signer) -> tuple[SignedTransaction, SignedTransaction]:
    """The bytes of a payment of three coins, and those that were made anew from two of them."""
    request = ask(row(1), resources=["k1", "k2", "k3"])
    first, second = signed("c1", "k1", "k2", "k3"), signed("c2", "k1", "k2", raw="02")
    signer.admit(request)
    for each in (first, second):
        signer.note(request, each)
    signer.leave("pay_1", second)
    return first, second


def test_what_the_settled_bytes_leave_over_serves_others(make: Callable[..., Signer]) -> None:
    signer = make()
    first, second = remade(signer)
    others = {key: ask(row(2), payment="pay_2", resources=[key]) for key in ("k1", "k2", "k3")}
    assert {refusal(signer, each) for each in others.values()} == {"resource_bound"}
    assert signer.left_over("pay_1", first) == Leftover(frozenset(), frozenset())
    assert signer.left_over("pay_1", second) == Leftover(frozenset({"k3"}), frozenset())
    assert {refusal(signer, each) for each in others.values()} == {"resource_bound"}
    head = signer.spare("pay_1", second)
    assert (signer.spare("pay_1", second), signer.left_over("pay_1", second).free) == (head, frozenset())
    for key in ("k1", "k2"):
        assert refusal(signer, others[key]) == "resource_bound"
    signer.admit(others["k3"])
    assert refusal(signer, ask(row(3), payment="pay_3", resources=["k3"])) == "resource_bound"
    assert (signer.faults(), make().faults()) == ([], [])


def test_after_that_no_more_bytes_are_made_for_it(make: Callable[..., Signer]) -> None:
    """They could spend what is another's by now."""
    signer = make()
    _, second = remade(signer)
    signer.spare("pay_1", second)
    again = ask(row(1), resources=["k1", "k2", "k3"])
    with pytest.raises(SignerRefused) as refused:
        signer.note(again, signed("c3", "k1", "k3"))
    assert refused.value.code == "settled_for_good"
    signer.note(again, second)
    signer.check_sendable("pay_1", second)
    assert signer.learn([learnt(again, signed("c3", "k1", "k3"))]) == 0


def test_only_bytes_that_were_signed_leave_anything_over(make: Callable[..., Signer]) -> None:
    signer = make()
    _, second = remade(signer)
    others = [("pay_1", replace(second, raw="03")), ("pay_1", signed("c9", "k1")), ("pay_9", second)]
    for act in (signer.left_over, signer.spare):
        for payment, bytes_ in others:
            with pytest.raises(SignerRefused):
                act(payment, bytes_)
    signer.release("pay_1", "dead")
    with pytest.raises(SignerRefused):
        signer.spare("pay_1", second)


def test_what_bytes_beside_the_settled_ones_spend_is_kept(make: Callable[..., Signer]) -> None:
    """They share a resource with their payment, and none with these: both may confirm."""
    signer = make()
    request = ask(row(1), resources=["k1", "k2", "k3", "k4"])
    signer.admit(request)
    settled = signed("c2", "k1")
    for each in (signed("c1", "k1", "k2", "k3", "k4"), settled, signed("c3", "k2", raw="03")):
        signer.note(request, each)
    assert signer.left_over("pay_1", settled) == Leftover(frozenset({"k3", "k4"}), frozenset({"k2"}))
    signer.spare("pay_1", settled)
    assert refusal(signer, ask(row(2), payment="pay_2", resources=["k2"])) == "resource_bound"
    signer.admit(ask(row(2), payment="pay_2", resources=["k3"]))


def test_a_lowered_nonce_is_refused(make: Callable[..., Signer]) -> None:
    """What a lying node and a restored database agree about: nonce 4 is free. It was signed away before."""
    make().admit(own("sweep", ("a", 5), targets=(-1,), resources=["nonce:4"]))
    make().note(own("sweep", ("a", 5), targets=(-1,), resources=["nonce:4"]), signed("t1", "nonce:4"))
    again = own("sweep", ("b", 5), targets=(-1,), payment="pay_2", resources=["nonce:4"])
    assert refusal(make(), again) == "resource_bound"


def test_bytes_are_recorded_once_and_only_for_their_payment(make: Callable[..., Signer]) -> None:
    signer = make()
    with pytest.raises(SignerRefused, match="never admitted"):
        signer.note(ask(row(1)), signed())
    signer.admit(ask(row(1)))
    head = signer.note(ask(row(1)), signed())
    assert signer.note(ask(row(1)), signed()) == head
    for wrong, code in (
        (signed(raw="01"), "payload_changed"),
        (signed("t2", "pay_9:0"), "resource_mismatch"),
    ):
        with pytest.raises(SignerRefused) as refused:
            signer.note(ask(row(1)), wrong)
        assert refused.value.code == code
    signer.admit(ask(row(2), payment="pay_2"))
    with pytest.raises(SignerRefused, match="signed away"):
        signer.note(ask(row(1)), signed("t3", "pay_1:0", "pay_2:0"))
    with pytest.raises(SignerRefused, match="other contents"):
        signer.note(ask(row(1), resources=["pay_1:1"]), signed("t4"))
    known = signer.known("pay_1")
    assert known is not None
    assert [found.txid for found in known.candidates] == ["t1"]


def test_a_candidate_may_bind_more_which_then_serves_nobody_else(make: Callable[..., Signer]) -> None:
    signer = make()
    signer.admit(ask(row(1)))
    signer.note(ask(row(1)), signed("t1", "pay_1:0", "more:0"))
    assert refusal(signer, ask(row(2), payment="pay_2", resources=["more:0"])) == "resource_bound"
    assert signer.faults() == []


def test_only_what_was_signed_and_not_let_go_may_be_sent(make: Callable[..., Signer]) -> None:
    signer = make()
    for act in (signer.check_sendable, signer.leave):
        with pytest.raises(SignerRefused, match="does not know"):
            act("pay_1", signed())
    signer.admit(ask(row(1)))
    signer.note(ask(row(1)), signed())
    for act in (signer.check_sendable, signer.leave):
        with pytest.raises(SignerRefused, match="not what was signed"):
            act("pay_1", signed(raw="01"))
    signer.check_sendable("pay_1", signed())
    signer.admit(ask(row(2), payment="pay_2"))
    signer.note(ask(row(2), payment="pay_2"), signed("t2", "pay_2:0"))
    signer.release("pay_2", "unsent")
    for act in (signer.check_sendable, signer.leave):
        with pytest.raises(SignerRefused, match="let go"):
            act("pay_2", signed("t2", "pay_2:0"))


def test_what_may_have_left_is_let_go_by_the_chains_word_alone(make: Callable[..., Signer]) -> None:
    signer = make()
    signer.admit(ask(row(1)))
    signer.note(ask(row(1)), signed())
    signer.leave("pay_1", signed())
    with pytest.raises(SignerRefused, match="may have been sent"):
        signer.release("pay_1", "unsent")
    signer.release("pay_1", "dead")
    signer.admit(ask(row(1), payment="pay_2"))


def test_what_was_let_go_is_not_signed_again(make: Callable[..., Signer]) -> None:
    make().admit(ask(row(1)))
    make().release("pay_1", "unsent")
    assert refusal(make(), ask(row(1))) == "payload_changed"


@pytest.mark.parametrize("proof", ["unsent", "dead"])
def test_what_was_let_go_gives_its_cap_back(make: Callable[..., Signer], proof: str) -> None:
    signer = make(150_000)
    signer.admit(ask(row(1)))
    assert refusal(signer, ask(row(2), payment="pay_2")) == "outflow_cap"
    signer.release("pay_1", proof)
    signer.admit(ask(row(2), payment="pay_2"))
    assert refusal(signer, ask(row(3), payment="pay_3")) == "outflow_cap"


def test_a_reverted_payment_has_cost_its_fee(make: Callable[..., Signer]) -> None:
    signer = make(102_000)
    signer.admit(ask(row(1)))
    signer.release("pay_1", "reverted")
    signer.admit(ask(row(1), payment="pay_2"))
    assert refusal(make(202_000), ask(row(2), payment="pay_3")) == "outflow_cap"


def test_a_payment_that_the_record_knows_is_not_chosen_for_anew(make: Callable[..., Signer]) -> None:
    """A database from before its resources were chosen: some wallets sign while they choose."""
    make().admit(ask(row(1)))
    with pytest.raises(SignerRefused, match="resources are chosen"):
        make().check(ask(row(1), resources=[]))


def test_a_record_belongs_to_the_installation_that_founded_it(make: Callable[..., Signer]) -> None:
    make().found("in_1")
    make().found("in_2")
    assert make().record.installation() == "in_1"
    assert make().record.head().count == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entry SET body = replace(body, '100000', '100001')",
        "UPDATE entry SET at = at - 86400 WHERE number = 2",
        "DELETE FROM entry WHERE number = 3",
        "DELETE FROM entry WHERE kind = 'left'",
        "DELETE FROM bound",
        "UPDATE outflow SET units = '0'",
        "INSERT INTO released VALUES ('pay_1', 'dead', 0)",
        "INSERT INTO spared VALUES ('bitcoin', 'pay_1:0', 'pay_1')",
        "DELETE FROM spared",
        "DELETE FROM candidate",
    ],
)
def test_a_record_changed_by_hand_is_found_out(make: Callable[..., Signer], tmp_path: Path, damage: str) -> None:
    signer = full(make)
    assert signer.faults() == []
    with closing(sqlite3.connect(tmp_path / "signer" / FILE)) as record:
        for (name,) in record.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            record.execute(f"DROP TRIGGER {name}")
        assert record.execute(damage).rowcount > 0
        record.commit()
    assert make().faults() != []


def test_what_others_read_of_it_is_what_was_signed(make: Callable[..., Signer], tmp_path: Path) -> None:
    signer = full(make)
    record = Record.open(tmp_path / "signer")
    first, second, _ = record.payments()
    assert (first.payment, first.resources, first.withdrawals, first.orders) == (
        "pay_1",
        ("pay_1:0",),
        ("wd_1",),
        ("1:r1",),
    )
    assert (first.left, first.released, second.left, second.released) == (True, None, False, "unsent")
    assert [(c.txid, c.resources) for c in first.candidates] == [("t1", ("pay_1:0",))]
    assert (record.head(), record.faults()) == (signer.record.head(), [])
    assert [entry.kind for entry in record.since(1, "bitcoin")][:3] == ["signed", "candidate", "left"]
    with pytest.raises(RecordMissing):
        Record.open(tmp_path / "nowhere")


def test_a_copy_taken_while_it_is_in_use_is_whole(make: Callable[..., Signer], tmp_path: Path) -> None:
    signer = full(make)
    (tmp_path / "copy").mkdir()
    with (
        closing(sqlite3.connect(signer.record.path)) as source,
        closing(sqlite3.connect(tmp_path / "copy" / FILE)) as to,
    ):
        source.backup(to)
    copied = Record.open(tmp_path / "copy")
    assert (copied.head(), copied.faults()) == (signer.record.head(), [])


def test_a_copy_from_before_coins_were_spared_is_whole(make: Callable[..., Signer], tmp_path: Path) -> None:
    signer = make()
    remade(signer)
    with closing(sqlite3.connect(tmp_path / "signer" / FILE)) as record:
        record.execute("DROP TABLE spared")
    assert Record.open(tmp_path / "signer").faults() == []
    make().spare("pay_1", signed("c2", "k1", "k2", raw="02"))
    assert Record.open(tmp_path / "signer").faults() == []


# A record that takes a lost one's place


def test_a_new_record_learns_what_was_spared(make: Callable[..., Signer]) -> None:
    request = ask(row(1), resources=["k1", "k2", "k3"])
    many = learnt(request, signed("c1", "k1", "k2", "k3"), signed("c2", "k1", "k2", "k3"))
    for vague, spared in (({"c2"}, ()), ({"c2"}, ("k1", "k2", "k3"))):
        signer = make()
        signer.learn([replace(many, vague=vague, spared=spared)])
        assert signer.left_over("pay_1", many.signed[1]).free == frozenset()
    signer.admit(ask(row(2), payment="pay_2", resources=["k3"]))
    assert signer.faults() == []


def test_what_learnt_bytes_spend_is_not_known(make: Callable[..., Signer]) -> None:
    """A database keeps the coins of the first ones alone: of the others nothing is left over, and nothing dead."""
    signer, request = make(), ask(row(1), resources=["k1", "k2"])
    first, second = signed("c1", "k1", "k2"), signed("c2", "k1", "k2", raw="02")
    signer.learn([replace(learnt(request, first, second), vague={"c2"})])
    assert signer.left_over("pay_1", second) == Leftover(frozenset(), frozenset({"k1", "k2"}))
    assert signer.left_over("pay_1", first) == Leftover(frozenset(), frozenset())


def learnt(request: SignRequest, *bytes_: SignedTransaction, left: bool = True, age: int = 0) -> Learnt:
    bound = {resource for each in bytes_ for resource in each.resources}
    return Learnt(request, bytes_, bound, left, int(time.time()) - age)


def test_a_new_record_counts_what_left_within_a_day_and_nothing_older(make: Callable[..., Signer]) -> None:
    """However much was ever signed, the cap is of one day: a record that learnt all of it would sign nothing."""
    signer = make(202_000)
    for number, age in ((1, 86_401), (2, 7 * 86_400), (3, 86_300)):
        request = ask(row(number), payment=f"pay_{number}")
        assert signer.learn([learnt(request, signed(f"t{number}", f"pay_{number}:0"), age=age)]) == 1
    signer.admit(ask(row(4), payment="pay_4"))
    assert refusal(signer, ask(row(5), payment="pay_5")) == "outflow_cap"
    assert refusal(signer, ask(row(1), payment="pay_6")) == "signed_before"
    assert signer.faults() == []


def test_a_record_that_was_rolled_back_learns_the_bytes_since(make: Callable[..., Signer]) -> None:
    signer = make()
    signer.admit(ask(row(1)))
    bumped = signed("t2", "pay_1:0", "more:0")
    with pytest.raises(SignerRefused, match="not what was signed"):
        signer.check_sendable("pay_1", bumped)
    since = learnt(ask(row(1)), signed(), bumped, signed("t3", "pay_1:0", "more:0"))
    assert signer.learn([since]) == 1
    known = signer.known("pay_1")
    assert known is not None
    assert ([each.txid for each in known.candidates], known.left) == (["t1", "t2", "t3"], True)
    signer.check_sendable("pay_1", bumped)
    head = signer.record.head()
    assert (signer.learn([since]), signer.record.head()) == (0, head)
    assert refusal(signer, ask(row(2), payment="pay_2", resources=["more:0"])) == "resource_bound"
    assert signer.faults() == []


def test_what_a_record_let_go_or_knows_as_something_else_is_not_learnt(make: Callable[..., Signer]) -> None:
    signer = make()
    signer.admit(ask(row(1)))
    signer.admit(ask(row(2), payment="pay_2"))
    signer.release("pay_2", "unsent")
    others = [learnt(ask(row(3)), signed()), learnt(ask(row(2), payment="pay_2"), signed("t2", "pay_2:0"))]
    assert signer.learn(others) == 0
    for payment in ("pay_1", "pay_2"):
        known = signer.known(payment)
        assert known is not None
        assert (known.candidates, known.left) == ((), False)
