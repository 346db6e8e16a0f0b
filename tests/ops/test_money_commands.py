"""Where money lies, on all chains, and the commands that look after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from devstack.anvil import CHAIN_ID, Anvil
from ledger.schema import audit, payment, task
from tests.flows.ethereum_engine import ETHER, EthereumEngine
from tests.ops.installation import Installation, log_of, wait_for

Install = Callable[..., Installation]

LATER = 4 * 10**15


@pytest.fixture
def here(install: Install) -> Installation:
    return install()


def due(here: Installation) -> set[str]:
    return {row.name for row in here.engine.rows(task) if row.due_at is not None and row.due_at < LATER}


def asleep(here: Installation) -> None:
    here.database.run(lambda tx: tx.execute(update(task).values(due_at=LATER)), "test")


def told(here: Installation, *arguments: str) -> Any:
    return json.loads(here.said(*arguments, "--json"))


# On the model chain


def test_resuming_wakes_the_work_of_every_chain(here: Installation) -> None:
    here.said("pause", "*", "*", "--reason", "a drill")
    asleep(here)
    here.said("resume", "*", "*")
    woken = here.database.read(lambda tx: tx.all(select(task.c.name)))
    assert {row.name for row in woken} >= {"batch:monero", "sweep:ethereum"}
    here.said("pause", "ETH", "sweeps", "--reason", "gas is dear")
    assert "gas is dear" in here.said("status")
    here.said("resume", "ETH", "sweeps")


def test_any_periodic_work_of_any_chain_is_run_at_will(here: Installation) -> None:
    asleep(here)
    here.said("tasks", "run", "watch:monero")
    assert due(here) == {"watch:monero"}
    assert "no task" in here.refused("tasks", "run", "watch:dogecoin")


def test_the_treasury_tells_where_money_lies(here: Installation) -> None:
    here.engine.funded(1_000_000)
    here.chain.fund(here.said("treasury", "address", "BTC", "--wait", "0").strip(), 70_000, blocks=6)
    refill = here.said("treasury", "address", "BTC", "--refill", "--wait", "0", "--as", "ada").strip()
    here.chain.fund(refill, 30_000, blocks=6)
    here.engine.tick()
    rows = {row["asset"]: row for row in told(here, "treasury", "status")["assets"]}
    assert (rows["BTC"]["hot"], rows["BTC"]["cold"]) == ("0.01100000 BTC", "-0.00030000 BTC")
    assert rows["ETH"]["hot"] == "0.000000000000000000 ETH"
    money = {row["asset"]: row for row in told(here, "status")["money"]}
    assert (money["BTC"]["hot"], money["BTC"]["owed"]) == ("0.01100000 BTC", "0.01000000 BTC")
    acts = [(act.actor, act.action) for act in here.engine.rows(audit)]
    assert ("operator:ada", "treasury.refill") in acts


def test_a_hot_address_waits_for_its_worker(here: Installation) -> None:
    assert "has not opened its wallet yet" in here.refused("treasury", "address", "ETH")


def test_sweeps_are_of_chains_where_money_lies_apart(here: Installation) -> None:
    assert "nothing lies on indices" in here.said("sweep", "list")
    assert "of ethereum only" in here.refused("sweep", "list", "bitcoin")
    asleep(here)
    here.said("sweep", "run", "--as", "ada")
    assert due(here) == {"sweep:ethereum"}
    act = here.engine.rows(audit)[-1]
    assert (act.actor, act.action, act.target) == ("operator:ada", "sweep.run", "ethereum")


def test_all_assets_are_reconciled_and_a_node_that_is_away_is_told(here: Installation) -> None:
    here.engine.funded(1_000_000)
    result = here.coffer("reconcile", "--json")
    assert result.exit_code == 1
    assert "COFFER_MONERO_WALLET_RPC_URL" in result.stderr
    assert "COFFER_ETHEREUM_RPC_URL" in result.stderr
    assert [(row["asset"], row["unexplained_units"]) for row in json.loads(result.stdout)] == [("BTC", 0)]
    for code in ("XMR", "ETH"):
        here.said("assets", "disable", code)
    assert [row["asset"] for row in told(here, "reconcile")] == ["BTC"]
    assert told(here, "reconcile", "BTC")["chain_total_units"] == 1_000_000
    assert "BTC AT BLOCK" in here.said("reconcile")


# On an EVM chain, where commands have no seed


@pytest.fixture
def ethereum(here: Installation, make_anvil: Callable[..., Anvil]) -> EthereumEngine:
    node = make_anvil(epoch_slots=4, keep_chain=False)
    folder = here.folder / "ethereum"
    folder.mkdir()
    engine = EthereumEngine(folder, here.database, node=node)
    here.variables |= {"COFFER_ETHEREUM_RPC_URL": node.url, "COFFER_ETHEREUM_CHAIN_ID": str(CHAIN_ID)}
    return engine


def test_the_hot_address_is_the_treasurys_and_the_node_agrees(here: Installation, ethereum: EthereumEngine) -> None:
    ethereum.add_token("GOOD")
    hot = here.said("treasury", "address", "ETH").strip()
    assert hot == here.said("treasury", "address", "GOOD").strip() == ethereum.hot
    ethereum.stock(2 * ETHER)
    ethereum.funded(10**15)
    [left] = told(here, "treasury", "status")["left"]
    assert (left["chain"], left["amount"]) == ("ethereum", "0.001000000000000000 ETH")
    [place] = told(here, "sweep", "list")["places"]
    assert place["stays_because"] == left["reason"]
    reports = {row["asset"]: row for row in json.loads(here.coffer("reconcile", "--json").stdout)}
    assert (reports["ETH"]["unexplained_units"], reports["GOOD"]["unexplained_units"]) == (0, 0)
    assert reports["ETH"]["chain_total_units"] == 2 * ETHER + 10**15


def test_sweeps_are_listed_and_explained(here: Installation, ethereum: EthereumEngine) -> None:
    ethereum.funded(ETHER)
    ethereum.tick()
    [row] = told(here, "sweep", "list")["sweeps"]
    assert (row["state"], row["amount"][:4]) == ("sweeping", "0.99")  # its gas aside
    text = here.said("sweep", "explain", row["id"])
    assert "to the hot wallet" in text
    assert "confirming" in text
    assert "sweep" in {line["purpose"] for line in told(here, "payments", "list")}
    for _ in range(2):
        ethereum.mine()
    assert told(here, "sweep", "list")["sweeps"] == []
    assert [row["state"] for row in told(here, "sweep", "list", "--all")["sweeps"]] == ["swept"]


def test_the_sweep_contract_is_deployed_by_a_command(here: Installation, ethereum: EthereumEngine) -> None:
    ethereum.stock()
    process = here.start("eth", "deploy", "Sweeper", "--arg", "hot", "--as", "ada")

    def ended() -> bool:
        ethereum.mine(1)
        return not process.alive

    wait_for(ended, "the deployment to settle", 120)
    assert process.exit_code == 0, log_of(process)
    [row] = here.engine.rows(payment)
    said = log_of(process)
    assert row.created in said
    assert f"COFFER_ETHEREUM_SWEEPER={row.created}" in said
    assert f"{row.public_id}: confirming {row.txid} in block" in said
    assert "deploys Sweeper" in here.said("explain", row.public_id)


def test_what_cannot_be_called_is_named(here: Installation, ethereum: EthereumEngine) -> None:
    good = ethereum.add_token("GOOD")
    contract = ethereum.contracts[good.code]
    assert "there is no contract 'Nonsense'" in here.refused("eth", "deploy", "Nonsense")
    assert "was given 0 arguments" in here.refused("eth", "deploy", "Sweeper")
    assert "is the contract of GOOD" in here.refused("eth", "call", contract, "pause()", "--wait", "0")
    assert "is not like transfer" in here.refused("eth", "call", ethereum.outside(), "pause", "--wait", "0")
    assert "checksum" in here.refused("eth", "call", "0x" + contract[2:].swapcase(), "pause()", "--wait", "0")
    asked = here.coffer("eth", "call", ethereum.outside(), "setLimit(uint256)", "5", "--wait", "0")
    assert asked.exit_code == 1
    assert "is still building" in asked.stderr
