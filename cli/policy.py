"""`coffer policy`: the rules of an asset, versioned and audited."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from cli.context import acting, json_option, open_services, say_json, say_table
from cli.nodes import chain_of
from ledger import policy as rules
from ledger.db import Tx
from ledger.errors import InvalidInput


@click.group()
def policy() -> None:
    """Limits, confirmations and fees of an asset. Amounts are atomic units."""


@policy.command("list")
@click.argument("asset", default="BTC")
@json_option
def list_(asset: str, as_json: bool) -> None:
    """The rules in force, and which differ from the defaults."""
    found = asdict(open_services().database.read(lambda tx: rules.of(tx, asset)))
    if as_json:
        say_json(found)
        return
    defaults = asdict(rules.defaults(asset))
    rows = [
        (name, value, "" if defaults[name] == value else f"default {defaults[name]}") for name, value in found.items()
    ]
    say_table(("RULE", "VALUE", ""), rows)


@policy.command("set")
@click.argument("asset")
@click.argument("name")
@click.argument("value")
@acting
def set_(asset: str, name: str, value: str, actor: str) -> None:
    """Set one rule. VALUE is a whole number, a word, or JSON for deposit_tiers."""
    _change(asset, name, _value(value), actor)
    click.echo(f"{asset} {name} is {value}")


@policy.command()
@click.argument("asset")
@click.argument("name")
@acting
def reset(asset: str, name: str, actor: str) -> None:
    """Bring one rule back to its default."""
    now = _change(asset, name, None, actor)
    click.echo(f"{asset} {name} is {getattr(now, name)}")


def _change(asset: str, name: str, value: Any, actor: str) -> rules.AssetPolicy:
    def unit(tx: Tx) -> rules.AssetPolicy:
        chain_of(tx, asset)  # an asset that is not there has no rules
        return rules.change(tx, asset, name, value, actor)

    return open_services().database.run(unit, "cli.policy")


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_float=_no_fraction)
    except json.JSONDecodeError:
        return text
    if value is None:
        raise InvalidInput("/value", "say `coffer policy reset` to go back to the default")
    return value


def _no_fraction(text: str) -> Any:
    raise InvalidInput("/value", f"{text}: whole numbers only; amounts are atomic units")
