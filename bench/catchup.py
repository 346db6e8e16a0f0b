"""How fast Ethereum blocks are read when Coffer was away: 200 transactions each, ten or a million addresses watched.

What is measured is the whole step: health, headers, receipts, whose each address is, deposits and cursor committed. The
limit is a client that fetches the same headers and receipts and throws them away.
"""

from __future__ import annotations

import http.client
import json
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from bench.report import Row, tell
from devstack.anvil import CHAIN_ID, Anvil
from devstack.mariadb import MariaDB
from jobs import bootstrap
from jobs.runtime import Runtime
from jobs.services import Services, chain_row
from ledger.accounts import HOUSE_ACCOUNT, HOUSE_PROJECT
from ledger.db import Database
from ledger.ids import new_id
from ledger.schema import address, chain, deposit, task
from settings import Settings
from wallets.ethereum import seed, seed_keys
from wallets.ethereum.hd import checksummed

TRANSACTIONS = 200
#: Of the transactions of a block these pay one of our addresses.
OURS = 2
_ROWS_AT_ONCE = 20_000
_KEY = "7d" * 32
#: Blocks before those that count: the wallet asks for states of 64 blocks ago.
_BEFORE = 70


def measure(kind: str, rounds: int, blocks: int, many: int) -> list[Row]:
    """Catching up with ten watched addresses, and with `many`."""
    with tempfile.TemporaryDirectory(prefix="coffer-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        node = Anvil(folder / "anvil", keep_chain=False)
        server = MariaDB(folder / "mariadb") if kind == "mariadb" else None
        node.start()
        try:
            if server is not None:
                server.start()
            url = f"sqlite:///{folder}/bench.sqlite3" if server is None else server.create_database("bench")
            return _measure(Reader(folder, node, url), kind, rounds, blocks, many)
        finally:
            node.stop()
            if server is not None:
                server.stop()


def _measure(reader: Reader, kind: str, rounds: int, blocks: int, many: int) -> list[Row]:
    tell(f"{kind}: {blocks} Ethereum blocks of {TRANSACTIONS} transactions")
    reader.watch(10)
    reader.make_blocks(blocks)
    reader.catch_up(blocks)  # the deposits are written now; later rounds find them known
    rows = []
    for watched in (10, many):
        tell(f"{kind}: {watched:,} addresses are watched")
        reader.watch(watched)
        row = Row(f"Ethereum blocks caught up with, {watched:,} addresses ({kind})", "/s")
        for _ in range(rounds):
            fetched = reader.fetch(blocks)
            row.add(reader.catch_up(blocks), fetching_them_and_doing_nothing=fetched)
        rows.append(row)
    return rows


class Reader:
    """A worker's reading of the chain, in this process."""

    def __init__(self, folder: Path, node: Anvil, url: str) -> None:
        self.node = node
        node.mine(_BEFORE)
        seed.store(folder / "seed", seed.new_secret(), seed_keys.LocalKey.from_hex(_KEY))
        settings = Settings(
            database_url=url,  # type: ignore[arg-type]  # pydantic makes a secret of it
            row_mac_key="6b" * 32,  # type: ignore[arg-type]
            signer_dir=folder / "signer",
            ethereum_chain_id=CHAIN_ID,
            ethereum_rpc_url=node.url,  # type: ignore[arg-type]
            ethereum_seed_file=folder / "seed",
            ethereum_seed_key=_KEY,  # type: ignore[arg-type]
            chains=("ethereum",),
        )
        bootstrap.upgrade(settings)
        self.services: Services = bootstrap.worker_services(settings, "ethereum")
        self.database: Database = self.services.database
        bootstrap.adopt(self.services, self.services.wallet("ethereum"))
        self.runtime: Runtime = bootstrap.runtime(self.services)
        self._scan = self.database.read(lambda tx: tx.value(select(task.c.id).where(task.c.name == "scan:ethereum")))
        self._watched: list[str] = []
        self._advance()
        self._cursor = self.database.read(lambda tx: chain_row(tx, "ethereum").scan_cursor)

    def watch(self, count: int) -> None:
        """Bring the number of addresses that were handed out to this."""
        while len(self._watched) < count:
            some = ["0x" + secrets.token_hex(20) for _ in range(min(_ROWS_AT_ONCE, count - len(self._watched)))]
            if not self._watched:  # those that are paid are written as the engine writes them
                some = [checksummed(bytes.fromhex(text[2:])) for text in some]
            rows = list(self._rows(some, len(self._watched) + 1))
            self.database.run(lambda tx, r=rows: tx.execute(insert(address), r), "bench")
            self._watched += some

    def _rows(self, texts: Sequence[str], first: int) -> Iterator[dict[str, Any]]:
        now = time.time_ns() // 1000
        for index, text in enumerate(texts, first):
            yield {
                "public_id": new_id("ad"),
                "chain": "ethereum",
                "idx": index,
                "address": text,
                "state": "ready",
                "account_id": HOUSE_ACCOUNT,
                "project_id": HOUSE_PROJECT,
                "asset": "ETH",
                "purpose_kind": "balance",
                "purpose_id": HOUSE_ACCOUNT,
                "received_units": 0,
                "apart": 1,
                "created_at": now,
                "updated_at": now,
            }

    def make_blocks(self, count: int) -> None:
        """Full of payments, a few of them ours."""
        payer, nonce = self.node.payer, self.node.nonce(self.node.payer)
        for _ in range(count):
            others = ["0x" + secrets.token_hex(20) for _ in range(TRANSACTIONS - OURS)]
            for payee in [*self._watched[:OURS], *others]:
                fields = {"from": payer, "to": payee, "value": hex(10**9), "gas": hex(21_000), "nonce": hex(nonce)}
                self.node.rpc("eth_sendTransaction", fields)
                nonce += 1
            self.node.mine(1)
        if len(self.node.block()["transactions"]) != TRANSACTIONS:
            raise RuntimeError("the blocks are not as full as they should be")

    def catch_up(self, blocks: int) -> float:
        """Blocks a second, from the cursor of before the blocks."""
        self.database.run(lambda tx: tx.execute(update(chain).values(scan_cursor=self._cursor)), "bench")
        start = time.perf_counter()
        self._advance()
        rate = blocks / (time.perf_counter() - start)
        found = self.database.read(lambda tx: tx.all(select(deposit.c.id)))
        if len(found) != OURS * blocks or self._tip() != self.node.height():
            raise RuntimeError(f"{len(found)} deposits at block {self._tip()}: it did not read all")
        return rate

    def fetch(self, blocks: int) -> float:
        """The same headers and receipts, parsed and thrown away; blocks a second."""
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        tip = self.node.height()
        start = time.perf_counter()
        for number in range(tip - blocks + 1, tip + 1):
            calls = [("eth_getBlockByNumber", [hex(number), False]), ("eth_getBlockReceipts", [hex(number)])]
            body = [{"jsonrpc": "2.0", "id": n, "method": m, "params": p} for n, (m, p) in enumerate(calls)]
            connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
            json.loads(connection.getresponse().read())
        rate = blocks / (time.perf_counter() - start)
        connection.close()
        return rate

    def _tip(self) -> int:
        return int(self.database.read(lambda tx: chain_row(tx, "ethereum").tip_height))

    def _advance(self) -> None:
        while self.runtime.advance("task", self._scan, woken=True) and self._tip_is_behind():
            pass

    def _tip_is_behind(self) -> bool:
        known = self.database.read(lambda tx: chain_row(tx, "ethereum").tip_height)
        return known is None or known < self.node.height()
