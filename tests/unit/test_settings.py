"""Settings come from the environment; a fault names its variable and never its value."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import settings
from devstack.programs import ROOT
from settings import Settings, SettingsError

BASE = {"COFFER_DATABASE_URL": "sqlite:///nowhere"}

#: What the API process may have, and all that it needs.
API = {"COFFER_API_SECRET": "5a" * 32, "COFFER_ROW_MAC_KEY": "6b" * 32}

#: What is imported where keys are used or a node is called, and nowhere else.
NOT_IN_THE_API = (
    "wallets.bitcoin.client",
    "wallets.monero.client",
    "wallets.ethereum.client",
    "wallets.ethereum.keys",
    "wallets.ethereum.seed",
    "web3",
    "eth_account",
    "eth_keys",
    "py_ecc",
    "bitcoinrpc",
)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name in [name for name in os.environ if name.startswith("COFFER_")]:
        monkeypatch.delenv(name)
    for name, value in (BASE | variables).items():
        monkeypatch.setenv(name, value)
    return settings.load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COFFER_MODE", "fun"),
        ("COFFER_API_SECRET", "5a" * 31),
        ("COFFER_API_SECRET", "secretsecret" * 8),
        ("COFFER_ROW_MAC_KEY", "0x" + "5a" * 32),
        ("COFFER_API_PORT", "eighty-eighty"),
        ("COFFER_CHAINS", ""),
        ("COFFER_CHAINS", "bitcoin,dogecoin"),
        ("COFFER_CHAINS", "bitcoin,bitcoin"),
        ("COFFER_BITCOIN_NETWORK", "mainnet"),
        ("COFFER_MONERO_NETWORK", "livenet"),
        ("COFFER_MONERO_LAYOUT", "wallet"),
        ("COFFER_ETHEREUM_CHAIN_ID", "mainnet"),
        ("COFFER_ETHEREUM_SEED_KEY", "horse" * 20),
        ("COFFER_ETHEREUM_TRACE", "maybe"),
        ("COFFER_LOG_FORMAT", "xml"),
    ],
)
def test_a_fault_names_its_variable_and_not_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(monkeypatch, **{name: value})
    text = str(refused.value)
    assert re.search(rf"^  {name}: ", text, re.MULTILINE), text
    assert not value or value not in text


def test_all_faults_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as refused:
        load(monkeypatch, COFFER_MODE="fun", COFFER_LOG_FORMAT="xml")
    assert ["COFFER_MODE" in str(refused.value), "COFFER_LOG_FORMAT" in str(refused.value)] == [True, True]


def test_without_a_database_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(BASE, "COFFER_DATABASE_URL")
    with pytest.raises(SettingsError, match="COFFER_DATABASE_URL"):
        load(monkeypatch)


@pytest.mark.parametrize("name", ["ETHEREUM_SEED_KEY", "MONERO_WALLET_PASSWORD", "BITCOIN_RPC_URL", "ETHEREUM_WS_URL"])
def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    secret = "ab" * 32
    (tmp_path / "secret").write_text(f"{secret}\nsecond line\n")
    found = load(monkeypatch, **{f"COFFER_{name}_FILE": str(tmp_path / "secret"), f"COFFER_{name}": "cd" * 32})
    assert getattr(found, name.lower()).get_secret_value() == secret
    assert secret not in repr(found)
    with pytest.raises(SettingsError, match=f"COFFER_{name}_FILE"):
        load(monkeypatch, **{f"COFFER_{name}_FILE": str(tmp_path / "missing")})


def test_chains_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch).chains == ("bitcoin", "monero", "ethereum")
    assert load(monkeypatch, COFFER_CHAINS="monero, ethereum").chains == ("monero", "ethereum")


def test_the_api_needs_no_secret_of_any_chain(tmp_path: Path) -> None:
    """It serves addresses of all three, and never imports what could sign or call a node."""
    program = """
import sys
import settings
from api.app import create_app
from jobs import bootstrap
found = settings.load()
bootstrap.upgrade(found)
services = bootstrap.services(found)
app = create_app(services, found)
assert app.test_client().get("/openapi.json").status_code == 200
print(services.address_book("ethereum").parse("0x" + "ab" * 20), services.address_book("monero").derives)
print(",".join(sorted(sys.modules)))
print(sys.getrecursionlimit())
"""
    variables = API | {"COFFER_DATABASE_URL": f"sqlite:///{tmp_path}/coffer.sqlite3", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", program], env=variables, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    addresses, modules, limit = ran.stdout.splitlines()[-3:]
    assert addresses.startswith("0xABaB")
    assert set(modules.split(",")) & set(NOT_IN_THE_API) == set()
    assert int(limit) == 1000


@pytest.mark.parametrize("chain", ["bitcoin", "monero", "ethereum"])
def test_a_worker_names_what_its_own_chain_lacks(tmp_path: Path, chain: str) -> None:
    variables = {"COFFER_DATABASE_URL": f"sqlite:///{tmp_path}/coffer.sqlite3", "PYTHONPATH": str(ROOT)}
    variables |= {"COFFER_ROW_MAC_KEY": "6b" * 32, "COFFER_SIGNER_DIR": str(tmp_path / "signer")}
    coffer = [sys.executable, "-m", "cli.main"]
    subprocess.run([*coffer, "db", "upgrade"], env=variables, cwd=ROOT, capture_output=True, check=True)
    ran = subprocess.run([*coffer, "worker", chain], env=variables, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 1
    named = set(re.findall(r"COFFER_[A-Z_]+", ran.stderr))
    assert named, ran.stderr
    assert {name.split("_")[1].lower() for name in named} == {chain}
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", ["ethereum_cold_address", "monero_cold_address", "bitcoin_cold_address"])
def test_a_cold_address_of_another_chain_stops_the_start(name: str) -> None:
    from jobs import bootstrap

    with pytest.raises(SettingsError, match=f"COFFER_{name.upper()}"):
        bootstrap.cold_addresses(Settings(database_url="sqlite://", **{name: "x" * 40}))  # type: ignore[arg-type]


def test_every_variable_is_in_the_operators_table() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    listed = set(re.findall(r"`(COFFER_[A-Z_]+)`", page))
    assert {f"COFFER_{name.upper()}" for name in Settings.model_fields} - listed == set()
