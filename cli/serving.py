"""What gunicorn needs of us beside its configuration."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]


class Log(Logger):  # type: ignore[misc]  # it ships no types
    """gunicorn's own lines go where all others go, through the same redaction."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers[:] = []
            log.propagate = True
            log.setLevel(logging.WARNING)
