"""A shop that calls the HTTP API and repeats every call, under the same key, until it has an answer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flask import Flask


class Client:
    """Calls have names; a name is also the Idempotency-Key and the reference. What was answered is on the shop's own
    disk, so that a shop and its Coffer may die at the same moment."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "client.json"
        self._memory: dict[str, Any] = {"tokens": {}, "calls": {}, "notes": {}}
        if self._path.exists():
            self._memory = json.loads(self._path.read_text())

    def post(self, app: Flask, name: str, path: str, body: dict[str, Any] | None, holder: str = "ann") -> Any:
        """The answer's body. A repeat must bring the very answer that came before."""
        answer = self._send(app, name, path, body, holder)
        if answer["status"] >= 400:
            raise AssertionError(f"{name}: POST {path} answered {answer}")
        self._memory["calls"][name] = {"path": path, "body": body, "holder": holder, "answer": answer}
        self._save()
        return answer["body"]

    def repeat_all(self, app: Flask) -> list[str]:
        """Send every call again; names of those whose answer differs from the first (I8)."""
        return [
            name
            for name, call in self._memory["calls"].items()
            if self._send(app, name, call["path"], call["body"], call["holder"]) != call["answer"]
        ]

    def id_of(self, name: str) -> str:
        """The id that a named call was answered with."""
        return str(self._memory["calls"][name]["answer"]["body"]["id"])

    def answer_of(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._memory["calls"][name]["answer"]["body"]
        return found

    def names(self, path: str) -> list[str]:
        """The calls that went to a path."""
        return [name for name, call in self._memory["calls"].items() if call["path"] == path]

    def token(self, holder: str) -> str:
        return str(self._memory["tokens"][holder])

    def give_key(self, holder: str, token: str) -> None:
        self._memory["tokens"][holder] = token
        self._save()

    def note(self, name: str, value: str) -> None:
        """Remember something that is no answer, such as the id of an outsider's transaction."""
        self._memory["notes"][name] = value
        self._save()

    def noted(self, name: str) -> str:
        return str(self._memory["notes"][name])

    @property
    def notes(self) -> dict[str, str]:
        found: dict[str, str] = self._memory["notes"]
        return found

    def _send(self, app: Flask, name: str, path: str, body: dict[str, Any] | None, holder: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._memory['tokens'][holder]}", "Idempotency-Key": name}
        answer = app.test_client().post(path, json=body, headers=headers)
        return {"status": answer.status_code, "body": answer.get_json()}

    def _save(self) -> None:
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(self._memory))
        os.replace(draft, self._path)
