"""Coffer's own processes, in the order of their start: name in a stack -> arguments of `coffer`."""

from __future__ import annotations

from collections.abc import Mapping

ROLES: Mapping[str, str] = {
    "api": "api",
    "worker-bitcoin": "worker bitcoin",
    "worker-tasks": "worker tasks",
    "scheduler": "scheduler",
}
