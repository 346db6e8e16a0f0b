"""Answers of monerod and monero-wallet-rpc, read strictly (see `wallets.reply`): amounts are piconero, whole numbers.

Both leave out a list that is empty. So an absent list and a renamed one look the same here; that a list was renamed
shows in the balance, which is a number and is always there.
"""

from __future__ import annotations

from ledger.errors import NodeProtocolError
from wallets import reply
from wallets.reply import list_of, text_of

__all__ = ["Record", "list_of", "text_of"]

_UNITS_MAX = 2**64 - 1


class Record(reply.Record):
    """One JSON object of monerod or monero-wallet-rpc."""

    def units(self, name: str) -> int:
        """An amount, height or index: not negative, at most 64 bits."""
        value = self.integer(name)
        if not 0 <= value <= _UNITS_MAX:
            raise NodeProtocolError(f"{self._where}.{name} is out of range")
        return value

    def some_records(self, name: str) -> list[Record]:
        """A list that is left out when empty."""
        return self.records(name) if name in self else []

    def some_texts(self, name: str) -> tuple[str, ...]:
        """A list that is left out when empty."""
        return self.texts(name) if name in self else ()

    def some_integers(self, name: str) -> list[int]:
        """A list that is left out when empty."""
        return self.integers(name) if name in self else []
