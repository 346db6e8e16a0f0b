"""The order of the parts, and the table at the end."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from bench import api, catchup, chain, ether, gas, ledger, monero, trades
from bench.report import Row, table, tell
from bench.stack import BenchStack

Kind = Literal["sqlite", "mariadb"]
PARTS = ["ledger", "trades", "chain", "api", "monero", "ethereum"]

PEERS = (
    "For comparison: the nearest peers, on two cores, create 24 and 3 invoices a second, and accept 5 and 163 payouts\n"
    "a second (the latter only inserts a row). The load comes from two processes on the same cores as what it loads."
)


def main(options: argparse.Namespace) -> None:
    """Measure and print; a part that fails says so and leaves the others alone. Slowness never fails."""
    kinds: list[Kind] = [options.db] if options.db else ["sqlite", "mariadb"]
    if options.profile:
        from bench import profile

        for kind in kinds:
            profile.main(kind)
        return
    parts = options.only or PARTS
    rows: list[Row] = []
    for kind in kinds:
        if "ledger" in parts:
            rows += _part("ledger", lambda k=kind: _ledger(k, options.quick))  # type: ignore[misc]
        if "trades" in parts:
            rows += _part("trades", lambda k=kind: _trades(k, options.quick))  # type: ignore[misc]
        if {"chain", "api"} & set(parts):
            rows += _part("stack", lambda k=kind: _stack(k, parts, options.quick))  # type: ignore[misc]
    if "monero" in parts:
        rows += _part("monero", lambda: _monero(options.quick))
    if "ethereum" in parts:
        rows += _part("ethereum", lambda: _ethereum(options.db or "sqlite", options.quick))
    others = os.getloadavg()[2]
    cores = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"\n{cores}; load of the last 15 minutes {others:.1f}\n")
    print(table(rows))
    print(f"\n{PEERS}")


def _part(name: str, measure: Callable[[], list[Row]]) -> list[Row]:
    try:
        rows = measure()
        tell(f"so far\n\n{table(rows)}\n")  # a run that is broken off has shown what it knows
        return rows
    except Exception as error:  # noqa: BLE001  # the other figures are still worth having
        traceback.print_exc()
        return [Row(name, "", remark=" ".join(f"failed: {type(error).__name__}: {error}".split())[:120])]


def _ledger(kind: Kind, quick: bool) -> list[Row]:
    return ledger.measure(kind, rounds=1 if quick else 3, seconds=0.5 if quick else 1.0)


def _trades(kind: Kind, quick: bool) -> list[Row]:
    return trades.measure(kind, rounds=1 if quick else 3, seconds=0.5 if quick else 1.0)


def _monero(quick: bool) -> list[Row]:
    return monero.measure(rounds=1 if quick else 3, transactions=2 if quick else 5)


def _ethereum(kind: Kind, quick: bool) -> list[Row]:
    """Reading, collecting and paying; the chain is the same whatever the database, so that one is enough."""
    rows = _part("catch-up", lambda: catchup.measure(kind, 1 if quick else 3, 10 if quick else 40, _watched(quick)))
    rows += _part("gas", gas.measure)
    return rows + _part("ether", lambda: ether.measure(1 if quick else 3, 50 if quick else 100))


def _watched(quick: bool) -> int:
    return 20_000 if quick else 1_000_000


def _stack(kind: Kind, parts: list[str], quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="coffer-bench-", ignore_cleanup_errors=True) as folder:
        tell(f"{kind}: starting the stack")
        stack = BenchStack(Path(folder) / "s", kind)
        with stack:
            rows: list[Row] = []
            if "chain" in parts:
                rows += _part("chain", lambda: chain.measure(stack, 1 if quick else 3, 3 if quick else 11))
            if "api" in parts:
                rows += _part("api", lambda: api.measure(stack, 1 if quick else 5, 1.0 if quick else 2.5))
            return rows
