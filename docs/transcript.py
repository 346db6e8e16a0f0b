"""Puts what the demo just said into README.md: `make demo | .venv/bin/python -m docs.transcript`.

Everything is shown on as it comes; README.md is written only when the demo ended as it should.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
_PLACE = re.compile(r"(<!-- transcript -->\n```text\n).*?(```\n)", re.DOTALL)
_FIRST, _LAST = "Coffer: ", re.compile(r"\d+ figures compared, all as expected\.")


def between(lines: Iterable[str]) -> str:
    """The demo's own lines, without what set-up said before. Raises ValueError when it did not end as it should."""
    text = "".join(lines)
    begin = text.find(_FIRST)
    if begin < 0 or _LAST.search(text) is None:
        raise ValueError("the demo did not end as it should; README.md stays as it is")
    return text[begin:].rstrip() + "\n"


def put(page: str, transcript: str) -> str:
    """The page with this transcript in its place. Raises ValueError when the page has no such place."""
    if _PLACE.search(page) is None:
        raise ValueError("README.md has no place for a transcript")
    return _PLACE.sub(lambda found: found.group(1) + transcript + found.group(2), page)


def main() -> None:
    lines = []
    for line in sys.stdin:
        sys.stdout.write(line)
        sys.stdout.flush()
        lines.append(line)
    README.write_text(put(README.read_text(encoding="utf-8"), between(lines)), encoding="utf-8")


if __name__ == "__main__":
    main()
