"""Arguments of contract calls as people type them, by the types of the ABI."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from wallets.ethereum.addresses import EthereumAddressBook
from wallets.ethereum.contracts import Contract

_SIGNATURE = re.compile(r"([A-Za-z_$][\w$]*)\(([^()]*)\)", re.ASCII)
_LIST = re.compile(r"(.+)\[(\d*)\]", re.ASCII)
_NUMBER = re.compile(r"u?int\d*")


def contract_of(signature: str) -> tuple[Contract, str]:
    """A contract that has just the function of a signature such as `pause()` or `transfer(address,uint256)`, and the
    function's name. Raises `ValueError` for anything else; structs are not taken."""
    match = _SIGNATURE.fullmatch(signature.replace(" ", ""))
    if match is None:
        raise ValueError(f"{signature!r} is not like transfer(address,uint256)")
    kinds = match.group(2).split(",") if match.group(2) else []
    entry = {"type": "function", "name": match.group(1), "inputs": [{"type": kind} for kind in kinds], "outputs": []}
    return Contract("", (entry,), "0x", "0x", {}, ""), match.group(1)


def types_of(contract: Contract, function: str | None) -> Sequence[str]:
    """The argument types of a function, None for the constructor. Raises `LookupError`."""
    for entry in contract.abi:
        if entry["type"] == ("constructor" if function is None else "function") and entry.get("name") == function:
            return [str(item["type"]) for item in entry["inputs"]]
    if function is None:
        return []
    raise LookupError(f"{contract.name} has no function {function!r}")


def read(texts: Sequence[str], types: Sequence[str], book: EthereumAddressBook, hot: str) -> list[Any]:
    """The values of typed arguments; the word `hot` stands for the hot wallet's address. Raises `ValueError`."""
    if len(texts) != len(types):
        raise ValueError(f"takes ({', '.join(types)}), and was given {len(texts)} arguments")
    return [_value(text, kind, book, hot) for text, kind in zip(texts, types, strict=True)]


def _value(text: Any, kind: str, book: EthereumAddressBook, hot: str) -> Any:
    many = _LIST.fullmatch(kind)
    if many is not None:
        items = json.loads(text) if isinstance(text, str) else text
        if not isinstance(items, list):
            raise ValueError(f"{kind} is given as a JSON list")
        return [_value(item, many.group(1), book, hot) for item in items]
    if _NUMBER.fullmatch(kind):
        return int(text) if isinstance(text, int) and not isinstance(text, bool) else int(str(text), 0)
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no {kind}")
    if kind == "address":
        return hot if text == "hot" else book.parse(text)
    if kind == "bool":
        return {"true": True, "false": False}[text] if text in ("true", "false") else _refuse(text, kind)
    if kind == "string":
        return text
    if kind.startswith("bytes"):
        return bytes.fromhex(text.removeprefix("0x"))
    return _refuse(text, kind)


def _refuse(text: str, kind: str) -> Any:
    raise ValueError(f"{text!r} cannot be read as {kind}")
