"""The table of fault scenarios is whole and current, and what it says without a database holds."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

from tests.faults import __main__ as command
from tests.faults import scenarios
from tests.faults.scenario import IDS, Scenario
from tests.unit.test_devstack_layout import sources
from wallets import protocol


def test_every_scenario_is_there_once_with_tests_and_flows_that_exist() -> None:
    assert len([each for each in IDS if not each.startswith("K")]) == 126
    assert scenarios.faults() == []


def test_the_page_of_scenarios_is_what_the_table_says() -> None:
    told = "`.venv/bin/python -m tests.faults.scenarios` writes it anew; commit the page"
    assert scenarios.PAGE.read_text() == scenarios.page(), told


def test_a_table_that_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = scenarios.SCENARIOS
    wrong = dataclasses.replace(first, tests=("unit/test_scenarios.py::test_nothing",), flows=("no-flow",))
    bare = Scenario(rest[-1].id, "title", "outcome")
    monkeypatch.setattr(scenarios, "SCENARIOS", (wrong, *rest[1:-1], bare))
    assert scenarios.faults() == [
        "not each scenario once and in order: ['A2']",
        "A1: no test unit/test_scenarios.py::test_nothing",
        "A1: no flow no-flow",
        f"{rest[-1].id}: neither a test nor a reason",
    ]


def test_tests_in_classes_are_found() -> None:
    assert scenarios.exists("unit/test_scenarios.py::test_tests_in_classes_are_found")
    assert not scenarios.exists("unit/test_scenarios.py::Path")
    assert not scenarios.exists("unit/no_such_file.py::test_nothing")


def test_the_list_begins_with_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command.Runner, "each", lambda *_: None)
    command.main(["--list", "--only", "deposit", "--db", "sqlite", "--chain", "fake"])
    printed = capsys.readouterr().out
    assert printed.startswith("A1   ")
    assert scenarios.totals() in printed


def test_nothing_of_the_product_forks() -> None:
    """H8: a child would share its parent's connections. The API's processes connect after they were forked."""
    forking = {"fork", "forkpty", "Process", "ProcessPoolExecutor", "Worker"}
    for path in sources():
        named = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert named & forking == set(), path
    assert "preload_app = False" in (Path(scenarios.ROOT) / "api" / "gunicorn_conf.py").read_text()


def test_what_chains_tell_of_money_has_no_times() -> None:
    """I-3: whoever mines a block chooses its time. Deposits, payments and tips are told by heights and hashes alone."""
    told = (protocol.Tip, protocol.SeenDeposit, protocol.DepositPage, protocol.TxStatus, protocol.ChainBalance)
    names = {field.name for each in told for field in dataclasses.fields(each)}
    assert {"height", "hash", "depth"} <= names
    assert [name for name in names if "time" in name or "stamp" in name or name.endswith("_at")] == []
