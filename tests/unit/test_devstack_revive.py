"""What ends in a stack is started again, and a process that cannot live does not keep the machine busy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from devstack.revive import Reviver


class FakeDaemon:
    def __init__(self) -> None:
        self.alive = True
        self.exit_code = -9
        self.log = Path("a.log")
        self.starts = 0

    def start(self) -> None:
        self.alive = True
        self.starts += 1


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def story(seconds: float, *, dies_after: float) -> int:
    """How often a daemon that ends after so many seconds is started within the time."""
    clock, daemon = Clock(), FakeDaemon()
    reviver = Reviver(clock)
    daemons: dict[str, Any] = {"worker": daemon}
    born = clock.now
    for _ in range(int(seconds * 10)):
        clock.now += 0.1
        if daemon.alive and clock.now - born >= dies_after:
            daemon.alive = False
        before = daemon.starts
        reviver.look(daemons)
        if daemon.starts > before:
            born = clock.now
    return daemon.starts


def test_a_killed_process_is_back_within_a_second() -> None:
    clock, daemon = Clock(), FakeDaemon()
    reviver = Reviver(clock)
    daemons: dict[str, Any] = {"worker": daemon}
    assert reviver.look(daemons) == []
    daemon.alive = False
    assert reviver.look(daemons) == ["worker ended with -9; see a.log"]
    clock.now += 0.5
    assert reviver.look(daemons) == ["worker is started again"]
    assert daemon.starts == 1


def test_one_that_keeps_ending_is_tried_ever_more_slowly_but_always_again() -> None:
    assert 8 <= story(120, dies_after=0.5) <= 14


def test_one_that_ran_for_a_while_is_started_at_once_again() -> None:
    assert story(305, dies_after=60) == 5
