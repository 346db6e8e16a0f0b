"""Writers of one SQLite database take turns, across threads and processes, and never wait for ever."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ledger.turns import Turns

DEADLINE_SECONDS = 60


def test_turns_exclude_each_other(tmp_path: Path) -> None:
    """Two processes are two `Turns` on one path; each has several threads."""
    both = [Turns(str(tmp_path / "turn"), DEADLINE_SECONDS) for _ in range(2)]
    inside, most = 0, list[int]()

    def work(turns: Turns) -> None:
        nonlocal inside
        for _ in range(25):
            with turns.mine():
                inside += 1
                most.append(inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=work, args=(turns,)) for turns in both * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert most == [1] * 200


def test_who_has_waited_long_enough_goes_on(tmp_path: Path) -> None:
    """A holder that was paused must not stop the others: SQLite's own lock decides then."""
    holder, other = (Turns(str(tmp_path / "turn"), 0.05) for _ in range(2))
    with holder.mine(), other.mine():
        pass
    with holder.mine():
        waited = []

        def queue() -> None:
            with holder.mine():
                waited.append(1)

        thread = threading.Thread(target=queue)
        thread.start()
        thread.join(DEADLINE_SECONDS)
        assert waited == [1]


def test_an_error_inside_ends_the_turn(tmp_path: Path) -> None:
    one, other = (Turns(str(tmp_path / "turn"), DEADLINE_SECONDS) for _ in range(2))
    with pytest.raises(ZeroDivisionError), one.mine():
        raise ZeroDivisionError
    with other.mine(), Turns(str(tmp_path / "turn"), 0).mine():
        assert other._file is not None


def _die_inside(path: str, told: Any) -> None:
    with Turns(path, DEADLINE_SECONDS).mine():
        told.set()
        os._exit(137)


def test_a_dead_process_gives_its_turn_back(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    told = context.Event()
    process = context.Process(target=_die_inside, args=(str(tmp_path / "turn"), told))
    process.start()
    process.join(DEADLINE_SECONDS)
    assert told.is_set()
    with Turns(str(tmp_path / "turn"), DEADLINE_SECONDS).mine():
        assert process.exitcode == 137


def test_a_folder_without_the_file_is_no_obstacle(tmp_path: Path) -> None:
    with Turns(str(tmp_path / "missing" / "turn"), DEADLINE_SECONDS).mine():
        assert not (tmp_path / "missing").exists()


def test_a_forked_child_queues_anew(tmp_path: Path) -> None:
    """It must not wait for a thread of its parent that it does not have."""
    turns, other = (Turns(str(tmp_path / "turn"), DEADLINE_SECONDS) for _ in range(2))
    turns._queue.acquire()  # by such a thread
    turns.after_fork()
    with turns.mine():
        assert turns._file is not None
    with other.mine():
        assert other._file is not None
