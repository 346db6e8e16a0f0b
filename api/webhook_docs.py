"""What the OpenAPI document says of the calls that we make: `webhooks`, one entry a resource that has events."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jobs.webhooks.events import EVENTS, PING

Json = dict[str, Any]

#: resource of an event -> the schema that its object has; others are shown as an object.
_SCHEMAS = {
    "address": "Address",
    "deposit": "Deposit",
    "transfer": "Transfer",
    "withdrawal": "Withdrawal",
    "escrow": "Escrow",
    "swap": "Swap",
    "webhook_endpoint": "WebhookEndpoint",
}
_ABOUT = (
    "Sent to the endpoints that ask for it, at least once, and in order for each resource. The signature is that of "
    "Standard Webhooks: check it with the endpoint's secret over `webhook-id.webhook-timestamp.body`, refuse a "
    "timestamp more than five minutes off, and remember `webhook-id`: a repeat has the same one."
)
_ANSWERS = {
    "2XX": "The receiver has it",
    "410": "The endpoint is switched off",
    "default": "Tried again, over three days; `Retry-After` is heeded, a redirect is not followed",
}


def webhooks(schemas: Collection[str]) -> Json:
    """The document's `webhooks`; `schemas` are the names it has under components."""
    named = {resource: [f"{resource}.{state}" for state in states] for resource, states in EVENTS.items()}
    named["webhook_endpoint"].append(PING)
    return {
        resource: {"post": _operation(resource, types, _object(resource, schemas))}
        for resource, types in named.items()
        if resource != "alarm"  # of the house's own project
    }


def _object(resource: str, schemas: Collection[str]) -> Json:
    name = _SCHEMAS[resource]
    return {"$ref": f"#/components/schemas/{name}"} if name in schemas else {"type": "object"}


def _operation(resource: str, types: list[str], shown: Json) -> Json:
    content = {"application/json": {"schema": _body(types, shown)}}
    return {
        "operationId": f"on_{resource}",
        "summary": f"What happened to {'an' if resource[0] in 'aeiou' else 'a'} {resource.replace('_', ' ')}",
        "description": _ABOUT,
        "security": [],
        "parameters": [_header(name, text) for name, text in _HEADERS.items()],
        "requestBody": {"required": True, "content": content},
        "responses": {status: {"description": text} for status, text in _ANSWERS.items()},
    }


_HEADERS = {
    "webhook-id": "The event's id, the same at every attempt",
    "webhook-timestamp": "Seconds since 1970, of this attempt",
    "webhook-signature": "One `v1,` and base64 of HMAC-SHA256 for each valid secret, separated by spaces",
}


def _header(name: str, text: str) -> Json:
    return {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": text}


def _body(types: list[str], shown: Json) -> Json:
    return {
        "type": "object",
        "description": "As GET /v1/events shows it",
        "required": ["id", "type", "timestamp", "livemode", "sequence", "data"],
        "properties": {
            "id": {"type": "string"},
            "type": {"type": "string", "enum": types},
            "timestamp": {"type": "string", "format": "date-time"},
            "livemode": {"type": "boolean"},
            "sequence": {"type": ["integer", "null"], "description": "null in a ping"},
            "data": {"type": "object", "required": ["object"], "properties": {"object": shown}},
        },
    }
