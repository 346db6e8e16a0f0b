"""Outputs that the wallet's own selection leaves alone, by key image.

The wallet does not keep what it has prepared from being chosen again (NODES 0.6): `freeze` does, and `store` brings
it over a restart. A frozen output can be sent all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.coins import Coin, Coins
from wallets.monero.daemon import Daemon
from wallets.monero.marks import Marks
from wallets.monero.reply import Record
from wallets.monero.sync import Sync

# What `freeze`, `thaw` and `frozen` answer about what is no key image, and about one that is not in the wallet.
_NO_KEY_IMAGE, _UNKNOWN = -10, -1


class Holds:
    """The frozen outputs of one wallet. `turn` keeps threads of this process from changing them under each other."""

    def __init__(self, client: MoneroClient, coins: Coins, marks: Marks) -> None:
        self._client = client
        self._sync = Sync(client, Daemon(client))
        self._coins = coins
        self._marks = marks
        self.turn = threading.RLock()

    def hold(self, resources: Collection[str]) -> None:
        """Freeze and store. A key image that this wallet does not know is passed over."""
        self._set_all(resources, "freeze", wanted=True)

    def free(self, resources: Collection[str]) -> None:
        """Thaw and store; what is not frozen is passed over."""
        self._set_all(resources, "thaw", wanted=False)

    def held(self) -> frozenset[str]:
        """The key images of unspent frozen outputs."""
        self._sync.check_wallet()
        return frozenset(coin.key_image for coin in self._frozen([0, *self._marks.accounts()]))

    def expect(self, account: int) -> None:
        """Outputs of this account are going to be held: note it, so that `held` finds them; forget those without."""
        if account != 0:
            self._marks.note_accounts({coin.account for coin in self._frozen(self._marks.accounts())} | {account})

    def _frozen(self, accounts: Collection[int]) -> list[Coin]:
        return [coin for account in accounts for coin in self._coins.unspent(account) if coin.frozen]

    def _set_all(self, resources: Collection[str], method: str, *, wanted: bool) -> None:
        self._sync.check_wallet()  # or all of them would be strangers, and passed over
        with self.turn:
            changed = [r for r in sorted(set(resources)) if self._is_frozen(r) is (not wanted) and self._set(method, r)]
            if changed:
                self._client.change("store")

    def _is_frozen(self, resource: str) -> bool | None:
        """None for what this wallet does not know."""
        try:
            answer = self._client.read("frozen", key_image=resource)
        except RpcRefused as refusal:
            _passed_over(refusal)
            return None
        return Record(answer, "frozen").boolean("frozen")

    def _set(self, method: str, resource: str) -> bool:
        try:
            self._client.change(method, key_image=resource)
        except RpcRefused as refusal:
            _passed_over(refusal)
            return False
        return True

    @contextmanager
    def meanwhile(self, frozen: Collection[Coin], thawed: Collection[Coin] = ()) -> Iterator[None]:
        """Other outputs left alone than usual, in the memory of wallet-rpc and not stored.

        A kill in between leaves such marks until `free` or a restart: callers free what nobody owns before they choose.
        """
        done: list[tuple[str, str]] = []
        try:
            for undo, method, coins in (("thaw", "freeze", frozen), ("freeze", "thaw", thawed)):
                for coin in coins:
                    done.append((undo, coin.key_image))
                    self._client.change(method, key_image=coin.key_image)
            yield
        finally:
            for undo, key_image in reversed(done):
                self._client.change(undo, key_image=key_image)


def _passed_over(refusal: RpcRefused) -> None:
    """Raises every refusal but that of a key image which is none, or not of this wallet."""
    unknown = refusal.rpc_code == _UNKNOWN and "not found" in refusal.message
    if refusal.rpc_code != _NO_KEY_IMAGE and not unknown:
        raise refusal
