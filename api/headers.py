"""What every request and answer carries: a request id, security headers, one log line, one measurement."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from flask import Flask, Response, g, request

from api.parts import parts

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)

#: For answers that are data. Pages that need more set their own before.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_log = structlog.get_logger("api")


def install(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_end)


def request_id() -> str:
    """The id of this request; there is one even when the failure came before `_begin`."""
    return str(g.setdefault("request_id", f"req_{secrets.token_hex(12)}"))


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
    g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    if response.status_code != 429:
        response.headers.pop("Retry-After", None)  # the limiter sets its own on every answer, over that of a problem
        if "retry_after" in g:
            response.headers["Retry-After"] = g.retry_after
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    route = request.url_rule.rule if request.url_rule is not None else "none"  # never the path: ids are endless
    parts().metrics.seen(route, request.method, response.status_code, seconds)
    _log.info("request", method=request.method, route=route, status=response.status_code, ms=round(seconds * 1000, 1))
    return response
