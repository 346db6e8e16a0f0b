"""The seed at rest: what is written, who can open it, and that nothing that is shown or raised holds a secret."""

from __future__ import annotations

import json
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest
from embit import bip39
from eth_account import Account

from ledger.errors import InvalidInput, NodeNotReady, NodeProtocolError, NodeUnavailable, StateConflict
from tests.vault import VaultStandIn
from wallets.ethereum import seed as seed_module
from wallets.ethereum.seed import (
    Secret,
    new_secret,
    open_keys,
    open_secret,
    rotate,
    sealed_with,
    secret_of_hex,
    secret_of_words,
    store,
)
from wallets.ethereum.seed_keys import LocalKey, VaultKey, key_provider

WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
KEY, OTHER = LocalKey(bytes(range(32))), LocalKey(bytes(range(1, 33)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seed.json"


@pytest.fixture
def vault() -> Iterator[VaultStandIn]:
    server = VaultStandIn("the-token")
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def vault_key(vault: VaultStandIn, tmp_path: Path) -> VaultKey:
    token = tmp_path / "token"
    token.write_text("the-token\n")
    return VaultKey(vault.url, "coffer", token)


def parts_of(secret: Secret) -> set[str]:
    """What must be seen nowhere: words that follow each other (one alone may be a field's name), and the seed."""
    pairs = {" ".join(pair) for pair in pairwise(secret.text.split())}
    return {secret.text, secret.seed().hex(), repr(secret.seed())} | pairs


def test_what_was_stored_opens_again_with_the_same_addresses(path: Path) -> None:
    secret = new_secret()
    stored = store(path, secret, KEY)
    assert len(secret.text.split()) == 24
    assert open_keys(path, KEY).xpub == stored.xpub
    Account.enable_unaudited_hdwallet_features()
    assert stored.address(0) == Account.from_mnemonic(secret.text).address


def test_the_file_is_private_and_holds_no_secret(path: Path) -> None:
    secret = new_secret()
    store(path, secret, KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert not any(part in text for part in parts_of(secret))
    assert os.listdir(path.parent) == [path.name]


def test_two_files_of_one_seed_have_nothing_in_common(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for path in (first, second):
        store(path, secret_of_words(WORDS), KEY)
    one, two = json.loads(first.read_text()), json.loads(second.read_text())
    assert all(one[name] != two[name] for name in ("wrapped", "nonce", "secret"))


def test_a_seed_is_never_overwritten(path: Path) -> None:
    store(path, new_secret(), KEY)
    before = path.read_bytes()
    with pytest.raises(StateConflict, match="never overwritten"):
        store(path, new_secret(), KEY)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_another_key_is_named_and_nothing_else_is_told(path: Path) -> None:
    secret = secret_of_words(WORDS)
    store(path, secret, KEY)
    with pytest.raises(NodeNotReady) as refusal:
        open_keys(path, OTHER)
    text = str(refusal.value)
    assert KEY.name in text
    assert OTHER.name in text
    assert not any(part in text for part in parts_of(secret))
    assert refusal.value.__cause__ is None


def test_the_name_of_a_key_does_not_tell_the_key() -> None:
    assert bytes(range(32)).hex()[:8] not in KEY.name
    assert KEY.name != OTHER.name


def flipped(text: str) -> str:
    raw = bytearray(b64decode(text))
    raw[len(raw) // 2] ^= 1
    return b64encode(bytes(raw)).decode()


@pytest.mark.parametrize("field", ["wrapped", "nonce", "secret"])
@pytest.mark.parametrize("change", [flipped, lambda text: "", lambda text: "!!!", lambda text: text[:8]])
def test_a_damaged_file_is_refused(field: str, change: Callable[[str], str], path: Path) -> None:
    store(path, new_secret(), KEY)
    envelope = json.loads(path.read_text())
    path.write_text(json.dumps(envelope | {field: change(envelope[field])}))
    with pytest.raises(NodeNotReady):
        open_keys(path, KEY)


@pytest.mark.parametrize(
    "change", [{"purpose": "another"}, {"version": 2}, {"version": "1"}, {"key": None}, {"secret": 5}]
)
def test_a_file_for_something_else_is_refused(change: dict[str, object], path: Path) -> None:
    store(path, new_secret(), KEY)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(NodeNotReady):
        open_keys(path, KEY)


@pytest.mark.parametrize("what", ["_PURPOSE", "_VERSION"])
def test_purpose_and_version_are_bound_to_the_secret(what: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a program that takes the other purpose for its own cannot open it."""
    store(path, new_secret(), KEY)
    other = {"_PURPOSE": "another purpose", "_VERSION": 7}[what]
    field = {"_PURPOSE": "purpose", "_VERSION": "version"}[what]
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: other}))
    monkeypatch.setattr(seed_module, what, other)
    with pytest.raises(NodeNotReady):
        open_keys(path, KEY)


def test_the_inner_layer_is_bound_to_the_wrapping_key(path: Path) -> None:
    """A data key that is wrapped again under a name of its own does not open what was bound to the first."""
    store(path, new_secret(), KEY)
    envelope = json.loads(path.read_text())
    data_key = KEY.unwrap(envelope["wrapped"], json.dumps(["coffer ethereum seed", 1, KEY.name]).encode())
    wrapped = OTHER.wrap(data_key, json.dumps(["coffer ethereum seed", 1, OTHER.name]).encode())
    path.write_text(json.dumps(envelope | {"key": OTHER.name, "wrapped": wrapped}))
    with pytest.raises(NodeNotReady, match="damaged"):
        open_keys(path, OTHER)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"\xff\xfe", b"not json"])
def test_no_seed_file_is_told_as_such(content: bytes | None, path: Path) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NodeNotReady, match=r"not a seed file|cannot be read"):
        open_keys(path, KEY)


def test_rotating_keeps_the_seed_and_changes_every_key(path: Path) -> None:
    xpub = store(path, new_secret(), KEY).xpub
    before = json.loads(path.read_text())
    assert rotate(path, KEY, OTHER).xpub == xpub
    after = json.loads(path.read_text())
    assert open_keys(path, OTHER).xpub == xpub
    assert sealed_with(path) == OTHER.name
    assert all(before[name] != after[name] for name in ("key", "wrapped", "nonce", "secret"))
    with pytest.raises(NodeNotReady):
        open_keys(path, KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [path.name]


def test_a_rotation_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(path, new_secret(), KEY)
    before = path.read_bytes()

    class Forgetful(LocalKey):
        def unwrap(self, wrapped: str, binding: bytes) -> bytes:
            raise NodeUnavailable("gone")

    with pytest.raises(NodeUnavailable):
        rotate(path, KEY, Forgetful(bytes(32)))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_the_file_is_on_the_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    link, fsync = os.link, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (told.append("sync"), fsync(handle)))
    monkeypatch.setattr(os, "link", lambda old, new: (told.append("link"), link(old, new)))
    store(path, new_secret(), KEY)
    assert told == ["sync", "link", "sync"]


@pytest.mark.parametrize("text", [WORDS, f"  {WORDS.upper()} \n", WORDS.replace(" ", "\n")])
def test_words_are_taken_as_people_type_them(text: str) -> None:
    assert secret_of_words(text).text == WORDS
    assert secret_of_words(text).seed() == bip39.mnemonic_to_seed(WORDS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 words"),
        ("legal winner", "2 words"),
        (WORDS.replace("yellow", "yelow"), "word 12 is not in"),
        (WORDS.replace("yellow", "zoo"), "checksum"),
        (WORDS.replace("legal winner", "winner legal", 1), "checksum"),
    ],
)
def test_wrong_words_are_refused_without_repeating_them(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as refusal:
        secret_of_words(text)
    assert not any(word in str(refusal.value) for word in text.split())


def test_a_raw_seed_of_another_wallet_can_be_stored(path: Path) -> None:
    raw = bytes(range(64))
    keys = store(path, secret_of_hex(f"0x{raw.hex()}\n"), KEY)
    assert open_secret(path, KEY).seed() == raw
    assert open_keys(path, KEY).xpub == keys.xpub


@pytest.mark.parametrize("text", ["", "zz", "00" * 15, "00" * 65])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        secret_of_hex(text)


def test_a_secret_shows_nothing() -> None:
    secret = secret_of_words(WORDS)
    assert not any(part in f"{secret!r} {secret} {KEY!r}" for part in parts_of(secret))


@pytest.mark.parametrize("digits", ["", "zz", "00" * 31])
def test_a_short_or_malformed_key_is_refused_without_repeating_it(digits: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        LocalKey.from_hex(digits)
    assert not digits or digits not in str(refusal.value)


# --- Vault ---------------------------------------------------------------------------------------------------------


def test_a_vault_wraps_the_key_and_sees_no_seed(path: Path, vault: VaultStandIn, vault_key: VaultKey) -> None:
    secret = secret_of_words(WORDS)
    xpub = store(path, secret, vault_key).xpub
    assert open_keys(path, vault_key).xpub == xpub
    assert json.loads(path.read_text())["wrapped"].startswith("vault:v1:")
    seen = json.dumps(vault.requests)
    assert not any(part in seen for part in parts_of(secret))
    assert {request["path"] for request in vault.requests} == {
        "/v1/transit/encrypt/coffer",
        "/v1/transit/decrypt/coffer",
    }


def test_from_a_local_key_to_a_vault_and_its_next_version(path: Path, vault: VaultStandIn, vault_key: VaultKey) -> None:
    xpub = store(path, new_secret(), KEY).xpub
    assert rotate(path, KEY, vault_key).xpub == xpub
    vault.version = 2
    assert rotate(path, vault_key, vault_key).xpub == xpub
    assert json.loads(path.read_text())["wrapped"].startswith("vault:v2:")
    assert open_keys(path, vault_key).xpub == xpub


def test_a_key_of_another_mount_is_asked_there(vault: VaultStandIn, tmp_path: Path, path: Path) -> None:
    (tmp_path / "token").write_text("the-token")
    key = VaultKey(vault.url + "/", "keys/eth/coffer", tmp_path / "token")
    store(path, new_secret(), key)
    assert vault.requests[0]["path"] == "/v1/keys/eth/encrypt/coffer"
    assert key.name == "vault:keys/eth/coffer"


@pytest.mark.parametrize(
    ("status", "error"), [(403, NodeNotReady), (400, NodeNotReady), (307, NodeNotReady), (503, NodeUnavailable)]
)
def test_a_vault_that_refuses_is_told_apart_from_one_in_trouble(
    status: int, error: type[Exception], path: Path, vault: VaultStandIn, vault_key: VaultKey
) -> None:
    store(path, new_secret(), vault_key)
    vault.status = status
    with pytest.raises(error, match=str(status)) as refusal:
        open_keys(path, vault_key)
    assert "the-token" not in str(refusal.value)
    assert "echo" not in str(refusal.value)


def test_a_changed_wrapped_key_is_refused_by_the_vault(path: Path, vault_key: VaultKey) -> None:
    store(path, new_secret(), vault_key)
    envelope = json.loads(path.read_text())
    path.write_text(json.dumps(envelope | {"wrapped": "vault:v1:" + flipped(envelope["wrapped"][9:])}))
    with pytest.raises(NodeNotReady, match="status 400"):
        open_keys(path, vault_key)


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"data": null}', b'{"data": {"plaintext": 5}}'])
def test_an_answer_of_another_shape_is_not_guessed_at(
    answer: bytes, path: Path, vault: VaultStandIn, vault_key: VaultKey
) -> None:
    store(path, new_secret(), vault_key)
    vault.answer = answer
    with pytest.raises(NodeProtocolError):
        open_keys(path, vault_key)


def test_a_vault_that_is_away_may_come_back(path: Path, vault: VaultStandIn, vault_key: VaultKey) -> None:
    store(path, new_secret(), vault_key)
    away = VaultKey("http://127.0.0.1:1", "coffer", vault_key._token_file)
    with pytest.raises(NodeUnavailable):
        open_keys(path, away)


@pytest.mark.parametrize("url", ["http://vault.example:8200", "vault.example", "ftp://127.0.0.1"])
def test_a_token_goes_over_no_open_network(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="https"):
        VaultKey(url, "coffer", tmp_path / "token")


def test_the_settings_name_one_key(tmp_path: Path) -> None:
    digits = bytes(range(32)).hex()
    assert key_provider(digits, None, "coffer", None).name == KEY.name
    assert key_provider(digits, "https://vault", "coffer", tmp_path).name == "vault:transit/coffer"
    with pytest.raises(NodeNotReady, match="COFFER_ETHEREUM_SEED_KEY_FILE"):
        key_provider(None, None, "coffer", None)
    with pytest.raises(NodeNotReady, match="TOKEN_FILE"):
        key_provider(digits, "https://vault", "coffer", None)
