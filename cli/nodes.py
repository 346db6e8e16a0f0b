"""The node, for the few commands that ask it something. They need the chain's connection in their environment."""

from __future__ import annotations

from sqlalchemy import select

from cli.context import load_settings, open_services
from jobs import bootstrap
from jobs.assets import DatabaseDirectory
from jobs.services import Services
from ledger.db import Tx
from ledger.errors import InvalidInput, NodeNotReady
from ledger.schema import asset as assets
from settings import Settings
from wallets import registry
from wallets.protocol import ChainWallet


def services_with_wallet(chain: str, settings: Settings | None = None) -> Services:
    """Services whose wallet of this chain is opened, checked against the database, and on a healthy node.

    Raises `WrongNetwork`, `NodeUnavailable`, `NodeNotReady`.
    """
    found_settings = settings or load_settings()
    services = open_services(found_settings)
    wallet = registry.wallet(chain, found_settings, DatabaseDirectory(services.database, chain))
    services.wallets = {chain: wallet}
    bootstrap.adopt(services, wallet)
    require_healthy(wallet)
    return services


def require_healthy(wallet: ChainWallet) -> None:
    """Raises `NodeNotReady`: the word of a node that is syncing or alone proves nothing."""
    health = wallet.health()
    if not health.ok:
        raise NodeNotReady(f"the {wallet.chain} node cannot be relied on now: {health.reason}: {health.detail}")


def chain_of(tx: Tx, asset: str) -> str:
    """The chain of an asset. Raises `InvalidInput`."""
    chain = tx.value(select(assets.c.chain).where(assets.c.code == asset))
    if chain is None:
        raise InvalidInput("/asset", f"{asset} is not an asset of this installation")
    return str(chain)
