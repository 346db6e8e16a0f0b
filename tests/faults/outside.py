"""The world outside Coffer: payers, miners and payees, on the model chain or on real nodes.

Nothing here passes a crashpoint, so what the outside does happens once however often Coffer dies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from wallets.protocol import Output


@dataclass(frozen=True)
class Receipt:
    """One payment from outside to an address of Coffer's wallet, as the chain shows it."""

    key: str  #: as `SeenDeposit.key`
    units: int
    depth: int  #: 0 in the pool


class Outside(ABC):
    """`paid_to`, `receipts`, `holds` and `used` are what the invariants trust: none of it is the engine's own word."""

    @abstractmethod
    def payee(self, name: str) -> str:
        """An address of nobody's, the same for the same name."""

    @abstractmethod
    def pay(self, outputs: Sequence[Output], token: str | None = None) -> str:
        """An outsider's transaction, in the pool and seen by the wallet; its id."""

    @abstractmethod
    def mine(self, blocks: int) -> None: ...

    @abstractmethod
    def reorg(self, depth: int, *, double_spent: Sequence[str] = ()) -> None:
        """Other blocks instead of the last ones, one more of them. What they held is in the pool again, or spent."""

    @abstractmethod
    def empty_pool(self) -> None:
        """The node forgets every transaction that no block holds."""

    def set_rate(self, rate: int | None) -> None:
        """What block space costs (None: the node cannot tell)."""
        raise NotImplementedError("fee estimation is driven on the model chain")

    @abstractmethod
    def paid_to(self, address: str, token: str | None = None) -> list[int]:
        """Units of each payment in pool and chain to this address: what the payee would count."""

    @abstractmethod
    def receipts(self) -> list[Receipt]:
        """Every payment from outside to an address which Coffer's wallet watches."""

    def holds(self, index: int, token: str | None = None) -> int:
        """What one index holds in the chain, where each holds its own."""
        raise NotImplementedError("here no index holds money of its own")

    def heard(self) -> dict[str, str]:
        """What the shop was told by webhooks: id -> type of event."""
        return {}

    def ordered(self) -> list[str]:
        """The client ids of all orders that an exchange was sent."""
        return []

    def used(self, known: Collection[str]) -> set[str]:
        """Of the resources that Coffer knows those that pool or chain show as used, and all others of its own keys."""
        return set()


class Node:
    """The chain behind a ground: made once, kept with each start, put back before each case. This one is the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def urls(self) -> dict[str, str]:
        """How a child reaches it."""
        return {}

    def make(self, case: Path) -> None:
        """From nothing, for a database that is as new; `case` may take files that Coffer reads."""

    def save(self, kept: Path) -> None:
        """Keep its state in a folder that is not there yet."""

    def restore(self, kept: Path) -> None:
        """Be as then."""

    def kill_wallet(self) -> None:
        """SIGKILL for the process that holds Coffer's keys, where it is one of its own, and a new one."""
        raise NotImplementedError("no other process holds the keys")

    def close(self) -> None:
        """End all processes."""
