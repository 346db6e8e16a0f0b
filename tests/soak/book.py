"""What the shop was promised: written down from the answers it got, and nothing else."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Withdrawal:
    id: str
    account: str
    asset: str
    units: int  #: what the payee must get
    payee: str


@dataclass(frozen=True)
class Transfer:
    giver: str
    taker: str
    asset: str
    units: int


@dataclass
class Order:
    """An escrow or a swap: `home` is the address that its money is awaited at; None: it is paid from a balance."""

    id: str
    account: str  #: the buyer of an escrow, whose swap it is
    asset: str  #: what must come
    units: int
    vendor: str = ""
    home: str | None = None
    ending: str = "release"


@dataclass
class Book:
    """Threads write into it; nothing is ever taken out."""

    withdrawals: dict[str, Withdrawal] = field(default_factory=dict)
    transfers: dict[str, Transfer] = field(default_factory=dict)
    escrows: dict[str, Order] = field(default_factory=dict)
    swaps: dict[str, Order] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)  #: operations that were acknowledged, by kind
    refused: Counter[str] = field(default_factory=Counter)  #: answers 4xx, by operation and code
    failures: list[str] = field(default_factory=list)  #: what no shop should ever see

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def note(self, kind: str) -> None:
        with self._lock:
            self.done[kind] += 1

    def refuse(self, kind: str, code: str) -> None:
        with self._lock:
            self.refused[f"{kind}: {code}"] += 1

    def fail(self, what: str) -> None:
        with self._lock:
            self.failures.append(what)

    def passed_on(self) -> dict[tuple[str, str], int]:
        """What transfers did to each account and asset; units."""
        moved: dict[tuple[str, str], int] = defaultdict(int)
        for one in self.transfers.values():
            moved[one.giver, one.asset] -= one.units
            moved[one.taker, one.asset] += one.units
        return moved
