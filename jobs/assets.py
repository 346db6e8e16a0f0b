"""Assets as rows: the coin of each chain, and the tokens on it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, bindparam, select

from ledger.db import Database, Tx
from ledger.founding import NATIVE_ASSETS
from ledger.money import Asset
from ledger.schema import address, chain, ready_address
from ledger.schema import asset as table

#: Addresses asked for in one query.
LOOK_MAX = 500

_ON_CHAIN = select(table).where(table.c.chain == bindparam("chain")).order_by(table.c.code)
_NATIVE = select(table.c.code).where(table.c.chain == bindparam("chain"), table.c.contract.is_(None))
_CONTRACT = select(table.c.contract).where(table.c.code == bindparam("code"))


def asset_of(tx: Tx, code: str) -> Asset | None:
    """An enabled asset by its public code."""
    row = tx.first(select(table).where(table.c.code == code, table.c.enabled == 1))
    if row is None:
        return None
    native = next((a for a in NATIVE_ASSETS if a.code == row.code), None)
    return native or Asset(row.code, row.chain, row.decimals)


def native(tx: Tx, chain: str) -> str:
    """The code of the chain's own coin, in which its network is paid."""
    return str(tx.value(_NATIVE, {"chain": chain}))


def on_chain(tx: Tx, chain: str) -> list[Row[Any]]:
    """All assets of a chain, its own coin first; disabled ones too: what we hold of them is still ours to count."""
    found = tx.all(_ON_CHAIN, {"chain": chain})
    return sorted(found, key=lambda row: row.contract is not None)


def codes_by_contract(tx: Tx, chain: str) -> dict[str | None, str]:
    """Contract -> asset code for a chain; the coin itself under None. Disabled ones too: what came in must be told."""
    return {row.contract: row.code for row in tx.all(_ON_CHAIN, {"chain": chain})}


def contract_of(tx: Tx, code: str) -> str | None:
    """The token's contract, None for a chain's own coin."""
    found = tx.value(_CONTRACT, {"code": code})
    return None if found is None else str(found)


def chains_in_use(tx: Tx) -> list[str]:
    """Chains of which any asset is enabled."""
    return sorted({row.chain for row in tx.all(select(table.c.chain).where(table.c.enabled == 1))})


class DatabaseDirectory:
    """The `wallets.protocol.Directory` of a chain, from its rows."""

    def __init__(self, database: Database, chain: str) -> None:
        self._database = database
        self._chain = chain

    def ours(self, addresses: Collection[str]) -> Collection[str]:
        wanted, found = sorted(set(addresses)), set()
        a = address.c
        for start in range(0, len(wanted), LOOK_MAX):
            part = wanted[start : start + LOOK_MAX]
            # Those made ahead of use too: after a restore they may be somebody's all the same.
            for t in (a, ready_address.c):
                query = select(t.address).where(t.chain == self._chain, t.address.in_(part))
                found |= {row.address for row in self._database.read(lambda tx, q=query: tx.all(q))}  # type: ignore[misc]
        return found

    def account_public_key(self) -> str | None:
        query = select(chain.c.account_public_key).where(chain.c.name == self._chain)
        found = self._database.read(lambda tx: tx.value(query))
        return None if found is None else str(found)

    def tokens(self) -> Collection[str]:
        query = select(table.c.contract).where(table.c.chain == self._chain, table.c.contract.is_not(None))
        return [row.contract for row in self._database.read(lambda tx: tx.all(query))]
