"""The signer's daily cap: what fits it leaves, whatever else waits beside it."""

from __future__ import annotations

from tests.flows.engine import Engine


def test_a_batch_above_the_cap_leaves_in_part(engine: Engine) -> None:
    """All of it together is above the cap for ever: together nobody would ever be paid."""
    engine.services.require_signer()._caps["BTC"] = 400_000
    account = engine.funded(3_000_000)
    ids = [engine.withdraw(account, units) for units in (90_000, 80_000, 300_000, 100_000)]
    engine.tick(2)
    states = [engine.state(row_id) for row_id in ids]
    assert states.count("broadcast") >= 2, states
    assert set(states) <= {"broadcast", "queued"}
    engine.chain.mine(3)
    engine.tick()
    assert "completed" in {engine.state(row_id) for row_id in ids}
    engine.check_invariants()
