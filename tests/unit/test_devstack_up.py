"""The stack's folder, its name and the environment of its processes; nothing is started here."""

from __future__ import annotations

from pathlib import Path

import pytest

from devstack import up
from devstack.environment import Connections, all_settings, environment_of
from devstack.roles import CHAINS, OUTWARD, ROLES, roles_of
from settings import Settings

#: What the nodes of three chains say of themselves; the secrets among it end in their chain's name.
OF_CHAINS = {
    "COFFER_BITCOIN_NETWORK": "regtest",
    "COFFER_BITCOIN_RPC_URL": "http://u:p@127.0.0.1:2",
    "COFFER_BITCOIN_WALLET": "coffer",
    "COFFER_BITCOIN_WALLET_PASSPHRASE": "secret of bitcoin",
    "COFFER_BITCOIN_ZMQ_URL": "tcp://127.0.0.1:3",
    "COFFER_MONERO_NETWORK": "regtest",
    "COFFER_MONERO_WALLET_RPC_URL": "http://u:p@127.0.0.1:4",
    "COFFER_MONERO_DAEMON_URL": "http://u:p@127.0.0.1:5",
    "COFFER_MONERO_WALLET_PASSWORD": "secret of monero",
    "COFFER_ETHEREUM_CHAIN_ID": "31337",
    "COFFER_ETHEREUM_RPC_URL": "http://127.0.0.1:6",
    "COFFER_ETHEREUM_SEED_FILE": "/secrets/seed",
    "COFFER_ETHEREUM_SEED_KEY": "secret of ethereum",
    "COFFER_TOKEN_DAILY_OUTFLOW_CAPS": "USDT=1",
}

#: Settings of a chain that tell no way to its node: every process has them, to read addresses.
SHARED = {
    "COFFER_BITCOIN_NETWORK",
    "COFFER_BITCOIN_WALLET",
    "COFFER_MONERO_NETWORK",
    "COFFER_MONERO_WALLET",
    "COFFER_ETHEREUM_CHAIN_ID",
}


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(up, "RUN", tmp_path / ".run")
    return tmp_path / ".run"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    at = Connections("sqlite:///x", "redis://:p@127.0.0.1:1/0", 4)
    return all_settings(tmp_path, at, CHAINS, OF_CHAINS)


def test_the_folder_is_closed_to_others(run_folder: Path) -> None:
    with up._claimed("one") as folder:
        assert folder == run_folder / "one"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert run_folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("run_folder")
def test_a_second_stack_of_the_same_name_is_refused_and_another_name_is_not() -> None:
    with up._claimed("one"):
        with pytest.raises(up.Refused, match=r"'one' runs already \(pid \d+\)"), up._claimed("one"):
            pass
        with up._claimed("two"):
            pass
    with up._claimed("one"):
        pass


@pytest.mark.usefixtures("run_folder")
@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "/tmp"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(up.Refused), up._claimed(name):
        pass


def test_a_stack_starts_fresh_unless_kept(run_folder: Path) -> None:
    with up._claimed("one") as folder:
        up._clear(folder, "sqlite", keep=False)
        (folder / "bitcoind").mkdir()
        (folder / "coffer.sqlite3").touch()
        up._clear(folder, "sqlite", keep=True)
        assert (folder / "bitcoind").is_dir()
        with pytest.raises(up.Refused, match="DB=sqlite"):
            up._clear(folder, "mariadb", keep=True)
        up._clear(folder, "mariadb", keep=False)
        assert sorted(entry.name for entry in folder.iterdir()) == ["database", "lock"]


def test_the_default_stack_is_described_in_the_well_known_place_too(run_folder: Path) -> None:
    assert up.stack_files("default") == [run_folder / "default" / "stack.json", run_folder / "stack.json"]
    assert up.stack_files("two") == [run_folder / "two" / "stack.json"]


def test_each_process_learns_only_what_it_needs(settings: dict[str, str]) -> None:
    api = {name for name in environment_of("api", settings) if name.startswith("COFFER_")}
    forbidden = ("RPC", "DAEMON", "PASSPHRASE", "PASSWORD", "SEED", "SIGNER")
    assert not {name for name in api if any(word in name for word in forbidden)}
    for role in ROLES.values():
        environ = environment_of(role, settings)
        assert environ["COFFER_DATABASE_URL"] == "sqlite:///x"
        assert ("COFFER_API_SECRET" in environ) == (role == "api")
        for chain in CHAINS:
            own = {n for n in environ if n.startswith(f"COFFER_{chain.upper()}_")} - SHARED
            assert bool(own) == (role == f"worker {chain}"), (role, own)


def test_what_a_process_learns_is_all_that_its_chain_has(settings: dict[str, str]) -> None:
    for chain in CHAINS:
        environ = environment_of(f"worker {chain}", settings)
        assert {name for name in OF_CHAINS if name.startswith(f"COFFER_{chain.upper()}_")} <= set(environ)
        assert f"secret of {chain}" in environ.values()


def test_each_signer_keeps_a_record_of_its_own(settings: dict[str, str]) -> None:
    folders = {environment_of(f"worker {chain}", settings)["COFFER_SIGNER_DIR"] for chain in CHAINS}
    assert len(folders) == len(CHAINS)
    assert all(Path(folder).stat().st_mode & 0o777 == 0o700 for folder in folders)


def test_a_stack_of_one_chain_has_one_worker_for_it() -> None:
    inward = {"api", "worker-monero", "worker-tasks", "scheduler"}
    assert roles_of(["monero"], outward=False).keys() == inward
    assert roles_of(["monero"]).keys() == inward | {"worker-rates", "worker-webhooks"}


def test_who_calls_strangers_can_neither_make_nor_sign_an_exit_of_money(settings: dict[str, str]) -> None:
    for name in OUTWARD:
        environ = environment_of(ROLES[name], settings)
        assert "COFFER_ROW_MAC_KEY" not in environ
        assert ("COFFER_WEBHOOK_KEY" in environ) == (name == "worker-webhooks")


def test_every_setting_is_one_that_the_program_reads(settings: dict[str, str]) -> None:
    assert set(settings) <= {f"COFFER_{field.upper()}" for field in Settings.model_fields}


def test_settings_around_us_do_not_leak_into_a_stack(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFFER_DATABASE_URL", "mysql+pymysql://real")
    monkeypatch.setenv("COFFER_MODE", "live")
    monkeypatch.setenv("COFFER_BITCOIN_COLD_ADDRESS", "bc1q")
    environ = environment_of(None, settings)
    assert environ["COFFER_MODE"] == "test"
    assert "real" not in environ["COFFER_DATABASE_URL"]
    assert "COFFER_BITCOIN_COLD_ADDRESS" not in environ


def test_secrets_stay_with_the_data(settings: dict[str, str], tmp_path: Path) -> None:
    again = all_settings(tmp_path, Connections("sqlite:///y", "redis://", 9), CHAINS, {})
    for name in ("COFFER_API_SECRET", "COFFER_ROW_MAC_KEY", "COFFER_WEBHOOK_KEY"):
        assert again[name] == settings[name]
        assert len(bytes.fromhex(again[name])) == 32
