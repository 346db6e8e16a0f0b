"""What the signer is asked, and how it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.signer.entries import sha256
from ledger.errors import CofferError


class SignerRefused(CofferError):
    """The signer will not sign this. `withdrawal_id` is the row at fault, None for the cap."""

    def __init__(self, code: str, detail: str, withdrawal_id: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.withdrawal_id = withdrawal_id


@dataclass(frozen=True, slots=True)
class SignRequest:
    """One payment as committed rows say it: each withdrawal with the holders and MACs of its approvals."""

    payment_id: str  #: public id: unique also across databases
    asset: str
    fee_units: int
    fee_max_units: int
    resources: Sequence[str]  #: what the payment spends: other coins would be another payment
    withdrawals: Sequence[Any]
    items: Mapping[int, tuple[str, int]]  #: withdrawal id -> (address, units) that would be signed
    outputs: Sequence[tuple[str, int]]  #: all (address, units) that would be signed, our change aside
    approvals: Mapping[int, Sequence[tuple[str, str]]]
    purpose: str = "withdrawal"
    fee_asset: str = ""  #: what the network is paid in; empty: the asset itself
    targets: Sequence[int] = ()  #: the own index behind each output; the wallet proves each by its keys
    call: Mapping[str, Any] | None = None
    mac: str | None = None  #: of the call
    token: str | None = None  #: the contract behind the asset
    chain: str = ""


def payload_of(request: SignRequest) -> str:
    """A hash of all that the payment would pay, its fee ceiling and the coins it spends included."""
    paid = [[row.public_id, row.address, str(row.units)] for row in request.withdrawals]
    parts: list[Any] = [request.asset, str(request.fee_max_units), sorted(paid), sorted(request.resources)]
    if request.purpose != "withdrawal":
        own = [[address, str(units)] for address, units in request.outputs]
        parts += [request.purpose, sorted(own), list(request.targets), dict(request.call or {})]
    return sha256(*parts)


def order_of(row: Any) -> str:
    """Who asked for a withdrawal, in the words of its MAC: the same call of a shop after a restore has another id and
    this same name."""
    return f"{row.project_id}:{row.reference}"


def outflow_of(request: SignRequest) -> list[tuple[str, str, int]]:
    """What counts against the caps: (asset, `out` or `fee`, units). Money that stays ours costs its fee only."""
    out = sum(units for _, units in request.outputs) if request.purpose == "withdrawal" else 0
    parts = [(request.asset, "out", out), (request.fee_asset or request.asset, "fee", request.fee_max_units)]
    return [part for part in parts if part[2]]
