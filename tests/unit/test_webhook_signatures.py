"""Signatures are those of Standard Webhooks, and secrets change without a moment in which none holds."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.webhooks.secrets import WebhookKeys, sign
from tests.receiver import Got

KEYS = WebhookKeys(b"k" * 32)
DAY = 86_400 * 1_000_000


def test_the_published_example_is_signed_as_published() -> None:
    """From the specification's own examples (svix.com "Verifying webhooks manually")."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def endpoint(**values: Any) -> Any:
    return SimpleNamespace(**({"public_id": "we_a", "secret_version": 1, "previous_secret_until": None} | values))


def signed(row: Any, now: int = 0) -> Got:
    headers = {"webhook-id": "evt_1", "webhook-timestamp": "1700000000"}
    header = KEYS.signatures(row, "evt_1", 1700000000, b'{"a":"\xc3\xa4"}', now)
    return Got("/", headers | {"webhook-signature": header}, b'{"a":"\xc3\xa4"}')


def test_a_secret_is_32_bytes_of_its_endpoint_and_version() -> None:
    secrets = {KEYS.secret(name, version) for name in ("we_a", "we_b") for version in (1, 2)}
    assert len(secrets) == 4
    assert all(len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 for secret in secrets)
    assert WebhookKeys(b"o" * 32).secret("we_a", 1) not in secrets
    with pytest.raises(ValueError, match="32 bytes"):
        WebhookKeys(b"k" * 31)


def test_a_signature_is_checked_by_a_reader_of_the_specification() -> None:
    got = signed(endpoint())
    assert got.signed_by(KEYS.secret("we_a", 1))
    assert not got.signed_by(KEYS.secret("we_b", 1))
    assert not Got(got.path, got.headers, got.body + b" ").signed_by(KEYS.secret("we_a", 1))
    assert not Got(got.path, got.headers | {"webhook-timestamp": "1700000001"}, got.body).signed_by(
        KEYS.secret("we_a", 1)
    )


def test_during_the_overlap_both_secrets_sign_and_afterwards_the_new_one_only() -> None:
    row = endpoint(secret_version=2, previous_secret_until=DAY)
    both, after = signed(row, DAY - 1), signed(row, DAY)
    assert [both.signed_by(KEYS.secret("we_a", version)) for version in (1, 2, 3)] == [True, True, False]
    assert [after.signed_by(KEYS.secret("we_a", version)) for version in (1, 2, 3)] == [False, True, False]


def test_a_second_rotation_ends_the_oldest_secret() -> None:
    got = signed(endpoint(secret_version=3, previous_secret_until=DAY))
    assert [got.signed_by(KEYS.secret("we_a", version)) for version in (1, 2, 3)] == [False, True, True]
