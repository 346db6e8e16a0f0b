"""API keys for a stack: one for each scope, so that a test can show what a scope allows and what it does not.

Run as a program in the environment of a stack it makes them all through `coffer keys create` and prints them as JSON:
twenty commands in one process, since starting each alone would take longer than the rest of the stack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PROJECT = "demo"
#: Approvals take two people: these keys belong to two.
APPROVERS = ("alice", "bob")


@dataclass(frozen=True)
class StackKeys:
    all: str  #: one key with every scope
    by_scope: Mapping[str, str]
    approvers: Mapping[str, str]  #: holder -> a key of theirs that may see and approve withdrawals

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_keys(text: str) -> StackKeys:
    """What this module printed as a program."""
    return StackKeys(**json.loads(text))


def make_keys() -> StackKeys:
    from jobs.keys import SCOPES

    return StackKeys(
        all=_create("all scopes", "all", holder="devstack"),
        by_scope={scope: _create(f"only {scope}", scope, holder="devstack") for scope in SCOPES},
        approvers={
            holder: _create(f"approvals of {holder}", "withdrawals:read", "withdrawals:approve", holder=holder)
            for holder in APPROVERS
        },
    )


def _create(name: str, *scopes: str, holder: str) -> str:
    from click.testing import CliRunner

    from cli.main import main

    arguments = ["keys", "create", "--project", PROJECT, "--name", name, "--holder", holder, "--json"]
    for scope in scopes:
        arguments += ["--scope", scope]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    if result.exit_code != 0:
        raise SystemExit(f"coffer {' '.join(arguments)}: {result.output}")
    return str(json.loads(result.stdout)["key"])


if __name__ == "__main__":
    print(json.dumps(make_keys().as_json()))
