"""What an address was given out for decides whose its deposits are (SPEC decision 4).

A purpose books nothing itself: it names the ledger account that a deposit credits, hears that it was credited, and
takes the money back from wherever its flow has put it when the deposit's block is undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import Row

from jobs import debts
from jobs.deposit import requests as payment_requests
from jobs.escrow.purpose import EscrowPurpose
from jobs.swap.deposit import SwapPurpose
from jobs.trace import dependants
from ledger import accounts
from ledger.accounts import Owner
from ledger.db import Tx


class Purpose(Protocol):
    """`paid` is the deposit's row, `home` its address's. All run in the transaction that books the deposit."""

    def owner(self, tx: Tx, paid: Row[Any], home: Row[Any]) -> Owner:
        """The ledger account that is credited. What the answer rests on stays locked until the transaction ends."""
        ...

    def credited(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner) -> None:
        """The deposit has just been credited to `owner`."""
        ...

    def take_back(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner, key: str, ref: tuple[str, int]) -> int:
        """Post, as the transfer `key`, that a deposit credited to `owner` is gone; the units that somebody owes now."""
        ...


class Balance:
    """The account that the address belongs to, to be spent freely."""

    def owner(self, tx: Tx, paid: Row[Any], home: Row[Any]) -> Owner:
        return int(paid.account_id), "available"

    def credited(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner) -> None:
        payment_requests.count(tx, paid, paid.units)

    def take_back(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner, key: str, ref: tuple[str, int]) -> int:
        owed = dependants.take_back(tx, paid, owner[0], key, ref)
        dependants.freeze(tx, paid, owner[0], owed)
        payment_requests.count(tx, paid, -paid.units)
        return owed


class House:
    """The house itself: money from outside is its capital, money from the cold wallet was its own already."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def owner(self, tx: Tx, paid: Row[Any], home: Row[Any]) -> Owner:
        return accounts.house(self._kind)

    def credited(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner) -> None:
        return None

    def take_back(self, tx: Tx, paid: Row[Any], home: Row[Any], owner: Owner, key: str, ref: tuple[str, int]) -> int:
        debts.reverse(tx, owner, paid.asset, paid.units, key, ref)
        return 0


PURPOSES: Mapping[str, Purpose] = {
    "balance": Balance(),
    "treasury": House("capital"),
    "refill": House("treasury_cold"),
    "escrow": EscrowPurpose(),
    "swap": SwapPurpose(),
}


def of(home: Row[Any]) -> Purpose:
    """The purpose of an address."""
    return PURPOSES[home.purpose_kind]
