"""The bench of trades does what it says: real swaps and releases, none of which fails."""

from __future__ import annotations

import pytest

from bench import trades


def test_every_swap_and_release_of_a_round_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trades, "THREADS", (2,))
    monkeypatch.setattr(trades, "READY", {"swap": 400, "escrow": 100})
    rows = trades.measure("sqlite", rounds=1, seconds=0.1)
    assert [row.name.partition(",")[0] for row in rows] == ["swaps between balances", "escrow releases"]
    for row in rows:
        assert row.remark == ""
        assert row.median > 0
        assert set(row.limits) == {"bare transaction", "the same on a hot account"}
