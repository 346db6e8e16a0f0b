"""The arithmetic of an escrow: what is missing, what is left of the price, and who gets what to the atomic unit.

Pure: every method returns a new `Parts`. The house's fee is taken as the price is released, and always the whole part
of it that is due by then, rounded down: steps of any size add up to the same fee. What is refunded bears no fee.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Parts:
    """The amounts of one escrow, in atomic units, as its row has them."""

    units: int  #: the price
    fee_units: int  #: the whole fee, if the whole price is released
    fee_from: str  #: who bears it: the `buyer` on top of the price, the `vendor` out of it
    wanted_units: int  #: what funds it
    held_units: int = 0
    received_units: int = 0
    released_units: int = 0  #: of the price
    refunded_units: int = 0  #: of the price
    fee_taken_units: int = 0
    undone_units: int = 0  #: was passed on, and then the deposit that it came from left the chain

    @property
    def left(self) -> int:
        """What neither side has got of the price."""
        return self.units - self.released_units - self.refunded_units

    @property
    def fee_due(self) -> int:
        """The fee of all that is left, if it is released."""
        return max(0, self._fee_until(self.released_units + self.left) - self.fee_taken_units)

    @property
    def needed(self) -> int:
        """What must lie in escrow for what is left of the price."""
        return self.left + (self.fee_due if self.fee_from == "buyer" else 0)

    @property
    def missing(self) -> int:
        return max(0, self.needed - self.held_units)

    @property
    def surplus(self) -> int:
        return max(0, self.held_units - self.needed)

    def came(self, units: int) -> Parts:
        """Money came in."""
        return replace(self, held_units=self.held_units + units, received_units=self.received_units + units)

    def given_back(self, units: int) -> Parts:
        """Money in escrow went to the buyer without being part of the price."""
        return replace(self, held_units=self.held_units - units)

    def repaid(self, units: int) -> Parts:
        """A deposit that had left is back: so much of it goes to the buyer, who had lost it by that."""
        return replace(self, held_units=self.held_units - units, undone_units=self.undone_units - units)

    def restored(self, units: int) -> Parts:
        """A deposit that had left is back, in the buyer's balance."""
        return replace(self, undone_units=self.undone_units - min(units, self.undone_units))

    def undone(self, units: int) -> Parts:
        """It has left again from there."""
        return replace(self, undone_units=self.undone_units + units)

    def released(self, units: int) -> tuple[Parts, int, int]:
        """(parts, what the vendor gets, the house's fee) once so much more of the price is released."""
        released = self.released_units + units
        fee = max(0, self._fee_until(released) - self.fee_taken_units)
        vendor = units - fee if self.fee_from == "vendor" else units
        after = replace(
            self,
            released_units=released,
            fee_taken_units=self.fee_taken_units + fee,
            held_units=self.held_units - vendor - fee,
        )
        return after, vendor, fee

    def refunded(self, units: int) -> tuple[Parts, int]:
        """(parts, what the buyer gets) once so much more of the price is refunded, with the fee that it would bear."""
        after = replace(self, refunded_units=self.refunded_units + units)
        back = self.needed - after.needed
        return replace(after, held_units=self.held_units - back), back

    def kept(self) -> Parts:
        """What is too much becomes part of the price; the fee stays what was agreed on."""
        more = self.surplus
        due = self.fee_taken_units + self.fee_due
        after = replace(self, units=self.units + more, wanted_units=self.wanted_units + more)
        return after._with_fee_until_the_end(due)

    def shrunk(self) -> Parts:
        """The price becomes what there is money for; the fee that was still due shrinks in proportion, rounded down."""
        fee = self.fee_due * self.held_units // self.needed
        left = self.held_units - (fee if self.fee_from == "buyer" else 0)
        after = replace(
            self,
            units=self.released_units + self.refunded_units + left,
            wanted_units=self.wanted_units - self.missing,
        )
        return after._with_fee_until_the_end(self.fee_taken_units + fee)

    def taken_back(self, units: int) -> tuple[Parts, int]:
        """(parts, how much of it was here) when a deposit of so much that had funded it left the chain."""
        here = min(units, self.held_units)
        after = replace(
            self,
            held_units=self.held_units - here,
            received_units=self.received_units - units,
            undone_units=self.undone_units + units - here,
        )
        return after, here

    def _fee_until(self, released: int) -> int:
        return self.fee_units * released // self.units

    def _with_fee_until_the_end(self, due: int) -> Parts:
        """The same with the least whole fee of which `due` is taken once all that is left is released."""
        end = self.units - self.refunded_units
        return replace(self, fee_units=-(-due * self.units // end) if end else due)


def parts_of(row: Any) -> Parts:
    """`row` has the columns of `escrow`."""
    return Parts(**{name: getattr(row, name) for name in Parts.__slots__})


def columns(parts: Parts) -> dict[str, int]:
    """The columns that an escrow's movements change."""
    return {name: getattr(parts, name) for name in Parts.__slots__ if name != "fee_from"}


def fee_of(units: int, ppm: int) -> int:
    """A percent fee, rounded up."""
    return -(-units * ppm // PPM)
