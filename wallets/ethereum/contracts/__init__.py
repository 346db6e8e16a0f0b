"""The contracts that Coffer deploys, as the compiler made them, and the data that calls them.

The sources lie in `deploy/contracts`; `python -m devstack.contracts` makes the JSON files here, and a test compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from eth_abi.abi import decode as decode_abi
from eth_abi.abi import encode as encode_abi
from eth_abi.exceptions import EncodingError
from eth_hash.auto import keccak

_FOLDER = Path(__file__).parent
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*", re.ASCII)
_WORD_BYTES = 32


@dataclass(frozen=True, slots=True)
class Contract:
    """One compiled contract; both codes as `0x` and hexadecimal digits."""

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: str  #: what a deployment sends, followed by the constructor's arguments
    runtime: str  #: what then lies at its address, with zeros where the deployment writes `immutables`
    immutables: Mapping[str, tuple[int, ...]]  #: name -> byte offsets in `runtime`
    compiler: str

    def deployed(self, values: Mapping[str, str | int]) -> str:
        """The code that a deployment with these immutables (addresses or numbers) leaves on the chain: whoever trusts
        an address compares this with `eth_getCode` first. Raises `ValueError` when one is missing or unknown."""
        if values.keys() != self.immutables.keys():
            raise ValueError(f"{self.name} has the immutables {sorted(self.immutables)}, not {sorted(values)}")
        code = bytearray.fromhex(self.runtime[2:])
        for name, value in values.items():
            number = int(value, 16) if isinstance(value, str) else value
            for start in self.immutables[name]:
                code[start : start + _WORD_BYTES] = number.to_bytes(_WORD_BYTES, "big")
        return "0x" + code.hex()


@lru_cache(maxsize=32)
def load(name: str) -> Contract:
    """A contract by its name in the sources. Raises `LookupError` for one that is not there."""
    path = _FOLDER / f"{name}.json"
    if _NAME.fullmatch(name) is None or not path.is_file():
        raise LookupError(f"there is no contract {name!r}; there are {', '.join(names())}")
    found = json.loads(path.read_text())
    immutables = {key: tuple(places) for key, places in found["immutables"].items()}
    abi = tuple(found["abi"])
    return Contract(name, abi, found["bytecode"], found["runtime"], immutables, found["compiler"])


def names() -> Sequence[str]:
    """All contracts that `load` knows."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def encode(contract: Contract, function: str, args: Sequence[Any] = ()) -> str:
    """The data of a call, `0x…`. Raises `LookupError` for an unknown function, `ValueError` for arguments that are not
    of its types."""
    return "0x" + (_selector(_entry(contract, function)) + _arguments(_entry(contract, function), args)).hex()


def creation(contract: Contract, args: Sequence[Any] = ()) -> str:
    """The data of a deployment, `0x…`: the code and the constructor's arguments. Raises `ValueError` as `encode`."""
    constructors = [entry for entry in contract.abi if entry["type"] == "constructor"]
    return contract.bytecode + _arguments(constructors[0] if constructors else {"inputs": []}, args).hex()


def decode(contract: Contract, function: str, answer: str) -> tuple[Any, ...]:
    """What a call gave back, by the function's output types; addresses in lower case."""
    types = [_type(output) for output in _entry(contract, function)["outputs"]]
    return tuple(decode_abi(types, bytes.fromhex(answer.removeprefix("0x"))))


def topic(contract: Contract, event: str) -> str:
    """The first topic of an event's logs."""
    return "0x" + keccak(_signature(_entry(contract, event, kind="event")).encode()).hex()


def _entry(contract: Contract, name: str, kind: str = "function") -> Mapping[str, Any]:
    found = [entry for entry in contract.abi if entry["type"] == kind and entry["name"] == name]
    if len(found) != 1:
        raise LookupError(f"{contract.name} has {len(found)} {kind}s named {name!r}, not one")
    return found[0]


def _arguments(entry: Mapping[str, Any], args: Sequence[Any]) -> bytes:
    types = [_type(item) for item in entry["inputs"]]
    if len(types) != len(args):
        raise ValueError(f"({', '.join(types)}) was given {len(args)} arguments")
    try:
        return encode_abi(types, list(args))
    except EncodingError as error:
        raise ValueError(str(error)) from None


def _selector(entry: Mapping[str, Any]) -> bytes:
    return keccak(_signature(entry).encode())[:4]


def _signature(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}({','.join(_type(item) for item in entry['inputs'])})"


def _type(item: Mapping[str, Any]) -> str:
    """A type as signatures write it, a struct as its members."""
    kind = str(item["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(part) for part in item['components'])}){kind.removeprefix('tuple')}"
