"""Where the keys of a chain lie: what a backup must hold of a wallet, and where that goes back to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol


class WalletFiles(Protocol):
    """The files of one chain's wallet. Where a node must help, both methods raise as `ChainWallet`'s do."""

    def save(self, folder: Path) -> None:
        """Write the wallet as it is now into this empty, private folder; its keys as encrypted as they lie."""
        ...

    def put_back(self, folder: Path) -> bool:
        """Put what `save` wrote where the wallet belongs. False, with nothing touched, where a wallet lies already."""
        ...


def copy_private(source: Path, target: Path) -> None:
    """Copy a file whole, readable by its owner alone, and on the disk when this returns. Cut off, it leaves nothing
    under the target's name: half a key must not pass for one. Raises `FileExistsError` for a target that exists."""
    draft = target.with_name(f".{target.name}.copying")
    draft.unlink(missing_ok=True)  # of a copy that was cut off
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as written, source.open("rb") as read:
        shutil.copyfileobj(read, written)
        written.flush()
        os.fsync(written.fileno())
    os.link(draft, target)  # fails where somebody made one meanwhile, as a rename would not
    draft.unlink()
    _sync_names(target.parent)


def _sync_names(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
