"""`coffer eth`: what only Ethereum has."""

from __future__ import annotations

import click

from cli.ethereum_seed import seed


@click.group()
def eth() -> None:
    """Ethereum: the seed."""


eth.add_command(seed)
