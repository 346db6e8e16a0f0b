"""Several sources' words on one price, and what may be made of them. Pure: no clock, no database, no network.

A number that cannot be right is left out, an outlier is left out, and what remains must agree: otherwise there is no
price at all, with the reason. Nothing is ever guessed or carried over from before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, TypeGuard

from exchanges.protocol import Ticker
from jobs.rates.usable import FRESH_US

#: How far used sources may lie apart, and how far from the median one of three or more is an outlier.
SPREAD_MAX_PPM = 15_000
#: An order book wider than this is no market.
BOOK_MAX_PPM = 50_000
#: A source whose clock is further ahead than this does not know when its words are from.
AHEAD_MAX_US = 30 * 1_000_000
#: Digits of all arithmetic here; prices that are only shown are cut to `PLACES` behind the point.
DIGITS = 60
PLACES = Decimal("1e-18")
#: Digits of a price that is kept.
KEPT_DIGITS = 30
PRICE_LEAST, PRICE_MOST = Decimal("1e-12"), Decimal("1e12")
#: A number with its first digit further from the point than this is nobody's price, and is not computed with:
#: `9e999999` is a finite Decimal, and twice that is an exception.
MAGNITUDE_MAX = 30
#: Microseconds at which the year has five digits: no later moment can be written.
MOMENTS_END = 253_402_300_800 * 1_000_000
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Word:
    """What one source says of one asset. `factor` turns the pair's quote currency into the one that is compared;
    `why` says what already speaks against it."""

    source: str
    pair: str | None = None
    ticker: Ticker | None = None
    asked_at: int = 0  #: the moment of the words of a source that gives none
    factor: Decimal | None = Decimal(1)
    why: str | None = None

    @property
    def at(self) -> int:
        said = None if self.ticker is None else self.ticker.at
        return self.asked_at if said is None else said


@dataclass(frozen=True, slots=True)
class Verdict:
    """A price, or the problem; `sources` is what everybody said and whether it was used."""

    price: Decimal | None
    problem: str | None  #: stale, divergent or unavailable
    detail: str | None
    spread_ppm: int | None
    quoted_at: int | None  #: of the oldest source used
    sources: list[dict[str, Any]]


@dataclass(slots=True)
class _Seen:
    word: Word
    middle: Decimal | None
    why: str | None


def judge(words: Sequence[Word], now: int, sources_min: int) -> Verdict:
    """The price that these words give at `now` (microseconds): the median of at least `sources_min` that agree."""
    with localcontext(prec=DIGITS):
        seen = [_look(word, now) for word in words]
        good = [each for each in seen if each.why is None]
        if len(good) < sources_min:
            stale = sum(each.why == "stale" for each in seen)
            problem = "stale" if stale and len(good) + stale >= sources_min else "unavailable"
            return _refused(problem, f"{len(good)} of at least {sources_min} sources can be used", None, seen)
        _drop_outliers(good)
        kept = [each for each in good if each.why is None]
        spread = _spread_ppm(kept or good)
        if len(kept) < sources_min or spread > SPREAD_MAX_PPM:
            said = ", ".join(f"{each.word.source} {_text(each.middle)}" for each in good)
            return _refused("divergent", f"sources disagree: {said}", spread, seen)
        price = _rounded(median([_middle(each) for each in kept]))
        return Verdict(price, None, None, spread, min(each.word.at for each in kept), _shown(seen))


def inverse(ticker: Ticker) -> Ticker:
    """The same word the other way round: what USD/JPY says of JPY/USD."""
    with localcontext(prec=DIGITS):
        bid, ask = (1 / v if _is_number(v) and v != 0 else None for v in (ticker.ask, ticker.bid))
    return Ticker(bid, ask, ticker.at)


def shown_in(dollars: Verdict, worth: Verdict) -> Verdict:
    """A price in another currency, for people to look at: the one in dollars over what that currency is worth."""
    if dollars.price is None or worth.price is None:
        missing = dollars if dollars.price is None else worth
        return Verdict(None, missing.problem, missing.detail, None, None, worth.sources)
    assert dollars.quoted_at is not None
    assert worth.quoted_at is not None
    with localcontext(prec=DIGITS):
        price = (dollars.price / worth.price).quantize(PLACES).normalize()
    quoted_at = min(dollars.quoted_at, worth.quoted_at)
    return Verdict(price, None, None, dollars.spread_ppm, quoted_at, worth.sources)


def moment(at: int | None) -> int | None:
    """What a source says of the time, None where it can be no moment: it may count in other units than it should."""
    return at if at is not None and 0 <= at < MOMENTS_END else None


def median(values: Sequence[Decimal]) -> Decimal:
    """The middle one, or the mean of the two in the middle."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _rounded(price: Decimal) -> Decimal:
    with localcontext(prec=KEPT_DIGITS):
        return (+price).normalize()


