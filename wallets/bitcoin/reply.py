"""Bitcoin Core's answers, read strictly (see `wallets.reply`): amounts are BTC with eight decimals."""

from __future__ import annotations

from decimal import Decimal

from ledger.errors import NodeProtocolError
from wallets import reply
from wallets.reply import list_of, text_of

__all__ = ["Record", "btc_of", "list_of", "records_of", "text_of", "units_of"]

_UNITS_PER_BTC = 10**8


def units_of(value: object, where: str) -> int:
    """Satoshi of a BTC amount as the RPC writes it (a JSON number read as Decimal, or a whole one as int)."""
    if isinstance(value, bool) or not isinstance(value, (Decimal, int)):
        raise NodeProtocolError(f"{where} is not an amount")
    units = Decimal(value) * _UNITS_PER_BTC
    if not units.is_finite() or units != int(units):
        raise NodeProtocolError(f"{where} is not a whole number of satoshi")
    return int(units)


def btc_of(units: int) -> str:
    """BTC text of satoshi, as the RPC accepts it."""
    whole, fraction = divmod(units, _UNITS_PER_BTC)
    return f"{whole}.{fraction:08d}"


class Record(reply.Record):
    """One JSON object of Bitcoin Core."""

    def units(self, name: str) -> int:
        return units_of(self._get(name), f"{self._where}.{name}")


def records_of(value: object, where: str) -> list[Record]:
    return [Record(item, where) for item in list_of(value, where)]
