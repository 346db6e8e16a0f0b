"""Set-up: brings a fresh checkout to where `make demo`, `make up` and `make test` can run.

Installs what is missing (apt, npm, pip into `.venv`), tells each step as it goes, and does nothing the second time:
stamp files hold a hash of what was installed. Where it may not install, it names all that is missing and exits with 1.
Standard library only.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devstack.programs import (
    BUILT_PROGRAMS,
    NODE_PROGRAMS,
    PROGRAMS,
    ROOT,
    Program,
    ProgramMissing,
    locate,
    verify,
)

VENV = ROOT / ".venv"
NOTES = ROOT / ".setup"  #: lock file and logs of the installers
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_MARK = "written by coffer's set-up"

MARIADB = ("mariadbd", "mariadb-install-db")
STACK = ("redis-server", "bitcoind", "monerod", "monero-wallet-rpc", "monero-wallet-cli", "anvil")
#: Programs without which a target cannot run. All others are installed where possible and otherwise mentioned.
REQUIRED: dict[str, tuple[str, ...]] = {"check": (), "demo": STACK, "up": STACK, "test": STACK + MARIADB}

GETH_SOURCE = ROOT / "deploy" / "geth"  #: go.mod and go.sum pin geth and all that it is built from
GO_MIN = (1, 24)
GETH_BUILD_SECONDS_MAX = 900


class SetupFailed(Exception):
    """What is missing, in lines ready to be shown."""


@dataclass
class Missing:
    """The programs that could not be found, each with the reason."""

    programs: dict[str, str] = field(default_factory=dict)

    def of(self, names: Sequence[str]) -> list[str]:
        return [self.programs[name] for name in names if name in self.programs]

    def debian_packages(self, among: Sequence[str] | None = None) -> list[str]:
        names = self.programs if among is None else [name for name in among if name in self.programs]
        return sorted({package for name in names if (package := PROGRAMS[name].debian)})

    def fetchable(self) -> list[Program]:
        return [PROGRAMS[name] for name in self.programs if PROGRAMS[name].fetched]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        with _alone():
            set_up(options.target, options.db)
    except SetupFailed as failure:
        print(f"\nset-up: cannot go on\n{failure}", file=sys.stderr)
        return 1
    return 0


def set_up(target: str, db: str) -> None:
    """Installs what `target` needs; raises SetupFailed naming everything that is missing."""
    required = REQUIRED[target] + (MARIADB if db == "mariadb" else ())
    if target != "check":
        ready_programs(required)
    if target == "test":
        build_geth()
    ready_python(with_tools=target in ("test", "check"))


def ready_programs(required: Sequence[str]) -> None:
    missing = look_around()
    if not missing.programs:
        return
    packages = missing.debian_packages()
    fetchable = missing.fetchable()
    npm_lacking = bool(fetchable) and shutil.which("npm") is None
    if may_apt():
        wanted = packages + (["npm"] if npm_lacking else [])
        if wanted:
            apt_install(wanted)
    if fetchable and right_platform() and shutil.which("npm"):
        npm_install()
    missing = look_around()
    fatal = missing.of(required)
    if fatal:
        packages = missing.debian_packages(required)
        raise SetupFailed(_how_to(fatal, packages, fetchable=bool(missing.fetchable())))
    for name, reason in missing.programs.items():
        if not PROGRAMS[name].built:
            _say(f"note: {name} is not there and not needed for this: {reason}")


def look_around() -> Missing:
    """Which programs are missing, and why. Two programs of one package are both named."""
    missing = Missing()
    for name, program in PROGRAMS.items():
        try:
            locate(program)
        except ProgramMissing as reason:
            missing.programs[name] = str(reason)
    return missing


def may_apt() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def right_platform() -> bool:
    """The fetched node programs are Linux x86-64 builds against glibc."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"


def _how_to(fatal: Sequence[str], packages: Sequence[str], *, fetchable: bool) -> str:
    lines = [f"  - {reason}" for reason in fatal]
    if packages and not may_apt():
        why = "this is not root" if shutil.which("apt-get") else "there is no apt here"
        lines.append(f"Packages cannot be installed from here ({why}). On Debian: apt-get install {' '.join(packages)}")
    if fetchable and not right_platform():
        here = f"{sys.platform} {platform.machine()}"
        lines.append(f"The pinned node programs are Linux x86-64 builds, and this is {here}: set the variables above")
    elif fetchable and shutil.which("npm") is None:
        lines.append("The pinned node programs come by npm, missing here: install npm, or set the variables above")
    return "\n".join(lines)


