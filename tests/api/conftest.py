"""One database a kind and session; a fresh project, with its keys, for each test. Nodes are never needed here."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from embit import bip39
from flask import Flask
from monero.backends.offline import OfflineWallet
from monero.const import NET_MAIN
from monero.seed import Seed
from monero.wallet import Wallet
from sqlalchemy import insert, select, update

import migrations
from api.app import create_app
from jobs import bootstrap, keys, tasks
from jobs.keys import Keyring
from ledger import accounts, founding, history, policy, postings
from ledger.db import Database, Tx
from ledger.ids import new_id
from ledger.postings import Leg
from ledger.schema import account, asset, chain, project, ready_address
from settings import Settings
from tests.api.shop import Shop
from wallets.ethereum.keys import EthereumKeys

SECRET = "5a" * 32
WATCHED = 10_000_000
#: What each chain's addresses come from: the model chain's, a Monero address, the account key of a test mnemonic.
SEED = Seed("0" * 63 + "1")
KEYS = {
    "bitcoin": "fakepub:api",
    "monero": str(SEED.public_address(NET_MAIN)),
    "ethereum": EthereumKeys(bip39.mnemonic_to_seed("test " * 11 + "junk")).xpub,
}
#: Monero addresses that are ready ahead of use.
READY = 40
TOKEN = {"code": "USDT", "chain": "ethereum", "decimals": 6, "contract": "0x5FbDB2315678afecb367f032d93F642f64180aa3"}


@pytest.fixture(scope="session", params=["sqlite", "mariadb"])
def database(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[Database]:
    """A founded database whose chains have addresses, and a token on one of them."""
    if request.param == "sqlite":
        url = f"sqlite:///{server_folder}/api-{secrets.token_hex(4)}.sqlite3"
    else:
        url = request.getfixturevalue("mariadb_server").create_database(f"api_{secrets.token_hex(4)}")
    found = Database(url, pool_size=20)
    migrations.upgrade(found)
    founding.found(found, "test")
    found.run(tasks.found, "found_tasks")
    found.run(_connect, "connect")
    yield found
    found.close()


def _connect(tx: Tx) -> None:
    """What the workers of three chains leave in the database at their start."""
    for name, key in KEYS.items():
        values = {"watched_count": WATCHED, "account_public_key": key, "genesis_hash": "00" * 32}
        tx.execute(update(chain).where(chain.c.name == name).values(values))
    made = Wallet(OfflineWallet(SEED.public_address(NET_MAIN), view_key=SEED.secret_view_key()))
    for idx in range(READY):
        values = {"chain": "monero", "idx": idx, "address": str(made.get_address(0, idx + 1))}
        tx.execute(insert(ready_address).values(values))
    tx.execute(insert(asset).values(TOKEN | {"enabled": 1, "created_at": tx.now}))
    for name, value in policy.token_rules(6).items():
        policy.change(tx, "USDT", name, value, "tests")


def make_settings(database: Database, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "mode": "test",
        "database_url": database.engine.url.render_as_string(hide_password=False),
        "api_secret": SECRET,
        "row_mac_key": "6b" * 32,
        "webhook_key": "7c" * 32,
        "bitcoin_rpc_url": "fake:/nowhere",
        "api_rate_limit": "1000000/minute",
    }
    return Settings(**(values | changes))


@pytest.fixture(scope="session")
def app(database: Database) -> Flask:
    settings = make_settings(database)
    return create_app(bootstrap.services(settings, database), settings)


@pytest.fixture(scope="session")
def make_shop(app: Flask, database: Database) -> Callable[..., Shop]:
    """A fresh project with a key of the given scopes (all by default)."""
    ring = Keyring(bytes.fromhex(SECRET), "test")

    def make(project_id: int | None = None, **wish: Any) -> Shop:
        def unit(tx: Any) -> tuple[int, Any, str]:
            values = {"public_id": new_id("pj"), "name": f"shop-{secrets.token_hex(6)}", "created_at": tx.now}
            row_id = project_id or tx.insert(insert(project).values(values))
            given = {"name": "test", "holder": "ann", "scopes": list(keys.SCOPES)} | wish
            row, token = keys.create(tx, ring, row_id, keys.Wish(**given), "tests")
            return row_id, row, token

        row_id, row, token = database.run(unit, "shop")
        return Shop(app, database, ring, row_id, row, token)

    return make


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    return make_shop()


@pytest.fixture(scope="session")
def fund(database: Database) -> Callable[..., None]:
    """Credit an account with atomic units, as a deposit would."""

    def fund_(public_id: str, units: int, code: str = "BTC") -> None:
        def unit(tx: Any) -> None:
            row_id = tx.value(select(account.c.id).where(account.c.public_id == public_id))
            leg = Leg(accounts.house("treasury_hot"), (row_id, "available"), units)
            postings.post(tx, f"test:{secrets.token_hex(8)}", "deposit", code, [leg], ("test", 0))

        database.run(unit, "fund")

    return fund_


@pytest.fixture
def number_events(database: Database) -> Callable[[], None]:
    def number() -> None:
        while database.run(history.number_events, "sequence"):
            pass

    return number
