"""`coffer eth seed`: the encrypted file that the ethereum worker opens. Needs no database and no node.

The words come from a prompt or from standard input, never from the command line, which other users can read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
from pydantic import SecretStr, ValidationError

from cli.context import json_option, say_json
from ledger.errors import InvalidInput
from settings import Settings
from wallets.ethereum.addresses import HOT_INDEX
from wallets.ethereum.keys import EthereumKeys
from wallets.ethereum.seed import new_secret, open_keys, rotate, sealed_with, secret_of_hex, secret_of_words, store
from wallets.ethereum.seed_keys import KeyProvider, LocalKey, VaultKey, key_provider


class _Offline(Settings):
    """The same settings, on a machine that may have no database."""

    database_url: SecretStr = SecretStr("")


@click.group()
def seed() -> None:
    """The seed behind all addresses, encrypted at rest.

    Sealed with COFFER_ETHEREUM_SEED_KEY_FILE (64 hexadecimal digits or more: `openssl rand -hex 32`), or with the
    transit key COFFER_ETHEREUM_VAULT_KEY of the Vault at COFFER_ETHEREUM_VAULT_URL.
    """


def _file_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--file", "file", type=click.Path(dir_okay=False, path_type=Path), help="Else COFFER_ETHEREUM_SEED_FILE."
    )(command)


@seed.command()
@_file_option
@click.option("--show", is_flag=True, help="Print the words, this once.")
def generate(file: Path | None, show: bool) -> None:
    """Make a new seed in a new file."""
    settings = _settings()
    path, secret = _path(file, settings), new_secret()
    keys = store(path, secret, _provider(settings))
    _say_keys(path, keys)
    if show:
        click.echo(f"\nThese words are all the money. They are shown only this once:\n\n{secret.text}\n")
    else:
        click.echo(
            "\nThe words are only in this file. Keep a copy of it, and of the key that opens it, in another place: "
            "with either lost, all money is. (With --show the words are printed, this once, for paper.)"
        )


@seed.command("import")
@_file_option
@click.option("--raw", is_flag=True, help="A BIP-32 seed in hexadecimal instead of words. Not a private key.")
def import_(file: Path | None, raw: bool) -> None:
    """Put a seed that exists into a new file. Reads it from a prompt or from standard input."""
    settings = _settings()
    path, provider = _path(file, settings), _provider(settings)
    what = "seed (hexadecimal)" if raw else "words"
    text = click.prompt(what, hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    keys = store(path, secret_of_hex(text) if raw else secret_of_words(text), provider)
    _say_keys(path, keys)
    click.echo("\nCompare the address with the first one (m/44'/60'/0'/0/0) that the other wallet shows.")


@seed.command("rotate")
@_file_option
@click.option("--new-key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Hexadecimal.")
@click.option("--to-vault", is_flag=True, help="Or: the Vault of the settings.")
def rotate_(file: Path | None, new_key_file: Path | None, to_vault: bool) -> None:
    """Seal the same seed with another key, or with the newest version of the Vault's."""
    settings = _settings()
    path = _path(file, settings)
    if to_vault == (new_key_file is not None):
        raise click.UsageError("give --new-key-file or --to-vault")
    new: KeyProvider = _vault(settings) if new_key_file is None else LocalKey.from_hex(_first_line(new_key_file))
    old = _vault(settings) if sealed_with(path).startswith("vault:") else _provider(settings, vault=False)
    keys = rotate(path, old, new)
    _say_keys(path, keys)
    click.echo(
        f"\nSealed with {new.name} from now on. Give the worker that key before its next start. Copies of the old file "
        f"still open with {old.name}: renew or destroy them."
    )


@seed.command()
@_file_option
@json_option
def show(file: Path | None, as_json: bool) -> None:
    """The account's public key and the hot wallet's address; no secret."""
    settings = _settings()
    path = _path(file, settings)
    keys = open_keys(path, _provider(settings))
    if as_json:
        say_json({"file": str(path), "account_public_key": keys.xpub, "hot_address": keys.address(HOT_INDEX)})
    else:
        _say_keys(path, keys)


def _say_keys(path: Path, keys: EthereumKeys) -> None:
    click.echo(f"file                {path}")
    click.echo(f"account public key  {keys.xpub}")
    click.echo(f"hot wallet          {keys.address(HOT_INDEX)}")


def _settings() -> Settings:
    try:
        return _Offline()
    except ValidationError as error:
        wrong = ", ".join(f"COFFER_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise click.ClickException(wrong) from None


def _path(file: Path | None, settings: Settings) -> Path:
    path = file or settings.ethereum_seed_file
    if path is None:
        raise click.UsageError("give --file, or set COFFER_ETHEREUM_SEED_FILE")
    return path


def _provider(settings: Settings, *, vault: bool = True) -> KeyProvider:
    key = settings.ethereum_seed_key
    return key_provider(
        None if key is None else key.get_secret_value(),
        settings.ethereum_vault_url if vault else None,
        settings.ethereum_vault_key,
        settings.ethereum_vault_token_file,
    )


def _vault(settings: Settings) -> KeyProvider:
    if settings.ethereum_vault_url is None or settings.ethereum_vault_token_file is None:
        raise click.UsageError("COFFER_ETHEREUM_VAULT_URL and COFFER_ETHEREUM_VAULT_TOKEN_FILE must be set for that")
    return VaultKey(settings.ethereum_vault_url, settings.ethereum_vault_key, settings.ethereum_vault_token_file)


def _first_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines:
        raise InvalidInput("/new-key-file", "is empty")
    return lines[0]
