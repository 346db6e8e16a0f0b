"""From pydantic's findings to ours: JSON pointers, stable codes, no repetition of what was sent."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.datastructures import MultiDict

from api.errors import CODES, FieldError, Problem

#: At most this many broken rules are told at once.
ERRORS_MAX = 20

_CODES = {
    "missing": "field_required",
    "extra_forbidden": "field_unknown",
    "model_type": "type_wrong",
    "dict_type": "type_wrong",
    "string_type": "type_wrong",
    "list_type": "type_wrong",
    "int_type": "type_wrong",
    "bool_type": "type_wrong",
    "int_parsing": "type_wrong",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_long",
    "too_short": "too_short",
    "string_pattern_mismatch": "format_wrong",
    "literal_error": "value_unknown",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
}


class Model(BaseModel):
    """What is sent: unknown fields are refused, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Query(BaseModel):
    """Query parameters: text by nature, so numbers are converted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """What is answered. Clients ignore fields they do not know; so may these."""

    model_config = ConfigDict(extra="forbid")


M = TypeVar("M", bound=BaseModel)


def body(model: type[M], value: Any) -> M:
    """The parsed body. Raises `Problem` 422 naming each field and rule."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _problem(error, query=False) from None


def query(model: type[M], arguments: MultiDict[str, str]) -> M:
    """The parsed query parameters. A parameter given twice is refused."""
    twice = [name for name in arguments if len(arguments.getlist(name)) > 1]
    if twice:
        errors = tuple(FieldError("given_twice", "may be given once", parameter=name) for name in twice)
        raise Problem("validation_failed", f"{twice[0]}: may be given once", errors=errors)
    try:
        return model.model_validate(arguments.to_dict())
    except ValidationError as error:
        raise _problem(error, query=True) from None


def _problem(error: ValidationError, *, query: bool) -> Problem:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    errors = tuple(_field(item, query=query) for item in found[:ERRORS_MAX])
    codes = {field.code for field in errors}
    code = next(iter(codes)) if len(codes) == 1 and codes <= CODES.keys() else "validation_failed"
    place = errors[0].parameter if query else errors[0].pointer
    return Problem(code, f"{place or 'the body'}: {errors[0].detail}", errors=errors)


def _field(item: Any, *, query: bool) -> FieldError:
    code = _CODES.get(item["type"], item["type"])
    detail = item["msg"][:1].lower() + item["msg"][1:]
    if query:
        return FieldError(code, detail, parameter=str(item["loc"][0]) if item["loc"] else "")
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in item["loc"])
    return FieldError(code, detail, pointer=pointer[:300])
