"""The signer's record with connections that are kept, and without waiting for a disk: no run ends in a power failure.

Opening the file for each look and syncing it took half of a seed's time.
"""

from __future__ import annotations

import sqlite3

from jobs.signer.record import Record


class Shelf:
    """Connections to one file that nobody uses at the moment."""

    def __init__(self) -> None:
        self._free: list[_Kept] = []

    def take(self) -> _Kept | None:
        return self._free.pop() if self._free else None

    def put(self, connection: _Kept) -> None:
        self._free.append(connection)

    def empty(self) -> None:
        """Before the file goes."""
        while self._free:
            sqlite3.Connection.close(self._free.pop())


class _Kept(sqlite3.Connection):
    """Closing it undoes what is not committed, as ever, and keeps it for the next."""

    shelf: Shelf

    def close(self) -> None:
        self.rollback()
        self.shelf.put(self)


class KeptRecord(Record):
    """What one process has open others may have open too, as many as it takes."""

    def __init__(self, record: Record, shelf: Shelf) -> None:
        super().__init__(record.path, record._clock)
        self._shelf = shelf

    def _connect(self) -> sqlite3.Connection:
        return self._shelf.take() or self._open()

    def _open(self) -> _Kept:
        connection = sqlite3.connect(self.path, timeout=10, isolation_level=None, factory=_Kept)
        connection.shelf = self._shelf
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        return connection
