"""What a wake-up in Redis calls, and nothing else: `advance(kind, id)` on the runtime of this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from jobs import bootstrap
from jobs.runtime import Runtime

log = structlog.get_logger("coffer.entry")

_serving: tuple[Runtime, str] | None = None
_instead: Mapping[str, Callable[[int], None]] = {}


def serve(runtime: Runtime, queue: str, instead: Mapping[str, Callable[[int], None]] | None = None) -> None:
    """Make this process answer the wake-ups of `queue` with this runtime; `instead` has what to call for some kinds."""
    global _serving, _instead
    _serving, _instead = (runtime, queue), instead or {}


def advance(kind: str, row_id: int) -> None:
    """Advance the row if it belongs to this process's queue: in another's it would only fail and lose its turn."""
    if _serving is None:
        raise RuntimeError("this process serves no queue")
    runtime, queue = _serving
    if bootstrap.queue_of(runtime.database, kind, row_id) != queue:
        log.warning("wake-up of another queue ignored", kind=kind, row=row_id, queue=queue)
        return
    if kind in _instead:
        _instead[kind](row_id)
        return
    runtime.advance(kind, row_id, woken=kind == "task")
