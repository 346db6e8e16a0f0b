"""What every call may use, made once a process."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app
from flask_limiter import Limiter

from api.auth import Gate
from api.cursors import Cursors
from api.metrics import Metrics
from jobs.keys import Keyring
from jobs.services import Services
from settings import Settings


@dataclass(frozen=True)
class Parts:
    services: Services
    settings: Settings
    ring: Keyring
    gate: Gate
    cursors: Cursors
    metrics: Metrics
    limiter: Limiter

    @property
    def livemode(self) -> bool:
        return self.settings.mode == "live"


def parts() -> Parts:
    """The parts of the app that serves this request."""
    found = current_app.extensions["coffer"]
    assert isinstance(found, Parts)
    return found
