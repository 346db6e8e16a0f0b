"""The pages about faults name tests and flows that exist."""

from __future__ import annotations

import re

import pytest

from devstack.programs import ROOT
from tests.faults.flows import FLOWS

DOCS = ROOT / "docs"


def existing() -> set[str]:
    files = list((ROOT / "tests").rglob("test_*.py"))
    functions = (re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE) for path in files)
    return {path.name for path in files}.union(*functions)


@pytest.mark.parametrize("page", ["faults.md", "guards.md", "scenarios.md", "simulation.md", "soak.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = set(re.findall(r"`(test_\w+(?:\.py)?)(?:\[[^`]*\])?`", (DOCS / page).read_text()))
    assert named
    assert named - existing() == set()


def test_every_flow_is_on_the_page() -> None:
    page = (DOCS / "faults.md").read_text()
    assert [name for name in FLOWS if f"`{name}`" not in page] == []
