"""Every setting once, read from the environment, failing at start with the variable's name.

Connections and secrets only; policy (limits, confirmations, fees) is audited rows in the database. Each secret may
come from a file instead: `COFFER_API_SECRET_FILE=/run/secrets/api` wins over `COFFER_API_SECRET`.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict


class SettingsError(SystemExit):
    """Raised at start: names the variables that are missing or wrong."""


def _hex32(value: SecretStr) -> SecretStr:
    try:
        raw = bytes.fromhex(value.get_secret_value())
    except ValueError:
        raise ValueError("must be hexadecimal") from None
    if len(raw) < 32:
        raise ValueError("must be at least 32 bytes (64 hex digits)")
    return value


def _chains(value: object) -> object:
    names = tuple(value.replace(" ", "").split(",")) if isinstance(value, str) else value
    known = ("bitcoin", "monero", "ethereum")
    if not isinstance(names, tuple) or not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise ValueError(f"must name chains among {', '.join(known)}, each once")
    return names


def _networks(value: str) -> str:
    for text in filter(None, value.replace(" ", "").split(",")):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ValueError("must name networks such as 10.1.0.0/16, separated by commas") from None
    return value


HexSecret = Annotated[SecretStr, AfterValidator(_hex32)]


class _FileSecrets(PydanticBaseSettingsSource):
    """`NAME_FILE` in the environment: the value is the first line of that file."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"COFFER_{field_name.upper()}_FILE")
        if path is None:
            return None, field_name, False
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise SettingsError(f"coffer: COFFER_{field_name.upper()}_FILE: {error.strerror}") from None
        return (lines[0] if lines else ""), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(f, name)[0] for name, f in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """All of Coffer's processes share one set; each reads only what it needs (the API holds no node secret)."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    mode: Literal["test", "live"] = "test"
    database_url: SecretStr
    redis_url: SecretStr | None = None  #: absent: workers poll only, limits count per process

    api_host: str = "127.0.0.1"
    api_port: int = 8080
    api_workers: int = 2
    api_threads: int = 8
    api_secret: HexSecret | None = None  #: master of key pepper, cursors, request signing and operator sessions
    api_rate_limit: str = "6000/minute"  #: per key; `N/second`, `N/minute` …, as flask-limiter reads them
    trusted_proxies: int = 0  #: reverse proxies in front, for client addresses

    chains: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_chains)] = ("bitcoin", "monero", "ethereum")

    row_mac_key: HexSecret | None = None  #: api and signers; a withdrawal without its MAC is never signed
    signer_dir: Path | None = None  #: the signer's own record, outside the database

    bitcoin_network: Literal["main", "test", "testnet4", "signet", "regtest"] = "regtest"
    bitcoin_rpc_url: SecretStr | None = None  #: http://user:password@host:port
    bitcoin_rpc_timeout_seconds: int = 30
    bitcoin_wallet: str = "coffer"
    bitcoin_wallet_passphrase: SecretStr | None = None
    bitcoin_backup_rpc_url: SecretStr | None = None  #: of a node's user that may also copy and put back wallets
    bitcoin_backup_dir: Path | None = None  #: a folder that node and `coffer backup` both see under this name
    bitcoin_witness_url: SecretStr | None = None  #: a second node, whose word large deposits need; bitcoin worker only
    bitcoin_zmq_url: str | None = None  #: hashblock publisher; absent: polling only
    bitcoin_daily_outflow_cap: str = "10"  #: BTC that the signer lets out in 24 hours, whatever the database says
    bitcoin_cold_address: str | None = None

    monero_network: Literal["mainnet", "stagenet", "testnet", "regtest"] = "regtest"
    monero_wallet_rpc_url: SecretStr | None = None  #: http://user:password@host:port of monero-wallet-rpc
    monero_daemon_url: SecretStr | None = None  #: http://[user:password@]host:port of monerod
    monero_witness_url: SecretStr | None = None  #: a second monerod, as above
    monero_rpc_timeout_seconds: int = 60
    monero_wallet: str = "coffer"
    monero_wallet_dir: Path | None = None  #: wallet-rpc's `--wallet-dir`, for `coffer backup` and `coffer restore` only
    monero_wallet_password: SecretStr | None = None
    monero_layout: Literal["subaddress", "account"] = (
        "subaddress"  #: account: each order its own, with a tag and a sweep
    )
    monero_daily_outflow_cap: str = "1000"  #: XMR
    monero_cold_address: str | None = None

    ethereum_chain_id: int = 31337
    ethereum_rpc_url: SecretStr | None = None  #: http://[user:password@]host:port
    ethereum_witness_url: SecretStr | None = None  #: a second node, as above
    ethereum_rpc_timeout_seconds: int = 30
    ethereum_ws_url: SecretStr | None = None  #: ws(s)://[user:password@]host:port, tells of new heads; absent: polling
    ethereum_seed_file: Path | None = None  #: made by `coffer eth seed generate`; read by the ethereum worker only
    ethereum_seed_key: HexSecret | None = None  #: opens the seed file, unless a Vault does
    ethereum_vault_url: str | None = None  #: http(s)://host:port of a Vault whose transit key opens the seed file
    ethereum_vault_key: str = "coffer"
    ethereum_vault_token_file: Path | None = None
    ethereum_sweeper: str | None = None  #: the sweep contract (`coffer eth deploy Sweeper`); absent: no batched sweeps
    ethereum_trace: Literal["auto", "off"] = "auto"  #: find transfers made inside contracts where the node can trace
    ethereum_daily_outflow_cap: str = "100"  #: ETH
    ethereum_cold_address: str | None = None
    token_daily_outflow_caps: str = ""  #: `USDT=100000,USDC=50000`: a token that is not named cannot leave

    rates_exchanges: str = ""  #: `kraken,coinbase`: at least two, by their ccxt names; rates worker only
    rates_quotes: str = "USD,USDT,USDC"  #: what they may price coins in, the best first; converted to USD
    rates_symbols: str = ""  #: `WXMR=XMR`: assets whose name on exchanges is another
    rates_fiat: str = ""  #: `EUR,GBP`: further currencies to show prices in
    rates_fixed: str = ""  #: `BTC=60000,XMR=150`: a table instead of exchanges, for development; refused when live

    export_dir: Path | None = None  #: tasks worker: where each day's heads of histories and audit log are written

    webhook_key: HexSecret | None = None  #: api and webhooks worker: the secrets of all endpoints come from it
    #: networks that webhooks may go to though they are private, also by plain http: `10.1.0.0/16,127.0.0.1`
    webhook_allow: Annotated[str, AfterValidator(_networks)] = ""

    hedge_exchange: Literal["kraken", "coinbaseexchange"] | None = None  #: absent: nothing is hedged
    hedge_api_key: SecretStr | None = None  #: rates worker only; may trade, and need not withdraw
    hedge_api_secret: SecretStr | None = None
    hedge_api_password: SecretStr | None = None  #: of exchanges whose keys have a passphrase
    hedge_quote: str = "USD"  #: what coins are traded against
    hedge_order_max: str = ""  #: `BTC=0.5,XMR=100`: the most of one order; an asset that is not named is not hedged

    log_format: Literal["json", "console"] = "json"
    log_level: str = "INFO"

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return sources["init_settings"], _FileSecrets(settings_cls), sources["env_settings"]


def load() -> Settings:
    """The settings of this process. Ends it with one line a fault, naming the variable, never its value."""
    try:
        return Settings()  # type: ignore[call-arg]  # fields come from the environment
    except ValidationError as error:
        lines = [f"COFFER_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise SettingsError("coffer: settings refused\n  " + "\n  ".join(lines)) from None
