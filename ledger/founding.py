"""The first rows of a database: its mode, the house, the assets. Safe to repeat; a later run changes nothing."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from ledger.accounts import HOUSE_ACCOUNT, HOUSE_PROJECT
from ledger.audit import GENESIS
from ledger.db import Database, Tx
from ledger.errors import SchemaMismatch
from ledger.ids import new_id
from ledger.money import BTC, ETH, XMR, Asset
from ledger.schema import account, asset, audit_head, chain, index_counter, installation, project

#: Assets that exist from the start; tokens are added as rows by operators.
NATIVE_ASSETS = (BTC, XMR, ETH)


#: Index 0 of every chain is the house's: where the hot wallet is one address, it is that.
FIRST_INDEX = 1

#: Every chain that this program knows.
CHAINS = tuple(native.chain for native in NATIVE_ASSETS)


def found(database: Database, mode: str, chains: Collection[str] = CHAINS) -> None:
    """Write the first rows; coins of other chains than `chains` start disabled.

    Raises `SchemaMismatch` when the database was founded for the other mode.
    """
    try:
        database.run(lambda tx: _found(tx, mode, chains), "found")
    except IntegrityError:  # another process founded it in this very moment: see what it made of it
        database.run(lambda tx: _found(tx, mode, chains), "found")


def check_mode(database: Database, mode: str) -> None:
    """Raises `SchemaMismatch` unless the database was founded for this mode."""
    there = database.read(lambda tx: tx.value(select(installation.c.mode)))
    if there != mode:
        raise SchemaMismatch(f"COFFER_MODE is {mode}, the database was made for {there or 'nothing yet'}")


def public_id(tx: Tx) -> str:
    """The public id of this installation: what its wallets and its signer's record are marked with."""
    return str(tx.one(select(installation.c.public_id)).public_id)


def _found(tx: Tx, mode: str, chains: Collection[str]) -> None:
    there = tx.value(select(installation.c.mode))
    if there is not None:
        if there != mode:
            raise SchemaMismatch(f"COFFER_MODE is {mode}, the database was made for {there}")
        return
    born = {"created_at": tx.now}
    house = {"reference": "house", "kind": "house", "version": 1, "updated_at": tx.now}
    tx.execute(insert(installation).values(born | {"id": 1, "mode": mode, "public_id": new_id("in")}))
    tx.execute(insert(project).values(born | {"id": HOUSE_PROJECT, "public_id": new_id("pj"), "name": "house"}))
    tx.execute(
        insert(account).values(
            born | house | {"id": HOUSE_ACCOUNT, "public_id": new_id("ac"), "project_id": HOUSE_PROJECT}
        )
    )
    tx.execute(insert(audit_head).values(id=1, audit_id=0, hash=GENESIS))
    for native in NATIVE_ASSETS:
        _add_asset(tx, native, enabled=native.chain in chains)


def _add_asset(tx: Tx, native: Asset, *, enabled: bool) -> None:
    if tx.value(select(chain.c.name).where(chain.c.name == native.chain)) is None:
        tx.execute(insert(chain).values(name=native.chain, watched_count=0))
        tx.execute(insert(index_counter).values(chain=native.chain, next_index=FIRST_INDEX))
    values = {"code": native.code, "chain": native.chain, "decimals": native.decimals}
    tx.execute(insert(asset).values(values | {"enabled": int(enabled), "created_at": tx.now}))
