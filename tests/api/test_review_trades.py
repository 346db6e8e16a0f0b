"""Calls at the same moment on one escrow, over the API."""

from __future__ import annotations

from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest

from api.call import Call
from tests.api.shop import Shop
from tests.api.test_escrows import Fund, Side
from tests.api.test_idempotency import at_once


@pytest.fixture
def side(shop: Shop, fund: Fund) -> Side:
    return Side(shop, fund)


def test_of_two_calls_with_one_etag_at_the_same_moment_one_is_done(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/v1/escrows/{side.funded(amount='0.1')['id']}"
    tag = side.shop.get(path).headers["ETag"]
    both, judged = Barrier(2), Call.require_match

    def judge(call: Call, shown: dict[str, Any]) -> None:
        """Neither goes on before the other has been judged, unless that has to wait for the first one's end."""
        judged(call, shown)
        with suppress(BrokenBarrierError):
            both.wait(1)

    monkeypatch.setattr(Call, "require_match", judge)

    def release(_: int) -> int:
        return int(side.shop.post(f"{path}/release", {"amount": "0.01"}, If_Match=tag).status_code)

    assert sorted(at_once(2, release)) == [200, 412]
    assert side.available(side.vendor) == 1_000_000
