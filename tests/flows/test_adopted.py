"""A candidate that comes back after a restore is written like any other change of its payment."""

from __future__ import annotations

from sqlalchemy import update

from jobs.backup import adopt
from jobs.payment import sealed
from ledger.schema import payment
from tests.flows.engine import Engine
from wallets.protocol import SignedTransaction


def test_a_payment_that_moved_since_it_was_read_keeps_its_later_version(engine: Engine) -> None:
    row_id = engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick(2)
    row = engine.payment_of(row_id)
    engine.database.run(lambda tx: tx.execute(update(payment).values(version=row.version + 5)), "t")
    found = SignedTransaction("lost", "00", 900, tuple(row.proposal["resources"]), "draft")
    kept = sealed.seal(engine.services, row, found)
    engine.database.run(lambda tx: adopt._store(tx, row, kept), "t")
    after = engine.payment_of(row_id)
    assert (after.candidates, after.version) == (row.candidates + 1, row.version + 6)
