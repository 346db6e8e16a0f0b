"""Draws the sagas: a page each in docs/diagrams/, from the transition table and the sentences beside it in the code.

`.venv/bin/python -m docs.diagrams` writes the pages; a test fails when they are not what this would write.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from jobs import bootstrap
from jobs.runtime import CRASHES_MAX
from jobs.saga import Outcome, Saga

#: Sagas whose table is not `jobs/<kind>/saga.py`.
_ROOMS = {"delivery": "webhooks.delivery"}

FOLDER = Path(__file__).parent / "diagrams"
_MEMBER = re.compile(r'^ +[A-Z_]+ = "([a-z_]+)" +#: (.+)$', re.MULTILINE)


def pages() -> dict[str, str]:
    """File name -> text, for every saga that has more than one state."""
    drawn = {kind: saga for kind, saga in bootstrap.sagas().items() if len(type(saga.start)) > 1}
    return {f"{kind}.md": page(saga) for kind, saga in drawn.items()}


def page(saga: Saga) -> str:
    """One saga as Markdown: its module's words, the picture, its states, its steps."""
    name = f"jobs.{_ROOMS.get(saga.kind, saga.kind + '.saga')}"
    module, file = importlib.import_module(name), f"{name.replace('.', '/')}.py"
    parts = [
        f"<!-- Generated from {file} by `python -m docs.diagrams`. Change the code, not this page. -->",
        f"# {saga.kind.capitalize()}",
        _about(saga, inspect.getdoc(module) or ""),
        "\n".join(_picture(saga)),
        "What a step may find without leaving its state is left out of the picture; the second table has it.",
        "## States",
        "\n".join(_states(saga)),
        *_asides(saga),
        "## Steps",
        "\n".join(_steps(saga)),
    ]
    return "\n\n".join(parts) + "\n"


def sentences(states: type[StrEnum]) -> Mapping[str, str]:
    """State -> the sentence of its `#:` comment. Raises ValueError for a state without one."""
    found = dict(_MEMBER.findall(inspect.getsource(states)))
    if missing := {str(state) for state in states} - found.keys():
        raise ValueError(f"{states.__module__}: no sentence beside {sorted(missing)}")
    return found


def _about(saga: Saga, text: str) -> str:
    text = text.removeprefix(f"{saga.kind.capitalize()}: ")
    return text[:1].upper() + text[1:]


def _picture(saga: Saga) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {saga.start}"
    for state, _, found, to in _table(saga):
        if state != to:
            yield f"    {state} --> {to}: {found.__name__}"
    for state in type(saga.start):
        for to in sorted(saga.asked.get(state, ())):
            yield f"    {state} --> {to}: by request"
        if state in saga.final:
            yield f"    {state} --> [*]"
    yield "```"


def _states(saga: Saga) -> Iterator[str]:
    yield "| state | what is true in it | kind |"
    yield "|---|---|---|"
    for name, sentence in sentences(type(saga.start)).items():
        yield f"| `{name}` | {sentence} | {_kind(saga, name)} |"


def _kind(saga: Saga, name: str) -> str:
    state = saga.state(name)
    if state in saga.final:
        return "final"
    if state in saga.resting:
        return "rests: a person moves it on"
    return "live; holds the wallet's lease" if saga.steps[state].exclusive else "live"  # type: ignore[index]


def _asides(saga: Saga) -> Iterator[str]:
    if saga.review is not None:
        yield f"A row whose step has ended its worker {CRASHES_MAX} times goes to `{saga.review}` from any live state."


def _steps(saga: Saga) -> Iterator[str]:
    yield "| in | step | finds | which means | then |"
    yield "|---|---|---|---|---|"
    for state, step, found, to in _table(saga):
        then = "stays" if state == to else f"`{to}`"
        yield f"| `{state}` | `{step}` | `{found.__name__}` | {_meaning(found)} | {then} |"


def _table(saga: Saga) -> Iterator[tuple[StrEnum, str, type[Outcome], StrEnum]]:
    for state in type(saga.start):
        if state in saga.steps:
            step = saga.steps[state]
            for found, to in step.outcomes.items():
                yield state, step.run.__name__.rstrip("_"), found, to


def _meaning(found: type[Outcome]) -> str:
    return " ".join((inspect.getdoc(found) or "").split())


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/diagrams/{name}")


if __name__ == "__main__":
    main()
