"""The traffic of a small shop, and what it remembers: every call until it is answered, and what each answer promised.

The API's process may die before or after a call's commit, and the database may fail: then the shop does not know, and
makes the same call again under the same reference, as shops are told to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jobs import addresses, transfers, withdrawal
from jobs.caller import Caller
from jobs.services import Services
from ledger.db import Tx
from ledger.errors import CofferError, CommitUnknown, DatabaseUnavailable, ReferenceExists
from tests.simulation.ground import ASSETS, UNIT, Ground
from tests.simulation.machine import Died, Machine

Unit = Callable[[Tx], Any]


@dataclass(slots=True)
class Asked:
    """A call: what it would do, and whether its answer is known. `made`: True, False when refused, None not known."""

    reference: str
    unit: Unit
    facts: dict[str, Any]
    made: bool | None = None
    refusal: str = ""


@dataclass
class Shop:
    """Amounts are atomic units."""

    machine: Machine
    ground: Ground
    services: Services
    asked: dict[str, Asked] = field(default_factory=dict)  #: by reference
    serial: int = 0

    def call(self, asked: Asked) -> Asked:
        """Make a call, or make it again."""
        try:
            with self.machine.answering():
                self.machine.database.run(asked.unit, "api")
            asked.made = True
        except ReferenceExists:
            asked.made = True
        except (Died, DatabaseUnavailable, CommitUnknown):
            self.machine.count("calls without an answer")
        except CofferError as error:
            asked.made, asked.refusal = False, error.code
        self.machine.tell(f"shop: {asked.reference} {asked.facts} -> {asked.made} {asked.refusal}".rstrip())
        return asked

    def repeat(self) -> None:
        """All calls whose answer is not known."""
        for asked in self.asked.values():
            if asked.made is None:
                self.call(asked)

    def new(self, kind: str, unit: Callable[[str], Unit], **facts: Any) -> Asked:
        self.serial += 1
        reference = f"{kind}{self.serial}"
        asked = Asked(reference, unit(reference), {"kind": kind} | facts)
        self.asked[reference] = asked
        return self.call(asked)

    def withdraw(self, name: str, code: str, units: int, payee: str, fee_from: str) -> Asked:
        account = self.ground.accounts[name]

        def unit(reference: str) -> Unit:
            order = withdrawal.Order(account, code, units, payee, reference, fee_from)
            return lambda tx: withdrawal.request(tx, self.ground.caller, order, self.services)

        return self.new("w", unit, account=name, asset=code, units=units, payee=payee, fee_from=fee_from)

    def transfer(self, giver: str, taker: str, code: str, units: int) -> Asked:
        ends = self.ground.accounts[giver], self.ground.accounts[taker]

        def unit(reference: str) -> Unit:
            order = transfers.Order(*ends, code, units, reference)
            return lambda tx: transfers.make(tx, self.ground.caller, order)

        return self.new("t", unit, giver=giver, taker=taker, asset=code, units=units)

    def address(self, name: str, code: str) -> str | None:
        """A new address, if the call is answered."""
        found: list[str] = []
        asset = next(asset for asset in ASSETS.values() if asset.code == code)

        def unit(_: str) -> Unit:
            wish = addresses.Wish(self.ground.accounts[name], asset)
            issue = lambda tx: addresses.issue(tx, self.ground.caller, wish, self.services).address  # noqa: E731
            return lambda tx: found.append(issue(tx))

        asked = self.new("a", unit, account=name, asset=code)
        return found[0] if asked.made else None

    def payees(self, code: str) -> list[str]:
        """Who was to be paid before."""
        return [
            each.facts["payee"]
            for each in self.asked.values()
            if each.facts.get("asset") == code and "payee" in each.facts
        ]

    def attempt(self, what: str, unit: Unit) -> None:
        """A call that needs no repetition: cancelling, approving, rejecting."""
        asked = self.call(Asked(what, unit, {}))
        if asked.made is False:
            self.machine.count("refused")

    def decide(self, row_id: int, act: str, person: str) -> None:
        who = Caller(self.ground.caller.project_id, None, person, person)
        units: dict[str, Unit] = {
            "cancel": lambda tx: withdrawal.cancel(tx, who, row_id),
            "approve": lambda tx: withdrawal.approve(tx, who, row_id, self.services),
            "reject": lambda tx: withdrawal.reject(tx, who, row_id, "no"),
        }
        self.attempt(f"{act} {row_id} by {person}", units[act])

    def coins(self, code: str, most: int = 200) -> int:
        """A random amount."""
        rng = self.machine.rng
        return rng.choice((1, 2, 5, 10, 40, most)) * UNIT[code] // rng.choice((1, 1, 1, 3)) + rng.randrange(100)
