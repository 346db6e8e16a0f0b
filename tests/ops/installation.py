"""A whole installation on a model chain: our processes as an operator starts them, and a shop's requests beside."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cli.main import main
from devstack.process import Daemon
from devstack.programs import ROOT
from ledger.db import Database
from tests.flows.engine import Engine
from wallets.fake import FakeChain

API_SECRET = "5a" * 32
ROW_MAC_KEY = b"m".hex() * 32  # the one that tests.flows.engine uses
DEADLINE_SECONDS = 40.0


def wait_for(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """The condition's first true answer. Fails, naming what was waited for, when the deadline is over."""
    until = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < until, f"waited {seconds} s for: {what}"
        time.sleep(0.1)


@dataclass
class Installation:
    """`engine` makes the requests; the work is done by the processes that a test starts."""

    folder: Path
    url: str
    redis_url: str | None = None
    variables: dict[str, str] = field(default_factory=dict)  #: settings that differ
    processes: list[Daemon] = field(default_factory=list)
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.chain = FakeChain(self.folder / "chain")
        self.database = Database(self.url)
        self.engine = Engine(self.folder, self.database, self.chain)

    @property
    def environment(self) -> dict[str, str]:
        found = {
            "COFFER_DATABASE_URL": self.url,
            "COFFER_API_SECRET": API_SECRET,
            "COFFER_ROW_MAC_KEY": ROW_MAC_KEY,
            "COFFER_SIGNER_DIR": str(self.folder / "signer"),
            "COFFER_BITCOIN_RPC_URL": f"fake:{self.folder / 'chain'}",
        }
        redis = {} if self.redis_url is None else {"COFFER_REDIS_URL": self.redis_url}
        return found | redis | self.variables

    def start(self, *arguments: str, **overrides: str) -> Daemon:
        """`coffer ARGUMENTS` as a process of its own."""
        name = f"{'-'.join(arguments)}-{len(self.processes)}"
        base = {name: value for name, value in os.environ.items() if not name.startswith("COFFER_")}
        environ = base | {"PYTHONPATH": str(ROOT)} | self.environment | overrides
        command = [sys.executable, "-m", "cli.main", *arguments]
        daemon = Daemon(name, command, log=self.folder / f"{name}.log", environ=environ, folder=ROOT)
        self.processes.append(daemon)
        daemon.start()
        return daemon

    def started(self, *arguments: str, **overrides: str) -> Daemon:
        """As `start`, and working."""
        daemon = self.start(*arguments, **overrides)
        wait_for(lambda: "started" in log_of(daemon) or not daemon.alive, f"{daemon.name} to start")
        assert daemon.alive, daemon.log_tail()
        return daemon

    def coffer(self, *arguments: str) -> Result:
        """A command, in this process."""
        with _environment(self.environment):
            return CliRunner().invoke(main, list(arguments))

    def said(self, *arguments: str) -> str:
        """What a command prints; it must succeed."""
        result = self.coffer(*arguments)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def refused(self, *arguments: str) -> str:
        """The one line with which a command is refused."""
        result = self.coffer(*arguments)
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        lines = [line for line in result.stderr.splitlines() if line]
        assert len(lines) == 1, lines
        return lines[0]

    def close(self) -> None:
        for daemon in self.processes:
            daemon.kill()
        self.database.close()

    def completed(self, *withdrawal_ids: int) -> bool:
        """Mine a block, and see whether these have arrived."""
        self.chain.mine()
        return all(self.engine.state(withdrawal_id) == "completed" for withdrawal_id in withdrawal_ids)


def log_of(daemon: Daemon) -> str:
    return daemon.log.read_text(errors="replace") if daemon.log.is_file() else ""


class _environment:  # used as a function
    """COFFER_ variables exactly as given, for a while."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __enter__(self) -> None:
        self._before = dict(os.environ)
        for name in [name for name in os.environ if name.startswith("COFFER_")]:
            del os.environ[name]
        os.environ.update(self._values)

    def __exit__(self, *_: object) -> None:
        os.environ.clear()
        os.environ.update(self._before)
