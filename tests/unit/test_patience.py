"""An operator's booking whose COMMIT may or may not have happened is made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.patience import surely
from jobs.resolve import accounts as resolve_accounts
from jobs.swap import inventory
from ledger import accounts, balances, crashpoint, postings
from ledger.db import Database, Tx
from ledger.errors import CommitUnknown, DatabaseUnavailable
from ledger.postings import Leg
from tests import databases

CAPITAL = 10**8


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(databases.sqlite_url(tmp_path, tmp_path / "template.sqlite3"))
    legs = [Leg(accounts.house("treasury_hot"), accounts.house("capital"), CAPITAL)]
    found.run(lambda tx: postings.post(tx, "t", "deposit", "BTC", legs, ("test", 0)), "t")
    yield found
    crashpoint.listen(None)
    found.close()


def losing(place: str, *errors: Exception) -> None:
    """The reply at this place is lost, or worse, so many times."""
    left = list(errors)

    def listen(name: str) -> None:
        if name == place and left:
            raise left.pop(0)

    crashpoint.listen(listen)


@pytest.mark.parametrize("place", ["fund.before_commit", "fund.after_commit"])
def test_capital_is_moved_once_whether_its_commit_stood_or_not(database: Database, place: str) -> None:
    losing(place, CommitUnknown("lost"))
    key = inventory.new_key()
    surely(database, lambda tx: inventory.fund(tx, "BTC", CAPITAL, "ann", key), "fund")
    assert database.read(lambda tx: balances.of_house(tx, "BTC")["inventory"]) == CAPITAL


def test_a_loss_is_booked_once(database: Database) -> None:
    losing("loss.after_commit", CommitUnknown("lost"))
    key = resolve_accounts.loss_key()
    surely(database, lambda tx: resolve_accounts.book_loss(tx, "BTC", 70, "t", "ann", key), "loss")
    assert database.read(lambda tx: balances.of_house(tx, "BTC")["reorg_loss"]) == -70


def test_where_nobody_can_tell_the_operator_is_told_to_look(database: Database) -> None:
    losing("u.after_commit", CommitUnknown("lost"))
    told: list[Tx] = []

    def unit(tx: Tx) -> None:
        if told:
            raise DatabaseUnavailable("gone")
        told.append(tx)

    with pytest.raises(CommitUnknown, match="look at `coffer audit`"):
        surely(database, unit, "u")
