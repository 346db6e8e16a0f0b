"""Chooses the real parts from the settings; tests hand over their own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sqlalchemy import select

import migrations
from jobs import batch, deposit, housekeeping, payment, payment_requests, queues, reconcile, scan, tasks
from jobs.row_mac import RowMac
from jobs.runtime import Runtime
from jobs.saga import Saga
from jobs.services import Services
from jobs.signer import Signer
from ledger import founding
from ledger.db import Database, Tx, check_safe
from ledger.errors import WrongNetwork
from ledger.money import BTC, parse_amount
from ledger.schema import chain, task
from settings import Settings, SettingsError
from wallets import registry
from wallets.protocol import ChainWallet, WalletIdentity

CHAINS = ("bitcoin",)


def sagas() -> dict[str, Saga]:
    """All sagas by kind."""
    found: dict[str, Saga] = {"deposit": deposit.DEPOSIT, "payment": payment.PAYMENT}
    found["task"] = tasks.saga(
        {
            "scan": partial(scan.scan, sagas=found),
            "watch": scan.watch,
            "batch": batch.batch,
            "relock": housekeeping.relock,
            "reconcile": reconcile.task,
            "sequence": housekeeping.sequence,
            "requests": payment_requests.expire,
            "snapshot": housekeeping.snapshot,
            "audit": housekeeping.check_books,
            "tidy": housekeeping.tidy,
        }
    )
    return found


def open_database(settings: Settings, *, pool_size: int = 10) -> Database:
    """The database, checked: safe settings, this program's schema, this installation's mode."""
    database = Database(settings.database_url.get_secret_value(), pool_size=pool_size)
    check_safe(database)
    migrations.check(database)
    founding.check_mode(database, settings.mode)
    return database


def upgrade(settings: Settings) -> None:
    """Bring the database to this program's schema and write the rows that must exist. Safe to repeat."""
    database = Database(settings.database_url.get_secret_value())
    check_safe(database)
    migrations.upgrade(database)
    founding.found(database, settings.mode)
    database.run(tasks.found, "found_tasks")
    database.close()


def services(settings: Settings, database: Database | None = None, *, pool_size: int = 10) -> Services:
    """What requests need: no wallet, no signer, no node."""
    found = Services(
        database or open_database(settings, pool_size=pool_size),
        settings.mode,
        partial(registry.address_book, settings=settings),
        mac=_mac(settings),
    )
    if settings.redis_url is not None:
        wake_ups = queues.WakeUps(settings.redis_url.get_secret_value(), partial(queue_of, found.database))
        found.database.on_commit = wake_ups.send
    return found


def worker_services(settings: Settings, queue: str) -> Services:
    """What a worker of a queue needs: its chain's wallet, opened and checked, and the signer."""
    found = services(settings)
    if queue in CHAINS:
        wallet = registry.wallet(queue, settings)
        found.wallets = {queue: wallet}
        found.signer = _signer(settings, found.mac)
    return found


def runtime(services: Services) -> Runtime:
    return Runtime(services.database, sagas(), services)


def adopt(services: Services, wallet: ChainWallet) -> WalletIdentity:
    """Open a wallet and bind it to this database for good. Raises `WrongNetwork` when it is another one."""
    identity = wallet.open()
    services.database.run(lambda tx: _bind(tx, wallet.chain, identity), "adopt_wallet")
    return identity


def _bind(tx: Tx, name: str, identity: WalletIdentity) -> None:
    row = tx.one(select(chain).where(chain.c.name == name).with_for_update())
    if row.genesis_hash is None:
        values = {"genesis_hash": identity.genesis_hash, "account_public_key": identity.account_public_key}
        tx.execute(chain.update().where(chain.c.name == name).values(values))
        tasks.wake(tx, f"watch:{name}")
        return
    if row.genesis_hash != identity.genesis_hash:
        raise WrongNetwork(f"{name}: this database was made for another chain (genesis {row.genesis_hash})")
    if row.account_public_key != identity.account_public_key:
        raise WrongNetwork(f"{name}: this database was made for another wallet: its public key differs")


_queue_cache: dict[tuple[str, int], str] = {}


def queue_of(database: Database, kind: str, row_id: int) -> str | None:
    """Which queue looks after a row. Deposits and payments belong to their chain, tasks to the queue in their row."""
    key = (str(database.engine.url), row_id)
    if kind != "task":
        return CHAINS[0] if len(CHAINS) == 1 else _chain_of(database, kind, row_id)
    if key not in _queue_cache:
        found = database.read(lambda tx: tx.value(select(task.c.queue).where(task.c.id == row_id)))
        if found is None:
            return None
        _queue_cache[key] = str(found)
    return _queue_cache[key]


def _chain_of(database: Database, kind: str, row_id: int) -> str | None:
    table = sagas()[kind].table
    found = database.read(lambda tx: tx.value(select(table.c.chain).where(table.c.id == row_id)))
    return None if found is None else str(found)


def _mac(settings: Settings) -> RowMac | None:
    key = settings.row_mac_key
    return None if key is None else RowMac(bytes.fromhex(key.get_secret_value()))


def _signer(settings: Settings, mac: RowMac | None) -> Signer:
    if mac is None:
        raise SettingsError("coffer: COFFER_ROW_MAC_KEY is needed by a worker that signs")
    if settings.signer_dir is None:
        raise SettingsError("coffer: COFFER_SIGNER_DIR is needed by a worker that signs")
    caps = {BTC.code: parse_amount(settings.bitcoin_daily_outflow_cap, BTC, "COFFER_BITCOIN_DAILY_OUTFLOW_CAP")}
    return Signer(Path(settings.signer_dir), mac, caps)
