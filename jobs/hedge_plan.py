"""The task `hedge`: orders on an exchange when the house's position is out of bounds. Off without an exchange."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from jobs.services import Services
from jobs.tasks import Ran


def task_step(row: Row[Any], services: Services) -> Ran:
    """Task step for `hedge`."""
    return Ran()
