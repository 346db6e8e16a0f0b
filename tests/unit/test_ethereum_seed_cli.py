"""`coffer eth seed`: what operators type, and what must never be on their screen or command line."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from wallets.ethereum.seed import open_secret, sealed_with
from wallets.ethereum.seed_keys import LocalKey

WORDS = "test test test test test test test test test test test junk"
FIRST_ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
KEY = "ab" * 32


class Desk:
    """An operator's shell with a key in a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.seed = folder / "seed.json"
        for name in ("DATABASE_URL", "ETHEREUM_SEED_KEY", "ETHEREUM_SEED_FILE", "ETHEREUM_VAULT_URL"):
            monkeypatch.delenv(f"COFFER_{name}", raising=False)
        monkeypatch.setenv("COFFER_ETHEREUM_SEED_KEY_FILE", str(self.file("key", KEY)))

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text + "\n")
        return path

    def run(self, command: str, *options: str, typed: str | None = None) -> Result:
        arguments = ["eth", "seed", command, "--file", str(self.seed), *options]
        return CliRunner().invoke(main, arguments, input=typed)

    def words(self, key: str = KEY) -> str:
        return open_secret(self.seed, LocalKey.from_hex(key)).text


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_generating_prints_no_word_unless_asked(desk: Desk) -> None:
    done = desk.run("generate")
    assert done.exit_code == 0, done.output
    assert "Keep a copy" in done.output
    assert not any(" ".join(pair) in done.output for pair in pairwise(desk.words().split()))


def test_generating_with_show_prints_the_words_once(desk: Desk) -> None:
    done = desk.run("generate", "--show")
    assert done.output.count(desk.words()) == 1
    assert desk.words() not in desk.run("show").output


def test_a_second_generate_changes_nothing(desk: Desk) -> None:
    desk.run("generate")
    words = desk.words()
    again = desk.run("generate")
    assert again.exit_code != 0
    assert "never overwritten" in again.output
    assert desk.words() == words


def test_words_come_from_standard_input(desk: Desk) -> None:
    done = desk.run("import", typed=WORDS + "\n")
    assert done.exit_code == 0, done.output
    assert FIRST_ADDRESS in done.output
    assert "junk" not in done.output
    assert desk.words() == WORDS


def test_words_on_the_command_line_are_refused(desk: Desk) -> None:
    done = desk.run("import", *WORDS.split())
    assert done.exit_code != 0
    assert not desk.seed.exists()


def test_a_raw_seed_is_taken_only_when_named_so(desk: Desk) -> None:
    assert desk.run("import", typed="00" * 32).exit_code != 0
    assert desk.run("import", "--raw", typed="00" * 32).exit_code == 0


def test_showing_tells_public_things_only(desk: Desk) -> None:
    desk.run("import", typed=WORDS)
    told = json.loads(desk.run("show", "--json").output)
    assert told == {
        "file": str(desk.seed),
        "account_public_key": told["account_public_key"],
        "hot_address": FIRST_ADDRESS,
    }
    assert told["account_public_key"].startswith("xpub")


def test_rotating_moves_the_seed_under_the_new_key(desk: Desk) -> None:
    desk.run("import", typed=WORDS)
    done = desk.run("rotate", "--new-key-file", str(desk.file("new", "cd" * 32)))
    assert done.exit_code == 0, done.output
    assert desk.words("cd" * 32) == WORDS
    assert LocalKey.from_hex("cd" * 32).name == sealed_with(desk.seed)
    refused = desk.run("show")
    assert refused.exit_code != 0
    assert "sealed under key" in refused.output


@pytest.mark.parametrize("options", [[], ["--to-vault", "--new-key-file", "key"]])
def test_rotating_needs_one_goal(options: list[str], desk: Desk) -> None:
    desk.run("generate")
    assert desk.run("rotate", *[str(desk.folder / o) if o == "key" else o for o in options]).exit_code == 2


def test_without_a_key_it_says_what_to_set(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COFFER_ETHEREUM_SEED_KEY_FILE")
    done = desk.run("generate")
    assert done.exit_code == 1
    assert "COFFER_ETHEREUM_SEED_KEY_FILE" in done.output
    assert not desk.seed.exists()


def test_a_short_key_is_named_by_its_variable(desk: Desk) -> None:
    desk.file("key", "ab")
    done = desk.run("generate")
    assert "COFFER_ETHEREUM_SEED_KEY" in done.output
    assert not desk.seed.exists()
