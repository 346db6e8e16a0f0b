"""Runs the tests of a guard on a copy of the code, with and without it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.guards.guard import Guard, Stale

ROOT = Path(__file__).parents[2]
#: A guard whose absence makes the tests wait for ever has been missed, too, but should say so by a failure.
PATIENCE_SECONDS = 900
#: What `scripts/setup` put beside the code, and git does not know.
_INSTALLED = (".venv", ".setup", "deploy/node-programs/node_modules")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - (.*))?$", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """`verdict` is `red` as it must be, or what is wrong: `green`, `stale`, `broken` (no test could run)."""

    guard: Guard
    verdict: str
    missed_by: tuple[str, ...] = ()  #: the tests that failed
    detail: str = ""
    seconds: float = 0.0


class Copy:
    """A copy of the committed code in a folder of its own, with the environment of the original."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="coffer-guards-"))
        head = ["git", "rev-parse", "--short=12", "HEAD"]
        self.commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        archive = subprocess.run(["git", "archive", self.commit], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(self.root)], input=archive, check=True)
        for name in _INSTALLED:
            if (ROOT / name).exists():
                (self.root / name).symlink_to(ROOT / name)
        self.temp = self.root / ".tmp"
        self.temp.mkdir()

    def close(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def test(self, ids: Sequence[str], patience: float | None = PATIENCE_SECONDS) -> tuple[int, str]:
        """pytest's exit code and its report; 1 means that tests ran and some failed."""
        environment = os.environ | {"PYTHONPATH": str(self.root), "TMPDIR": str(self.temp)}
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=line", "-rfE", *ids]
        try:
            done = subprocess.run(
                command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=patience
            )
        except subprocess.TimeoutExpired:
            return -1, f"no end within {patience} s"
        return done.returncode, done.stdout + done.stderr


def whole(copy: Copy, guards: Sequence[Guard]) -> str | None:
    """Why the tests cannot judge anything: they fail with every guard in place. None: they pass."""
    ids = sorted({test for guard in guards for test in guard.tests})
    code, report = copy.test(ids, patience=None)
    return None if code == 0 else report[-3_000:]


def without(copy: Copy, guard: Guard) -> Result:
    """Take the guard out, run its tests, put it back."""
    began = time.monotonic()
    originals = {edit.path: (copy.root / edit.path).read_bytes() for edit in guard.edits}
    try:
        for edit in guard.edits:
            edit.apply(copy.root)
        code, report = copy.test(guard.tests)
    except Stale as error:
        return Result(guard, "stale", detail=str(error))
    finally:
        for path, original in originals.items():
            (copy.root / path).write_bytes(original)
    failed = tuple(dict.fromkeys(match[1] for match in _FAILED.finditer(report)))
    seconds = time.monotonic() - began
    if code == 0:
        return Result(guard, "green", detail="nothing failed", seconds=seconds)
    if code != 1 or not failed:
        return Result(guard, "broken", failed, report[-2_000:], seconds)
    first = next((match[2] or "" for match in _FAILED.finditer(report)), "")
    return Result(guard, "red", failed, first[:200], seconds)
