"""The same key gets the same answer: the row stands in the transaction of the effect, or neither stands.

It is inserted first. A twin that runs at the same time waits there on the unique key, and finds the answer when the
first has committed, or a free place when it has not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from api import body
from api.answers import Answer, Stored
from api.errors import Problem
from ledger.db import Tx
from ledger.schema import idempotency

_KEY = re.compile(r"[ -~]{1,255}", re.ASCII)
_LOCK_WAIT = 1205

_I = idempotency.c
_OURS = (_I.project_id == bindparam("project")) & (_I.idempotency_key == bindparam("key"))
_INSERT = insert(idempotency)
_READ = select(_I.request_hash, _I.status, _I.body, _I.headers).where(_OURS)
_FILL = update(idempotency).where(_OURS).values({name: bindparam(name) for name in ("status", "body", "headers")})


@dataclass(frozen=True, slots=True)
class Claim:
    """One request's right to its key. The key belongs to the project, and its answer to the person who asked (an API
    key's holder), or to his API key where the answer holds a secret: all of it survives a rotation of API keys."""

    project_id: int
    key: str
    request_hash: str
    inherited: Collection[str] = ()  #: the same request, as the API keys asked it that this one came in the place of

    def take(self, tx: Tx) -> Stored | None:
        """None: the key is ours now. Otherwise the stored answer. Raises `Problem` 409 or 422."""
        values = {"project_id": self.project_id, "idempotency_key": self.key, "request_hash": self.request_hash}
        try:
            tx.execute(_INSERT, values | {"created_at": tx.now})
            return None
        except IntegrityError:
            found = self.find(tx)
        except OperationalError as error:
            if error.orig is not None and error.orig.args[:1] == (_LOCK_WAIT,):
                raise Problem("idempotency_in_progress") from error
            raise
        if found is None:  # its transaction is undone in this moment
            raise Problem("idempotency_in_progress")
        return found

    def find(self, tx: Tx) -> Stored | None:
        """The answer that stands under this key. Raises `Problem` 422 when it answers another request."""
        row = tx.execute(_READ, {"project": self.project_id, "key": self.key}).first()
        if row is None or row.status is None:
            return None
        if row.request_hash != self.request_hash and row.request_hash not in self.inherited:
            raise Problem(
                "idempotency_key_reused",
                "the key was first used by another person, or with another method, path or body;"
                " where the answer holds a secret, by another API key",
            )
        return Stored(row.status, bytes(row.body), row.headers, replayed=True)

    def store(self, tx: Tx, answer: Answer) -> Stored:
        """Write the answer beside its effect."""
        stored = answer.stored()
        values = {"status": stored.status, "body": stored.body, "headers": stored.headers}
        tx.execute(_FILL, values | {"project": self.project_id, "key": self.key})
        return stored


def claim(
    project_id: int, holder: str, key: str | None, method: str, path: str, value: Any, askers: Sequence[str] = ()
) -> Claim:
    """A claim to `key` by the holder of an API key. `askers`, where the answer holds a secret: that API key, and those
    whose answers it may see. Raises `Problem` 400 when the header is missing or malformed."""
    if key is None:
        raise Problem(
            "idempotency_key_missing", "send a fresh Idempotency-Key, and the same one when you repeat the call"
        )
    if _KEY.fullmatch(key) is None:
        raise Problem("idempotency_key_invalid")
    # Who asks is part of what is asked: another person's approval is not the first one's, nor the secrets in an answer.
    asked = [[holder, asker, value] for asker in askers] or [[holder, value]]
    first, *others = [_digest(method, path, each) for each in asked]
    return Claim(project_id, key, first, others)


def _digest(method: str, path: str, asked: list[Any]) -> str:
    return hashlib.sha256(f"{method}\n{path}\n".encode() + body.canonical(asked)).hexdigest()
