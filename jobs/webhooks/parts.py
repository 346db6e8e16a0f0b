"""What webhooks need of a process: the keys that sign, the guard of addresses, and in the worker what posts."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.webhooks.post import Poster
from jobs.webhooks.secrets import WebhookKeys
from jobs.webhooks.urls import Guard


@dataclass(frozen=True)
class Webhooks:
    """`poster` is used by the webhooks worker only."""

    keys: WebhookKeys
    guard: Guard
    poster: Poster


def make(master: bytes, guard: Guard) -> Webhooks:
    return Webhooks(WebhookKeys(master), guard, Poster(guard))
