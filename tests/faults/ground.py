"""Where cases live: a folder, a database and a chain that are put back to a known start before each case.

Snapshots are whole copies (the SQLite file or all rows, the chain's state, the signer's record, the shop's memory), so
that a case begins exactly where the flow's recording began.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from devstack.mariadb import MariaDB
from tests.faults import warm
from tests.faults.child import Job
from tests.faults.flows import FLOWS, STARTS
from tests.faults.forkserver import ForkServer
from tests.faults.kept import keep, put_back, shorten
from tests.faults.kinds import KINDS
from tests.faults.place import Place


def fast_folder(prefix: str) -> Path:
    """In memory where there is plenty: a process is killed here, not the power, so nothing rests on the disk."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 2 << 30
    return Path(tempfile.mkdtemp(prefix=prefix, dir=shared if roomy else None))


class Ground:
    """One database and one chain, used by one case after the other."""

    def __init__(self, db: str, chain: str, root: Path, mariadb: Callable[[], MariaDB], number: int = 0) -> None:
        self.db, self.chain = db, chain
        self.root = root
        self.case = root / "case"
        self._mariadb = mariadb
        self._database_name = f"faults_{number}_{chain}"
        self._made: set[str] = set()
        root.mkdir(parents=True, exist_ok=True)
        self.node = KINDS[chain].node(root)
        self.forks = ForkServer(root / "forkserver.log")
        self._warm = False

    @property
    def place(self) -> Place:
        return Place(str(self.case), self._url(), self.chain, self.node.urls)

    def begin(self, start: str) -> Place:
        """The start's state in a clean case folder, made first if nobody has asked for it before."""
        if start not in self._made:
            self._make(start)
        if not self._warm:
            self._warm_up()
        self._restore(start)
        return self.place

    def close(self) -> None:
        self.forks.close()
        self.node.close()

    def _warm_up(self) -> None:
        sample = warm.SAMPLES[self.chain]
        start = FLOWS[sample].start
        if start not in self._made:
            self._make(start)
        self._restore(start)
        if self.forks.run(Job("warm", sample, self.place)) != 0:
            raise RuntimeError(f"the warm-up failed\n{(self.root / 'forkserver.log').read_text()[-5000:]}")
        self._warm = True

    def _make(self, name: str) -> None:
        start = STARTS[name]
        if start.after is None:
            self._found()
        else:
            if start.after not in self._made:
                self._make(start.after)
            self._restore(start.after)
        status = self.forks.run(Job("start", name, self.place))
        if status != 0:
            raise RuntimeError(f"the start {name!r} failed\n{(self.case / 'child.log').read_text()}")
        self._save(name)
        self._made.add(name)

    def _found(self) -> None:
        shutil.rmtree(self.case, ignore_errors=True)
        self.case.mkdir(parents=True)
        if self.db == "mariadb":
            self._mariadb().create_database(self._database_name)
        self.node.make(self.case)

    def _url(self) -> str:
        if self.db == "mariadb":
            return self._mariadb().url(self._database_name)
        return f"sqlite:///{self.case}/coffer.sqlite3"

    def _save(self, name: str) -> None:
        kept = self.root / "starts" / name
        self.node.save(kept / "node")
        (self.case / "progress").unlink(missing_ok=True)
        shorten(self.place)
        keep(self.place, kept)

    def _restore(self, name: str) -> None:
        kept = self.root / "starts" / name
        put_back(self.place, kept)
        self.node.restore(kept / "node")

    def put_back(self, wreck: Path) -> Place:
        """What a death left, where no node has to be told."""
        put_back(self.place, wreck)
        return self.place
