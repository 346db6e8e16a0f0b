"""No secret survives the way into a log line."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from settings import Settings
from workers import logs
from workers.logs import REDACTED, Redaction, secrets_of

KEY = "cf_live_" + "a" * 32 + "_" + "b" * 48

SETTINGS = Settings(
    database_url=SecretStr("mysql+pymysql://coffer:pa%40ssword1@db/coffer"),
    bitcoin_wallet_passphrase=SecretStr("correct horse battery"),
    row_mac_key=SecretStr("ab" * 32),
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns the lines written so far; logging is put back afterwards."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure(SETTINGS)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(
    "text",
    [
        f"called with {KEY}",
        f"Authorization: Bearer {KEY}",
        "authorization: Basic dXNlcjpwYXNzd29yZDE=",
        "{'Authorization': 'Basic dXNlcjpwYXNzd29yZDE='}",
        "http://user:password1@127.0.0.1:8332 refused",
        "redis://:password1@127.0.0.1/0",
        "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
        "whsec_dGhpcyBpcyBhIHNlY3JldA==",
        "mysql said: access denied for coffer, pa%40ssword1",
        "decoded: pa@ssword1",
        "passphrase correct horse battery was wrong",
        "ab" * 32,
    ],
)
def test_secrets_are_taken_out_of_texts(text: str) -> None:
    shown = Redaction(secrets_of(SETTINGS)).text(text)
    assert REDACTED in shown
    for secret in ("b" * 48, "password1", "pa@ssword1", "pa%40ssword1", "dXNl", "9s21Zr", "dGhp", "horse", "abab"):
        assert secret not in shown


@pytest.mark.parametrize("name", ["passphrase", "api_secret", "Authorization", "private_key", "seed", "rpc_password"])
def test_a_secret_name_hides_its_value(name: str) -> None:
    assert Redaction()(None, "info", {"event": "x", name: "v", "inner": {name: ["v"]}}) == {
        "event": "x",
        name: REDACTED,
        "inner": {name: REDACTED},
    }


def test_what_matters_stays() -> None:
    event = {"event": "moved", "row": 7, "txid": "ab12", "saga": "payment", "detail": "no peers", "reason": None}
    assert Redaction()(None, "info", dict(event)) == event


def test_tracebacks_and_libraries_are_redacted_too(written: Any) -> None:
    try:
        raise ValueError("http://user:password1@host and correct horse battery")
    except ValueError:
        structlog.get_logger("ours").exception("it failed")
        logging.getLogger("theirs").exception("it failed for %s", "redis://:password1@host")
    assert len(written()) == 2
    whole = json.dumps(written())
    assert "ValueError" in whole
    assert "password1" not in whole
    assert "horse" not in whole


def test_lines_carry_their_context(written: Any) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_1", saga="payment", row=3):
        structlog.get_logger("ours").info("moved", txid="ab")
        logging.getLogger("theirs").warning("careful")
    for line in written():
        assert (line["request_id"], line["saga"], line["row"]) == ("req_1", "payment", 3)
        assert line["timestamp"].endswith("Z")
