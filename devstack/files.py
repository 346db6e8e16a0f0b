"""Folders and files that only their owner reads: they hold passwords, keys and wallets."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

#: sockaddr_un holds 108 bytes, the closing zero included.
_SOCKET_PATH_BYTES_MAX = 107


def private_folder(path: Path) -> Path:
    """Makes the folder, and those above it, if need be; mode 0700; returns its absolute path."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path.resolve()


def write_private(path: Path, text: str) -> Path:
    """Writes the file in one step, mode 0600 from its first byte: a reader sees the old text or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)
    return path


def socket_path(folder: Path, name: str) -> Path:
    """A place for a Unix socket: in the folder when its path is short enough, else in a short private one."""
    path = folder / name
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
        return path
    return Path(tempfile.mkdtemp(prefix="coffer-")) / name


def kept_secret(path: Path) -> str:
    """The secret in the file, made the first time: a data folder that is kept keeps its passwords. Hex, 32 bytes."""
    if not path.is_file():
        write_private(path, secrets.token_hex(32))
    return path.read_text().strip()
