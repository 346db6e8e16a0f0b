"""Where reading stopped, as a few blocks: the newest, and older ones ever farther apart.

After a reorganisation the newest block that is still in the best chain tells where to go on. All of one locator lie
on one branch: only blocks that were read, each the parent of the next, are ever added.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import NodeProtocolError
from wallets.ethereum.reply import hash_of


@dataclass(frozen=True, slots=True)
class Mark:
    """One block, by its place and its name."""

    height: int
    hash: str


def written(marks: Sequence[Mark]) -> str:
    """The cursor that callers store. `marks` are newest first."""
    return json.dumps([[mark.height, mark.hash] for mark in marks], separators=(",", ":"))


def read(cursor: str) -> list[Mark]:
    """Raises `NodeProtocolError` for anything that `written` did not write."""
    try:
        marks = [Mark(height, hash_of(name, "cursor")) for height, name in json.loads(cursor)]
    except (ValueError, TypeError):
        raise NodeProtocolError("the cursor is none of this chain's") from None
    heights = [mark.height for mark in marks]
    if not marks or any(type(h) is not int or h < 0 for h in heights) or heights != sorted(set(heights), reverse=True):
        raise NodeProtocolError("the cursor is none of this chain's")
    return marks


def thinned(marks: Sequence[Mark], final_height: int | None) -> list[Mark]:
    """Of marks of one branch, newest first: about one in each quarter of its distance, down to one that is final (or
    the oldest). Which ones stay hangs on their heights, so that what is kept now leaves enough to keep later."""
    newest = marks[0]
    kept = []
    for mark in marks:
        anchor = final_height is not None and mark.height <= final_height
        if anchor or mark is marks[-1] or mark.height % _spacing(newest.height - mark.height) == 0:
            kept.append(mark)
        if anchor:
            break
    return kept


def _spacing(distance: int) -> int:
    """The largest power of two up to a quarter of the distance."""
    return 1 << max(0, (distance // 4).bit_length() - 1)
