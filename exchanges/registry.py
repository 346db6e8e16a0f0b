"""Chooses the sources that the settings name. Their library is imported here, when first asked for, and nowhere else:
it costs a second and a hundred megabytes, and only the `rates` worker needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from exchanges.fixed import FixedSource
from exchanges.protocol import CURRENCY, Desk, Hedging, RateSource

if TYPE_CHECKING:
    from settings import Settings

_SYMBOL = re.compile(r"[A-Z][A-Z0-9]{0,15}", re.ASCII)
_CODE = re.compile(r"[A-Z][A-Z0-9.]{0,23}", re.ASCII)
_PRICE = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)


class Misconfigured(ValueError):
    """A setting that cannot be used; the text begins with the variable's name."""


def desk(settings: Settings) -> Desk:
    """The sources and how they are asked. Raises `Misconfigured`. Without any source every asset is `unavailable`."""
    fixed = fixed_prices(settings.rates_fixed)
    exchanges = _words("COFFER_RATES_EXCHANGES", settings.rates_exchanges)
    quotes = _words("COFFER_RATES_QUOTES", settings.rates_quotes, _SYMBOL)
    fiat = _words("COFFER_RATES_FIAT", settings.rates_fiat, _SYMBOL)
    symbols = {code: _symbol(text) for code, text in _pairs("COFFER_RATES_SYMBOLS", settings.rates_symbols).items()}
    if CURRENCY in fiat:
        raise Misconfigured(f"COFFER_RATES_FIAT: {CURRENCY} is always there")
    if fixed:
        if settings.mode == "live":
            raise Misconfigured("COFFER_RATES_FIXED: a fixed table prices nothing in live mode")
        if exchanges:
            raise Misconfigured("COFFER_RATES_FIXED: either a fixed table or COFFER_RATES_EXCHANGES, not both")
        return Desk((FixedSource(fixed),), 1, symbols, (CURRENCY,), fiat)
    if len(exchanges) == 1:
        raise Misconfigured("COFFER_RATES_EXCHANGES: at least two are needed, so that one cannot set a price alone")
    return Desk(_sources(exchanges), 2, symbols, quotes or (CURRENCY,), fiat)


def hedging(settings: Settings) -> Hedging | None:
    """Where the house hedges; None, as long as no exchange is named for it. Raises `Misconfigured`."""
    if settings.hedge_exchange is None:
        return None
    caps = _pairs("COFFER_HEDGE_ORDER_MAX", settings.hedge_order_max)
    most = {code: _price("COFFER_HEDGE_ORDER_MAX", code, text) for code, text in caps.items()}
    if _SYMBOL.fullmatch(settings.hedge_quote) is None:
        raise Misconfigured("COFFER_HEDGE_QUOTE: must be one currency like USD")
    key, secret = settings.hedge_api_key, settings.hedge_api_secret
    if key is None or secret is None:
        raise Misconfigured("COFFER_HEDGE_API_KEY and COFFER_HEDGE_API_SECRET are needed by COFFER_HEDGE_EXCHANGE")
    from exchanges.ccxt_hedge import CcxtVenue

    password = settings.hedge_api_password
    secrets = {"apiKey": key.get_secret_value(), "secret": secret.get_secret_value()}
    secrets |= {} if password is None else {"password": password.get_secret_value()}
    try:
        return Hedging(CcxtVenue(settings.hedge_exchange, secrets), settings.hedge_quote, most)
    except LookupError as error:
        raise Misconfigured(f"COFFER_HEDGE_EXCHANGE: {error}") from None


def fixed_prices(text: str) -> Mapping[str, Decimal]:
    """`BTC=60000,XMR=150` as a table. Raises `Misconfigured`."""
    table = _pairs("COFFER_RATES_FIXED", text)
    return {symbol: _price("COFFER_RATES_FIXED", symbol, price) for symbol, price in table.items()}


def _sources(names: tuple[str, ...]) -> tuple[RateSource, ...]:
    if not names:
        return ()
    from exchanges.ccxt_source import CcxtSource

    try:
        return tuple(CcxtSource(name) for name in names)
    except LookupError as error:
        raise Misconfigured(f"COFFER_RATES_EXCHANGES: {error}") from None


def _price(variable: str, name: str, text: str) -> Decimal:
    if _PRICE.fullmatch(text) is None or Decimal(text) == 0:
        raise Misconfigured(f"{variable}: {name} must have a plain decimal number above zero")
    return Decimal(text)


def _pairs(variable: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, equals, value = part.partition("=")
        if not equals or not value or _CODE.fullmatch(name) is None or name in found:
            raise Misconfigured(f"{variable}: {part} is not NAME=VALUE, or named twice")
        found[name] = value
    return found


def _symbol(text: str) -> str:
    if _SYMBOL.fullmatch(text) is None:
        raise Misconfigured(f"COFFER_RATES_SYMBOLS: {text} is no symbol like BTC")
    return text


def _words(variable: str, text: str, shape: re.Pattern[str] | None = None) -> tuple[str, ...]:
    found = tuple(filter(None, text.replace(" ", "").split(",")))
    if len(set(found)) < len(found):
        raise Misconfigured(f"{variable}: names one twice")
    for word in found:
        if shape is not None and shape.fullmatch(word) is None:
            raise Misconfigured(f"{variable}: {word} is no currency like USD")
    return found
