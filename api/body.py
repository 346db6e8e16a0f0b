"""Reading a JSON body strictly: what two readers could understand differently is refused."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from flask import Request

from api.errors import Problem

#: Largest body in bytes; the largest honest one, a batch of 100 withdrawals with metadata, is below it.
BODY_MAX = 512 * 1024
#: Objects and lists inside each other; the deepest honest body has four.
DEPTH_MAX = 64

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def read(request: Request) -> bytes:
    """The raw body. Raises `Problem` 413 (by werkzeug) or 415."""
    raw = request.get_data(cache=True)
    if raw and request.mimetype != "application/json":
        raise Problem("media_type_unsupported", "send Content-Type: application/json")
    if raw and request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem("media_type_unsupported", "compressed bodies are not read")
    return raw


def parse(raw: bytes) -> Any:
    """The JSON value. Raises `Problem` 400 for anything that is not exactly one RFC 8259 text with unique names."""
    if _too_deep(raw):
        raise Problem("request_malformed", "the JSON is nested too deeply")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        canonical(value)  # finds lone surrogates, which no database can store
    except UnicodeError:
        raise Problem("request_malformed", "the body is not UTF-8 text") from None
    except ValueError as error:
        raise Problem("request_malformed", f"the body is not JSON: {_place(error)}") from None
    return value


def _too_deep(raw: bytes) -> bool:
    """Told before it is parsed: the parser would end the process where some library has lifted Python's own limit."""
    if raw.count(b"[") + raw.count(b"{") <= DEPTH_MAX:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_MAX:
            return True
    return False


def canonical(value: Any) -> bytes:
    """The same bytes for the same JSON value, however it was written."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _place(error: ValueError) -> str:
    """Where it went wrong, without repeating what was sent."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno} column {error.colno}"
    return str(error) if len(str(error)) < 100 and "digits" not in str(error) else "a number is too long"
