"""The settings of each process of a stack: all of them from the environment, each process given only its own."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack.files import kept_secret, private_folder
from devstack.programs import ROOT

#: What every signer needs.
_SIGNER = frozenset({"COFFER_ROW_MAC_KEY", "COFFER_SIGNER_DIR"})
#: Which settings a role gets beyond the common ones. The API never learns how to reach a node.
_OWN: Mapping[str, frozenset[str]] = {
    "api": frozenset(
        {
            "COFFER_API_HOST",
            "COFFER_API_PORT",
            "COFFER_API_WORKERS",
            "COFFER_API_THREADS",
            "COFFER_API_SECRET",
            "COFFER_ROW_MAC_KEY",
            "COFFER_WEBHOOK_KEY",
            "COFFER_WEBHOOK_ALLOW",
        }
    ),
    "worker bitcoin": _SIGNER
    | {
        "COFFER_BITCOIN_RPC_URL",
        "COFFER_BITCOIN_WALLET_PASSPHRASE",
        "COFFER_BITCOIN_ZMQ_URL",
        "COFFER_BITCOIN_COLD_ADDRESS",
    },
    "worker monero": _SIGNER
    | {
        "COFFER_MONERO_WALLET_RPC_URL",
        "COFFER_MONERO_DAEMON_URL",
        "COFFER_MONERO_WALLET_PASSWORD",
        "COFFER_MONERO_COLD_ADDRESS",
    },
    "worker ethereum": _SIGNER
    | {
        "COFFER_ETHEREUM_RPC_URL",
        "COFFER_ETHEREUM_SEED_FILE",
        "COFFER_ETHEREUM_SEED_KEY",
        "COFFER_ETHEREUM_SWEEPER",
        "COFFER_ETHEREUM_COLD_ADDRESS",
        "COFFER_TOKEN_DAILY_OUTFLOW_CAPS",
    },
    # It asks for the payouts of swaps, and signs what it exports.
    "worker tasks": frozenset({"COFFER_ROW_MAC_KEY", "COFFER_EXPORT_DIR"}),
    "worker rates": frozenset({"COFFER_RATES_FIXED"}),
    "worker webhooks": frozenset({"COFFER_WEBHOOK_KEY", "COFFER_WEBHOOK_ALLOW"}),
    "scheduler": frozenset(),
}
_COMMON = frozenset(
    {
        "COFFER_MODE",
        "COFFER_CHAINS",
        "COFFER_DATABASE_URL",
        "COFFER_REDIS_URL",
        "COFFER_LOG_FORMAT",
        "COFFER_BITCOIN_NETWORK",
        "COFFER_BITCOIN_WALLET",
        "COFFER_MONERO_NETWORK",
        "COFFER_MONERO_WALLET",
        "COFFER_MONERO_LAYOUT",
        "COFFER_ETHEREUM_CHAIN_ID",
    }
)


#: What a coin is worth here, in US dollars: no exchange is asked.
RATES = "BTC=60000,XMR=150,ETH=3000,USDT=1"
#: Where a shop may listen for webhooks: on this machine, and nowhere else that is private.
SHOPS = "127.0.0.0/8"


@dataclass(frozen=True)
class Connections:
    """Where the servers of a stack are that serve all chains, credentials included."""

    database_url: str
    redis_url: str
    api_port: int


def all_settings(
    folder: Path, at: Connections, chains: Collection[str], of_chains: Mapping[str, str]
) -> dict[str, str]:
    """Every setting of a stack whose secrets are kept in `folder`; `of_chains` are what its nodes say of themselves."""
    secrets = private_folder(folder / "secrets")
    return {
        "COFFER_MODE": "test",
        "COFFER_CHAINS": ",".join(chains),
        "COFFER_DATABASE_URL": at.database_url,
        "COFFER_REDIS_URL": at.redis_url,
        "COFFER_API_HOST": "127.0.0.1",
        "COFFER_API_PORT": str(at.api_port),
        "COFFER_API_WORKERS": "2",
        "COFFER_API_THREADS": "8",
        "COFFER_API_SECRET": kept_secret(secrets / "api"),
        "COFFER_ROW_MAC_KEY": kept_secret(secrets / "row-mac"),
        "COFFER_SIGNER_DIR": str(private_folder(folder / "signer")),
        "COFFER_RATES_FIXED": RATES,
        "COFFER_WEBHOOK_KEY": kept_secret(secrets / "webhook"),
        "COFFER_WEBHOOK_ALLOW": SHOPS,
        "COFFER_EXPORT_DIR": str(private_folder(folder / "exports")),
        "COFFER_LOG_FORMAT": "json",
        **of_chains,
    }


def environment_of(role: str | None, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment for one role, or with None for an operator's command, which gets all settings.

    COFFER_ variables of our own environment are left out: a stack on regtest must not pick up a real database.
    """
    wanted = settings.keys() if role is None else _COMMON | _OWN[role]
    base = {name: value for name, value in os.environ.items() if not name.startswith("COFFER_")}
    base["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), base.get("PYTHONPATH")]))
    base["PYTHONUNBUFFERED"] = "1"
    own = {name: settings[name] for name in wanted if name in settings}
    if role is not None and "COFFER_SIGNER_DIR" in own:  # a signer's record is nobody else's
        own["COFFER_SIGNER_DIR"] = str(private_folder(Path(own["COFFER_SIGNER_DIR"]) / role.partition(" ")[2]))
    return base | own
