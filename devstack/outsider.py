"""The world outside a running stack, by hand: pays to an address on any chain, and makes blocks.

python -m devstack.outsider pay XMR ADDRESS 0.5 --mine 12
python -m devstack.outsider mine monero
eval "$(python -m devstack.outsider shell)"     # API and KEY, for curl
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import click
import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from devstack.chains import TOKEN, TOKEN_DECIMALS
from devstack.evm import CALL_GAS, TRANSFER_GAS
from devstack.up import DEFAULT_NAME, stack_files

_TIMEOUT_SECONDS = 60
_TRANSFER = "0xa9059cbb"  #: ERC-20, `transfer(address,uint256)`


@click.group()
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="Of the stack, as in `coffer up --name`.")
@click.pass_context
def main(context: click.Context, name: str) -> None:
    """People who pay Coffer's customers, and miners."""
    file = stack_files(name)[0]
    if not file.is_file():
        raise click.ClickException(f"no stack {name!r} runs: start one with `make up`")
    context.obj = json.loads(file.read_text())


@main.command()
@click.argument("asset", type=click.Choice(["BTC", "XMR", "ETH", TOKEN]))
@click.argument("address")
@click.argument("amount")
@click.option("--mine", "blocks", default=0, help="Blocks to make afterwards: else it waits in the pool.")
@click.pass_obj
def pay(stack: dict[str, Any], asset: str, address: str, amount: str, blocks: int) -> None:
    """Pay AMOUNT of ASSET to ADDRESS; prints the transaction's id."""
    pays: Mapping[str, Callable[[dict[str, Any], str, Decimal], str]] = {
        "BTC": _pay_bitcoin,
        "XMR": _pay_monero,
        "ETH": _pay_ethereum,
        TOKEN: _pay_token,
    }
    click.echo(pays[asset](stack["nodes"], address, Decimal(amount)))
    if blocks:
        _mine(stack["nodes"], {"BTC": "bitcoin", "XMR": "monero"}.get(asset, "ethereum"), blocks)


@main.command()
@click.argument("chain", type=click.Choice(["bitcoin", "monero", "ethereum"]))
@click.argument("blocks", type=click.IntRange(1, 1000), default=1)
@click.pass_obj
def mine(stack: dict[str, Any], chain: str, blocks: int) -> None:
    """Make BLOCKS blocks; prints the height."""
    click.echo(_mine(stack["nodes"], chain, blocks))


def _mine(nodes: dict[str, Any], chain: str, blocks: int) -> int:
    node = nodes[chain]
    if chain == "bitcoin":
        home = _bitcoin(node, "getnewaddress", wallet=node["miner_wallet"])
        _bitcoin(node, "generatetoaddress", blocks, home)
        return int(_bitcoin(node, "getblockcount"))
    if chain == "monero":
        params = {"amount_of_blocks": blocks, "wallet_address": node["payer_address"]}
        return int(_monero(node["daemon_rpc_url"], "generateblocks", params)["height"])
    _call(node["rpc_url"], {"method": "anvil_mine", "params": [hex(blocks)]})
    return int(_call(node["rpc_url"], {"method": "eth_blockNumber", "params": []}), 16)


@main.command("address")
@click.argument("asset", type=click.Choice(["BTC", "XMR", "ETH", TOKEN]))
@click.pass_obj
def address_(stack: dict[str, Any], asset: str) -> None:
    """An address outside, to be paid at."""
    nodes = stack["nodes"]
    if asset == "BTC":
        click.echo(_bitcoin(nodes["bitcoin"], "getnewaddress", wallet=nodes["bitcoin"]["miner_wallet"]))
    elif asset == "XMR":
        url = nodes["monero"]["payer_wallet_rpc_url"]
        click.echo(_monero(url, "create_address", {"account_index": 0})["address"])
    else:
        click.echo(nodes["ethereum"]["payer"])


@main.command()
@click.pass_obj
def shell(stack: dict[str, Any]) -> None:
    """Lines for a shell: API and KEY, which may do everything."""
    click.echo(f"API={shlex.quote(stack['api_url'])}\nKEY={shlex.quote(stack['keys']['all'])}")


def _pay_bitcoin(nodes: dict[str, Any], address: str, amount: Decimal) -> str:
    node = nodes["bitcoin"]
    sent = _bitcoin(node, "send", {address: str(amount)}, None, "unset", "2", wallet=node["miner_wallet"])
    return str(sent["txid"])


def _pay_monero(nodes: dict[str, Any], address: str, amount: Decimal) -> str:
    url = nodes["monero"]["payer_wallet_rpc_url"]
    _monero(url, "refresh", {})
    destinations = [{"address": address, "amount": _units(amount, 12)}]
    return str(_monero(url, "transfer", {"destinations": destinations})["tx_hash"])


def _pay_ethereum(nodes: dict[str, Any], address: str, amount: Decimal) -> str:
    return _send(nodes["ethereum"], {"to": address, "value": hex(_units(amount, 18)), "gas": hex(TRANSFER_GAS)})


def _pay_token(nodes: dict[str, Any], address: str, amount: Decimal) -> str:
    node = nodes["ethereum"]
    data = f"{_TRANSFER}{int(address, 16):064x}{_units(amount, TOKEN_DECIMALS):064x}"
    return _send(node, {"to": node["token"], "data": data, "gas": hex(CALL_GAS)})


def _send(node: dict[str, Any], transaction: dict[str, Any]) -> str:
    return str(
        _call(node["rpc_url"], {"method": "eth_sendTransaction", "params": [{"from": node["payer"]} | transaction]})
    )


def _bitcoin(node: dict[str, Any], method: str, *params: Any, wallet: str | None = None) -> Any:
    path = f"/wallet/{wallet}" if wallet else "/"
    return _call(node["rpc_url"], {"method": method, "params": params}, path, HTTPBasicAuth)


def _monero(url: str, method: str, params: Mapping[str, Any]) -> Any:
    return _call(url, {"method": method, "params": params}, "/json_rpc", HTTPDigestAuth)


def _call(
    url: str, body: dict[str, Any], path: str = "/", login: type[HTTPBasicAuth] | type[HTTPDigestAuth] = HTTPBasicAuth
) -> Any:
    """One JSON-RPC call; its result. What the node refuses is told in one line."""
    parts = urlsplit(url)
    with requests.Session() as session:
        session.trust_env = False
        session.auth = login(parts.username, parts.password or "") if parts.username else None
        where = f"http://{parts.hostname}:{parts.port}{path}"
        answer = session.post(where, json={"jsonrpc": "2.0", "id": 0, **body}, timeout=_TIMEOUT_SECONDS).json()
    if answer.get("error"):
        raise click.ClickException(answer["error"]["message"])
    return answer["result"]


def _units(amount: Decimal, decimals: int) -> int:
    units = amount.scaleb(decimals)
    if units != int(units) or units <= 0:
        raise click.ClickException(f"{amount} is no amount with at most {decimals} decimals")
    return int(units)


if __name__ == "__main__":
    main()
