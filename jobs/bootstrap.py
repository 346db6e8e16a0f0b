"""Chooses the real parts from the settings; tests hand over their own."""

from __future__ import annotations

import ipaddress
from functools import lru_cache, partial
from pathlib import Path

from sqlalchemy import insert, select

import exchanges.registry
import migrations
from exchanges.protocol import Desk, Hedging
from jobs import addresses, hot, housekeeping, queues, tasks, watch
from jobs.assets import DatabaseDirectory, asset_of
from jobs.deposit import requests as payment_requests
from jobs.deposit import saga as deposit
from jobs.deposit import scan
from jobs.escrow import saga as escrow
from jobs.hedge import plan as hedge_plan
from jobs.hedge import saga as hedge
from jobs.mirror import keep as mirror
from jobs.ownership import heads as ownership_heads
from jobs.payment import batch, second_line
from jobs.payment import saga as payment
from jobs.rates import fetch as rates_fetch
from jobs.reconcile import brake, sync
from jobs.row_mac import RowMac
from jobs.runtime import Runtime
from jobs.saga import Saga
from jobs.services import Services
from jobs.signer import Signer
from jobs.swap import inventory, quotes
from jobs.swap import saga as swap
from jobs.sweep import plan as sweep_plan
from jobs.sweep import saga as sweep
from jobs.webhooks import delivery
from jobs.webhooks import fanout as webhook_fanout
from jobs.webhooks import parts as webhook_parts
from jobs.webhooks.parts import Webhooks
from jobs.webhooks.urls import Guard
from ledger import founding
from ledger.db import Database, Tx, check_safe
from ledger.errors import InvalidInput, OtherInstallation, WrongNetwork
from ledger.money import Asset, parse_amount
from ledger.schema import chain, resource, task
from settings import Settings, SettingsError
from wallets import registry
from wallets.protocol import AddressBook, ChainWallet, WalletIdentity


