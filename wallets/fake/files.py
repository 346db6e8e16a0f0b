"""A model wallet's disk, which is a part of the model chain: addresses watched, transactions seen, coins held."""

from __future__ import annotations

import pickle
from pathlib import Path

from wallets.fake.chain import FakeChain

NAME = "wallet"


class FakeFiles:
    """See `wallets.files.WalletFiles`."""

    def __init__(self, node: FakeChain, name: str) -> None:
        self._node = node
        self._name = name

    def save(self, folder: Path) -> None:
        with self._node.state() as s:
            (folder / NAME).write_bytes(pickle.dumps(s.wallets[self._name]))

    def put_back(self, folder: Path) -> bool:
        with self._node.state(write=True) as s:
            if self._name in s.wallets:
                return False
            s.wallets[self._name] = pickle.loads((folder / NAME).read_bytes())  # noqa: S301  # a test's own file
            return True
