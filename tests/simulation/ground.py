"""What every run stands on: a founded database with a shop, its accounts and their money, on two model chains.

Made once a process, the same in every process: its clock and its ids are a seed's too.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from sqlalchemy import insert, select

import ledger.ids
import migrations
from jobs import accounts, addresses, bootstrap, tasks, treasury
from jobs.caller import Caller
from jobs.row_mac import RowMac
from jobs.runtime import Runtime
from jobs.saga import Saga
from jobs.services import Services
from jobs.signer import Signer
from jobs.swap import inventory
from jobs.sweeper import Sweeper
from ledger import founding, policy
from ledger.db import Tx
from ledger.ids import new_id
from ledger.money import BTC, UNITS_BOUND, XMR, Asset
from ledger.schema import project, task
from tests.simulation.database import MemoryDatabase
from tests.simulation.records import KeptRecord, Shelf
from wallets.fake import FakeAddressBook, FakeChain, FakeWallet
from wallets.fake.addresses import MONERO_PREFIX, PREFIX, derive
from wallets.protocol import ChainWallet, Output

ASSETS: Mapping[str, Asset] = {"bitcoin": BTC, "monero": XMR}
PREFIXES = {"bitcoin": PREFIX, "monero": MONERO_PREFIX}
WALLETS = {"bitcoin": "coffer", "monero": "coffer-xmr"}
BOOKS = {"bitcoin": FakeAddressBook(), "monero": FakeAddressBook(MONERO_PREFIX, 12)}
COLD = {"bitcoin": derive("cold"), "monero": derive("cold", MONERO_PREFIX)}
MAC = RowMac(b"m" * 32)
CAPS = {"BTC": 10_000 * 10**8, "XMR": 10**6 * 10**12}
#: 2026-01-01, microseconds.
BEGIN_US = 1_767_225_600 * 1_000_000
#: One coin's worth is a thousandth of a bitcoin, or of a hundred monero.
UNIT = {"BTC": 100_000, "XMR": 10**11}
#: What each account has at the start, in those, and what the house has. It lies in small coins, so that payments need
#: several, and what came in lately is among them.
ACCOUNTS = {"ann": 300, "bob": 200, "cat": 0}
HOUSE = 200
COIN = 25
INVENTORY = 100
RULES = {
    "payment_window_ms": 0,
    "withdrawal_fee_units": 2_000,
    "withdrawal_confirmations": 2,
    "payment_bump_after_seconds": 60,
    "address_watch_ahead": 100,
}
TIERS = ((50, 1), (150, 2))  #: and three above


class SeededIds(ledger.ids.Source):
    """Ids that a seed and the machine's clock decide."""

    def __init__(self, seed: str, database: MemoryDatabase) -> None:
        self._rng = Random(seed)  # it is to be repeatable
        self._database = database

    def milliseconds(self) -> int:
        return self._database._clock() // 1000

    def bits(self, count: int) -> int:
        return self._rng.getrandbits(count)


@dataclass
class Ground:
    """`clock` is a cell with the time of its database, microseconds."""

    scratch: tempfile.TemporaryDirectory[str]  #: goes with the process
    folder: Path
    clock: list[int]
    database: MemoryDatabase
    sagas: dict[str, Saga]
    caller: Caller
    accounts: dict[str, int] = field(default_factory=dict)
    addresses: dict[tuple[str, str], str] = field(default_factory=dict)  #: (account, asset) -> one of its addresses
    house: dict[str, str] = field(default_factory=dict)  #: asset -> an address of the house
    tasks: dict[str, int] = field(default_factory=dict)
    elsewhere: set[int] = field(default_factory=set)  #: tasks of workers that are not simulated
    chains: dict[str, bytes] = field(default_factory=dict)  #: the chains' states, pickled
    signer: dict[str, bytes] = field(default_factory=dict)  #: files of the signer's record
    shelf: Shelf = field(default_factory=Shelf)  #: connections to the record of the run


_made: Ground | None = None


def ground() -> Ground:
    global _made
    if _made is None:
        usual = ledger.ids.source
        _made = _make(tempfile.TemporaryDirectory(prefix="coffer-sim-"))
        ledger.ids.source = usual
    return _made


def services(ground: Ground, wallets: Mapping[str, ChainWallet], folder: Path, shelf: Shelf | None = None) -> Services:
    signer = Signer(folder, MAC, CAPS, COLD, clock=lambda: ground.clock[0] / 1e6)
    if shelf is not None:
        signer.record = KeptRecord(signer.record, shelf)
    found = Services(ground.database, "test", BOOKS.__getitem__, MAC, signer, wallets)
    found.cold_addresses = COLD
    return found


