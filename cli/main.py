"""`coffer`: every command in one place, each group in a file that is imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click
from sqlalchemy.exc import DBAPIError

from ledger.errors import CofferError

#: command -> (module, attribute, one line of help)
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "api": ("cli.processes", "api", "Serve the HTTP API."),
    "worker": ("cli.processes", "worker", "Work on one queue."),
    "scheduler": ("cli.processes", "scheduler", "Wake the periodic tasks; one is active, others stand by."),
    "up": ("devstack.up", "main", "Run a private stack for development and tests, until Ctrl-C."),
    "demo": ("devstack.demo.main", "main", "Deposits and withdrawals on a real node, told as they happen."),
    "db": ("cli.database", "db", "Make and check the database."),
    "backup": ("cli.backup", "backup", "Copy everything into a folder, while it works."),
    "restore": ("cli.backup", "restore", "Put a backup in place, into quarantine."),
    "quarantine": ("cli.quarantine", "quarantine_", "What a restore left to be looked into."),
    "projects": ("cli.projects", "projects", "Shops: who keys, accounts and references belong to."),
    "keys": ("cli.keys", "keys", "API keys."),
    "policy": ("cli.policy", "policy", "Limits, confirmations and fees of an asset."),
    "pause": ("cli.pausing", "pause", "Stop a flow of an asset."),
    "resume": ("cli.pausing", "resume", "Let a paused flow go on."),
    "halt": ("cli.pausing", "halt", "Sign nothing more on a chain."),
    "claim-wallet": ("cli.pausing", "claim_wallet", "Take a wallet over from an installation that is gone."),
    "lift-halt": ("cli.pausing", "lift_halt", "Let a halted chain sign again, cause by cause."),
    "status": ("cli.status", "status", "What needs attention, and where the money is."),
    "alarms": ("cli.status", "alarms", "What is wrong now."),
    "explain": ("cli.explaining", "explain", "Everything that is known of one id, txid or address."),
    "reconcile": ("cli.reconciling", "reconcile", "Compare the books with the chain."),
    "held": ("cli.deposits", "held", "Deposits that belong to nobody yet."),
    "deposits": ("cli.deposits", "deposits", "Decide about held deposits."),
    "withdrawals": ("cli.withdrawals", "withdrawals", "Withdrawals that wait for a person."),
    "escrows": ("cli.escrows", "escrows", "Escrows that wait for a person, and what reorganisations froze."),
    "swaps": ("cli.swaps", "swaps", "Swaps that are under way, and refunds by hand."),
    "payments": ("cli.payments", "payments", "What leaves, or left, for a chain."),
    "signer": ("cli.signer", "signer", "The record that the signer keeps outside the database."),
    "accounts": ("cli.accounts", "accounts", "Freeze, unfreeze and write off."),
    "treasury": ("cli.treasury", "treasury", "The house's own money: where it lies, addresses for it."),
    "inventory": ("cli.inventory", "inventory", "What the house has for swaps, and what they earn."),
    "sweep": ("cli.sweeps", "sweep", "What lies on indices, and collecting it."),
    "eth": ("cli.ethereum", "eth", "The Ethereum seed, and contracts."),
    "assets": ("cli.assets", "assets", "Coins and tokens."),
    "webhooks": ("cli.webhooks", "webhooks", "Where shops want their events, and what was delivered."),
    "rates": ("cli.rates", "rates", "Exchange rates, and fetching them now."),
    "hedges": ("cli.hedges", "hedges", "The house's orders on an exchange."),
    "tasks": ("cli.tasks", "tasks", "Periodic work."),
    "verify-history": ("cli.histories", "verify_history", "That nobody has changed who owned what."),
    "mirror": ("cli.mirroring", "mirror", "What Redis shows of the database."),
    "audit": ("cli.auditing", "audit", "What operators did."),
}


class Coffer(click.Group):
    """Imports a command when it is asked for, and tells of refusals in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        try:
            command = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise click.ClickException(f"{name} is not part of this installation ({error})") from None
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CofferError as error:
            pointer = getattr(error, "pointer", "")
            raise click.ClickException(f"{pointer.lstrip('/')}: {error.detail}" if pointer else error.detail) from error
        except DBAPIError as error:
            # The statement and its parameters are for the log of a process, not for a terminal.
            raise click.ClickException(f"database: {error.orig}") from error


@click.group(cls=Coffer)
def main() -> None:
    """Coffer: a self-hosted custodial wallet engine. Settings come from COFFER_ variables (see docs/operating.md)."""


if __name__ == "__main__":
    main(prog_name="coffer")
