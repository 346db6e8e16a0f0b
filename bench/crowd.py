"""A crowd of clients: threads in a few processes that start together, work for some seconds, and report.

They share the machine's cores with what they measure; that is part of every figure, also of the limits'.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

_READY_SECONDS = 60


class Client(Protocol):
    """One client, made in its own thread; `act` does one unit of work, raising when it failed."""

    def act(self) -> None: ...


@dataclass(frozen=True)
class Result:
    """What a crowd did."""

    done: int
    failed: int
    per_second: float
    middle_ms: float  #: half of the units were quicker
    slow_ms: float  #: 99 of 100 units were quicker
    fault: str


def run(
    make: Callable[..., Client], arguments: tuple[Any, ...], *, processes: int, threads: int, seconds: float
) -> Result:
    """Let `processes` times `threads` clients, each `make(*arguments)`, act for `seconds`."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(processes + 1), context.Queue()
    crowd = [
        context.Process(target=_process, args=(make, arguments, threads, seconds, start, answers), daemon=True)
        for _ in range(processes)
    ]
    for member in crowd:
        member.start()
    start.wait(_READY_SECONDS)
    found = [answers.get(timeout=seconds + _READY_SECONDS) for _ in crowd]
    for member in crowd:
        member.join(_READY_SECONDS)
    return _result([one for answer in found for one in answer], seconds)


def run_threads(make: Callable[..., Client], arguments: tuple[Any, ...], *, threads: int, seconds: float) -> Result:
    """As `run`, in this process."""
    return _result(_threads(make, arguments, threads, seconds, lambda: None), seconds)


_Told = tuple[list[float], int, str]


def _process(
    make: Callable[..., Client], arguments: tuple[Any, ...], threads: int, seconds: float, start: Any, answers: Any
) -> None:
    answers.put(_threads(make, arguments, threads, seconds, lambda: start.wait(_READY_SECONDS)))


def _threads(
    make: Callable[..., Client], arguments: tuple[Any, ...], threads: int, seconds: float, ready: Callable[[], Any]
) -> list[_Told]:
    told: SimpleQueue[_Told] = SimpleQueue()
    go, members = threading.Event(), threading.Barrier(threads + 1)
    ending: list[float] = []

    def one() -> None:
        client = make(*arguments)
        members.wait(_READY_SECONDS)
        go.wait(_READY_SECONDS)
        told.put(_until(client, ending[0]))

    crowd = [threading.Thread(target=one, daemon=True) for _ in range(threads)]
    for member in crowd:
        member.start()
    members.wait(_READY_SECONDS)
    ready()
    ending.append(time.perf_counter() + seconds)
    go.set()
    for member in crowd:
        member.join()
    return [told.get() for _ in crowd]


def _until(client: Client, end: float) -> _Told:
    times, failed, fault = list[float](), 0, ""
    now = time.perf_counter()
    while now < end:
        try:
            client.act()
        except Exception as error:  # noqa: BLE001  # a bench counts faults and goes on
            failed, fault = failed + 1, f"{type(error).__name__}: {error}"[:300]
            if failed > 200:
                break
        after = time.perf_counter()
        times.append(after - now)
        now = after
    return times, failed, fault


def _result(told: list[_Told], seconds: float) -> Result:
    times = sorted(t for one, _, _ in told for t in one)
    failed = sum(f for _, f, _ in told)
    done = len(times) - failed
    middle, slow = (times[int(len(times) * part)] * 1000 if times else 0.0 for part in (0.5, 0.99))
    return Result(done, failed, done / seconds, middle, slow, next((text for _, _, text in told if text), ""))