def _look(word: Word, now: int) -> _Seen:
    """What is wrong with one source's word, whatever the others say."""
    if word.why is not None or word.ticker is None:
        return _Seen(word, None, word.why or "unknown_pair")
    bid, ask = word.ticker.bid, word.ticker.ask
    if not (_is_number(bid) and _is_number(ask)) or bid <= 0 or ask <= 0:
        return _Seen(word, None, "bad_number")
    if word.factor is None:
        return _Seen(word, None, "no_conversion")
    middle = (bid + ask) / 2 * word.factor
    if not PRICE_LEAST <= middle <= PRICE_MOST:
        return _Seen(word, None, "bad_number")
    if bid > ask:
        return _Seen(word, middle, "crossed")
    if (ask - bid) * MILLION > BOOK_MAX_PPM * bid:
        return _Seen(word, middle, "wide")
    if word.at <= now - FRESH_US:
        return _Seen(word, middle, "stale")
    return _Seen(word, middle, "ahead" if word.at > now + AHEAD_MAX_US else None)


def _is_number(value: Decimal | None) -> TypeGuard[Decimal]:
    """Whether it can be computed with."""
    return value is not None and value.is_finite() and abs(value.adjusted()) <= MAGNITUDE_MAX


def _drop_outliers(good: Sequence[_Seen]) -> None:
    """Of three or more, those far from the median. Of two nobody can say which is wrong."""
    if len(good) < 3:
        return
    centre = median([_middle(each) for each in good])
    for each in good:
        if abs(_middle(each) - centre) * MILLION > SPREAD_MAX_PPM * centre:
            each.why = "outlier"


def _spread_ppm(seen: Sequence[_Seen]) -> int:
    middles = [_middle(each) for each in seen]
    apart = (max(middles) - min(middles)) * MILLION / median(middles)
    return min(int(apart.to_integral_value(rounding="ROUND_CEILING")), 10**9)


def _middle(seen: _Seen) -> Decimal:
    assert seen.middle is not None
    return seen.middle


def _refused(problem: str, detail: str, spread: int | None, seen: Sequence[_Seen]) -> Verdict:
    return Verdict(None, problem, detail[:512], spread, None, _shown(seen))


def _shown(seen: Sequence[_Seen]) -> list[dict[str, Any]]:
    """For the row: plain JSON, numbers as text."""
    found = []
    for each in seen:
        ticker = each.word.ticker
        found.append(
            {
                "source": each.word.source,
                "pair": each.word.pair,
                "bid": None if ticker is None else _text(ticker.bid),
                "ask": None if ticker is None else _text(ticker.ask),
                "price": _text(each.middle),
                "at": None if ticker is None else moment(each.word.at),
                "used": each.why is None,
                "why": each.why,
            }
        )
    return found


def _text(value: Decimal | None) -> str | None:
    """Plain digits; a number too long to be one (or none at all) as it is, cut."""
    if value is None:
        return None
    return (format(value.normalize(), "f") if _is_number(value) else str(value))[:40]
