"""The brake and halts as an operator meets them: what is told, what is refused, and how it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from api.metrics import Metrics
from ledger.ids import new_id
from ledger.schema import audit, outgoing
from tests.flows.test_outgoing import by_hand
from tests.ops.installation import Installation
from wallets.fake import FakeWallet

Install = Callable[..., Installation]


@pytest.fixture
def here(install: Install) -> Installation:
    return install(dialect="sqlite")


def acts(here: Installation) -> list[tuple[str, str, str]]:
    return [(row.actor, row.action, row.target) for row in here.engine.rows(audit)]


def test_an_operator_halts_a_chain_and_lifts_it(here: Installation) -> None:
    row_id = here.engine.withdraw(here.engine.funded(1_000_000), 100_000)
    here.said("halt", "bitcoin", "--reason", "a strange noise", "--as", "ann")
    assert "already" in here.refused("halt", "bitcoin", "--reason", "again")
    here.engine.tick(2)
    status = json.loads(here.coffer("status", "--json").stdout)
    assert [(row["cause"], row["reason"], row["actor"]) for row in status["halts"]] == [
        ("operator", "a strange noise", "operator:ann")
    ]
    assert ("queued", "signing_halted") in {(row["state"], row["reason"]) for row in status["stuck"]}
    assert "HALTS" not in here.said("alarms")
    assert "not halted for chain_ahead" in here.refused("lift-halt", "bitcoin", "chain_ahead", "--reason", "x")
    assert here.said("lift-halt", "bitcoin", "operator", "--reason", "it was the cat") == "bitcoin signs again\n"
    here.engine.tick(2)
    assert here.engine.state(row_id) == "broadcast"
    assert acts(here)[-1][1:] == ("lift_halt", "bitcoin/operator")


def test_a_payment_by_hand_is_explained_accepted_and_its_loss_let_stand(here: Installation) -> None:
    row_id = here.engine.withdraw(here.engine.funded(1_000_000), 100_000)
    txid = by_hand(here.engine, 30_000)
    here.chain.mine(1)
    for work in ("scan", "reconcile", "reconcile"):
        here.engine.run_task(work)
    explained = here.said("explain", txid)
    assert "made by no payment here" in explained
    assert "coffer lift-halt bitcoin unknown_outgoing" in explained
    metrics = Metrics(here.database).text().decode()
    assert 'coffer_chain_halted{cause="unknown_outgoing",chain="bitcoin"} 1.0' in metrics
    assert 'coffer_reconciliation_units{asset="BTC",part="owed_to_customers"} 1e+06' in metrics
    assert 'coffer_paused{asset="BTC",flow="withdrawals"} 1.0' in metrics
    lifted = here.said("lift-halt", "bitcoin", "unknown_outgoing", "--reason", "ann paid the rent", "--as", "bob")
    assert lifted.splitlines() == [f"accepted: {txid}", "bitcoin signs again"]
    assert "ann paid the rent" in here.said("explain", txid)
    here.engine.tick(2)
    assert here.engine.state(row_id) == "queued"  # the money is missing all the same
    assert "unexplained" in here.refused("resume", "BTC", "withdrawals")
    here.said("resume", "BTC", "withdrawals", "--despite-difference", "the rent, to be booked", "--as", "bob")
    here.engine.tick(3)
    assert here.engine.state(row_id) == "broadcast"
    assert {("operator:bob", "accept_difference", "BTC"), ("operator:bob", "resume", "BTC/withdrawals")} <= set(
        acts(here)
    )


def test_what_left_and_nobody_looked_into_keeps_the_halt(here: Installation) -> None:
    """The halt names the first of them; an operator who knows of that one has not said a word about the other."""
    here.engine.funded(1_000_000)
    here.engine.funded(1_000_000)
    first = by_hand(here.engine, 30_000)
    here.engine.run_task("scan")
    second = by_hand(here.engine, 40_000)
    here.chain.mine(1)
    here.engine.run_task("scan")
    lift = ("lift-halt", "bitcoin", "unknown_outgoing", "--reason", "ann paid the rent")
    refused = here.refused(*lift)
    assert (second in refused, first in refused) == (True, False)
    assert {row.state for row in here.engine.rows(outgoing)} == {"unknown"}
    lifted = here.said(*lift, "--accept", second)
    assert lifted.splitlines() == [f"accepted: {first}", f"accepted: {second}", "bitcoin signs again"]


def test_a_wallet_of_another_installation_is_refused_until_it_is_claimed(here: Installation) -> None:
    other = new_id("in")
    wallet = FakeWallet(here.chain)
    wallet.mark(other)
    assert other in here.refused("reconcile", "BTC")
    assert other in here.said("claim-wallet", "bitcoin", "--reason", "its machine burnt", "--as", "ann")
    here.said("reconcile", "BTC")
    assert acts(here)[-1] == ("operator:ann", "claim_wallet", "bitcoin")
