"""What a backup says of itself: whose it is, of when, and the hash of each of its files.

The MAC is under the key that no database holds: whoever can write to where backups lie can neither change one nor make
one up, and a restore under another row MAC key, which could check no withdrawal, is noticed before anything is done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from jobs.row_mac import RowMac
from ledger.errors import InvalidInput

NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """One backup. Moments are microseconds since 1970 by the database's clock; hashes are SHA-256."""

    backup_id: str
    installation: str  #: its public id
    mode: str
    schema: str  #: version of the database
    dialect: str  #: sqlite or mariadb
    taken_at: int
    files: Mapping[str, str]  #: path within the folder -> hash
    marks: Mapping[str, Any]  #: as the copied database has them: see `jobs.backup.marks`
    marks_after: Mapping[str, Any]  #: of the database that went on working, when all else was copied
    records: Mapping[str, tuple[int, str]]  #: place of a signer's record -> entries and hash of the newest one
    without: tuple[str, ...] = ()  #: chains whose wallet files were left out
    format: int = FORMAT

    def write(self, folder: Path, mac: RowMac) -> None:
        """Last of all: a folder without it is no backup."""
        body = asdict(self)
        text = json.dumps({"manifest": body, "mac": mac.manifest(_canonical(body))}, indent=2)
        handle = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())


def read(folder: Path, mac: RowMac) -> Manifest:
    """The manifest of a backup that is whole: every file there with its hash, and nothing besides. Raises
    `InvalidInput` with what is wrong."""
    try:
        kept = json.loads((folder / NAME).read_text(encoding="utf-8"))
        body, seal = kept["manifest"], kept["mac"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput("/folder", f"{folder} holds no whole backup: {NAME}: {type(error).__name__}") from None
    if not mac.same(str(seal), mac.manifest(_canonical(body))):
        detail = "was changed, or made under another COFFER_ROW_MAC_KEY, under which no withdrawal here would be valid"
        raise InvalidInput("/folder", f"{folder / NAME} {detail}")
    if body.get("format") != FORMAT or set(body) != {field.name for field in fields(Manifest)}:
        raise InvalidInput("/folder", f"{folder / NAME} is of another version of this program")
    body["without"] = tuple(body["without"])
    body["records"] = {place: (head[0], head[1]) for place, head in body["records"].items()}
    found = Manifest(**body)
    _check_files(folder, found)
    return found


def hashes(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder but the manifest, by its path in there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    return {path.relative_to(folder).as_posix(): _hash(path) for path in files}


def _check_files(folder: Path, manifest: Manifest) -> None:
    there = hashes(folder)
    for name in sorted(there.keys() | manifest.files.keys()):
        if name not in there:
            raise InvalidInput("/folder", f"{name} is missing from the backup")
        if name not in manifest.files:
            raise InvalidInput("/folder", f"{name} does not belong to the backup")
        if there[name] != manifest.files[name]:
            raise InvalidInput("/folder", f"{name} is not what was backed up: its hash is another")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))
