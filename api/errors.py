"""The one map from errors to HTTP: RFC 9457 problems with a stable `code`.

`CODES` is the closed list of what a client may meet; the docs page and the OpenAPI document are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.errors import CofferError, InvalidInput, NotFound, Refused, TryLater

#: code -> (HTTP status, title)
CODES: dict[str, tuple[int, str]] = {
    "request_malformed": (400, "The request cannot be read"),
    "idempotency_key_missing": (400, "Idempotency-Key is required"),
    "idempotency_key_invalid": (400, "Idempotency-Key is not 1 to 255 printable ASCII characters"),
    "unauthorized": (401, "No valid API key"),
    "signature_required": (401, "This key must sign this call"),
    "signature_invalid": (401, "The request signature does not hold"),
    "scope_missing": (403, "The key lacks the scope for this call"),
    "address_not_allowed": (403, "The key is not valid from this network"),
    "scope_exceeded": (403, "A key cannot give more than it has"),
    "not_found": (404, "No such resource"),
    "method_not_allowed": (405, "The resource has no such method"),
    "state_conflict": (409, "The present state does not allow this"),
    "insufficient_funds": (409, "The balance does not cover this"),
    "limit_exceeded": (409, "A limit would be passed"),
    "reference_exists": (409, "The reference has been used before"),
    "asset_disabled": (409, "The asset is paused for this"),
    "account_frozen": (409, "The account may not spend"),
    "idempotency_in_progress": (409, "A request with this Idempotency-Key is still running"),
    "version_conflict": (412, "The resource has changed since"),
    "body_too_large": (413, "The body is too large"),
    "media_type_unsupported": (415, "The body must be application/json"),
    "validation_failed": (422, "A field breaks a rule"),
    "idempotency_key_reused": (422, "This Idempotency-Key belongs to another request"),
    "amount_invalid": (422, "Not an exact amount of this asset"),
    "amount_precision_exceeded": (422, "More decimals than the asset has"),
    "amount_below_minimum": (422, "Below the least amount"),
    "address_invalid": (422, "Not an address that can be paid"),
    "address_own": (422, "An address of this installation"),
    "asset_unknown": (422, "Not an asset of this installation"),
    "same_account": (422, "An account cannot pay itself"),
    "rate_limited": (429, "Too many requests"),
    "same_asset": (422, "An asset cannot be swapped for itself"),
    "quote_expired": (409, "The quote is no longer open"),
    "quote_used": (409, "The quote has been accepted before"),
    "inventory_short": (409, "The house has not enough of this asset now"),
    "rate_stale": (503, "The exchange rates are being fetched"),
    "rate_divergent": (503, "The exchanges disagree too much"),
    "rate_unavailable": (503, "No exchange rate for this asset"),
    "url_invalid": (422, "Not a URL that may be called"),
    "internal_error": (500, "An error on our side"),
    "database_unavailable": (503, "Try again with the same Idempotency-Key"),
}

MEDIA_TYPE = "application/problem+json"

#: Seconds that a client should wait before the same call may succeed.
RETRY_AFTER = {"idempotency_in_progress": 1, "database_unavailable": 2}

#: What a refusal tells beside its code: member of the problem -> context of the error.
_TOLD = {"existing": "existing", "current_status": "status"}


@dataclass(frozen=True)
class FieldError:
    """One broken rule: where (a JSON pointer into the body, or a query parameter), a stable code, the rule in words."""

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None

    def as_json(self) -> dict[str, str]:
        place = {"parameter": self.parameter} if self.parameter is not None else {"pointer": self.pointer or ""}
        return place | {"code": self.code, "detail": self.detail}


class Problem(Exception):
    """An answer other than success, as the client gets it."""

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: tuple[FieldError, ...] = (),
        status: int | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        known, title = CODES.get(code, (409, "The present state does not allow this"))
        super().__init__(detail or title)
        self.code, self.title, self.detail = code, title, detail or title
        self.status = status or known
        self.errors = errors
        self.extra = extra
        self.headers = dict(headers or {})
        if code in RETRY_AFTER:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER[code]))

    def as_json(self, instance: str, request_id: str) -> dict[str, Any]:
        body = {
            "type": f"/docs/problems#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "request_id": request_id,
        }
        if self.errors:
            body["errors"] = [error.as_json() for error in self.errors]
        return body | self.extra


def invalid(parameter: str, detail: str, code: str = "validation_failed") -> Problem:
    """A query parameter that breaks a rule."""
    return Problem(
        "validation_failed", f"{parameter}: {detail}", errors=(FieldError(code, detail, parameter=parameter),)
    )


def from_error(error: CofferError) -> Problem:
    """The problem that one of our own errors is."""
    if isinstance(error, InvalidInput):
        field = FieldError(error.code, error.detail, pointer=error.pointer)
        code = error.code if error.code in CODES else "validation_failed"
        return Problem(code, f"{error.pointer}: {error.detail}", errors=(field,))
    if isinstance(error, Refused):
        pointer = error.context.get("pointer")
        errors = () if pointer is None else (FieldError(error.code, error.detail, pointer=str(pointer)),)
        told = {name: error.context[inner] for name, inner in _TOLD.items() if inner in error.context}
        return Problem(error.code, error.detail, errors=errors, **told)
    if isinstance(error, TryLater):
        return Problem(error.code, error.detail, headers={"Retry-After": str(error.retry_after_seconds)})
    if error.code == "database_unavailable":
        return Problem("database_unavailable", "the database cannot be reached now; nothing is known to be written")
    return Problem("internal_error", "the cause is in our log under this request id")


def storable(error: Refused) -> bool:
    """Whether a repeat of the same key must get this refusal again. What does not exist may exist later."""
    return not isinstance(error, NotFound)
