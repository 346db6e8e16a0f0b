"""The committed artifacts: that they are what the sources give, and what the loader makes of them."""

from __future__ import annotations

import hashlib
import json

import pytest

from devstack import contracts as compiler
from wallets.ethereum.contracts import creation, decode, encode, load, names

SOMEONE = "0x" + "5e" * 20
SWEEPER = load("Sweeper")


@pytest.mark.slow
def test_the_artifacts_are_what_the_sources_give() -> None:
    try:
        fresh = {name: compiler.written(artifact) for name, artifact in compiler.compile_all().items()}
    except compiler.CompilerMissing as reason:
        pytest.skip(f"the contracts were not recompiled: {reason}")
    committed = {name: (compiler.ARTIFACTS / f"{name}.json").read_text() for name in names()}
    assert fresh == committed


def test_the_artifacts_were_made_from_these_sources() -> None:
    """The same without a compiler."""
    for name in names():
        artifact = json.loads((compiler.ARTIFACTS / f"{name}.json").read_text())
        text = (compiler.SOURCES / artifact["source"]).read_text()
        assert artifact["source_sha256"] == hashlib.sha256(text.encode()).hexdigest(), f"compile {name} again"
        assert artifact["compiler"].startswith("0.8.37+")
        assert artifact["settings"] == compiler.SETTINGS


def test_the_compiler_is_pinned_by_hash() -> None:
    lock = json.loads((compiler.SOURCES / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages["node_modules/solc"]["version"] == "0.8.37"
    assert all("resolved" not in entry and entry["integrity"].startswith("sha512-") for entry in packages.values())


def test_calls_are_encoded_by_the_abi() -> None:
    assert encode(load("GoodToken"), "transfer", [SOMEONE, 5]) == (
        "0xa9059cbb" + SOMEONE[2:].rjust(64, "0") + hex(5)[2:].rjust(64, "0")
    )
    assert encode(load("GoodToken"), "decimals") == "0x313ce567"
    answer = "0x" + hex(7)[2:].rjust(64, "0")
    assert decode(load("GoodToken"), "balanceOf", answer) == (7,)


def test_a_deployment_is_code_and_arguments() -> None:
    data = creation(SWEEPER, [SOMEONE])
    assert data == SWEEPER.bytecode + SOMEONE[2:].rjust(64, "0")
    assert creation(load("Forwarder")) == load("Forwarder").bytecode


@pytest.mark.parametrize(
    "args", [[], [SOMEONE], [SOMEONE, -1], [SOMEONE, 2**256], ["0x5e", 1], [SOMEONE, "1"], [SOMEONE, 1, 2]]
)
def test_arguments_of_other_types_are_refused(args: list[object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(load("GoodToken"), "transfer", args)


@pytest.mark.parametrize("name", ["", "Unknown", "../Sweeper", "Sweeper.json", "sweeper"])
def test_an_unknown_contract_or_function_is_a_lookup_error(name: str) -> None:
    with pytest.raises(LookupError):
        load(name)
    with pytest.raises(LookupError):
        encode(SWEEPER, name)


def test_deployed_code_names_every_immutable() -> None:
    code = SWEEPER.deployed({"treasury": SOMEONE, "self": "0x" + "11" * 20})
    assert len(code) == len(SWEEPER.runtime)
    assert code.count(SOMEONE[2:]) == len(SWEEPER.immutables["treasury"])
    with pytest.raises(ValueError, match="immutables"):
        SWEEPER.deployed({"treasury": SOMEONE})
