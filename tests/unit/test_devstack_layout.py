"""What import-linter cannot see, because it looks at modules and not at names."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from devstack.programs import ROOT

PACKAGES = ("api", "cli", "devstack", "exchanges", "jobs", "ledger", "migrations", "wallets", "workers")
STANDARD_ONLY = ("devstack/__init__.py", "devstack/programs.py", "devstack/setup.py")


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")
    yield from (path for name in ("scheduler.py", "settings.py") if (path := ROOT / name).is_file())


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import in the file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def called(path: Path) -> Iterator[str]:
    """The last name of everything that the file calls."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def test_only_one_file_puts_anything_on_a_queue() -> None:
    of_rq = {"Queue", "enqueue_call", "enqueue_many", "enqueue_job", "enqueue_in", "enqueue_at"}
    users = {str(path.relative_to(ROOT)) for path in sources() if of_rq & set(called(path))}
    assert users <= {"jobs/queues.py"}


def test_set_up_runs_before_anything_is_installed() -> None:
    for name in STANDARD_ONLY:
        for module, _ in imported(ROOT / name):
            top = module.split(".")[0]
            assert top in sys.stdlib_module_names or module in ("devstack.programs",), f"{name} imports {module}"


def test_no_part_of_the_product_needs_the_development_stack() -> None:
    for path in sources():
        if path.relative_to(ROOT).parts[0] not in {"cli", "devstack"}:
            assert not [module for module, _ in imported(path) if module.split(".")[0] == "devstack"], path


def test_no_file_names_a_registry_or_a_machine() -> None:
    # In two halves, so that this file does not name them either.
    telling = ("pypi" + ".org", "npmjs" + ".", "python" + "hosted", "deb." + "debian", "/root" + "/", "/home" + "/")
    for pattern in ("*.py", "*.lock", "*.json", "*.yml", "*.toml", "Makefile", "Dockerfile", "*.md", "*.conf", "*.cnf"):
        for path in ROOT.rglob(pattern):
            parts = path.relative_to(ROOT).parts
            if parts[0] in {".venv", ".run", ".git", ".setup"} or "node_modules" in parts:
                continue
            text = path.read_text(errors="replace")
            assert not [word for word in telling if word in text], path
