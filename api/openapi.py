"""The OpenAPI 3.1 document, made from the same declarations that route and check the calls."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.declaration import Endpoint
from api.endpoints import Resource
from api.errors import CODES, MEDIA_TYPE
from api.shapes import ID_FORMAT
from api.webhook_docs import webhooks
from jobs.keys import SCOPES

Json = dict[str, Any]

#: Codes that any call may meet.
_EVERYWHERE = ("unauthorized", "address_not_allowed", "rate_limited", "database_unavailable", "internal_error")
_WITH_BODY = ("request_malformed", "media_type_unsupported", "body_too_large", "validation_failed")
_KEYED = ("idempotency_key_missing", "idempotency_key_invalid", "idempotency_key_reused", "idempotency_in_progress")

_PATH_PART = re.compile(r"<([a-z_]+)>")

_PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; texts are for people.",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "enum": list(CODES)},
        "request_id": {"type": "string"},
        "existing": {"type": "string", "description": "reference_exists: the resource that has the reference"},
        "current_status": {"type": "string", "description": "state_conflict: the status that stands in the way"},
        "scope": {"type": "string", "description": "scope_missing: what the key lacks"},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
    },
}

_FIELD_ERROR: Json = {
    "type": "object",
    "required": ["code", "detail"],
    "properties": {
        "pointer": {"type": "string", "description": "JSON pointer into the body (RFC 6901)"},
        "parameter": {"type": "string", "description": "Query parameter"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}

_ABOUT = """Custody of money: deposits, transfers and withdrawals.

Amounts are decimal strings, never numbers. Every POST that changes something takes an `Idempotency-Key`: repeat it
with the same key and get the same answer. Calls that need a node answer 202; read the resource again, or its events.
"""


def document(resources: Sequence[Resource]) -> Json:
    """The whole document."""
    endpoints = [endpoint for resource in resources for endpoint in resource.endpoints]
    schemas, refs = _schemas(endpoints)
    paths: dict[str, Json] = defaultdict(dict)
    for endpoint in endpoints:
        paths["/v1" + _PATH_PART.sub(r"{\1}", endpoint.path)][endpoint.method.lower()] = _operation(endpoint, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Coffer",
            "version": "1",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": resource.name, "description": resource.about} for resource in resources] + [_HEALTH_TAG],
        "paths": paths | _HEALTH,
        "webhooks": webhooks(schemas),
        "components": {
            "schemas": schemas | {"Problem": _PROBLEM, "FieldError": _FIELD_ERROR},
            "securitySchemes": {"key": _security()},
        },
    }


def _security() -> Json:
    scopes = "\n".join(f"- `{name}`: {text}" for name, text in SCOPES.items())
    return {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "cf_<mode>_<id>_<secret>",
        "description": f"Scopes:\n{scopes}",
    }


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[Json, dict[tuple[type[BaseModel], str], Json]]:
    wanted: dict[tuple[type[BaseModel], Any], None] = {}
    for endpoint in endpoints:
        if endpoint.body is not None:
            wanted[endpoint.body, "validation"] = None
        wanted |= {(model, "serialization"): None for model in endpoint.answers.values()}
    refs, definitions = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
    return dict(definitions.get("$defs", {})), dict(refs)  # type: ignore[arg-type]


def _operation(endpoint: Endpoint, refs: dict[tuple[type[BaseModel], str], Json]) -> Json:
    described = [endpoint.description] if endpoint.description else []
    if endpoint.scope is not None:
        described.append(f"Scope: `{endpoint.scope}`.")
    operation: Json = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": "\n\n".join(described),
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, refs),
    }
    if endpoint.body is not None:
        required = any(field.is_required() for field in endpoint.body.model_fields.values())
        content = {"application/json": {"schema": refs[endpoint.body, "validation"]}}
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def _parameters(endpoint: Endpoint) -> list[Json]:
    text: Json = {"type": "string"}
    found = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in _PATH_PART.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        for name, schema in endpoint.query.model_json_schema()["properties"].items():
            shown = _without_null(schema)
            told = {"description": shown.pop("description")} if "description" in shown else {}
            found.append({"name": name, "in": "query", "required": False, "schema": shown} | told)
    if endpoint.keyed:
        limits = text | {"minLength": 1, "maxLength": 255}
        found.append({"name": "Idempotency-Key", "in": "header", "required": True, "schema": limits})
    if "version_conflict" in endpoint.errors:
        found.append({"name": "If-Match", "in": "header", "required": False, "schema": text})
    if endpoint.etag and endpoint.method == "GET":
        found.append({"name": "If-None-Match", "in": "header", "required": False, "schema": text})
    if endpoint.signed:
        told = {"description": "Needed by keys that must sign; see docs/api.md"}
        for name in ("X-Timestamp", "X-Nonce", "X-Signature"):
            found.append({"name": name, "in": "header", "required": False, "schema": text} | told)
    return found


def _without_null(schema: Json) -> Json:
    """A query parameter is absent, never null."""
    shown = {name: value for name, value in schema.items() if name not in ("title", "default") or value is not None}
    kinds = [kind for kind in shown.pop("anyOf", []) if kind.get("type") != "null"]
    shown.pop("title", None)
    return shown | (kinds[0] if kinds else {})


def _responses(endpoint: Endpoint, refs: dict[tuple[type[BaseModel], str], Json]) -> Json:
    responses: Json = {}
    for status, model in endpoint.answers.items():
        content = {"application/json": {"schema": refs[model, "serialization"]}}
        responses[str(status)] = {"description": _STATUS[status], "content": content}
    if endpoint.etag and endpoint.method == "GET":
        responses["304"] = {"description": "It is the one that If-None-Match names"}
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in dict.fromkeys(_codes(endpoint)):
        by_status[CODES[code][0]].append(code)
    for status in sorted(by_status):
        codes = ", ".join(f"`{code}`" for code in by_status[status])
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        responses[str(status)] = {"description": codes, "content": content}
    return responses


def _codes(endpoint: Endpoint) -> list[str]:
    codes = [*_EVERYWHERE, *endpoint.errors]
    if endpoint.scope is not None:
        codes.append("scope_missing")
    if endpoint.body is not None:
        codes += _WITH_BODY
    if endpoint.query is not None:
        codes.append("validation_failed")
    if endpoint.keyed:
        codes += ("request_malformed", *_KEYED)
    if endpoint.signed:
        codes += ("signature_required", "signature_invalid")
    if "<" in endpoint.path or _names_a_resource(endpoint.body) or _names_a_resource(endpoint.query):
        codes.append("not_found")
    return codes


def _names_a_resource(model: type[BaseModel] | None) -> bool:
    return model is not None and f'"format": "{ID_FORMAT}"' in json.dumps(model.model_json_schema())


_STATUS = {200: "Done", 201: "Created", 202: "Stored; workers carry it out"}

_HEALTH_TAG = {"name": "health", "description": "For load balancers and Prometheus; no key"}


def _plain(name: str, summary: str, *statuses: int) -> Json:
    answers = {str(status): {"description": "Ready" if status == 200 else "Not ready"} for status in statuses}
    return {"get": {"operationId": name, "tags": ["health"], "summary": summary, "security": [], "responses": answers}}


_HEALTH = {
    "/healthz": _plain("healthz", "Whether the process lives", 200),
    "/readyz": _plain("readyz", "Whether requests can be stored, and what is degraded", 200, 503),
    "/metrics": _plain("metrics", "Numbers for Prometheus", 200),
}
