"""Where programs are found, and what is said when they are not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.programs import PROGRAMS, Program, ProgramMissing, locate, verify

MakeProgram = Callable[[Path, str], Path]


@pytest.fixture
def executable() -> MakeProgram:
    def make(path: Path, version: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho 'Sample daemon version v{version}'\n")
        path.chmod(0o755)
        return path

    return make


def sample(**changes: object) -> Program:
    fields: dict[str, object] = {"name": "sampled", "variable": "COFFER_SAMPLED", "install": "Sample 3"}
    return Program(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_environment_wins_over_the_path(tmp_path: Path, executable: MakeProgram) -> None:
    named = executable(tmp_path / "named" / "any-name", "3.1")
    executable(tmp_path / "bin" / "sampled", "3.1")
    environ = {"COFFER_SAMPLED": str(named), "PATH": str(tmp_path / "bin")}
    assert locate(sample(), environ) == named


def test_a_program_on_the_path_wins_over_a_fetched_one(tmp_path: Path, executable: MakeProgram) -> None:
    on_path = executable(tmp_path / "bin" / "sampled", "3.1")
    executable(tmp_path / "node_modules" / "pack" / "sampled", "3.1")
    found = locate(sample(fetched="pack/sampled"), {"PATH": str(tmp_path / "bin")}, tmp_path)
    assert found == on_path


def test_an_old_program_on_the_path_gives_way_to_the_fetched_one(tmp_path: Path, executable: MakeProgram) -> None:
    executable(tmp_path / "bin" / "sampled", "2.9.9")
    fetched = executable(tmp_path / "node_modules" / "pack" / "sampled", "3.0")
    program = sample(fetched="pack/sampled", version_min=(3,))
    assert locate(program, {"PATH": str(tmp_path / "bin")}, tmp_path) == fetched


def test_an_old_program_alone_is_refused_with_both_versions(tmp_path: Path, executable: MakeProgram) -> None:
    executable(tmp_path / "bin" / "sampled", "2.9.9")
    with pytest.raises(ProgramMissing, match=r"version 2\.9\.9, 3 or later .* set COFFER_SAMPLED"):
        locate(sample(version_min=(3,)), {"PATH": str(tmp_path / "bin")}, tmp_path)


def test_an_old_program_named_in_the_environment_is_refused(tmp_path: Path, executable: MakeProgram) -> None:
    named = executable(tmp_path / "old", "2.0")
    with pytest.raises(ProgramMissing, match="named by COFFER_SAMPLED"):
        locate(sample(version_min=(3,)), {"COFFER_SAMPLED": str(named)})


@pytest.mark.parametrize("mode", [None, 0o644])
def test_a_named_file_that_does_not_run_is_not_replaced_by_another(
    tmp_path: Path, executable: MakeProgram, mode: int | None
) -> None:
    executable(tmp_path / "bin" / "sampled", "3.1")
    named = tmp_path / "named"
    if mode is not None:
        named.write_text("")
        named.chmod(mode)
    environ = {"COFFER_SAMPLED": str(named), "PATH": str(tmp_path / "bin")}
    with pytest.raises(ProgramMissing, match="not an executable file"):
        locate(sample(), environ)


def test_a_missing_program_is_named_with_what_to_install_and_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissing, match="sampled not found: install Sample 3, or set COFFER_SAMPLED"):
        locate(sample(), {"PATH": str(tmp_path)}, tmp_path)


def test_a_fetched_file_runs_only_when_it_is_the_pinned_one(tmp_path: Path, executable: MakeProgram) -> None:
    path = executable(tmp_path / "node_modules" / "pack" / "sampled", "3.0")
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    program = sample(fetched="pack/sampled", sha256=good)
    assert locate(program, {"PATH": ""}, tmp_path) == path
    path.write_text(path.read_text() + "# one more line\n")
    with pytest.raises(ProgramMissing, match=f"not the pinned sampled.*expected {good}"):
        locate(program, {"PATH": ""}, tmp_path)


def test_a_program_that_set_up_built_is_found_last(tmp_path: Path, executable: MakeProgram) -> None:
    program = sample(built=True)
    built = executable(tmp_path / "built" / "sampled", "3.0")
    environ = {"PATH": str(tmp_path / "bin")}
    assert locate(program, environ, tmp_path, tmp_path / "built") == built
    on_path = executable(tmp_path / "bin" / "sampled", "3.1")
    assert locate(program, environ, tmp_path, tmp_path / "built") == on_path
    with pytest.raises(ProgramMissing):
        locate(sample(), {"PATH": ""}, tmp_path, tmp_path / "built")


def test_bitcoind_is_pinned(tmp_path: Path) -> None:
    other = tmp_path / "bitcoind"
    other.write_bytes(b"not bitcoind")
    with pytest.raises(ProgramMissing, match="it will not be run"):
        verify(PROGRAMS["bitcoind"], other)
