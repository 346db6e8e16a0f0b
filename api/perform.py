"""A call from bytes to bytes: gate, parse, one transaction, answer."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Response, g, request

from api import auth, body, idempotency, sealed, signing, validation
from api.answers import Answer, Stored, dump, etag
from api.call import Call
from api.declaration import Endpoint
from api.errors import MEDIA_TYPE, Problem, from_error, storable
from api.idempotency import Claim
from api.parts import parts
from api.signing import Signature
from ledger.db import Tx
from ledger.errors import CommitUnknown, DatabaseError, Refused, TryLater


def perform(endpoint: Endpoint, path: dict[str, str]) -> Response:
    """The whole of one call. Every failure is raised and told by the app's error handlers."""
    call = _admit(endpoint)
    raw = body.read(request)
    signature = signing.check(request, raw, call.key, call.parts.ring, required=endpoint.signed)
    value = body.parse(raw) if raw else {}
    claim = _claim(endpoint, call, value) if endpoint.keyed else None
    given = dict(path)
    if endpoint.body is not None:
        given["body"] = validation.body(endpoint.body, value)
    elif value != {}:
        raise Problem("validation_failed", "this call takes no body")
    if endpoint.query is not None:
        given["query"] = validation.query(endpoint.query, request.args)
    elif request.args:
        validation.query(validation.Query, request.args)
    if endpoint.write:
        return _respond(endpoint, _write(endpoint, call, given, claim, signature))
    return _respond(endpoint, call.parts.services.database.read(lambda tx: _handle(endpoint, call, tx, given)).stored())


def _admit(endpoint: Endpoint) -> Call:
    shared = parts()
    key = shared.gate.identify(request.headers.get("Authorization"), request.remote_addr)
    structlog.contextvars.bind_contextvars(api_key=key.public_id)
    auth.require_scope(key, endpoint.scope)
    return Call(shared, key, g.request_id, request.headers.get("If-Match"))


def _claim(endpoint: Endpoint, call: Call, value: Any) -> Claim:
    header, askers = request.headers.get("Idempotency-Key"), list[str]()
    if endpoint.finish is sealed.open_seal:
        askers = call.parts.services.database.read(lambda tx: sealed.openers(tx, call.key))
    return idempotency.claim(call.project_id, call.key.holder, header, request.method, request.path, value, askers)


def _handle(endpoint: Endpoint, call: Call, tx: Tx, given: dict[str, Any]) -> Answer:
    auth.confirm(tx, call.key)
    return endpoint.handler(call, tx, **given)


def _write(
    endpoint: Endpoint, call: Call, given: dict[str, Any], claim: Claim | None, signature: Signature | None
) -> Stored:
    database, name = call.parts.services.database, f"api.{endpoint.name}"

    def unit(tx: Tx, refusal: Answer | None = None) -> Stored:
        auth.confirm(tx, call.key)
        if signature is not None:
            signature.spend(tx)
        standing = claim.take(tx) if claim is not None else None
        if standing is not None:
            return standing
        answer = refusal or endpoint.handler(call, tx, **given)
        return answer.stored() if claim is None else claim.store(tx, answer)

    try:
        return database.run(unit, name)
    except Refused as error:
        problem = from_error(error)
        if claim is None or not storable(error):
            raise problem from error
        answer = Answer(problem.status, problem.as_json(request.path, call.request_id), problem.headers)
        return database.run(lambda tx: unit(tx, answer), f"{name}.refused")  # the effect is undone, the answer stays
    except TryLater as error:
        if error.remember is not None:
            database.run(error.remember, f"{name}.later")  # the call's own transaction is undone
        raise
    except CommitUnknown:
        return _re_read(call, claim)


def _re_read(call: Call, claim: Claim | None) -> Stored:
    """After a COMMIT whose reply was lost: the stored answer tells that it stands. Otherwise nobody knows: 503."""
    stored = None
    if claim is not None:
        try:
            stored = call.parts.services.database.read(claim.find)
        except DatabaseError:
            stored = None
    if stored is None:
        raise Problem("database_unavailable", "it is not known whether this was stored; repeat it with the same key")
    return stored


def _respond(endpoint: Endpoint, stored: Stored) -> Response:
    raw, success = stored.body, stored.status < 400
    if success and endpoint.finish is not None:
        raw = dump(endpoint.finish(body.parse(raw)))
    media = "application/json" if success else MEDIA_TYPE
    response = Response(raw, stored.status, stored.headers, content_type=media)
    if stored.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    if success and endpoint.etag:
        response.headers["ETag"] = etag(raw)
        if request.method == "GET":
            response.make_conditional(request)
    return response
