"""RQ's dashboard at /ops/rq, for operators only.

It is an app of its own behind the API's: the dashboard has no login, no protection against foreign sites, a link that
changes things by GET, and inline scripts. All of that is answered here, around it; nothing of it touches /v1.
"""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlsplit

import rq_dashboard.web as dashboard
import structlog
from flask import Flask, Response, current_app, request
from flask_limiter import ApplicationLimit, Limiter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from api.auth import Gate, confirm
from api.errors import Problem
from api.parts import Parts
from jobs import queues
from jobs.services import Services
from ledger import audit
from ledger.db import Tx
from ledger.errors import DatabaseError
from settings import Settings

PREFIX = "/ops/rq"
SCOPE = "admin"
#: Wrong keys a minute from one address; all requests a minute from one (its pages poll).
REFUSED_LIMIT = "20/minute"
LIMIT = "1200/minute"

#: What only shows. Everything else needs a POST from our own pages, also what later versions may add.
READING = frozenset(
    "queues_overview workers_overview jobs_overview job_view list_queues list_jobs job_info list_workers "
    "favicon static".split()
)

_CSP = (
    "default-src 'none'; script-src 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


#: Counting must not hold up a page.
_QUICK: dict[str, Any] = {"socket_timeout": 0.25, "socket_connect_timeout": 0.25, "retry": Retry(NoBackoff(), 0)}

_log = structlog.get_logger("api.ops")


def register(app: Flask, settings: Settings, services: Services) -> None:
    """Put the dashboard behind the API's app."""
    parts = app.extensions["coffer"]
    assert isinstance(parts, Parts)
    pages = create(settings, services, parts.gate)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {PREFIX: pages})  # type: ignore[method-assign]


def create(settings: Settings, services: Services, gate: Gate) -> Flask:
    """The dashboard's app with everything around it."""
    pages = Flask("coffer-ops", static_folder=None)
    _limiter(settings).init_app(pages)  # first: a guesser is stopped before his key is looked up
    pages.before_request(lambda: _admit(services, gate, settings.redis_url is not None))
    pages.after_request(_finish)
    pages.register_error_handler(Problem, _refuse)
    pages.register_error_handler(RedisError, lambda error: _page(503, "Redis does not answer."))
    pages.register_error_handler(DatabaseError, lambda error: _page(503, "The database does not answer."))
    pages.register_error_handler(LookupError, lambda error: _page(404, "There is only one Redis."))
    pages.register_error_handler(dashboard.NoSuchJobError, lambda error: _page(404, "There is no such job any more."))
    # Its pages name the app's own static folder for an icon; that rule comes before the dashboard's own.
    pages.add_url_rule("/static/<path:filename>", "static", _static)
    if settings.redis_url is not None:
        _mount(pages, settings.redis_url.get_secret_value())
    return pages


def _mount(pages: Flask, url: str) -> None:
    # One connection that gives up soon; its own would try for half a minute while Redis is away.
    pages.extensions["redis"] = queues.connect(url)
    dashboard.from_url = lambda *_, **__: ("redis", current_app.extensions["redis"])
    # Never pickle (what is in Redis may be anybody's): `jobs.queues` has made JSON of RQ's default serializer, which
    # is what the dashboard uses.
    pages.config["RQ_DASHBOARD_REDIS_URL"] = (_without_password(url),)
    pages.config["RQ_DASHBOARD_POLL_INTERVAL"] = 5_000
    with pages.app_context():
        dashboard.setup_rq_connection(pages)
    pages.register_blueprint(dashboard.blueprint)


def _admit(services: Services, gate: Gate, configured: bool) -> Response | None:
    """An operator's key; for anything that changes, our own page as its origin, and a line in the audit log."""
    given = request.authorization
    if given is None or given.type not in ("basic", "bearer"):
        return _challenge("An operator's key is needed.")
    token = given.password if given.type == "basic" else given.token
    row = gate.identify(f"Bearer {token or ''}", request.remote_addr)
    if SCOPE not in row.scopes:
        return _page(403, f"The key lacks the scope {SCOPE}.")
    if not configured:
        return _page(503, "This installation has no Redis (COFFER_REDIS_URL): workers find their rows by themselves.")
    endpoint = (request.endpoint or "").rpartition(".")[2]
    if request.endpoint is None or endpoint in READING:
        return None
    if request.method != "POST":
        return _page(405, "This needs a POST from the dashboard's own pages.", {"Allow": "POST"})
    if not _same_origin():
        return _page(403, "This request does not come from the dashboard's own pages.")

    def note(tx: Tx) -> None:
        confirm(tx, row)
        audit.record(tx, f"key:{row.public_id}", f"rq.{endpoint}"[:64], request.path[:128], {"holder": row.holder})

    services.database.run(note, "ops.audit")
    return None


def _same_origin() -> bool:
    """Browsers say where a POST comes from. Without a word on it, or with a foreign one, it is refused."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin") or request.headers.get("Referer") or ""
    return urlsplit(origin).netloc == request.host


def _finish(response: Response) -> Response:
    nonce = secrets.token_urlsafe(16)
    if response.mimetype == "text/html" and not response.direct_passthrough:
        response.set_data(response.get_data(as_text=True).replace("<script", f'<script nonce="{nonce}"'))
    response.headers["Content-Security-Policy"] = _CSP.format(nonce=nonce)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    endpoint = (request.endpoint or "none").rpartition(".")[2]
    if endpoint not in READING or response.status_code >= 400:
        _log.info("operators' page", endpoint=endpoint, method=request.method, status=response.status_code)
    return response


def _refuse(problem: Problem) -> Response:
    return _challenge(problem.detail) if problem.status == 401 else _page(problem.status, problem.detail)


def _challenge(text: str) -> Response:
    return _page(401, text, {"WWW-Authenticate": 'Basic realm="coffer operators", charset="UTF-8"'})


def _page(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(f"{text}\n", status, headers, content_type="text/plain; charset=utf-8")


def _static(filename: str) -> Response:
    """The dashboard's own files; its icon is under another name there."""
    found = dashboard.favicon() if filename == "favicon.ico" else dashboard.blueprint.send_static_file(filename)
    assert isinstance(found, Response)
    return found


def _limiter(settings: Settings) -> Limiter:
    refused = ApplicationLimit(REFUSED_LIMIT, key_function=_remote, scope="ops-refused")
    object.__setattr__(refused, "deduct_when", _is_wrong_key)
    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    return Limiter(
        _remote,
        application_limits=[ApplicationLimit(LIMIT, key_function=_remote, scope="ops"), refused],
        storage_uri=url or "memory://",
        storage_options=_QUICK if url else {},
        strategy="sliding-window-counter",
        in_memory_fallback_enabled=True,
        key_prefix="coffer-ops",
    )


def _is_wrong_key(response: Response) -> bool:
    """A browser asks for each file of its first page without the key: that is no guess."""
    return response.status_code == 401 and "Authorization" in request.headers


def _remote() -> str:
    return request.remote_addr or "unknown"


def _without_password(url: str) -> str:
    """Only shown: the dashboard prints where it is connected."""
    at = urlsplit(url)
    return f"{at.scheme}://{at.hostname or ''}:{at.port or 6379}{at.path}"
