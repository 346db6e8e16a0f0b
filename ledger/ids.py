"""Public ids: a prefix that names the resource, then a UUIDv7 (RFC 9562) in hex; they sort by time of birth."""

from __future__ import annotations

import re
import secrets
import time


class Source:
    """Where ids come from: the clock, and bits that nobody can guess."""

    def milliseconds(self) -> int:
        return time.time_ns() // 1_000_000

    def bits(self, count: int) -> int:
        return secrets.randbits(count)


#: This process's own. A simulation puts one in its place that a seed decides.
source = Source()

_SHAPE = re.compile(r"[a-z]{2,3}_[0-9a-f]{32}", re.ASCII)


def new_id(prefix: str) -> str:
    """A fresh id such as `wd_0190b6a7…`; 74 random bits a millisecond."""
    value = (source.milliseconds() & (2**48 - 1)) << 80 | 0x7 << 76 | source.bits(12) << 64 | 0b10 << 62
    return f"{prefix}_{value | source.bits(62):032x}"


def new_token() -> str:
    """128 random bits in hex: a lease's."""
    return f"{source.bits(128):032x}"


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the shape of an id of this prefix."""
    return _SHAPE.fullmatch(text) is not None and text.startswith(prefix + "_")
