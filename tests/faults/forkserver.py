"""Cheap real processes: a parent that has imported everything, and has opened nothing, forks one for each job.

`python -m tests.faults.forkserver` reads jobs from its input, one a line, and answers each with the child's status.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from devstack.programs import ROOT
from tests.faults import warm
from tests.faults.child import CHILD_SECONDS, Job, main
from tests.faults.twins import Twins, adopt_orphans
from tests.faults.wrecks import Keeper


class ForkServer:
    """One such parent. One job at a time."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("a")
        self._server: subprocess.Popen[str] | None = None

    def run(self, job: Job) -> int:
        """The exit status of a child that did the job; minus the signal's number when one ended it."""
        server = self._started()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(job.text() + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        if not answer:
            said = Path(self._log.name).read_text()[-2_000:]
            raise RuntimeError(f"the fork server ended with {server.wait()}\n{said}")
        return int(answer)

    def _started(self) -> subprocess.Popen[str]:
        if self._server is None:
            command = [sys.executable, "-m", "tests.faults.forkserver"]
            self._server = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                start_new_session=True,
            )
        return self._server

    def close(self) -> None:
        if self._server is not None and self._server.stdin is not None:
            with suppress(BrokenPipeError):  # it ended by itself, with something unread
                self._server.stdin.close()
            self._server.wait(CHILD_SECONDS)
        self._log.close()


def serve() -> None:
    """Until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever the engine prints is no answer
    import_everything()
    warm.install()
    adopt_orphans()
    while line := sys.stdin.readline():
        job = Job.read(line)
        print(_warm_up(job) if job.do == "warm" else _fork(job), file=answers, flush=True)


def _fork(job: Job) -> int:
    twins = None if job.wrecks is None else Twins()
    pid = os.fork()
    if pid == 0:
        signal.alarm(CHILD_SECONDS)
        main(job, twins)
    if twins is not None and job.wrecks is not None:
        return twins.follow(pid, Keeper(job.place, Path(job.wrecks)).keep)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _warm_up(job: Job) -> int:
    try:
        warm.warm_up(job.place)
    except Exception:  # noqa: BLE001  # told by the answer; the harness raises
        traceback.print_exc()
        return 1
    return 0


def import_everything() -> None:
    """What a start would otherwise import when it first needs it."""
    import alembic.command
    import pymysql
    import sqlalchemy.dialects.mysql.pymysql
    import sqlalchemy.dialects.sqlite.pysqlite

    import wallets.bitcoin.wallet
    import wallets.ethereum.wallet
    import wallets.fake.wallet
    import wallets.monero.wallet

    adapters = wallets.bitcoin.wallet, wallets.ethereum.wallet, wallets.fake.wallet, wallets.monero.wallet
    assert all((alembic.command, pymysql, sqlalchemy, *adapters))


if __name__ == "__main__":
    serve()
