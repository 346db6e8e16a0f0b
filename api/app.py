"""The Flask app: parse, store, answer. It holds no node's credentials and calls no node."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from api import (
    accounts,
    addresses,
    api_keys,
    assets,
    deposits,
    docs,
    escrows,
    events,
    headers,
    health,
    limits,
    ops,
    ownership,
    problems,
    quotes,
    rates,
    swaps,
    transfers,
    webhook_deliveries,
    webhook_endpoints,
    withdrawals,
)
from api.auth import Gate
from api.body import BODY_MAX
from api.cursors import Cursors
from api.metrics import Metrics
from api.parts import Parts
from jobs.keys import Keyring
from jobs.services import Services
from settings import Settings, SettingsError

#: Every resource under /v1, in the order of the documentation.
RESOURCES = tuple(
    module.resource
    for module in (
        accounts,
        addresses,
        deposits,
        transfers,
        escrows,
        withdrawals,
        ownership,
        quotes,
        swaps,
        assets,
        rates,
        events,
        webhook_endpoints,
        webhook_deliveries,
        api_keys,
    )
)


def create_app(services: Services, settings: Settings) -> Flask:
    """An app of its own: two may live in one process. Raises `SettingsError` without COFFER_API_SECRET."""
    if settings.api_secret is None:
        raise SettingsError("coffer: COFFER_API_SECRET is needed by the API")
    app = Flask("coffer", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_MAX
    app.url_map.strict_slashes = True
    ring = Keyring(bytes.fromhex(settings.api_secret.get_secret_value()), settings.mode)
    database = services.database
    app.extensions["coffer"] = Parts(
        services=services,
        settings=settings,
        ring=ring,
        gate=Gate(database, ring),
        cursors=Cursors(ring.derive("cursors")),
        metrics=Metrics(database),
        limiter=limits.limiter(settings),
    )
    headers.install(app)
    problems.install(app)
    app.extensions["coffer"].limiter.init_app(app)
    for resource in RESOURCES:
        app.register_blueprint(resource)
    app.register_blueprint(health.blueprint)
    docs.install(app, RESOURCES)
    ops.register(app, settings, services)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    return app
