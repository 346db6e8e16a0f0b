"""Reading what a node answers: a field that is absent or of another type raises, it never becomes zero or None.

A renamed field once kept 67,317 ETH in a contract for three days before anyone noticed (FAULTS D14).
"""

from __future__ import annotations

from typing import Self

from ledger.errors import NodeProtocolError


def text_of(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise NodeProtocolError(f"{where} is not text")
    return value


def list_of(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise NodeProtocolError(f"{where} is not a list")
    return value


class Record:
    """One JSON object. `where` names the call (and path) for the error text. Coins add how they write amounts."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise NodeProtocolError(f"{where} is not an object")
        self._fields = value
        self._where = where

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def _get(self, name: str) -> object:
        if name not in self._fields:
            raise NodeProtocolError(f"{self._where} has no {name}")
        return self._fields[name]

    def text(self, name: str) -> str:
        return text_of(self._get(name), f"{self._where}.{name}")

    def integer(self, name: str) -> int:
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise NodeProtocolError(f"{self._where}.{name} is not an integer")
        return value

    def integers(self, name: str) -> list[int]:
        where = f"{self._where}.{name}"
        items = list_of(self._get(name), where)
        if not all(type(item) is int for item in items):
            raise NodeProtocolError(f"{where} is not a list of integers")
        return [item for item in items if isinstance(item, int)]

    def boolean(self, name: str, default: bool | None = None) -> bool:
        value = default if default is not None and name not in self._fields else self._get(name)
        if not isinstance(value, bool):
            raise NodeProtocolError(f"{self._where}.{name} is not true or false")
        return value

    def record(self, name: str) -> Self:
        return type(self)(self._get(name), f"{self._where}.{name}")

    def record_or_none(self, name: str) -> Self | None:
        """For fields that are `false` when there is nothing to tell."""
        return None if self._get(name) is False else self.record(name)

    def records(self, name: str) -> list[Self]:
        where = f"{self._where}.{name}"
        return [type(self)(item, where) for item in list_of(self._get(name), where)]

    def texts(self, name: str) -> tuple[str, ...]:
        where = f"{self._where}.{name}"
        return tuple(text_of(item, where) for item in list_of(self._get(name), where))
