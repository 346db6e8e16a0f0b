"""The documentation says what the code does: drawn pages are current, links lead somewhere, named commands exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import COMMANDS
from devstack.programs import ROOT
from docs import diagrams, transcript
from ledger.schema.exits import WITHDRAWAL_STATES

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
#: A command at the start of a line of a shell example, or in backticks.
_COFFER = re.compile(r"(?:^|\$ |`|bin/)coffer ([a-z]+(?:-[a-z]+)*)", re.MULTILINE)
_MAKE = re.compile(r"(?:^|`)make ([a-z]+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_something(page: Path) -> None:
    broken = [link for link in links(page) if not leads(page, link)]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_named_commands_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(_COFFER.findall(text)) - COMMANDS.keys() == set()
    assert set(_MAKE.findall(text)) - targets == set()


def test_saga_pages_are_what_the_tables_say() -> None:
    written = {path.name: path.read_text() for path in diagrams.FOLDER.glob("*.md")}
    stale = [name for name, text in diagrams.pages().items() if written.pop(name, None) != text]
    assert (stale, list(written)) == ([], []), "`.venv/bin/python -m docs.diagrams` draws them anew; commit the pages"


def test_every_state_of_a_saga_has_its_sentence() -> None:
    with pytest.raises(ValueError, match="no sentence beside"):
        diagrams.sentences(_Mute)


def test_the_drawing_of_a_withdrawal_has_all_its_states() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn = set(re.findall(r"^    ([a-z_]+) --> ", text, re.MULTILINE))
    drawn |= set(re.findall(r"^    \S+ --> ([a-z_]+)", text, re.MULTILINE))
    assert drawn == set(WITHDRAWAL_STATES)


class _Mute(diagrams.StrEnum):
    SILENT = "silent"


def links(page: Path) -> Iterator[str]:
    for found in _LINK.finditer(_FENCE.sub("", page.read_text())):
        yield found.group(1) or found.group(2)


def leads(page: Path, link: str) -> bool:
    """Whether a relative link names a file of ours, and its anchor a heading there. Outside links are not followed."""
    if re.match(r"[a-z]+:", link):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """The anchors that a forge makes of headings."""
    heads = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_shows_a_run_of_the_demo_as_it_is() -> None:
    text = (ROOT / "README.md").read_text()
    for source in (ROOT / "devstack" / "demo").glob("*.py"):
        for title in re.findall(r'\.chapter\("(.+?)"\)', source.read_text()):
            assert title in text, f"`make demo | .venv/bin/python -m docs.transcript` puts a new run there ({title})"
    assert transcript.between([text])


def test_a_demo_that_failed_is_no_transcript() -> None:
    with pytest.raises(ValueError, match="did not end as it should"):
        transcript.between(["Coffer: a shop\n", "NOT AS EXPECTED: Anna\n"])


def test_a_transcript_takes_its_place_and_nothing_else() -> None:
    page = "# Coffer\n<!-- transcript -->\n```text\nold\n```\nafter\n"
    lines = ["set-up: pip\n", "Coffer: a shop\n", r"\1 as it is" + "\n", "7 figures compared, all as expected. 9 s.\n"]
    put = transcript.put(page, transcript.between(lines))
    assert put == page.replace("old\n", "".join(lines[1:]))
