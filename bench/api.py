"""Requests through the HTTP API: new addresses, and withdrawals accepted (hold, idempotency, durable commit).

The workers are stopped meanwhile: what is measured is accepting, and the cores belong to the API and its clients.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from bench import bare_ledger, crowd
from bench.report import Row, tell
from bench.stack import BenchStack, cpu_seconds, customers, family, give, memory_mb
from bench.web import Addresser, Greeter, Withdrawer
from ledger.schema import chain
from wallets.bitcoin.addresses import BitcoinAddressBook

CLIENTS = {"processes": 2, "threads": 16}
#: Addresses watched before the rounds: more than they can ask for.
WATCHED = 20_000
_indices = itertools.count(1_000_000)


def measure(stack: BenchStack, rounds: int, seconds: float) -> list[Row]:
    """Addresses, withdrawals and the API's memory, on a stack whose workers are stopped for good afterwards."""
    kind = stack.db
    tell(f"{kind}: {WATCHED} addresses are watched ahead of use")
    _watch_ahead(stack)
    ids = customers(stack)
    give(stack, ids, 10**9)
    for name, process in stack.processes.items():
        if name != "api":
            process.stop()
    url = stack.settings["COFFER_DATABASE_URL"]
    bare_ledger.prepare(url)
    key = _public_key(stack)
    addresses = Row(f"addresses created, HTTP, 32 clients ({kind})", "/s")
    exits = Row(f"withdrawals accepted, HTTP, 32 clients ({kind})", "/s")
    with_key = (stack.api_port, stack.token, ids)
    app, port = stack.bare_app()
    app.start()
    try:
        app.wait_ready()
        for client in (Addresser, Withdrawer):  # each process compiles its statements at their first use
            crowd.run(client, with_key, **CLIENTS, seconds=1.0)
        for number in range(rounds):
            tell(f"{kind}: HTTP round {number + 1} of {rounds}")
            address, address_cpu = _with_cpu(stack, lambda: crowd.run(Addresser, with_key, **CLIENTS, seconds=seconds))
            flask = crowd.run(Greeter, (port,), **CLIENTS, seconds=seconds)
            withdrawal, exit_cpu = _with_cpu(stack, lambda: crowd.run(Withdrawer, with_key, **CLIENTS, seconds=seconds))
            bare = crowd.run(bare_ledger.Mover, (url, False), processes=2, threads=8, seconds=seconds)
            addresses.add(address.per_second, bare_Flask_route=flask.per_second, deriving_alone=_derive(key, 0.5))
            exits.add(withdrawal.per_second, bare_transaction=bare.per_second, bare_Flask_route=flask.per_second)
            addresses.remark = _remark(address, address_cpu)
            exits.remark = _remark(withdrawal, exit_cpu)
    finally:
        app.stop()
    memory = Row(f"API process, resident after the load ({kind})", "MB")
    memory.add(max(map(memory_mb, family(stack.processes["api"].pid))), allowed=120)
    return [addresses, exits, memory]


def _with_cpu(stack: BenchStack, measure: Callable[[], crowd.Result]) -> tuple[crowd.Result, float]:
    """The result, and the API's own processor time in ms per answer, which says more than a rate on busy cores."""
    pids = family(stack.processes["api"].pid)
    before = sum(map(cpu_seconds, pids))
    result = measure()
    return result, (sum(map(cpu_seconds, pids)) - before) * 1000 / max(result.done, 1)


def _remark(result: crowd.Result, cpu_ms: float) -> str:
    text = f"half within {result.middle_ms:.0f} ms, 99 % within {result.slow_ms:.0f} ms; API CPU {cpu_ms:.1f} ms each"
    return f"{text}; {result.failed} FAILED: {result.fault}" if result.failed else text


def _watch_ahead(stack: BenchStack) -> None:
    stack.policy(address_watch_ahead=WATCHED)
    database, end = stack.database(), time.monotonic() + 180
    while database.read(lambda tx: tx.value(chain.select().with_only_columns(chain.c.watched_count))) < WATCHED:
        if time.monotonic() > end:
            raise TimeoutError("the node does not watch enough addresses")
        time.sleep(0.2)
    database.close()


def _public_key(stack: BenchStack) -> str:
    database = stack.database()
    key = database.read(lambda tx: tx.value(chain.select().with_only_columns(chain.c.account_public_key)))
    database.close()
    return str(key)


def _derive(key: str, seconds: float) -> float:
    """Addresses a second that one thread derives from the public key, without storing them."""
    book, done, start = BitcoinAddressBook("regtest"), 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        book.at(key, next(_indices))
        done += 1
    return done / seconds