def _make(scratch: tempfile.TemporaryDirectory[str]) -> Ground:
    folder, clock = Path(scratch.name), [BEGIN_US]
    database = MemoryDatabase(lambda: clock[0])
    ledger.ids.source = SeededIds("ground", database)
    migrations.upgrade(database)
    founding.found(database, "test", tuple(ASSETS))
    database.run(lambda tx: tasks.found(tx, tuple(ASSETS)), "found_tasks")
    made = Ground(scratch, folder, clock, database, bootstrap.sagas(), database.run(_project, "shop"))
    chains = {name: FakeChain(prefix=prefix) for name, prefix in PREFIXES.items()}
    wallets = {name: FakeWallet(chain, WALLETS[name], name) for name, chain in chains.items()}
    parts = services(made, wallets, folder / "signer")
    for name, asset in ASSETS.items():
        chains[name].mine(20)
        bootstrap.adopt(parts, wallets[name])
        database.run(lambda tx, a=asset: _rules(tx, a), "rules")
    runtime = Runtime(database, made.sagas, parts)
    rows = database.read(lambda tx: tx.all(select(task)))
    made.tasks = {row.name: row.id for row in rows}
    made.elsewhere = {row.id for row in rows if row.queue in ("rates", "webhooks", "ethereum")}
    _settle(runtime, clock)
    _people(made, parts, chains)
    for _ in range(3):
        for chain in chains.values():
            chain.mine(60)
        _settle(runtime, clock)
    _inventory(made)
    made.chains = {name: pickle.dumps(chain._state) for name, chain in chains.items()}
    made.signer = {file.name: file.read_bytes() for file in (folder / "signer").iterdir()}
    database.seal()
    return made


def _project(tx: Tx) -> Caller:
    values = {"public_id": new_id("pj"), "name": "shop", "created_at": tx.now}
    return Caller(tx.insert(insert(project).values(values)), None, "shop", "shop")


def _rules(tx: Tx, asset: Asset) -> None:
    unit = UNIT[asset.code]
    rules = RULES | {
        "deposit_tiers": [*([upto * unit, needed] for upto, needed in TIERS), [UNITS_BOUND, 3]],
        "withdrawal_approval_above_units": 150 * unit,
    }
    for name, value in rules.items():
        policy.change(tx, asset.code, name, value, "test")


def _people(made: Ground, parts: Services, chains: Mapping[str, FakeChain]) -> None:
    """Accounts with an address on each chain, and the money that they begin with; the house's own."""
    database = made.database
    for name in ACCOUNTS:
        row = database.run(lambda tx, n=name: accounts.create(tx, made.caller, n, "user"), "account")
        made.accounts[name] = int(row.id)
    for chain, asset in ASSETS.items():
        for name, coins in ACCOUNTS.items():
            wish = addresses.Wish(made.accounts[name], asset)
            home = database.run(lambda tx, w=wish: addresses.issue(tx, made.caller, w, parts), "address")
            made.addresses[name, asset.code] = home.address
            for _ in range(coins // COIN):
                chains[chain].pay(Output(home.address, COIN * UNIT[asset.code]))
        own = database.run(lambda tx, a=asset: treasury.address_for(tx, parts, a.code, "test"), "house")
        made.house[asset.code] = own.address
        for _ in range(HOUSE // COIN):
            chains[chain].pay(Output(own.address, COIN * UNIT[asset.code]))
        chains[chain].mine()


def _inventory(made: Ground) -> None:
    """What the house gives in swaps."""
    for asset in ASSETS.values():
        made.database.run(lambda tx, c=asset.code: inventory.fund(tx, c, INVENTORY * UNIT[c], "test"), "stock")


def _settle(runtime: Runtime, clock: list[int]) -> None:
    """Hours pass, and all that is due is done."""
    for _ in range(4):
        clock[0] += 4_000 * 1_000_000
        for name in ("scan:bitcoin", "scan:monero"):
            row_id = runtime.database.read(lambda tx, n=name: tx.value(select(task.c.id).where(task.c.name == n)))
            runtime.advance("task", row_id, woken=True)
        for queue in ("bitcoin", "monero", "tasks"):
            Sweeper(runtime, queue).sweep()
