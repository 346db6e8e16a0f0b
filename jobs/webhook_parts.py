"""What webhooks need of a process: the keys that sign, the guard of addresses, and in the worker what posts."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.webhook_post import Poster
from jobs.webhook_secrets import WebhookKeys
from jobs.webhook_urls import Guard


@dataclass(frozen=True)
class Webhooks:
    """`poster` is used by the webhooks worker only."""

    keys: WebhookKeys
    guard: Guard
    poster: Poster


def make(master: bytes, guard: Guard) -> Webhooks:
    return Webhooks(WebhookKeys(master), guard, Poster(guard))
