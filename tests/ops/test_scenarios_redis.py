"""Scenarios of docs/scenarios.md that no other test of a running installation plays."""

from __future__ import annotations

from collections.abc import Callable

from redis import Redis

from devstack.redis import RedisServer
from tests.ops.installation import Installation, wait_for


def test_a_full_redis_costs_a_wake_up_and_nothing_else(
    install: Callable[..., Installation], own_redis: RedisServer
) -> None:
    """B4: it refuses every command that needs memory (`OOM command not allowed`). RQ may log where that met it."""
    here = install(own_redis.url)
    customer = here.engine.funded(1_000_000)
    worker = here.started("worker", "bitcoin")
    connection = Redis.from_url(own_redis.url)
    connection.config_set("maxmemory", "1")
    paid = here.engine.withdraw(customer, 100_000)
    wait_for(lambda: here.completed(paid), "a withdrawal beside a full Redis")
    connection.config_set("maxmemory", "0")
    again = here.engine.withdraw(customer, 200_000)
    wait_for(lambda: here.completed(again), "a withdrawal afterwards")
    connection.close()
    worker.stop()
    assert worker.exit_code == 0, worker.log_tail()
    here.engine.check_invariants()
