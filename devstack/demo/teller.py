"""How the demo speaks: chapters, who does what, and waits. Plain in a log, with colour and a clock in a terminal."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import TextIO, TypeVar

from devstack.demo.figures import Deviation

T = TypeVar("T")

WIDTH = 118
_COLOURS = {"shop": "36", "chain": "33", "ledger": "32", "desk": "35"}
_BOLD, _FAINT, _RED = "1", "2", "31"
_POLL_SECONDS = 0.1
#: A wait shorter than this is not worth a line in a terminal.
_FLICKER_SECONDS = 0.5
_FAILURE_MAX = 300
#: In a log, a wait that lasts tells that it goes on, this often.
_PATIENCE_SECONDS = 10.0


class Teller:
    """Writes to `out`, a line at a time."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._colour = self._live and "NO_COLOR" not in os.environ
        self._chapters = 0

    def title(self, text: str) -> None:
        self._line(self._paint(text, _BOLD))

    def chapter(self, text: str) -> None:
        self._chapters += 1
        self._line("")
        self._line(self._paint(f"{self._chapters:>2}  {text}", _BOLD))

    def shop(self, text: str) -> None:
        """What the shop asks over HTTP, or is told."""
        self._says("shop", text)

    def chain(self, text: str) -> None:
        """What the node shows."""
        self._says("chain", text)

    def ledger(self, text: str) -> None:
        """What Coffer's books say."""
        self._says("ledger", text)

    def desk(self, text: str) -> None:
        """What the operator does at a command line."""
        self._says("desk", text)

    def note(self, text: str) -> None:
        for line in textwrap.wrap(text, WIDTH - 4, initial_indent="    ", subsequent_indent="    "):
            self._line(self._paint(line, _FAINT))

    def failure(self, text: str) -> None:
        """What went wrong. A log's longest lines are cut: the log itself has them."""
        self._line("")
        for line in text.split("\n"):
            self._line(self._paint(line if len(line) <= _FAILURE_MAX else line[:_FAILURE_MAX] + " …", _RED))

    def table(self, rows: Sequence[Sequence[str]], *, total: bool = False) -> None:
        """The first row are titles; first column left, others right. With `total` a rule stands above the last row."""
        self._line("")
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        rule = "    " + "-" * (sum(widths) + 2 * (len(widths) - 1))
        for number, row in enumerate(rows):
            if number == 1 or (total and number == len(rows) - 1):
                self._line(self._paint(rule, _FAINT))
            cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            self._line("    " + "  ".join(cells))

    def until(self, what: str, look: Callable[[], T | None], timeout_seconds: float = 120) -> T:
        """Asks `look` until it has an answer. Raises Deviation when the time is over."""
        begun = time.monotonic()
        told = begun
        try:
            while (found := look()) is None:
                now = time.monotonic()
                if now - begun > timeout_seconds:
                    raise Deviation(f"waited {timeout_seconds:g} s in vain for: {what}")
                if self._live and now - begun > _FLICKER_SECONDS:
                    self._out.write("\r" + self._paint(f"    waiting for {what}: {now - begun:.0f} s", _FAINT))
                    self._out.flush()
                if not self._live and now - told > _PATIENCE_SECONDS:
                    told = now
                    self.note(f"waiting for {what}: {now - begun:.0f} s")
                time.sleep(_POLL_SECONDS)
        finally:
            if self._live:
                self._out.write("\r\x1b[K")
        return found

    def _says(self, who: str, text: str) -> None:
        head, *more = text.split("\n")
        self._line("    " + self._paint(f"{who:<7}", _COLOURS[who]) + head)
        for line in more:
            self._line(" " * 11 + line)

    def _line(self, text: str) -> None:
        self._out.write(text.rstrip() + "\n")
        self._out.flush()

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text
