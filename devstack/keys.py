"""API keys for a stack: one for each scope, so that a test can show what a scope allows and what it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from jobs.keys import SCOPES

PROJECT = "demo"
#: Approvals take two people: these keys belong to two.
APPROVERS = ("alice", "bob")
_APPROVE = "withdrawals:approve"


class Commands(Protocol):
    def cli(self, *arguments: str) -> str: ...


@dataclass(frozen=True)
class TestKeys:
    by_scope: Mapping[str, str]
    everything: str  #: one key with all scopes
    approvers: Mapping[str, str]  #: holder -> key that may approve

    __test__ = False  # its name is about the stack's mode, not about pytest

    def as_json(self) -> dict[str, Any]:
        return {"by_scope": dict(self.by_scope), "all": self.everything, "approvers": dict(self.approvers)}


def create_keys(stack: Commands) -> TestKeys:
    """Makes the keys through `coffer keys create`, as an operator would."""
    everything = _create(stack, "all scopes", list(SCOPES), "devstack")
    with ThreadPoolExecutor(max_workers=3) as pool:
        scoped = pool.map(lambda scope: _create(stack, f"only {scope}", [scope], "devstack"), SCOPES)
        approvers = pool.map(lambda holder: _create(stack, f"approver {holder}", [_APPROVE], holder), APPROVERS)
        return TestKeys(
            dict(zip(SCOPES, scoped, strict=True)), everything, dict(zip(APPROVERS, approvers, strict=True))
        )


def _create(stack: Commands, name: str, scopes: Sequence[str], holder: str) -> str:
    arguments = ["keys", "create", "--project", PROJECT, "--name", name, "--holder", holder, "--json"]
    for scope in scopes:
        arguments += ["--scope", scope]
    return str(json.loads(stack.cli(*arguments))["key"])
