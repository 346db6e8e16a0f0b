"""The signer signs what committed rows say, once a payment, and never more in a day than its own cap."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs import signer as signer_module
from jobs.row_mac import RowMac
from jobs.signer import Signer, SignerRefused, SignRequest

MAC = RowMac(b"m" * 32)
CAP = 1_000_000


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
    given = given | {"fee_units": fee, "resources": ["coin:0"]} | more
    given.setdefault("outputs", list(given["items"].values()))
    return SignRequest(payment_id=payment, fee_max_units=fee, withdrawals=rows, **given)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Signer]:
    return lambda cap=CAP: Signer(tmp_path / "signer", MAC, {"BTC": cap})


def recorded(folder: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "signer" / "signed.sqlite3")) as record:
        return record.execute("SELECT payment, units FROM signed ORDER BY at, payment").fetchall()


def test_a_payment_as_committed_is_admitted_and_recorded(make: Callable[..., Signer], tmp_path: Path) -> None:
    make().admit(ask(row(1), row(2)))
    assert recorded(tmp_path) == [("pay_1", "201000")]


@pytest.mark.parametrize(
    "changes",
    [{"units": 100_001}, {"address": "thief"}, {"reference": "x"}, {"account_id": 9}, {"project_id": 9},
     {"fee_units": 0}, {"mac": "0" * 64}, {"mac": ""}, {"public_id": "wd_9"}, {"chain": "other"}],
    ids=str,
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
    assert recorded(tmp_path) == [("pay_1", "101000")]


def test_the_same_payment_with_another_sum_is_refused(make: Callable[..., Signer], tmp_path: Path) -> None:
    make().admit(ask(row(1)))
    with pytest.raises(SignerRefused) as refused:
        make().admit(ask(row(1), row(2)))
    assert refused.value.code == "payload_changed"
    assert recorded(tmp_path) == [("pay_1", "101000")]


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
    assert not make().contradicts(ask(row(1)))
    other = ask(row(1), resources=["coin:1"])
    with pytest.raises(SignerRefused) as refused:
        make().admit(other)
    assert refused.value.code == "payload_changed"
    assert make().contradicts(other)
    assert not make().contradicts(ask(row(1), payment="pay_2"))
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
        signer.release("pay_1")
    signer.admit(ask(row(1), payment="pay_2"))
    signer.admit(ask(row(2), payment="pay_3"))
    for number in (1, 2):
        with pytest.raises(SignerRefused) as refused:
            make().admit(ask(row(number), payment="pay_4"))
        assert refused.value.code == "signed_before"
    assert len(recorded(tmp_path)) == 3


def test_releasing_a_payment_that_was_never_signed_does_nothing(make: Callable[..., Signer], tmp_path: Path) -> None:
    make().release("pay_9")
    assert recorded(tmp_path) == []


def test_the_cap_counts_a_day_of_all_payments_with_fees(
    make: Callable[..., Signer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [1_800_000_000]
    monkeypatch.setattr(signer_module.time, "time", lambda: clock[0])
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
    assert [p for p, _ in recorded(tmp_path)] == ["a", "b", "c"]


def test_an_asset_without_a_cap_is_never_signed(tmp_path: Path) -> None:
    with pytest.raises(SignerRefused) as refused:
        Signer(tmp_path / "signer", MAC, {}).admit(ask(row(1)))
    assert refused.value.code == "outflow_cap"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE signed SET units = '0'",
        "DELETE FROM signed",
        "REPLACE INTO signed (payment, asset, units, payload, at) VALUES ('pay_1', 'BTC', '0', '', 0)",
        "UPDATE signed_withdrawal SET payment = 'x'",
        "DELETE FROM signed_withdrawal",
        "UPDATE released SET payment = 'pay_1'",
        "DELETE FROM released",
    ],
)
def test_the_record_is_append_only(make: Callable[..., Signer], tmp_path: Path, statement: str) -> None:
    make().admit(ask(row(1)))
    with closing(sqlite3.connect(tmp_path / "signer" / "signed.sqlite3")) as record:
        record.execute("INSERT INTO released VALUES ('pay_0', 0)")
        record.commit()
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            record.execute(statement)
    assert recorded(tmp_path) == [("pay_1", "101000")]


def test_the_record_is_its_owners_alone(make: Callable[..., Signer], tmp_path: Path) -> None:
    make()
    assert (tmp_path / "signer").stat().st_mode & 0o077 == 0


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
