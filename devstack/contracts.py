"""Compiles the contracts of `deploy/contracts` into the artifacts that the wallet reads.

usage: python -m devstack.contracts [--check]

The compiler is solc as npm brings it, of the version that the lock file pins. `--check` writes nothing and ends with 1
when an artifact is not what the sources give.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from devstack.programs import ROOT

SOURCES = ROOT / "deploy" / "contracts"
ARTIFACTS = ROOT / "wallets" / "ethereum" / "contracts"
SOLC = SOURCES / "node_modules" / "solc" / "solc.js"
#: One folder for one set of options: `settings` of solc's JSON input. No metadata hash: it would change the bytes of a
#: contract with every comment.
SETTINGS: Mapping[str, Any] = {
    "optimizer": {"enabled": True, "runs": 200},
    "evmVersion": "cancun",
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
}
_OUTPUTS = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"]
#: A selfdestruct inside a constructor does what it always did (EIP-6780); the compiler warns of all of them.
_EXPECTED_WARNINGS = {"5159"}


class CompilerMissing(Exception):
    """node, npm or the compiler cannot be had here. The message says which."""


class CompilationFailed(Exception):
    """What the compiler says."""


def fetch_compiler() -> None:
    """Brings the pinned compiler, unless it is there. Raises CompilerMissing."""
    if shutil.which("node") is None:
        raise CompilerMissing("node is not there")
    if SOLC.is_file():
        return
    if shutil.which("npm") is None:
        raise CompilerMissing("npm is not there")
    command = ["npm", "ci", "--ignore-scripts"]
    try:
        done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        raise CompilerMissing("npm did not bring solc within 120 s") from None
    if done.returncode != 0:
        raise CompilerMissing(f"npm could not bring solc: {done.stderr.strip()[-300:]}")


def compile_all() -> dict[str, dict[str, Any]]:
    """The artifact of each contract, by name. Raises CompilerMissing or CompilationFailed."""
    fetch_compiler()
    sources = {path.relative_to(SOURCES).as_posix(): path.read_text() for path in _source_files()}
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {**SETTINGS, "outputSelection": {"*": {"*": _OUTPUTS, "": ["ast"]}}},
    }
    answer = json.loads(_solc("--standard-json", text=json.dumps(request)))
    complaints = [e["formattedMessage"] for e in answer.get("errors", []) if e["errorCode"] not in _EXPECTED_WARNINGS]
    if complaints:
        raise CompilationFailed("\n".join(complaints))
    compiler = _solc("--version").strip()
    return {
        name: _artifact(name, source, sources[source], compiler, made, _variables(answer["sources"][source]["ast"]))
        for source, contracts in answer["contracts"].items()
        for name, made in contracts.items()
        if made["evm"]["bytecode"]["object"]  # interfaces and abstract contracts have none
    }


def _artifact(
    name: str, source: str, text: str, compiler: str, made: Mapping[str, Any], variables: Mapping[int, str]
) -> dict[str, Any]:
    deployed = made["evm"]["deployedBytecode"]
    return {
        "name": name,
        "source": source,
        "source_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "compiler": compiler,
        "settings": SETTINGS,
        "abi": made["abi"],
        "bytecode": "0x" + made["evm"]["bytecode"]["object"],
        "runtime": "0x" + deployed["object"],
        # Where the deployment writes its 32-byte values into the code, in bytes.
        "immutables": {
            variables[int(key)]: [place["start"] for place in places]
            for key, places in deployed["immutableReferences"].items()
        },
    }


def _variables(ast: Any) -> dict[int, str]:
    """The name of each declared variable by its number in the syntax tree."""
    found: dict[int, str] = {}
    if isinstance(ast, dict):
        if ast.get("nodeType") == "VariableDeclaration":
            found[ast["id"]] = ast["name"]
        ast = list(ast.values())
    if isinstance(ast, list):
        for child in ast:
            found |= _variables(child)
    return found


def _solc(option: str, text: str = "") -> str:
    """What the compiler prints, without the remark on solvers that its wrapper puts before.

    It prints into a file: the wrapper ends before a pipe has taken more than 64 kB.
    """
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            ["node", str(SOLC), option], input=text, stdout=output, stderr=subprocess.PIPE, text=True, timeout=120
        )
        output.seek(0)
        lines = output.read().splitlines()
    if done.returncode != 0:
        raise CompilationFailed(done.stderr.strip()[-2_000:] or f"solc ended with {done.returncode}")
    return "\n".join(line for line in lines if not line.startswith(">>>"))


def _source_files() -> Iterator[Path]:
    yield from sorted(SOURCES.glob("*.sol"))
    yield from sorted((SOURCES / "test").glob("*.sol"))


def written(artifact: Mapping[str, Any]) -> str:
    """An artifact as its file has it."""
    return json.dumps(artifact, indent=1) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m devstack.contracts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args(arguments).check
    try:
        fresh = {f"{name}.json": written(artifact) for name, artifact in compile_all().items()}
    except (CompilerMissing, CompilationFailed) as error:
        print(error, file=sys.stderr)
        return 1
    present = {path.name: path.read_text() for path in ARTIFACTS.glob("*.json")}
    if check:
        differing = sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))
        print("\n".join(f"{name} is not what the sources give" for name in differing) or "artifacts are up to date")
        return 1 if differing else 0
    for name in present.keys() - fresh.keys():
        (ARTIFACTS / name).unlink()
    for name, text in fresh.items():
        (ARTIFACTS / name).write_text(text)
        print(f"{name}: {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
