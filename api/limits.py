"""How often one key may call. Counted in Redis for all processes; per process while Redis is away, never unlimited."""

from __future__ import annotations

import hashlib

from flask import Response, request
from flask_limiter import ApplicationLimit, HeaderNames, Limiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from settings import Settings

#: Refused keys a minute from one address, beyond which nothing is looked up any more.
REFUSED_LIMIT = "300/minute"

#: Redis is a convenience here: it must not hold up a call.
_REDIS_OPTIONS = {"socket_timeout": 0.25, "socket_connect_timeout": 0.25, "retry": Retry(NoBackoff(), 0)}


def limiter(settings: Settings) -> Limiter:
    """One for each app."""
    redis = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    refused = ApplicationLimit(REFUSED_LIMIT, key_function=_remote, scope="refused", deduct_when=_is_refused)
    made = Limiter(
        _caller,
        application_limits=[settings.api_rate_limit, refused],
        storage_uri=redis or "memory://",
        storage_options=_REDIS_OPTIONS if redis else {},  # type: ignore[arg-type]  # they are handed to redis-py
        strategy="sliding-window-counter",  # a fixed cost; a moving window keeps an entry a call
        in_memory_fallback_enabled=True,
        headers_enabled=True,
        header_name_mapping={
            HeaderNames.LIMIT: "RateLimit-Limit",
            HeaderNames.REMAINING: "RateLimit-Remaining",
            HeaderNames.RESET: "RateLimit-Reset",
        },
        key_prefix="coffer",
    )
    made.request_filter(lambda: not request.path.startswith("/v1/"))
    return made


def _caller() -> str:
    """The key as it was sent, proven or not: a stranger who knows only its id does not use up its calls."""
    header = request.headers.get("Authorization")
    return _remote() if header is None else hashlib.sha256(header.encode("utf-8", "replace")).hexdigest()[:32]


def _remote() -> str:
    return request.remote_addr or "unknown"


def _is_refused(response: Response) -> bool:
    return response.status_code == 401
