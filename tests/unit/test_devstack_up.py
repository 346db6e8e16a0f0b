"""The stack's folder, its name and the environment of its processes; nothing is started here."""

from __future__ import annotations

from pathlib import Path

import pytest

from devstack import up
from devstack.environment import Connections, all_settings, environment_of
from devstack.roles import ROLES
from settings import Settings


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(up, "RUN", tmp_path / ".run")
    return tmp_path / ".run"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    at = Connections("sqlite:///x", "redis://:p@127.0.0.1:1/0", "http://u:p@127.0.0.1:2", "tcp://127.0.0.1:3", 4)
    return all_settings(tmp_path, at)


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
    assert not {name for name in api if "RPC" in name or "PASSPHRASE" in name or "SIGNER" in name}
    for role in ROLES.values():
        environ = environment_of(role, settings)
        assert environ["COFFER_DATABASE_URL"] == "sqlite:///x"
        assert ("COFFER_BITCOIN_WALLET_PASSPHRASE" in environ) == (role == "worker bitcoin")
        assert ("COFFER_API_SECRET" in environ) == (role == "api")


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
    at = Connections("sqlite:///y", "redis://", "http://", "tcp://", 9)
    again = all_settings(tmp_path, at)
    for name in ("COFFER_API_SECRET", "COFFER_ROW_MAC_KEY", "COFFER_BITCOIN_WALLET_PASSPHRASE"):
        assert again[name] == settings[name]
        assert len(bytes.fromhex(again[name])) == 32
