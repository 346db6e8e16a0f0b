"""Shapes that several resources share, as they are sent and as they are shown."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from api.errors import invalid
from api.validation import Query, Shown
from jobs.assets import asset_of
from ledger.db import Tx
from ledger.errors import InvalidInput
from ledger.money import Asset

#: How the OpenAPI document marks a field that names a resource.
ID_FORMAT = "public-id"

#: A metadata object as JSON is at most this many bytes.
METADATA_MAX = 4096

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def _amount(value: Any) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError("amount_invalid", 'must be a decimal string such as "0.5", not a JSON number')
    return value


def _no_control(value: str) -> str:
    if _CONTROL.search(value):
        raise PydanticCustomError("format_wrong", "must have no control characters")
    return value


def _metadata(value: dict[str, str]) -> dict[str, str]:
    if len(json.dumps(value, ensure_ascii=False).encode("utf-8")) > METADATA_MAX:
        raise PydanticCustomError("too_long", "must be at most 4096 bytes of JSON")
    return value


def micros(text: str, pointer: str) -> int:
    """Microseconds of an RFC 3339 moment with a zone. Raises `InvalidInput`."""
    try:
        if _MOMENT.fullmatch(text) is None:
            raise ValueError
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(pointer, "must be an RFC 3339 moment such as 2026-01-31T12:00:00Z", "format_wrong") from None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


Amount = Annotated[
    str,
    BeforeValidator(_amount),
    StringConstraints(max_length=80),
    Field(description="A plain decimal string, never rounded", examples=["0.00012345"]),
]
Reference = Annotated[
    str,
    StringConstraints(pattern=r"^[!-~]([ -~]{0,126}[!-~])?$"),
    Field(description="Yours, unique for ever in the project: 1 to 128 printable ASCII characters"),
]
Moment = Annotated[str, StringConstraints(max_length=40), Field(examples=["2026-01-31T12:00:00Z"])]
Label = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_no_control)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_no_control)]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=1024)],
    ],
    AfterValidator(_metadata),
    Field(description="Yours, shown again in answers and events: string values, at most 4096 bytes of JSON"),
]
AssetCode = Annotated[str, StringConstraints(max_length=24), Field(examples=["BTC", "XMR", "ETH", "USDT"])]
#: The format tells the description of a call that it may meet 404, whatever stands in its path.
PublicId = Annotated[str, StringConstraints(max_length=64), Field(json_schema_extra={"format": ID_FORMAT})]


def asset(tx: Tx, code: str, pointer: str = "/asset") -> Asset:
    """An enabled asset. Raises `InvalidInput`."""
    found = asset_of(tx, code)
    if found is None:
        raise InvalidInput(pointer, "is not an asset of this installation", "asset_unknown")
    return found


class Page(Query):
    """What every list takes."""

    limit: int = Field(50, ge=1, le=100)
    cursor: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        None, description="next_cursor of the page before"
    )


class Range(Page):
    """Lists by time."""

    created_from: Moment | None = Field(None, description="this moment or later")
    created_to: Moment | None = Field(None, description="before this moment")


def moment_of(text: str | None, parameter: str) -> int | None:
    """A moment in a query. Raises `Problem` 422."""
    if text is None:
        return None
    try:
        return micros(text.replace(" ", "+"), "")  # a + that was not encoded arrives as a space
    except InvalidInput as error:
        raise invalid(parameter, error.detail, error.code) from None


class Money(Shown):
    amount: str = Field(examples=["0.00012345"])
    asset: str = Field(examples=["BTC"])
    units: str = Field(description="Whole atomic units", examples=["12345"])


class HistoryItem(Shown):
    status: str
    at: str
    reason: str | None


Kind = Literal["user", "vendor", "order"]
