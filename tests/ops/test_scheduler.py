"""`coffer scheduler`: one is active, the next takes over, and due tasks are woken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import Redis
from sqlalchemy import select, update

import scheduler
from devstack.redis import RedisServer
from jobs.queues import QUEUES
from ledger.schema import lease, task
from tests.ops.installation import Installation, log_of, wait_for

Install = Callable[..., Installation]


def test_a_standby_takes_over_from_a_killed_one(install: Install) -> None:
    here = install()
    first = here.start("scheduler")
    wait_for(lambda: "is active" in log_of(first), "the first to be active")
    second = here.started("scheduler")
    assert str(first.pid) in _holder(here)
    first.kill()
    wait_for(lambda: "is active" in log_of(second), "the second to take over")
    assert str(second.pid) in _holder(here)
    second.stop()
    assert second.exit_code == 0
    assert here.database.read(lambda tx: tx.value(select(lease.c.until).where(lease.c.name == "scheduler"))) == 0


def test_only_one_holds_the_lease(install: Install) -> None:
    here = install()
    one, other = scheduler.Leadership(here.database), scheduler.Leadership(here.database)
    assert one.hold()
    assert not other.hold()
    assert one.hold()
    one.give_back()
    assert other.hold()


@pytest.mark.parametrize(("name", "queue"), [("tidy", "tasks"), ("scan:monero", "monero")])
def test_due_tasks_are_woken_in_their_queue_and_others_are_not(
    install: Install, redis: Redis, redis_server: RedisServer, name: str, queue: str
) -> None:
    here = install(redis_server.url)
    here.database.run(lambda tx: tx.execute(update(task).values(due_at=tx.now + 10**12)), "test")
    here.database.run(lambda tx: tx.execute(update(task).where(task.c.name == name).values(due_at=1)), "test")
    process = here.start("scheduler")
    wait_for(lambda: redis.llen(f"rq:queue:{queue}") > 0, "the wake-up of a due task")
    assert sum(redis.llen(f"rq:queue:{other}") for other in QUEUES if other != queue) == 0
    process.stop()
    assert process.exit_code == 0


@pytest.mark.parametrize("due", [0.0, 5.0])
def test_it_looks_again_when_the_row_is_due(install: Install, due: float) -> None:
    here = install()
    moment = here.database.now() + int(due * 1_000_000)
    here.database.run(lambda tx: tx.execute(update(task).values(due_at=moment)), "test")
    wakers = scheduler.Wakers(here.database)
    wait = here.database.run(lambda tx: wakers._wake(tx, "tidy"), "test")
    assert wait is None if due == 0 else 0 < wait <= 5


def _holder(here: Installation) -> str:
    return str(here.database.read(lambda tx: tx.value(select(lease.c.owner).where(lease.c.name == "scheduler"))))
