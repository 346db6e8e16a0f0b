"""The daily task `heads`: what every history ended with, outside the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from jobs.services import Services
from jobs.tasks import Ran


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `heads`."""
    return Ran()