def sagas() -> dict[str, Saga]:
    """All sagas by kind."""
    found: dict[str, Saga] = {"deposit": deposit.DEPOSIT, "payment": payment.PAYMENT, "sweep": sweep.SWEEP}
    found["swap"] = swap.SWAP
    found["delivery"] = delivery.DELIVERY
    found["escrow"] = escrow.ESCROW
    found["hedge"] = hedge.HEDGE
    found["task"] = tasks.saga(
        {
            "scan": partial(scan.scan, sagas=found),
            "watch": watch.watch,
            "batch": batch.batch,
            "relock": housekeeping.relock,
            "reconcile": brake.task,
            "sync": sync.task_step,
            "sweep": sweep_plan.task_step,
            "hot": hot.task_step,
            "sequence": housekeeping.sequence,
            "requests": payment_requests.expire,
            "snapshot": housekeeping.snapshot,
            "audit": housekeeping.check_books,
            "tidy": housekeeping.tidy,
            "fanout": webhook_fanout.task_step,
            "quotes": quotes.task_step,
            "inventory": inventory.task_step,
            "rates": rates_fetch.task_step,
            "hedge": hedge_plan.task_step,
            "heads": ownership_heads.task_step,
            "mirror": mirror.task_step,
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
    founding.found(database, settings.mode, settings.chains)
    database.run(lambda tx: tasks.found(tx, settings.chains), "found_tasks")
    database.close()


def services(settings: Settings, database: Database | None = None, *, pool_size: int = 10) -> Services:
    """What requests need: no wallet, no signer, no node."""
    found = Services(
        database or open_database(settings, pool_size=pool_size),
        settings.mode,
        partial(registry.address_book, settings=settings),
        mac=_mac(settings),
        webhooks=_webhooks(settings),
        cold_addresses=cold_addresses(settings),
        export_dir=settings.export_dir,
    )
    if settings.redis_url is not None:
        found.redis = queues.connect(settings.redis_url.get_secret_value())
        wake_ups = queues.WakeUps(settings.redis_url.get_secret_value(), partial(queue_of, found.database))
        found.database.on_commit = wake_ups.send
    return found


def worker_services(settings: Settings, queue: str) -> Services:
    """What a worker of a queue needs: its chain's wallet, opened and checked, and the signer."""
    found = services(settings)
    if queue in founding.CHAINS:
        wallet = registry.wallet(queue, settings, DatabaseDirectory(found.database, queue))
        found.wallets = {queue: wallet}
        second = registry.witness(queue, settings)
        found.witnesses = {} if second is None else {queue: second}
        found.signer = signer(settings, found)
        second_line.look(found, queue)  # a record that is not the right one is told of at once
    if queue == "webhooks" and found.webhooks is None:
        raise SettingsError("coffer: COFFER_WEBHOOK_KEY is needed by the worker of webhooks")
    if queue == "rates":
        found.desk, found.hedging = _exchanges(settings)
    return found


def _exchanges(settings: Settings) -> tuple[Desk, Hedging | None]:
    try:
        return exchanges.registry.desk(settings), exchanges.registry.hedging(settings)
    except exchanges.registry.Misconfigured as error:
        raise SettingsError(f"coffer: {error}") from None


def runtime(services: Services) -> Runtime:
    return Runtime(services.database, sagas(), services)


def adopt(services: Services, wallet: ChainWallet) -> WalletIdentity:
    """Open a wallet and bind it to this database for good, and this database to it. Raises `WrongNetwork` when it is
    another one, `OtherInstallation` when it is another database's (FAULTS C8)."""
    identity = wallet.open()
    ours, owner = services.database.read(founding.public_id), wallet.marked()
    if owner is not None and owner != ours:
        raise OtherInstallation(
            f"{wallet.chain}: the wallet belongs to installation {owner}, this database is {ours}. If that one is gone "
            f"for good: coffer claim-wallet {wallet.chain}"
        )
    book = services.address_book(wallet.chain)
    services.database.run(lambda tx: _bind(tx, wallet.chain, identity, book), "adopt_wallet")
    if owner is None:
        wallet.mark(ours)
    return identity


def _bind(tx: Tx, name: str, identity: WalletIdentity, book: AddressBook) -> None:
    row = tx.one(select(chain).where(chain.c.name == name).with_for_update())
    if row.genesis_hash is None:
        _first_contact(tx, name, identity, book)
        return
    if row.genesis_hash != identity.genesis_hash:
        raise WrongNetwork(f"{name}: this database was made for another chain (genesis {row.genesis_hash})")
    if row.account_public_key != identity.account_public_key:
        raise WrongNetwork(f"{name}: this database was made for another wallet: its public key differs")


def _first_contact(tx: Tx, name: str, identity: WalletIdentity, book: AddressBook) -> None:
    values = {"genesis_hash": identity.genesis_hash, "account_public_key": identity.account_public_key}
    tx.execute(chain.update().where(chain.c.name == name).values(values | {"hot_index": identity.hot_index}))
    for key in identity.used:
        owned = {"chain": name, "resource_key": key, "payment_id": None, "live": None, "created_at": tx.now}
        tx.execute(insert(resource).values(owned))
    if identity.hot_index is not None:
        addresses.take_hot(tx, name, identity.hot_index, book.at(identity.account_public_key, identity.hot_index))
    tasks.wake(tx, f"watch:{name}")


_queue_cache: dict[tuple[str, int], str] = {}


def queue_of(database: Database, kind: str, row_id: int) -> str | None:
    """Which queue looks after a row. Deposits and payments belong to their chain, others to the queue in their row."""
    key = (str(database.engine.url), row_id)
    if kind != "task":
        return _kept_queue(database, kind, row_id)
    if key not in _queue_cache:
        found = database.read(lambda tx: tx.value(select(task.c.queue).where(task.c.id == row_id)))
        if found is None:
            return None
        _queue_cache[key] = str(found)
    return _queue_cache[key]


@lru_cache(maxsize=10_000)
def _kept_queue(database: Database, kind: str, row_id: int) -> str | None:
    """A row never changes its queue."""
    saga = sagas()[kind]
    t = saga.table.c
    found = database.read(lambda tx: tx.value(select(t[saga.queue_column()]).where(t.id == row_id)))
    return None if found is None else str(found)


def _mac(settings: Settings) -> RowMac | None:
    key = settings.row_mac_key
    return None if key is None else RowMac(bytes.fromhex(key.get_secret_value()))


def _webhooks(settings: Settings) -> Webhooks | None:
    if settings.webhook_key is None:
        return None
    networks = filter(None, settings.webhook_allow.replace(" ", "").split(","))
    guard = Guard([ipaddress.ip_network(text) for text in networks])
    return webhook_parts.make(bytes.fromhex(settings.webhook_key.get_secret_value()), guard)


def cold_addresses(settings: Settings) -> dict[str, str]:
    """Chain -> where moves to cold go, as the settings say; checked here, so that a typing error stops the start."""
    found = {}
    for coin in founding.NATIVE_ASSETS:
        text = getattr(settings, f"{coin.chain}_cold_address")
        if text is not None:
            try:
                found[coin.chain] = registry.address_book(coin.chain, settings).parse(text)
            except InvalidInput as error:
                name = f"COFFER_{coin.chain.upper()}_COLD_ADDRESS"
                raise SettingsError(f"coffer: {name} {error.detail}") from None
    return found


def signer(settings: Settings, services: Services) -> Signer:
    """The signer of these settings. Raises `SettingsError` naming the variable that is missing."""
    if services.mac is None:
        raise SettingsError("coffer: COFFER_ROW_MAC_KEY is needed by a worker that signs")
    if settings.signer_dir is None:
        raise SettingsError("coffer: COFFER_SIGNER_DIR is needed by a worker that signs")
    caps = outflow_caps(settings, services.database)
    return Signer(Path(settings.signer_dir), services.mac, caps, cold_addresses(settings))


def outflow_caps(settings: Settings, database: Database) -> dict[str, int]:
    """Asset code -> units that may leave in 24 hours. Raises `SettingsError` naming the variable."""
    caps = {}
    for coin in founding.NATIVE_ASSETS:
        text = getattr(settings, f"{coin.chain}_daily_outflow_cap")
        caps[coin.code] = _cap(text, coin, f"COFFER_{coin.chain.upper()}_DAILY_OUTFLOW_CAP")
    for part in filter(None, settings.token_daily_outflow_caps.replace(" ", "").split(",")):
        code, _, text = part.partition("=")
        token = database.read(lambda tx, c=code: asset_of(tx, c))  # type: ignore[misc]
        if token is None:
            continue  # it may be added later; the worker then starts anew
        caps[code] = _cap(text, token, "COFFER_TOKEN_DAILY_OUTFLOW_CAPS")
    return caps


def _cap(text: str, asset: Asset, variable: str) -> int:
    try:
        return parse_amount(text, asset)
    except InvalidInput as error:
        raise SettingsError(f"coffer: {variable}: {asset.code} {error.detail}") from None
