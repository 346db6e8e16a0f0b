"""What deaths left behind: kept once for each state, however many deaths lead there."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.kept import fingerprint, keep
from tests.faults.place import Place
from tests.faults.state import digest

_INDEX = "index"
_KNOWN = "known"


@dataclass(frozen=True)
class Wreck:
    """The place where a life ended, and the state that it left."""

    point: str
    state: str
    folder: Path

    @property
    def kept(self) -> bool:
        """Not when another death had left the same state before."""
        return self.folder.is_dir()


class Keeper:
    """Takes the wrecks of one life, in a folder made by `prepare`."""

    def __init__(self, place: Place, folder: Path) -> None:
        self._place = place
        self._folder = folder
        known = folder / _KNOWN
        self._seen = set(known.read_text().split()) if known.exists() else None
        self._number = 0
        self._last = (0, "")

    def keep(self, point: str) -> None:
        self._number += 1
        with (self._folder / _INDEX).open("a") as index:
            index.write(f"{point} {' '.join(self._kept())}\n")

    def _kept(self) -> tuple[str, str]:
        """The state, and where it is kept: copied only when it is not the one of the death before."""
        folder = self._folder / str(self._number)
        bytes_ = fingerprint(self._place)
        if self._seen is not None and bytes_ == self._last[0]:
            return self._last[1], str(folder)
        keep(self._place, folder)
        state = digest(replace(self._place, **_moved(self._place, folder)), leases=False)
        self._last = (bytes_, state)
        if self._seen is not None:
            if state in self._seen:
                shutil.rmtree(folder)
            self._seen.add(state)
        return state, str(folder)


def _moved(place: Place, folder: Path) -> dict[str, str]:
    """The copy of a case as a case."""
    copy = str(folder / "case")
    return {"folder": copy, "database_url": place.database_url.replace(place.folder, copy)}


def prepare(folder: Path, known: Collection[str] = (), *, every: bool = False) -> Path:
    """An empty folder for wrecks. Those whose state is known already are not kept, unless `every` one is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not every:
        (folder / _KNOWN).write_text("\n".join(known))
    (folder / _INDEX).touch()
    return folder


def found_in(folder: Path) -> Sequence[Wreck]:
    """In the order of the deaths."""
    lines = [line.split() for line in (folder / _INDEX).read_text().splitlines()]
    return [Wreck(point, state, Path(there)) for point, state, there in lines]
