"""What an operator says of a restored installation holds for what was looked into, and for nothing that came later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

from cli import quarantine as commands
from jobs.services import Services
from ledger.schema import account, halt, index_counter, outgoing, ready_address
from tests.ops.installation import Installation
from tests.ops.test_backup_drill import Drill, backed_up
from wallets.fake.addresses import derive


@pytest.fixture
def drill(install: Callable[..., Installation]) -> Drill:
    found = Drill(install())
    backed_up(found)
    found.lose(record=False)
    found.restore()
    return found


def test_an_address_further_than_those_set_aside_is_given_once(drill: Drill) -> None:
    """Made ahead, and given out in the lost life: the next account would have got it as well."""
    database, engine = drill.shop.database, drill.engine
    counter = select(index_counter.c.next_index).where(index_counter.c.chain == "bitcoin")
    index = int(database.read(lambda tx: tx.value(counter))) + 1
    text = derive(f"fakepub:coffer/{index}")
    made = insert(ready_address).values(chain="bitcoin", idx=index, address=text)
    database.run(lambda tx: tx.execute(made), "t")
    owner = engine.row(account, engine.account("newcomer")).public_id
    drill.shop.said("quarantine", "give", text, owner, "--asset", "BTC")
    assert database.read(lambda tx: tx.value(counter)) == index + 1
    others = [engine.address(engine.account()).idx for _ in range(3)]
    assert others == [index + 1, index + 2, index + 3]


def test_what_left_after_the_comparison_is_not_accepted_with_it(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    lift = commands.lift

    def late(services: Services, *given: Any) -> Any:
        values = {"chain": "bitcoin", "name": "stranger", "resources": ["s:0"], "state": "unknown", "seen_at": 1}
        services.database.run(lambda tx: tx.execute(insert(outgoing).values(values)), "t")
        return lift(services, *given)

    with monkeypatch.context() as patch:
        patch.setattr(commands, "lift", late)
        said = drill.shop.refused("quarantine", "lift", "bitcoin", "--accept", "the drill")
    assert "not looked into: stranger" in said
    assert [row.cause for row in drill.engine.rows(halt)] == ["restored"]
    assert [row.state for row in drill.engine.rows(outgoing) if row.name == "stranger"] == ["unknown"]
    drill.shop.said("quarantine", "lift", "bitcoin", "--accept", "the drill, and the stranger")
    assert [row.state for row in drill.engine.rows(outgoing) if row.name == "stranger"] == ["accepted"]
