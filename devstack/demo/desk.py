"""The operator: `coffer` at a command line, each command shown as it would be typed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from devstack.demo.figures import Deviation
from devstack.process import DaemonFailed
from devstack.stack import Stack

#: Who acts, as the audit log shows it.
OPERATOR = "demo"


class Desk:
    """Runs commands in the environment of the stack."""

    def __init__(self, stack: Stack, tell: Callable[[str], None]) -> None:
        self._stack = stack
        self._tell = tell

    def run(self, *arguments: str) -> str:
        """Runs and shows a command that changes something; what it prints."""
        self._tell(f"$ coffer {shlex.join(arguments)}")
        return self._call(*arguments, "--as", OPERATOR).strip()

    def read(self, *arguments: str) -> Any:
        """Runs and shows a command that changes nothing; what it says with --json."""
        self._tell(f"$ coffer {shlex.join(arguments)}")
        return self.look(*arguments)

    def show(self, *arguments: str) -> str:
        """Runs and shows a command that changes nothing; what it prints for people."""
        self._tell(f"$ coffer {shlex.join(arguments)}")
        return self._call(*arguments).strip()

    def look(self, *arguments: str) -> Any:
        """As `read`, not shown."""
        return json.loads(self._call(*arguments, "--json"))

    def new_key(self, project: str, name: str, scopes: tuple[str, ...]) -> str:
        """A key for a shop, with these scopes only. The key itself is not shown."""
        self._tell(f"$ coffer keys create --project {project} --name {name} --scope … ({len(scopes)} scopes)")
        chosen = [part for scope in scopes for part in ("--scope", scope)]
        made = json.loads(
            self._call(
                "keys", "create", "--project", project, "--name", name, "--holder", name, *chosen,
                "--as", OPERATOR, "--json",
            )
        )  # fmt: skip
        return str(made["key"])

    def _call(self, *arguments: str) -> str:
        try:
            return self._stack.cli(*arguments)
        except DaemonFailed as error:
            raise Deviation(f"coffer {shlex.join(arguments)} failed:\n{error}") from error
