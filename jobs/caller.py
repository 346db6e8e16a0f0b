"""Who asks: what the flows need to know of an authenticated caller."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """A project's key, or an operator (`key_id` None). `holder` is the person or program behind it: approvals count
    holders, not keys. `name` is what history and audit rows show."""

    project_id: int
    key_id: int | None
    holder: str
    name: str
