"""What a look at books and chain reads, and how often."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from jobs.reconcile import books
from jobs.reconcile.chain import reconcile, survey
from ledger.errors import NodeNotReady
from ledger.schema import chain
from tests.flows.engine import Engine
from tests.flows.ethereum_engine import ETHER, EthereumEngine


def test_a_scan_that_is_behind_is_waited_for_and_not_hurried(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    wallet, asked = engine.services.wallet("bitcoin"), []
    real = wallet.deposits_since

    def behind(cursor: str | None) -> Any:
        asked.append(cursor)
        return replace(real(cursor), more=True)

    monkeypatch.setattr(wallet, "deposits_since", behind)
    with pytest.raises(NodeNotReady):
        reconcile(engine.services, "bitcoin")
    assert len(asked) == 1


def test_an_index_whose_deposit_the_books_have_is_not_asked_again(ethereum: EthereumEngine) -> None:
    ethereum.set_policy(sweep_minimum_units=10 * ETHER)
    [before] = [row.scan_cursor for row in ethereum.rows(chain) if row.name == "ethereum"]
    home = ethereum.address(ethereum.funded(ETHER))
    scanned_to = chain.update().where(chain.c.name == "ethereum").values(scan_cursor=before)
    ethereum.database.run(lambda tx: tx.execute(scanned_to), "t")  # the node tells of it once more
    page = ethereum.services.wallet("ethereum").deposits_since(before)
    assert [(each.address, each.units) for each in page.deposits] == [(home.address, ETHER)]
    coin = survey(ethereum.services, "ethereum", most=0).looks[0]
    assert (coin.report.unread_units, coin.report.unexplained_units) == (ETHER, 0)
    assert home.idx not in coin.balance.at_index


def test_what_customers_have_is_summed_and_may_move_among_them_while_one_looks(engine: Engine) -> None:
    for units in (1_000_000, 2_000_000):
        engine.funded(units)
    [report] = reconcile(engine.services, "bitcoin")
    assert report.owed_to_customers_units == 3_000_000
    found = engine.database.read(partial(books.read, chain="bitcoin", apart=False))
    other = replace(found, assets=[replace(each, owed=each.owed + 1) for each in found.assets])
    assert other.signature() == found.signature()
