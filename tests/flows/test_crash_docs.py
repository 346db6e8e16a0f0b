"""docs/faults.md names tests and flows that exist."""

from __future__ import annotations

import re

from devstack.programs import ROOT
from tests.faults.flows import FLOWS

PAGE = (ROOT / "docs" / "faults.md").read_text()


def test_every_test_that_the_page_names_exists() -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {path.name for path in files}
    for path in files:
        known |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    named = set(re.findall(r"`(test_[a-z0-9_]+(?:\.py)?)`", PAGE))
    assert len(named) > 30
    assert named - known == set()


def test_every_flow_is_on_the_page() -> None:
    assert [name for name in FLOWS if f"`{name}`" not in PAGE] == []
