"""Fees that someone with write access to the database would have the hot wallet pay past the signer's cap."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, update

from jobs.payment.contents import contents, sign_request
from jobs.signer import SignerRefused
from ledger.schema import payment, payment_item
from ledger.schema import withdrawal as withdrawals
from tests.flows.engine import Engine
from tests.flows.test_tampering import reserved


@pytest.mark.parametrize("name", ["fee_units", "fee_max_units"])
def test_a_proposal_with_another_fee_than_the_signer_counts_is_never_signed(engine: Engine, name: str) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    payment_id = reserved(engine, row_id)
    kept = dict(engine.row(payment, payment_id).proposal)
    changed = update(payment).where(payment.c.id == payment_id).values(proposal=kept | {name: kept[name] + 1})
    engine.database.run(lambda tx: tx.execute(changed), "t")
    engine.tick()
    row = engine.row(payment, payment_id)
    assert (row.state, row.status_reason, row.candidates) == ("dead", "fee_mismatch", 0)
    assert engine.chain.pool == ()


def test_fees_count_against_the_cap_of_the_coin_that_pays_them(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    row = engine.row(payment, reserved(engine, row_id))
    values = {column.name: getattr(row, column.name) for column in payment.c if column.name != "id"}
    disguised = values | {"public_id": "pay_disguised", "fee_asset": "XMR", "settlements": 0}
    copy_id = engine.database.run(lambda tx: tx.insert(insert(payment).values(disguised)), "t")
    items = {"payment_id": copy_id, "withdrawal_id": row_id, "live": None}
    items |= {"address": engine.row(withdrawals, row_id).address, "units": 100_000}
    engine.database.run(lambda tx: tx.execute(insert(payment_item).values(items)), "t")
    copy = engine.row(payment, copy_id)
    request = engine.database.read(lambda tx: sign_request(copy, contents(tx, copy)))
    with pytest.raises(SignerRefused) as refused:
        engine.services.require_signer().check(request)
    assert refused.value.code == "fee_asset_mismatch"
