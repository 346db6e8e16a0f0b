"""The task `rates`: asks every source, judges each asset's price, stores it with all that was said.

While somebody wants rates (`jobs.rates.usable.want`) they are fetched every 20 seconds, otherwise every 15 minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Row, insert, select, update

from exchanges.protocol import CURRENCY, Desk, RateSource, SourceFailed, Ticker
from jobs import alarms
from jobs.rates import prune as rates_prune
from jobs.rates.judge import Verdict, Word, inverse, judge, shown_in
from jobs.saga import SECOND
from jobs.services import Services
from jobs.tasks import Ran
from ledger.db import Tx
from ledger.schema import asset, rate, task

log = structlog.get_logger("coffer.rates")

#: Between fetches while rates are wanted.
WANTED_EVERY_US = 20 * SECOND
#: However often it is woken, exchanges are not asked more often.
GAP_US = 2 * SECOND
#: How long one fetch waits for all: what is slower is left out, and asked again once it has answered.
PATIENCE_SECONDS = 30.0
#: Fetches in a row without a usable rate before an alarm.
FAILURES_BEFORE_ALARM = 3


@dataclass(frozen=True)
class Heard:
    """One source's tickers, or why there are none."""

    source: str
    tickers: Mapping[str, Ticker]
    asked_at: int
    why: str | None = None


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `rates`."""
    now, codes = services.database.read(lambda tx: (tx.now, enabled(tx)))
    progress = dict(row.progress or {})
    since = now - progress.get("fetched_at", 0)
    if 0 <= since < GAP_US:
        return Ran(due_us=GAP_US - since)
    desk = services.require_desk()
    found = fetch(desk, codes, services.database.now)
    at = services.database.now()
    verdicts = decide(desk, codes, found, at)
    wanted = progress.get("wanted_until", 0) > at

    def effect(tx: Tx, task_row: Row[Any]) -> None:
        store(tx, verdicts)
        _remember(tx, task_row.id, at, verdicts)

    return Ran(effect=effect, due_us=WANTED_EVERY_US if wanted else None)


def enabled(tx: Tx) -> list[str]:
    """What is priced: every enabled asset."""
    return [row.code for row in tx.all(select(asset.c.code).where(asset.c.enabled == 1).order_by(asset.c.code))]


def fetch(
    desk: Desk, codes: Collection[str], clock: Callable[[], int], patience_seconds: float = PATIENCE_SECONDS
) -> list[Heard]:
    """What each source says now, in their order. All are asked at once, and none holds up the others."""
    pairs = sorted({pair for code in codes for pair in _pairs(desk, desk.symbol(code))} | set(_conversions(desk)))
    answers: SimpleQueue[Heard] = SimpleQueue()
    for source in desk.sources:
        # A daemon: a source that never ends its answer must not keep the process from ending.
        Thread(target=lambda s=source: answers.put(_ask(s, pairs, clock)), name=source.name, daemon=True).start()
    until, found = monotonic() + patience_seconds, dict[str, Heard]()
    while len(found) < len(desk.sources):
        try:
            heard = answers.get(timeout=max(0.0, until - monotonic()))
        except Empty:
            break
        found[heard.source] = heard
    return [found.get(source.name, Heard(source.name, {}, 0, "too_slow")) for source in desk.sources]


def _ask(source: RateSource, pairs: Collection[str], clock: Callable[[], int]) -> Heard:
    asked_at = clock()
    try:
        return Heard(source.name, source.tickers(pairs), asked_at)
    except SourceFailed as error:
        log.warning("no rates from a source", source=source.name, detail=str(error))
        return Heard(source.name, {}, asked_at, "no_answer")
    except Exception:  # the edge to strangers' data: whatever one of them sends, the others are still heard
        log.exception("a source could not be read", source=source.name)
        return Heard(source.name, {}, asked_at, "not_understood")


def _pairs(desk: Desk, symbol: str) -> list[str]:
    return [f"{symbol}/{quote}" for quote in desk.quotes if quote != symbol]


def _conversions(desk: Desk) -> list[str]:
    """Pairs, either way round, that turn other currencies into the one that prices are kept in."""
    others = [each for each in (*desk.quotes, *desk.fiat) if each != CURRENCY]
    return [pair for each in others for pair in (f"{each}/{CURRENCY}", f"{CURRENCY}/{each}")]


def decide(desk: Desk, codes: Collection[str], heard: Sequence[Heard], now: int) -> dict[tuple[str, str], Verdict]:
    """(asset, currency) -> what is to be stored."""
    worth = {each: _worth(heard, each, now) for each in {*desk.quotes, *desk.fiat} - {CURRENCY}}
    factors = {CURRENCY: Decimal(1)} | {each: verdict.price for each, verdict in worth.items()}
    found = {}
    for code in codes:
        words = [_word(each, _pairs(desk, desk.symbol(code)), factors) for each in heard]
        found[code, CURRENCY] = judge(words, now, desk.sources_min)
        for currency in desk.fiat:
            found[code, currency] = shown_in(found[code, CURRENCY], worth[currency])
    return found


def _word(heard: Heard, pairs: Collection[str], factors: Mapping[str, Decimal | None]) -> Word:
    """The source's word in the first of `pairs` that it knows."""
    for pair in pairs:
        if pair in heard.tickers:
            return Word(heard.source, pair, heard.tickers[pair], heard.asked_at, factors.get(pair.partition("/")[2]))
    return Word(heard.source, asked_at=heard.asked_at, why=heard.why)


