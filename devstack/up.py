"""`coffer up`: a stack in the foreground, described in `.run/NAME/stack.json`, until Ctrl-C.

The stack named `default` is also described in `.run/stack.json`. Data start fresh unless kept on purpose: a chain, a
database and a wallet belong together, and half of an old set is worse than none.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from devstack.chains import TOKEN
from devstack.files import private_folder, write_private
from devstack.process import DaemonFailed
from devstack.programs import ROOT, ProgramMissing
from devstack.revive import Reviver
from devstack.roles import CHAINS
from devstack.stack import Database, Stack

RUN = ROOT / ".run"
DEFAULT_NAME = "default"
#: Between blocks of the Ethereum chain; the others come on command.
BLOCK_SECONDS = 2
_LOOK_SECONDS = 0.5
#: Asset, amount, and the blocks that make it the customer's.
_EXAMPLES = (
    ("BTC", "0.005", 1),
    ("XMR", "0.5", 12),
    ("ETH", "0.5", 12),
    (TOKEN, "100", 12),
)


class Refused(Exception):
    """The stack cannot start; the message says why and what to do."""


@click.command()
@click.option("--db", type=click.Choice(["sqlite", "mariadb"]), default="sqlite", show_default=True)
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="Stacks of different names run side by side.")
@click.option("--keep", is_flag=True, help="Go on with the data of the last run.")
def main(db: Database, name: str, keep: bool) -> None:
    """Run a private stack for development and tests, until Ctrl-C."""
    raise SystemExit(up(db=db, name=name, keep=keep))


def up(*, db: Database = "sqlite", name: str = DEFAULT_NAME, keep: bool = False) -> int:
    """Runs the stack until SIGINT or SIGTERM; returns the exit code. Every process it started is gone afterwards."""
    signals = _Signals()
    with signals.handled():
        try:
            with _claimed(name) as folder:
                _run(folder, name, db, keep, signals)
        except (Refused, DaemonFailed, ProgramMissing) as failure:
            _say(f"cannot start: {failure}")
            return 1
    return 0


def stack_files(name: str) -> list[Path]:
    """Where the description of a stack is written."""
    files = [RUN / name / "stack.json"]
    return [*files, RUN / "stack.json"] if name == DEFAULT_NAME else files


def _run(folder: Path, name: str, db: Database, keep: bool, signals: _Signals) -> None:
    _clear(folder, db, keep)
    stack = Stack(folder, db, chains=CHAINS, block_seconds=BLOCK_SECONDS, token=True, outward=True, tell=_say)
    reviver = Reviver()
    files = stack_files(name)
    try:
        with signals.breaking():
            stack.start()
        write_private(folder / "environment", _shell(stack.settings))
        stack.write_description(*files)
        _greet(stack, name, files[-1])
        while not signals.asked.wait(_LOOK_SECONDS):
            lines = reviver.look(stack.daemons)
            for line in lines:
                _say(line)
            if lines:
                stack.write_description(*files)
    except _Interrupted:
        pass
    finally:
        _say("ending …")
        for file in files:
            # Credentials of a stack that is gone would only mislead.
            file.unlink(missing_ok=True)
        stack.stop()
        _say(f"ended; logs are in {stack.logs}")


def _clear(folder: Path, db: Database, keep: bool) -> None:
    """Empties the folder, all but the lock, unless its data are to be kept."""
    kind = folder / "database"
    if keep and kind.is_file() and kind.read_text() != db:
        raise Refused(f"{folder} holds data of DB={kind.read_text()}; start it with that, or without KEEP=1")
    if not keep:
        for entry in folder.iterdir():
            if entry.name != "lock":
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    write_private(kind, db)


@contextmanager
def _claimed(name: str) -> Iterator[Path]:
    """The folder of a stack, held so that a second stack of the same name refuses instead of taking it over."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise Refused(f"{name!r} is no name for a stack: letters, digits, - and _ only")
    private_folder(RUN)
    folder = private_folder(RUN / name)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Refused(f"the stack {name!r} runs already (pid {lock.read().strip()}); give another NAME=") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield folder


class _Interrupted(Exception):
    """A signal came while the stack was starting."""


class _Signals:
    """SIGINT, SIGTERM and SIGHUP ask for an orderly end; while `breaking`, they also break off a wait."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._break = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def breaking(self) -> Iterator[None]:
        if self.asked.is_set():
            raise _Interrupted
        self._break = True
        try:
            yield
        finally:
            self._break = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked.set()
        if self._break:
            self._break = False  # a second one must not break off the tidying up
            raise _Interrupted


def _greet(stack: Stack, name: str, file: Path) -> None:
    _say(f"ready: {stack.api_url} (docs at {stack.api_url}/docs), database {stack.db}")
    _say(f"addresses, keys and credentials: {file.relative_to(ROOT)}")
    _say(f"for the coffer command: set -a; . .run/{name}/environment; set +a")
    outsider = ".venv/bin/python -m devstack.outsider" + ("" if name == DEFAULT_NAME else f" --name {name}")
    _say(f'for curl: eval "$({outsider} shell)"; then for example')
    _say('  curl -s -H "Authorization: Bearer $KEY" $API/v1/assets')
    _say("to pay a customer's address from outside, and to have it confirmed:")
    for asset, amount, blocks in _EXAMPLES:
        _say(f"  {outsider} pay {asset} ADDRESS {amount} --mine {blocks}")
    _say("test coins only; Ctrl-C ends it")


def _shell(settings: dict[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(settings.items()))


def _say(line: str) -> None:
    print(f"up: {line}", flush=True)
