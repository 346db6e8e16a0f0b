"""`coffer assets`: what can be owned here. Coins are there from the start; tokens are added."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import select

from cli.context import acting, json_option, load_settings, open_services, say_json, say_table
from jobs import tokens
from jobs.assets import DatabaseDirectory
from jobs.explain import amount
from jobs.services import Services
from jobs.tokens import Token
from ledger import pauses, policy
from ledger.db import Tx
from ledger.errors import InvalidInput, NodeNotReady
from ledger.schema import asset
from settings import Settings
from wallets import registry
from wallets.protocol import TokenFacts


@click.group()
def assets() -> None:
    """What can be owned here."""


@assets.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Every coin and token."""
    rows = open_services().database.read(lambda tx: [_shown(tx, row) for row in tx.all(_all())])
    if as_json:
        say_json(rows)
    else:
        titles = ("CODE", "CHAIN", "DECIMALS", "CONTRACT", "STATE", "PAUSED", "MINIMUM", "WITHDRAWAL FEE")
        say_table(titles, [tuple(row.values()) for row in rows])


def _all() -> Any:
    return select(asset).order_by(asset.c.chain, asset.c.contract.is_not(None), asset.c.code)


def _shown(tx: Tx, row: Any) -> dict[str, object]:
    rules = policy.of(tx, row.code)
    paused = [flow for flow in pauses.FLOWS if pauses.reason(tx, row.code, flow) is not None]
    fee = amount(tx, rules.withdrawal_fee_units, row.code)
    return {
        "code": row.code,
        "chain": row.chain,
        "decimals": row.decimals,
        "contract": row.contract,
        "state": "enabled" if row.enabled else "disabled",
        "paused": ", ".join(paused) or None,
        "minimum": amount(tx, rules.deposit_minimum_units, row.code),
        "withdrawal_fee": fee if rules.withdrawal_fee_kind == "flat" else f"{rules.withdrawal_fee_kind}, least {fee}",
    }


@assets.command()
@click.argument("code")
@click.option("--contract", required=True, help="With its checksum (EIP-55).")
@click.option("--decimals", required=True, type=int, help="Compared with the contract's own word.")
@click.option("--chain", default="ethereum", show_default=True)
@click.option("--minimum", help="Least deposit and withdrawal, in whole tokens; 1 if not given.")
@click.option("--withdrawal-fee", help="Flat, in whole tokens; it pays for gas. 1 if not given.")
@click.option(
    "--confirmations", type=click.IntRange(1, policy.FINAL_DEPTH), help="As for the chain's coin if not given."
)
@acting
def add(
    code: str,
    contract: str,
    decimals: int,
    chain: str,
    minimum: str | None,
    withdrawal_fee: str | None,
    confirmations: int | None,
    actor: str,
) -> None:
    """Add a token, by the contract that it stands for and will stand for. Its rules are those of `coffer policy`."""
    settings = load_settings()
    services = open_services(settings)
    wanted = Token(code, chain, contract, decimals, minimum, withdrawal_fee, confirmations)
    try:
        book = services.address_book(chain)
    except LookupError:
        raise InvalidInput("/chain", f"{chain} is no chain of this program") from None
    tokens.checked(wanted, book)
    facts, why_not = _ask(services, settings, wanted)
    services.database.run(lambda tx: tokens.add(tx, wanted, book, actor, facts), "cli.asset")
    if facts is None:
        click.echo(f"note: the contract itself was not asked: {why_not}", err=True)
    elif facts.symbol != code.partition(".")[0]:
        click.echo(f"note: the contract calls itself {facts.symbol or 'nothing'}", err=True)
    if f"{code}=" not in settings.token_daily_outflow_caps.replace(" ", ""):
        click.echo(
            f"note: it cannot leave before COFFER_TOKEN_DAILY_OUTFLOW_CAPS names {code} and the {chain} workers are "
            "started anew",
            err=True,
        )
    click.echo(f"{code} stands for {contract} on {chain}, from now on and for ever")


def _ask(services: Services, settings: Settings, wanted: Token) -> tuple[TokenFacts | None, str]:
    """What the contract says of itself; None, and why, when these settings have no node. Raises `InvalidInput`."""
    try:
        wallet = registry.wallet(wanted.chain, settings, DatabaseDirectory(services.database, wanted.chain))
    except NodeNotReady as error:
        return None, error.detail
    wallet.health()  # refuses a node of another network
    try:
        return wallet.token_facts(wanted.contract), ""
    except LookupError as error:
        raise InvalidInput("/contract", str(error)) from None


@assets.command()
@click.argument("code")
@acting
def enable(code: str, actor: str) -> None:
    """Let CODE be asked for. Its chain needs a worker."""
    row = open_services().database.run(lambda tx: tokens.set_enabled(tx, code, True, actor), "cli.asset")
    click.echo(f"{code} is enabled; `coffer worker {row.chain}` looks after it")


@assets.command()
@click.argument("code")
@acting
def disable(code: str, actor: str) -> None:
    """No new addresses and withdrawals of CODE. What comes in is still credited, what is queued still leaves."""
    open_services().database.run(lambda tx: tokens.set_enabled(tx, code, False, actor), "cli.asset")
    click.echo(f"{code} is disabled")