def _worth(heard: Sequence[Heard], currency: str, now: int) -> Verdict:
    """What one of another currency is worth. One source is enough: the prices it leads to are compared again."""
    words, (there, back) = [], (f"{currency}/{CURRENCY}", f"{CURRENCY}/{currency}")
    for each in heard:
        if there not in each.tickers and back in each.tickers:
            words.append(Word(each.source, back, inverse(each.tickers[back]), each.asked_at))
        else:
            words.append(_word(each, [there], {CURRENCY: Decimal(1)}))
    return judge(words, now, 1)


def store(tx: Tx, verdicts: Mapping[tuple[str, str], Verdict]) -> None:
    """One row for each asset and currency, also for those without a price."""
    for (code, currency), verdict in verdicts.items():
        values: dict[str, Any] = {"asset": code, "currency": currency, "problem": verdict.problem, "at": tx.now}
        values |= {"price": None if verdict.price is None else format(verdict.price, "f"), "detail": verdict.detail}
        values |= {"spread_ppm": verdict.spread_ppm, "sources": verdict.sources, "quoted_at": verdict.quoted_at}
        tx.execute(insert(rate).values(values))


def _remember(tx: Tx, task_id: int, at: int, verdicts: Mapping[tuple[str, str], Verdict]) -> None:
    """Keep when this was, and how often each asset had no price; alarms follow from that. The row is read again: a
    request may have said meanwhile that it wants rates."""
    progress = dict(tx.value(select(task.c.progress).where(task.c.id == task_id).with_for_update()) or {})
    failures = dict(progress.get("failures", {}))
    for (code, currency), verdict in verdicts.items():
        if currency == CURRENCY:
            failures[code] = 0 if verdict.problem is None else failures.get(code, 0) + 1
            _judge_alarm(tx, code, failures[code], verdict)
    progress |= {"fetched_at": at, "failures": {code: count for code, count in failures.items() if count}}
    progress["pruned_to"] = rates_prune.prune(tx, progress.get("pruned_to", 0))
    tx.execute(update(task).where(task.c.id == task_id).values(progress=progress))


def _judge_alarm(tx: Tx, code: str, failures: int, verdict: Verdict) -> None:
    if failures == 0:
        alarms.clear(tx, f"rate:{code}")
    elif failures >= FAILURES_BEFORE_ALARM:
        detail = f"{code} has had no usable rate {failures} times: {verdict.problem}: {verdict.detail}"
        alarms.raise_(tx, "rate_unusable", f"rate:{code}", detail)
