"""Every failure leaves as problem+json, whoever raised it."""

from __future__ import annotations

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from api.answers import dump
from api.errors import MEDIA_TYPE, Problem, from_error
from api.headers import request_id
from ledger.errors import CofferError, InvalidInput, Refused, TryLater

_log = structlog.get_logger("api")

#: HTTP status that Flask, werkzeug or the limiter raised -> our code.
_CODES = {
    400: "request_malformed",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "media_type_unsupported",
    429: "rate_limited",
}


def install(app: Flask) -> None:
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(CofferError, _coffer)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _problem(problem: Problem) -> Response:
    response = Response(dump(problem.as_json(request.path, request_id())), problem.status, content_type=MEDIA_TYPE)
    response.headers.update(problem.headers)
    if "Retry-After" in problem.headers:
        g.retry_after = problem.headers["Retry-After"]
    return response


def _coffer(error: CofferError) -> Response:
    problem = from_error(error)
    if not isinstance(error, InvalidInput | Refused | TryLater):
        _log.error("request failed", error=type(error).__name__, detail=error.detail, code=problem.code)
    return _problem(problem)


def _http(error: HTTPException) -> Response:
    code = _CODES.get(error.code or 500)
    if code is None and (error.code or 500) < 500:
        problem = Problem("request_malformed", error.description, status=error.code)
    else:
        problem = Problem(code or "internal_error", None if code in ("not_found", None) else error.description)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            problem.headers[name] = value
    return _problem(problem)


def _unexpected(error: Exception) -> Response:
    """A bug of ours. The log has the traceback; the client has the request id."""
    _log.error("request failed", error=type(error).__name__, exc_info=error)
    return _problem(Problem("internal_error", "the cause is in our log under this request id"))
