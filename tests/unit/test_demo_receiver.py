"""The demo's receiver of webhooks: it takes what is signed as the standard says, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator

import pytest

from devstack.demo import receiver
from devstack.demo.receiver import Receiver, what_is_wrong

#: The example of the Standard Webhooks libraries.
SECRET, MESSAGE, MOMENT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY, SIGNATURE = b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {"webhook-id": MESSAGE, "webhook-timestamp": str(MOMENT), "webhook-signature": SIGNATURE}


@pytest.fixture
def at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: MOMENT + 1.0)


@pytest.fixture
def ear() -> Iterator[Receiver]:
    with Receiver() as heard:
        heard.secret = SECRET
        yield heard


def signed(message: str, body: bytes) -> dict[str, str]:
    moment = str(int(time.time()))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    code = hmac.new(key, f"{message}.{moment}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(code).decode()}"
    return {"webhook-id": message, "webhook-timestamp": moment, "webhook-signature": signature}


@pytest.mark.usefixtures("at_that_time")
def test_the_standards_own_example_is_right() -> None:
    assert what_is_wrong(SECRET, HEADERS, BODY) is None
    old_and_new = {"webhook-signature": f"v1,{'A' * 43}= v1a,x {SIGNATURE}"}
    assert what_is_wrong(SECRET, HEADERS | old_and_new, BODY) is None


@pytest.mark.usefixtures("at_that_time")
@pytest.mark.parametrize(
    ("changed", "body"),
    [
        ({"webhook-id": "msg_other"}, BODY),
        ({"webhook-timestamp": str(MOMENT + 1)}, BODY),
        ({"webhook-signature": SIGNATURE.replace("v1,", "v2,")}, BODY),
        ({"webhook-signature": "nonsense"}, BODY),
        ({}, BODY + b" "),
    ],
)
def test_what_was_changed_on_the_way_is_wrong(changed: dict[str, str], body: bytes) -> None:
    assert what_is_wrong(SECRET, HEADERS | changed, body)


def test_an_old_message_and_an_unsigned_one_are_wrong() -> None:
    assert "signed" in (what_is_wrong(SECRET, HEADERS, BODY) or "")
    assert "not a signed message" in (what_is_wrong(SECRET, {}, BODY) or "")


def test_a_message_is_kept_once_however_often_it_comes(ear: Receiver) -> None:
    body = json.dumps({"type": "escrow.funded"}).encode()
    assert [ear.hear(signed("msg_1", body), body) for _ in range(2)] == [204, 204]
    assert ear.taken == [{"type": "escrow.funded"}]


def test_refused_messages_are_not_taken(ear: Receiver) -> None:
    ear.refuse = 1
    assert [ear.hear(signed("msg_1", b"{}"), b"{}") for _ in range(2)] == [503, 204]
    assert (ear.refused, len(ear.taken)) == (["msg_1"], 1)
    assert ear.hear({}, b"{}") == 400
    assert len(ear.faults) == 1


def test_it_listens_on_this_machine_alone(ear: Receiver) -> None:
    import urllib.request

    body = b'{"n": 1}'
    asked = urllib.request.Request(ear.url, data=body, headers=signed("msg_2", body))
    with urllib.request.urlopen(asked, timeout=receiver.TOLERANCE_SECONDS) as answer:
        assert answer.status == 204
    assert ear.taken == [{"n": 1}]
    assert ear.url.startswith("http://127.0.0.1:")
