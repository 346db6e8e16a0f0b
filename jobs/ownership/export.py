"""The heads of all histories and of the audit log as a file, under a key that the database does not hold.

Whoever rewrites a chain in the database, hashes and head included, cannot rewrite a file that lies elsewhere: the head
of that day is then no longer on the chain. Text, one line each:

    coffer-heads 1 <installation> <RFC 3339 moment>
    audit <number> <hash>
    <kind> <row id> <number> <hash>
    mac <HMAC-SHA256 of everything above>
"""

from __future__ import annotations

import hmac
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from sqlalchemy import select, tuple_

from jobs.ownership.verify import TABLES, public_ids
from jobs.row_mac import RowMac
from jobs.views import when
from ledger.db import Database, Tx
from ledger.errors import InvalidInput
from ledger.schema import audit, audit_head, installation, ownership, ownership_head

#: Heads read, and lines compared, in one go.
PAGE = 1_000
_TITLE = "coffer-heads 1"
_HEAD = re.compile(r"(audit|(?:deposit|order|escrow) [0-9]{1,19}) ([0-9]{1,19}) ([0-9a-f]{64})", re.ASCII)

Head = tuple[str, int, int, str]  #: (kind, subject id, number, hash)


def write(database: Database, mac: RowMac, target: Path) -> int:
    """Write the file, whole or not at all, readable by its owner only; how many histories are in it."""
    seal, count = mac.of_heads(), 0
    handle, name = tempfile.mkstemp(prefix=".heads-", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            for line in _lines(database):
                seal.update(line.encode("ascii"))
                file.write(line)
                count += 1
            file.write(f"mac {seal.hexdigest()}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:  # also a signal: no half-written file is left beside the good ones
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    _sync_folder(target.parent)
    return count - 2


def check(database: Database, mac: RowMac, source: Path) -> list[str]:
    """Which of the file's heads are no longer on their chains, told as `SUBJECT: what`.

    Raises `InvalidInput` for a file that is not whole, or not of this installation.
    """
    _check_whole(database, mac, source)
    faults: list[str] = []
    with source.open(encoding="ascii") as file:
        heads = filter(None, (_parsed(line) for line in file))
        while page := list(islice(heads, PAGE)):
            faults += database.read(lambda tx, p=page: _missing(tx, p))  # type: ignore[misc]
    return faults


def _lines(database: Database) -> Iterator[str]:
    """Each history's head is true by itself, so that no two pages need the same moment."""
    here, head, now = database.read(
        lambda tx: (tx.value(select(installation.c.public_id)), tx.one(select(audit_head)), tx.now)
    )
    yield f"{_TITLE} {here} {when(now)}\n"
    yield f"audit {head.audit_id} {head.hash}\n"
    for kind in TABLES:
        last = 0
        while rows := database.read(lambda tx, k=kind, a=last: _heads(tx, k, a)):  # type: ignore[misc]
            for _, row_id, number, hash_ in rows:
                yield f"{kind} {row_id} {number} {hash_}\n"
            last = rows[-1][1]


def _heads(tx: Tx, kind: str, after: int) -> list[Head]:
    h = ownership_head.c
    query = select(h.subject_kind, h.subject_id, h.number, h.hash).where(h.subject_kind == kind, h.subject_id > after)
    return [tuple(row) for row in tx.all(query.order_by(h.subject_id).limit(PAGE))]


def _check_whole(database: Database, mac: RowMac, source: Path) -> None:
    seal, last, title = mac.of_heads(), "", ""
    try:
        with source.open(encoding="ascii") as file:
            for line in file:
                seal.update(last.encode("ascii"))
                last, title = line, title or line
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("/against", f"{source.name} cannot be read ({type(error).__name__})") from None
    if not title.startswith(f"{_TITLE} "):
        raise InvalidInput("/against", f"{source.name} is not a file of heads")
    if not hmac.compare_digest(last.encode("ascii"), f"mac {seal.hexdigest()}\n".encode("ascii")):
        raise InvalidInput("/against", f"{source.name} was changed, cut off, or written under another key")
    here = database.read(lambda tx: tx.value(select(installation.c.public_id)))
    if title.split()[2] != here:
        raise InvalidInput("/against", f"{source.name} is of another installation")


def _parsed(line: str) -> Head | None:
    found = _HEAD.fullmatch(line.rstrip("\n"))
    if found is None:
        return None
    kind, _, row_id = found[1].partition(" ")
    return kind, int(row_id or 0), int(found[2]), found[3]


def _missing(tx: Tx, heads: Sequence[Head]) -> list[str]:
    o = ownership.c
    places = [head[:3] for head in heads if head[0] != "audit"]
    found: dict[tuple[str, int, int], str] = {}
    if places:
        query = select(o.subject_kind, o.subject_id, o.number, o.hash)
        for row in tx.all(query.where(tuple_(o.subject_kind, o.subject_id, o.number).in_(places))):
            found[(row.subject_kind, row.subject_id, row.number)] = row.hash
    for kind, _, number, _ in heads:
        if kind == "audit" and number > 0:
            found[(kind, 0, number)] = str(tx.value(select(audit.c.hash).where(audit.c.id == number)))
    return [_told(tx, head) for head in heads if head[2] > 0 and found.get(head[:3]) != head[3]]


def _told(tx: Tx, head: Head) -> str:
    kind, row_id, number, _ = head
    if kind == "audit":
        return f"audit log: row {number} was exported, and is gone or another now"
    name = public_ids(tx, kind, [row_id]).get(row_id, row_id)
    return f"{kind} {name}: row {number} was exported, and is gone or another now"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
