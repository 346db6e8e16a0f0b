"""A bank with many customers, clients that never rest, and an auditor who counts all money in one look, time and again.

Clients remember what they were told was done, and nothing else: at the end the books must say the same, to the unit.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter

from sqlalchemy import select

from ledger.db import Database, Tx
from ledger.errors import DatabaseUnavailable
from ledger.schema import account, balance, hold, hold_end, ledger_account
from ledger.types import total
from tests.integration.storefront import PATIENCE_SECONDS, Shop, nobodys_address

COIN = 10**8
#: What a withdrawal takes beside its amount, satoshi: the default policy's flat fee.
FEE = 2_000
LEAST = 10_000


def text(units: int) -> str:
    return f"{units // COIN}.{units % COIN:08d}"


class Bank:
    """`own` is what each customer may spend by what clients were told; `promised` withdrawal -> (customer, payee,
    units); `cancelled` those that were taken back."""

    def __init__(self, shop: Shop, customers: list[str], units_each: int) -> None:
        self.shop, self.customers = shop, customers
        self.own = Counter(dict.fromkeys(customers, units_each))
        self.promised: dict[str, tuple[str, str, int]] = {}
        self.cancelled: set[str] = set()
        self.done: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads: list[threading.Thread] = []

    def open(self, clients: int, seed: int) -> None:
        for number in range(clients):
            random_ = random.Random(f"{seed}/{number}")
            self._threads.append(threading.Thread(target=self._serve, args=(random_,), daemon=True))
            self._threads[-1].start()

    def busy(self, calls: int) -> None:
        """Returns when so many more calls have been answered."""
        until, deadline = self.done.total() + calls, time.monotonic() + PATIENCE_SECONDS
        while self.done.total() < until and not self.failures:
            assert time.monotonic() < deadline, f"nobody is served: {dict(self.done)}"
            time.sleep(0.05)

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS + 30)
            assert not thread.is_alive()
        assert self.failures == []

    def _serve(self, random_: random.Random) -> None:
        acts = (self._transfer,) * 14 + (self._withdraw,) * 3 + (self._cancel,) * 3
        try:
            while not self._stop.is_set():
                random_.choice(acts)(random_)
        except BaseException as error:  # noqa: BLE001  # told to the test, which fails on it
            self.failures.append(error)

    def _transfer(self, random_: random.Random) -> None:
        giver, taker = random_.sample(self.customers, 2)
        units = random_.choice((1, random_.randrange(1, COIN // 100), COIN // 20))
        order = {"from_account": giver, "to_account": taker, "asset": "BTC", "amount": text(units)}
        if self._said_yes("transfer", "/transfers", order | {"reference": uuid.uuid4().hex}, 201) is not None:
            with self._lock:
                self.own[giver] -= units
                self.own[taker] += units

    def _withdraw(self, random_: random.Random) -> None:
        owner, payee = random_.choice(self.customers), nobodys_address(uuid.uuid4().hex)
        units = random_.randrange(LEAST, 3 * LEAST)
        order = {"account": owner, "asset": "BTC", "amount": text(units), "address": payee}
        made = self._said_yes("withdrawal", "/withdrawals", order | {"reference": uuid.uuid4().hex}, 202)
        if made is not None:
            with self._lock:
                self.own[owner] -= units + FEE
                self.promised[made] = (owner, payee, units)

    def _cancel(self, random_: random.Random) -> None:
        with self._lock:
            open_ = list(self.promised.keys() - self.cancelled)
        if not open_:
            return
        wanted = random_.choice(open_[-20:])
        if self._said_yes("cancel", f"/withdrawals/{wanted}/cancel", None, 200) is not None:
            with self._lock:
                assert wanted not in self.cancelled, "it was cancelled twice"
                self.cancelled.add(wanted)
                owner, _, units = self.promised[wanted]
                self.own[owner] += units + FEE

    def _said_yes(self, what: str, path: str, order: dict[str, str] | None, yes: int) -> str | None:
        """The id of what was done; None when it was refused for a reason that such a call may be refused for."""
        status, answer = self.shop.post(path, order)
        with self._lock:
            self.done[f"{what} {status}"] += 1
        if status == yes:
            return str(answer["id"])
        assert answer["code"] in ("insufficient_funds", "state_conflict"), (path, answer)
        return None


class Auditor:
    """Looks at all accounts in one moment, as often as the database lets it. `looks` counts, `wrong` tells."""

    def __init__(self, database: Database, customers: list[str], units: int) -> None:
        self.looks, self.wrong = 0, list[str]()
        self._database, self._customers, self._units = database, customers, units
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            try:
                found, least = self._database.read(self._count, consistent=True)
            except DatabaseUnavailable:
                continue
            self.looks += 1
            if found != self._units or least < 0:
                self.wrong.append(f"look {self.looks}: {found} units instead of {self._units}, the least has {least}")

    def _count(self, tx: Tx) -> tuple[int, int]:
        """(what customers have and what has left them for good, the least that one of them has)."""
        a = ledger_account.c
        mine = select(a.id).join(account, account.c.id == a.account_id).where(account.c.public_id.in_(self._customers))
        owned = select(balance.c.units).where(balance.c.ledger_account_id.in_(mine))
        units = [int(row.units) for row in tx.all(owned)]
        left = select(total(hold.c.units)).join(hold_end, hold_end.c.hold_id == hold.c.id)
        gone = int(tx.value(left.where(hold_end.c.outcome == "settled")) or 0)
        return sum(units) + gone, min(units, default=0)
