"""The seed file: sealed, so that a copy of it is worth nothing without the key that opens it."""

from __future__ import annotations

from pathlib import Path

from wallets.files import copy_private

NAME = "seed"


class EthereumFiles:
    """See `wallets.files.WalletFiles`."""

    def __init__(self, seed_file: Path) -> None:
        self._seed_file = seed_file

    def save(self, folder: Path) -> None:
        copy_private(self._seed_file, folder / NAME)

    def put_back(self, folder: Path) -> bool:
        if self._seed_file.exists():
            return False
        self._seed_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy_private(folder / NAME, self._seed_file)
        return True
