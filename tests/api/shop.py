"""A shop's side of the API: calls with a key, and every answer checked against what the API says of itself."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from flask import Flask
from sqlalchemy import Row
from werkzeug.routing import RequestRedirect
from werkzeug.test import TestResponse

from api.app import RESOURCES
from api.errors import CODES
from api.signing import sign
from jobs.keys import Keyring
from ledger.db import Database

ENDPOINTS = {f"{r.name}.{e.name}": e for r in RESOURCES for e in r.endpoints}


@dataclass
class Shop:
    app: Flask
    database: Database
    ring: Keyring
    project_id: int
    key: Row[Any]
    token: str

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.call("GET", path, None, headers)

    def delete(self, path: str, **headers: str) -> TestResponse:
        return self.call("DELETE", path, None, headers)

    def post(self, path: str, body: Any = None, key: str | None = None, **headers: str) -> TestResponse:
        raw = None if body is None else json.dumps(body).encode()
        return self.call("POST", path, raw, {"Idempotency-Key": key or secrets.token_hex(8)} | headers)

    def raw(self, path: str, raw: bytes, media: str = "application/json", **headers: str) -> TestResponse:
        return self.call("POST", path, raw, {"Idempotency-Key": secrets.token_hex(8), "Content-Type": media} | headers)

    def signed(
        self, path: str, body: Any, secret: str, key: str, nonce: str | None = None, at: int | None = None
    ) -> Any:
        raw, nonce = json.dumps(body).encode(), nonce or secrets.token_hex(16)
        stamp = str(int(time.time()) if at is None else at)
        signature = sign(secret, "POST", path, stamp, nonce, key, raw)
        headers = {"X-Timestamp": stamp, "X-Nonce": nonce, "X-Signature": signature, "Idempotency-Key": key}
        return self.call("POST", path, raw, headers)

    def call(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> TestResponse:
        sent = {"Authorization": f"Bearer {self.token}"}
        if raw is not None:
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value != ""}
        answer = self.app.test_client().open(path, method=method, data=raw, headers=sent)
        check(self.app, method, path, answer)
        return answer

    def account(self, reference: str | None = None) -> str:
        answer = self.post("/v1/accounts", {"reference": reference or secrets.token_hex(6), "kind": "user"})
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])


def check(app: Flask, method: str, path: str, answer: TestResponse) -> None:
    """That an answer has the shape and the status that the OpenAPI document promises."""
    assert answer.headers["X-Request-Id"]
    if answer.status_code >= 400:
        problem = answer.json
        assert answer.content_type == "application/problem+json"
        assert (problem["status"], problem["code"] in CODES) == (answer.status_code, True), problem
        assert CODES[problem["code"]][0] == answer.status_code, problem
        return
    try:
        name, _ = app.url_map.bind("").match(path.partition("?")[0], method)
    except RequestRedirect:
        return
    endpoint = ENDPOINTS.get(name)
    if endpoint is not None and answer.status_code != 304:
        endpoint.answers[answer.status_code].model_validate(answer.json)


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]
