"""Turns for the writers of one SQLite database, across threads and processes.

SQLite has one writer, and those who wait for it poll at growing intervals of up to 0.1 s: some starve for seconds while
the database idles. Here the threads of a process queue, and one of them asks for a lock on a file beside the database
every half millisecond. It is a courtesy only: after `patience_seconds`, or without the file, SQLite's own lock decides.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_POLL_SECONDS = 0.0005


class Turns:
    """One a database and process; call `after_fork` in a child, which would share the parent's place in the queue."""

    def __init__(self, path: str, patience_seconds: float) -> None:
        self._path = path
        self._patience = patience_seconds
        self._queue = threading.Lock()
        self._file: int | None = None

    @contextmanager
    def mine(self) -> Iterator[None]:
        """The block runs in this writer's turn, or when it has waited long enough."""
        end = time.monotonic() + self._patience
        first = self._queue.acquire(timeout=self._patience)
        try:
            held = first and self._lock(end)
            try:
                yield
            finally:
                if held and self._file is not None:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            if first:
                self._queue.release()

    def _lock(self, end: float) -> bool:
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            while time.monotonic() < end:
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_POLL_SECONDS)
                else:
                    return True
        except OSError:
            return False  # a file system without such locks
        return False

    def after_fork(self) -> None:
        """Queue anew: a thread of the parent may hold the lock, and a lock on its open file would be shared with it."""
        self._queue = threading.Lock()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def close(self) -> None:
        """Give the file back; a later turn opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
