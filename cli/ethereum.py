"""`coffer eth`: what only Ethereum has."""

from __future__ import annotations

import click

from cli.ethereum_calls import call, deploy
from cli.ethereum_seed import seed


@click.group()
def eth() -> None:
    """Ethereum: the seed, and contracts."""


eth.add_command(seed)
eth.add_command(deploy)
eth.add_command(call)
