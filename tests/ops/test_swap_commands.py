"""`coffer swaps`; what the commands do is tested in tests/flows/test_swap_operators.py."""

from __future__ import annotations

from collections.abc import Callable

from tests.ops.installation import Installation

Install = Callable[..., Installation]

NOBODY = "sw_" + "0" * 32


def test_the_commands_list_and_refuse_what_is_not_there(install: Install) -> None:
    here = install()
    assert here.said("swaps", "list").strip() == "none"
    assert here.said("swaps", "list", "--state", "failed", "--json").strip() == "[]"
    assert f"no swap {NOBODY}" in here.refused("swaps", "show", NOBODY)
    assert f"no swap {NOBODY}" in here.refused("swaps", "refund", NOBODY, "--to-balance")
