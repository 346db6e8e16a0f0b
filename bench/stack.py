"""A private stack for measuring: the real processes, no rate limit, customers with money."""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bench.web import Wire
from devstack.ports import free_port
from devstack.process import Daemon
from devstack.programs import ROOT
from devstack.stack import Stack
from ledger import accounts, policy, postings
from ledger.db import Database, Tx
from ledger.postings import Leg
from ledger.schema import account

CUSTOMERS = 64


class BenchStack(Stack):
    """As `make up` starts it, except for the rate limit, which would be what is measured."""

    def environment(self, role: str | None = None) -> dict[str, str]:
        return super().environment(role) | {"COFFER_API_RATE_LIMIT": "100000000/minute"}

    @property
    def token(self) -> str:
        assert self.keys is not None
        return self.keys.all

    def wire(self) -> Wire:
        return Wire(self.api_port, self.token)

    def database(self) -> Database:
        return Database(self.settings["COFFER_DATABASE_URL"])

    def policy(self, asset: str = "BTC", **rules: Any) -> None:
        database = self.database()
        for name, value in rules.items():
            database.run(lambda tx, n=name, v=value: policy.change(tx, asset, n, v, "bench"), "bench")  # type: ignore[misc]
        database.close()

    def bare_app(self) -> tuple[Daemon, int]:
        """The bare Flask route under gunicorn with the API's own numbers of processes and threads."""
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--no-control-socket"]
        command += ["--workers", self.settings["COFFER_API_WORKERS"], "--threads", self.settings["COFFER_API_THREADS"]]
        command += ["--keep-alive", "30", "--log-level", "warning", "--bind", f"127.0.0.1:{port}", "bench.bare_app:app"]
        environ = super().environment("scheduler")
        return Daemon(
            "bare Flask", command, log=Path(self.logs) / "bare.log", environ=environ, folder=ROOT, ready=_answers(port)
        ), port


def _answers(port: int) -> Any:
    def ready() -> bool:
        wire = Wire(port, "none")
        wire.post("/bare", {"account": "x"})
        wire.close()
        return True

    return ready


def customers(stack: BenchStack, count: int = CUSTOMERS) -> list[str]:
    """Public ids of new accounts, made through the API."""
    import json
    import secrets

    wire = stack.wire()
    made = [wire.post("/v1/accounts", {"reference": secrets.token_hex(8), "kind": "user"}) for _ in range(count)]
    wire.close()
    return [str(json.loads(raw)["id"]) for raw in made]


def give(stack: BenchStack, ids: list[str], units: int) -> None:
    """Book money to accounts without any coins: for a stack whose workers never pay it out."""

    def unit(tx: Tx) -> None:
        for row in tx.all(select(account.c.id).where(account.c.public_id.in_(ids))):
            leg = Leg(accounts.house("treasury_hot"), (row.id, "available"), units)
            postings.post(tx, f"bench:{row.id}", "deposit", "BTC", [leg], ("bench", row.id))

    database = stack.database()
    database.run(unit, "bench")
    database.close()


def btc(units: int) -> str:
    return f"{Decimal(units) / 10**8:.8f}"


def memory_mb(pid: int) -> float:
    """Resident megabytes of one process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) / 1024


def cpu_seconds(pid: int) -> float:
    """Processor time that one process has used, its ended children left out."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]
