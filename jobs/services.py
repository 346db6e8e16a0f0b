"""The parts that steps and requests may use, chosen in `jobs.bootstrap` and by tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import Row, bindparam, select

from exchanges.protocol import Desk, Hedging
from jobs import claims
from jobs.row_mac import RowMac
from jobs.signer import Signer
from jobs.webhooks.parts import Webhooks
from ledger.db import Database, Tx
from ledger.errors import CofferError, NodeNotReady, StateConflict
from ledger.policy import FINAL_DEPTH
from ledger.schema import chain as chain_table
from wallets.protocol import AddressBook, ChainWallet, TxStatus, Witness

#: A chain that was read longer ago than this is not known well enough to credit or to send by.
UNREAD_US = 120 * 1_000_000


@dataclass
class Services:
    """`mac` and `signer` are absent where no withdrawal is accepted or signed; `wallets` is empty in the API."""

    database: Database
    mode: str
    address_books: Callable[[str], AddressBook]
    mac: RowMac | None = None
    signer: Signer | None = None
    wallets: Mapping[str, ChainWallet] = field(default_factory=dict)
    witnesses: Mapping[str, Witness] = field(default_factory=dict)  #: chain -> the second node, where one is named
    cold_addresses: Mapping[str, str] = field(default_factory=dict)  #: chain -> where moves to cold go
    redis: Redis | None = None  #: for the mirrors only: nothing is decided by what is in there
    export_dir: Path | None = None  #: where the heads of histories go every day
    desk: Desk | None = None  #: where rates come from; in the rates worker only
    hedging: Hedging | None = None  #: there too, where an exchange is named for it
    webhooks: Webhooks | None = None  #: in the API and the webhooks worker

    def address_book(self, chain: str) -> AddressBook:
        return self.address_books(chain)

    def wallet(self, chain: str) -> ChainWallet:
        """This process's adapter for a chain; a worker of another queue has none and must not ask."""
        if chain not in self.wallets:
            raise CofferError(f"this process serves no {chain} wallet")
        return self.wallets[chain]

    def require_desk(self) -> Desk:
        if self.desk is None:
            raise CofferError("this process fetches no rates: they belong to the rates worker")
        return self.desk

    def require_mac(self) -> RowMac:
        if self.mac is None:
            raise CofferError("COFFER_ROW_MAC_KEY is needed for withdrawals")
        return self.mac

    def require_webhooks(self) -> Webhooks:
        """Raises `StateConflict` where webhooks are not set up."""
        if self.webhooks is None:
            raise StateConflict("this installation has no webhooks: COFFER_WEBHOOK_KEY is not set")
        return self.webhooks

    def require_signer(self) -> Signer:
        """The signer, for whoever still holds the row of its step: what its record is told, no row's fence takes back.
        To be asked for anew after every call that may take long. Raises `LeaseLost`."""
        if self.signer is None:
            raise CofferError("this process may not sign: COFFER_SIGNER_DIR and COFFER_ROW_MAC_KEY are needed")
        claims.check(self.database)
        return self.signer


_CHAIN = select(chain_table).where(chain_table.c.name == bindparam("chain"))


def chain_row(tx: Tx, chain: str) -> Row[Any]:
    """What we know of a chain."""
    return tx.one(_CHAIN, {"chain": chain})


def require_healthy(tx: Tx, chain: str) -> Row[Any]:
    """The chain row. Raises `NodeNotReady` with the reason while the node's view may not be relied on."""
    row = chain_row(tx, chain)
    if row.health_reason is not None:
        raise NodeNotReady(f"{row.health_reason}: {row.health_detail or ''}".rstrip(": "))
    if row.scanned_at is None or row.scanned_at < tx.now - UNREAD_US:
        raise NodeNotReady("unread: the chain has not been read lately, so nothing is judged by what it was")
    return row


def is_final(known: Row[Any], height: int) -> bool:
    """Whether a block of this chain is too deep to be looked at again: by the chain's own word where it has one."""
    if known.final_height is not None:
        return bool(height <= known.final_height)
    return bool(known.tip_height - height + 1 >= FINAL_DEPTH)


def is_final_status(known: Row[Any], status: TxStatus) -> bool:
    """The same of what a node said of a transaction: no reorganisation will change it any more."""
    return bool(status.final or (known.final_height is None and status.depth >= FINAL_DEPTH))


def is_deep(known: Row[Any], height: int, confirmations: int) -> bool:
    """Whether a block has this many confirmations. `FINAL_DEPTH` or more asks for a final one."""
    if confirmations >= FINAL_DEPTH:
        return is_final(known, height)
    return bool(known.tip_height - height + 1 >= confirmations)