# --- apt ---------------------------------------------------------------------------------------------------------


def apt_install(packages: Sequence[str]) -> None:
    with _services_left_alone():
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _step("updating the package list (apt)", ["apt-get", "update", "-q"], environ=environ, fatal=False)
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        _step(f"installing {' '.join(packages)} (apt)", command, environ=environ)


@contextmanager
def _services_left_alone() -> Iterator[None]:
    """Keeps apt from starting system services: a stack runs its own, and leaves the machine's as they are."""
    ours = not POLICY.exists() or POLICY_MARK in POLICY.read_text(errors="replace")
    if ours:
        POLICY.write_text(f"#!/bin/sh\n# {POLICY_MARK}; may be removed\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


# --- npm ---------------------------------------------------------------------------------------------------------


def npm_install() -> None:
    stamp = NODE_PROGRAMS / "node_modules" / ".coffer-stamp"
    key = _hash_of(NODE_PROGRAMS / "package-lock.json")
    if not _stamped(stamp, key):
        _step("fetching bitcoind and anvil (npm)", ["npm", "ci", "--ignore-scripts"], folder=NODE_PROGRAMS)
        stamp.write_text(key)
    for program in PROGRAMS.values():
        path = NODE_PROGRAMS / "node_modules" / program.fetched if program.fetched else None
        if path is None or not path.is_file():
            continue
        try:
            verify(program, path)
        except ProgramMissing as refusal:
            stamp.unlink(missing_ok=True)
            raise SetupFailed(f"  - {refusal}") from None
        path.chmod(path.stat().st_mode | 0o111)
        if program.sha256:
            _say(f"{program.name}: SHA-256 is the pinned one")


# --- go ----------------------------------------------------------------------------------------------------------


def build_geth() -> None:
    """The pinned geth, from source, for the tests that are worth more on the real program. Nothing fails without it."""
    stamp = BUILT_PROGRAMS / "geth.stamp"
    key = _hash_of(GETH_SOURCE / "go.mod", GETH_SOURCE / "go.sum")
    if (_stamped(stamp, key) and (BUILT_PROGRAMS / "geth").is_file()) or _geth_of_the_machine():
        return
    go = shutil.which("go")
    found = None if go is None else go_version(Path(go))
    if go is None or found is None or found < GO_MIN:
        why = "Go is not there" if found is None else f"Go is {'.'.join(map(str, found))}"
        _say(f"note: {why}, geth cannot be built (Go 1.24 or later can): tests run on anvil alone")
        return
    BUILT_PROGRAMS.mkdir(parents=True, exist_ok=True)
    command = [go, "build", "-trimpath", "-o", str(BUILT_PROGRAMS / "geth"), "github.com/ethereum/go-ethereum/cmd/geth"]
    what = "building geth from its pinned source (Go; some two minutes, this once)"
    environ = {**os.environ, "GOTOOLCHAIN": "local"}  # no other Go is fetched
    if _step(what, command, folder=GETH_SOURCE, environ=environ, fatal=False, seconds_max=GETH_BUILD_SECONDS_MAX):
        stamp.write_text(key)
    else:
        _say("note: geth could not be built: tests run on anvil alone (the reasons are in .setup/last-step.log)")


def _geth_of_the_machine() -> bool:
    try:
        locate(PROGRAMS["geth"], built_programs=NOTES / "none")
    except ProgramMissing:
        return False
    return True


def go_version(go: Path) -> tuple[int, ...] | None:
    """(1, 26) of `go version go1.26.8 linux/amd64`; None when it tells none."""
    answer = subprocess.run([str(go), "env", "GOVERSION"], capture_output=True, text=True, timeout=20, check=False)
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return None if found is None else (int(found[1]), int(found[2]))


# --- pip ---------------------------------------------------------------------------------------------------------


def ready_python(*, with_tools: bool) -> None:
    """`.venv` with the locked packages and, when `with_tools`, what tests and checks need on top."""
    _ready_venv()
    build, core, tools = (ROOT / f"requirements{kind}.lock" for kind in ("-build", "", "-dev"))
    stamps = VENV / ".coffer"
    lock = tools if with_tools else core
    if not _stamped(stamps / lock.name, _hash_of(lock, build)):
        # Packages that come as source build with the pinned tools, not with whatever is newest today.
        _pip(f"installing the build tools of {build.name} (pip)", "--require-hashes", "-r", str(build))
        _pip(
            f"installing the packages of {lock.name} (pip)",
            "--require-hashes",
            "--no-build-isolation",
            "-r",
            str(lock),
        )
        for done in (core, tools) if with_tools else (core,):  # the second lock holds all of the first
            (stamps / done.name).write_text(_hash_of(done, build))
    own_key = _own_key()
    if not _stamped(stamps / "coffer", own_key):
        _pip("installing the coffer command (pip)", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
        (stamps / "coffer").write_text(own_key)


def _ready_venv() -> None:
    stamp = VENV / ".coffer" / "venv"
    # Scripts in a virtual environment name its folder, so a moved checkout needs a new one.
    key = json.dumps([platform.python_version(), str(VENV)])
    if _stamped(stamp, key) and (VENV / "bin" / "python").exists():
        return
    if importlib.util.find_spec("ensurepip") is None:
        if not may_apt():
            raise SetupFailed("  - Python's venv module is incomplete: install the Debian package python3-venv")
        apt_install(["python3-venv"])
    _step("making .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
    stamp.parent.mkdir()
    stamp.write_text(key)


def _pip(what: str, *options: str) -> None:
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    _step(what, [*command, *options])


def _own_key() -> str:
    """Changes when the project's own metadata does, not with every edit of a lint option."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    relevant = [project["project"], project["build-system"], project["tool"]["hatch"]]
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


# --- plumbing ----------------------------------------------------------------------------------------------------


def _step(
    what: str,
    command: Sequence[str],
    *,
    folder: Path = ROOT,
    environ: dict[str, str] | None = None,
    fatal: bool = True,
    seconds_max: float | None = None,
) -> bool:
    """Runs an installer, telling that it is alive; its output goes to a log, whose end is shown when it fails.

    Returns whether it succeeded; one that is not `fatal` may fail. After `seconds_max` it is ended.
    """
    log = NOTES / "last-step.log"
    _say(f"{what} …")
    started = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(command), cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait(child, started, seconds_max)
        except BaseException:  # also Ctrl-C: an installer does not go on by itself
            child.terminate()
            child.wait()
            raise
    seconds = time.monotonic() - started
    if child.returncode == 0:
        _say(f"  done in {seconds:.0f} s")
        return True
    tail = "\n".join("    " + line for line in _both_ends(log.read_text(errors="replace").splitlines()))
    if fatal:
        raise SetupFailed(f"  - {what} failed with exit code {child.returncode}:\n{tail}")
    _say(f"  failed with exit code {child.returncode}, going on")
    return False


def _both_ends(lines: Sequence[str]) -> Sequence[str]:
    """pip says last what went wrong, npm first."""
    return lines if len(lines) <= 40 else [*lines[:15], "…", *lines[-25:]]


def _wait(child: subprocess.Popen[bytes], started: float, seconds_max: float | None) -> None:
    while True:
        if seconds_max is not None and time.monotonic() - started > seconds_max:
            child.terminate()
        try:
            child.wait(timeout=15)
            return
        except subprocess.TimeoutExpired:
            _say(f"  still at it ({time.monotonic() - started:.0f} s)")


def _hash_of(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _stamped(stamp: Path, key: str) -> bool:
    return stamp.is_file() and stamp.read_text() == key


def _say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Two set-ups of one checkout wait for each other."""
    NOTES.mkdir(exist_ok=True)
    with (NOTES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/setup", description="Install what is missing, or name it.")
    parser.add_argument("target", nargs="?", choices=sorted(REQUIRED), default="test")
    parser.add_argument("--db", choices=("sqlite", "mariadb"), default="sqlite")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
