"""/healthz: this process lives. /readyz: it can do its work. /metrics: numbers. All without a key."""

from __future__ import annotations

from typing import Any

import redis
from flask import Blueprint, Response, jsonify
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import select, text

import migrations
from api.metrics import CONTENT_TYPE
from api.parts import Parts, parts
from jobs.assets import chains_in_use
from ledger.db import Tx
from ledger.errors import DatabaseError
from ledger.schema import chain, installation

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """503 when nothing can be stored. A missing Redis or node slows money down but loses none: 200, degraded."""
    shared = parts()
    checks: dict[str, Any] = {"redis": _redis(shared)}
    try:
        checks |= shared.services.database.read(lambda tx: _stored(tx, shared))
    except DatabaseError:
        checks["database"] = {"ok": False, "reason": "unreachable"}
    unable = not all(checks.get(name, {"ok": False})["ok"] for name in ("database", "schema"))
    whole = all(check["ok"] for check in checks.values())
    status = "unavailable" if unable else "ok" if whole else "degraded"
    return jsonify(status=status, mode=shared.settings.mode, checks=checks), 503 if unable else 200


@blueprint.get("/metrics")
def metrics() -> Response:
    return Response(parts().metrics.text(), content_type=CONTENT_TYPE)


def _stored(tx: Tx, shared: Parts) -> dict[str, Any]:
    version, wanted = tx.value(text("SELECT version_num FROM alembic_version")), migrations.head()
    mode = tx.value(select(installation.c.mode))
    found: dict[str, Any] = {
        "database": {"ok": mode == shared.settings.mode},
        "schema": {"ok": version == wanted, "version": version},
    }
    for row in tx.all(select(chain).where(chain.c.name.in_(chains_in_use(tx)))):
        reason = row.health_reason or ("never_seen" if row.health_at is None else None)
        found[f"chain:{row.name}"] = {"ok": reason is None, "reason": reason, "height": row.tip_height}
    return found


def _redis(shared: Parts) -> dict[str, Any]:
    url = shared.settings.redis_url
    if url is None:
        return {"ok": True, "reason": "not_configured"}
    client = redis.Redis.from_url(
        url.get_secret_value(), socket_timeout=0.5, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0)
    )
    try:
        client.ping()
    except redis.RedisError:
        return {"ok": False, "reason": "unreachable"}
    finally:
        client.close()
    return {"ok": True}
