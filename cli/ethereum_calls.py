"""`coffer eth deploy` and `coffer eth call`: contracts, by the same path as all payments."""

from __future__ import annotations

import time
from typing import Any

import click
from sqlalchemy import Row, select

from cli.context import acting, json_option, load_settings, open_services, say_json
from jobs.payment import calls
from jobs.payment.calls import Order
from jobs.services import Services, chain_row
from ledger.errors import InvalidInput, StateConflict
from ledger.schema import address
from wallets.ethereum import arguments
from wallets.ethereum.addresses import EthereumAddressBook
from wallets.ethereum.contracts import creation, encode, load

CHAIN = "ethereum"
#: What an installation with real money may deploy; the others are tokens to test with.
FOR_REAL = ("Sweeper",)

_WAIT = click.option("--wait", "wait_seconds", default=900, show_default=True, help="Seconds; 0: do not wait.")
_AGAIN = click.option("--again", is_flag=True, help="Although the same is under way already.")


@click.command()
@click.argument("name")
@click.option("--arg", "texts", multiple=True, help="Of its constructor, in order; `hot` is the hot wallet's address.")
@_AGAIN
@_WAIT
@json_option
@acting
def deploy(name: str, texts: tuple[str, ...], again: bool, wait_seconds: int, as_json: bool, actor: str) -> None:
    """Deploy the contract NAME from the hot wallet and print its address.

    `coffer eth deploy Sweeper --arg hot` is the contract for batched sweeps.
    """
    settings = load_settings()
    if settings.mode == "live" and name not in FOR_REAL:
        raise InvalidInput("/name", f"only {', '.join(FOR_REAL)} may be deployed where money is real")
    services = open_services(settings)
    book = EthereumAddressBook(settings.ethereum_chain_id)
    try:
        contract = load(name)
        values = arguments.read(texts, arguments.types_of(contract, None), book, _hot(services))
        data = creation(contract, values)
    except (LookupError, ValueError) as error:
        raise InvalidInput("/arg", str(error)) from None
    row = _carry_out(services, Order(CHAIN, None, data, name), actor, again, wait_seconds)
    _tell(row, as_json)
    if name == "Sweeper" and not as_json and row.created is not None:
        click.echo(
            f"set COFFER_ETHEREUM_SWEEPER={row.created} for the ethereum workers, then `coffer policy set TOKEN "
            "sweep_batched 1`",
            err=True,
        )


@click.command()
@click.argument("contract")
@click.argument("function")
@click.argument("texts", metavar="[ARGUMENT]...", nargs=-1)
@_AGAIN
@_WAIT
@json_option
@acting
def call(
    contract: str, function: str, texts: tuple[str, ...], again: bool, wait_seconds: int, as_json: bool, actor: str
) -> None:
    """Call FUNCTION of the contract at the address CONTRACT from the hot wallet; no coin goes with it.

    FUNCTION is a signature such as `setLimit(uint256)`, or `Sweeper.sweep` of a contract that Coffer knows. Lists are
    given as JSON; `hot` is the hot wallet's address.
    """
    settings = load_settings()
    services = open_services(settings)
    book = EthereumAddressBook(settings.ethereum_chain_id)
    to = book.parse(contract)
    try:
        known, name = _function(function)
        values = arguments.read(texts, arguments.types_of(known, name), book, _hot(services))
        data = encode(known, name, values)
    except (LookupError, ValueError) as error:
        raise InvalidInput("/function", str(error)) from None
    row = _carry_out(services, Order(CHAIN, to, data, function), actor, again, wait_seconds)
    _tell(row, as_json)


def _function(text: str) -> Any:
    name, dot, function = text.partition(".")
    return (load(name), function) if dot and "(" not in text else arguments.contract_of(text)


def _hot(services: Services) -> str:
    def read(tx: Any) -> str | None:
        index = chain_row(tx, CHAIN).hot_index
        a = address.c
        found = tx.value(select(a.address).where(a.chain == CHAIN, a.idx == index))
        return None if found is None else str(found)

    hot = services.database.read(read)
    if hot is None:
        raise StateConflict("the ethereum worker has not opened its wallet yet: there is no hot address")
    return hot


def _carry_out(services: Services, wanted: Order, actor: str, again: bool, wait_seconds: int) -> Row[Any]:
    """Order the call and follow it, telling each step; the payment as it stands at the end of the wait."""
    database = services.database
    public_id = database.run(lambda tx: calls.order(tx, services, wanted, actor, again=again), "cli.call")
    until, shown = time.monotonic() + wait_seconds, ""
    while True:
        row = database.read(lambda tx: calls.found(tx, public_id))
        told = _step(row)
        if told != shown:
            click.echo(f"{public_id}: {told}", err=True)
            shown = told
        if row.state in calls.ENDED or time.monotonic() >= until:
            return row
        time.sleep(0.25)


def _step(row: Row[Any]) -> str:
    parts = [row.state, f"({row.declined or row.status_reason})" if row.declined or row.status_reason else ""]
    parts += [row.txid or "", f"in block {row.height}" if row.height is not None else ""]
    return " ".join(part for part in parts if part)


def _tell(row: Row[Any], as_json: bool) -> None:
    if as_json:
        say_json({"payment": row.public_id, "state": row.state, "txid": row.txid, "contract": row.created})
    elif row.state in ("settled", "final"):
        click.echo(row.created or row.txid)
    if row.state in ("dead", "review"):
        why = f"{row.declined or row.status_reason}: {row.status_detail or ''}".rstrip(": ")
        raise click.ClickException(f"{row.public_id} is {row.state}: {why}; `coffer explain {row.public_id}`")
    if row.state not in calls.ENDED:
        raise click.ClickException(f"{row.public_id} is still {row.state}; `coffer explain {row.public_id}` tells more")
