"""`coffer worker` as a process: it works, with and without Redis, and ends as it should."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from redis import Redis
from sqlalchemy import select

from devstack.redis import RedisServer
from jobs import queues
from ledger.db import Tx
from ledger.schema import alarm, chain
from tests.ops.installation import ROW_MAC_KEY, Installation, log_of, wait_for

Install = Callable[..., Installation]


def test_withdrawals_complete_without_any_redis(install: Install) -> None:
    here = install()
    customer = here.engine.funded(1_000_000)
    worker = here.started("worker", "bitcoin")
    paid = here.engine.withdraw(customer, 100_000)
    wait_for(lambda: here.completed(paid), "the withdrawal")
    worker.stop()
    assert worker.exit_code == 0, worker.log_tail()
    assert '"clean": true' in log_of(worker)


def test_a_stop_in_the_middle_of_work_loses_and_repeats_nothing(install: Install) -> None:
    here = install()
    customer = here.engine.funded(5_000_000)
    payees = [here.chain.outside_address() for _ in range(4)]
    worker = here.started("worker", "bitcoin")
    paid = []
    for number, payee in enumerate(payees, start=1):
        wait_for(lambda n=number: log_of(worker).count("worker started") == n, "the worker to start")
        paid.append(here.engine.withdraw(customer, 100_000, payee))
        worker.stop(grace_seconds=15)
        assert worker.exit_code == 0, worker.log_tail()
        worker.start()
    wait_for(lambda: here.completed(*paid), "every withdrawal")
    assert [here.chain.received(payee) for payee in payees] == [100_000] * 4
    worker.stop()
    here.engine.check_invariants()


@pytest.mark.parametrize("dialect", ["sqlite", "mariadb"])
def test_two_workers_and_two_schedulers_pay_once(install: Install, redis_server: RedisServer, dialect: str) -> None:
    here = install(redis_server.url, dialect=dialect)
    customer = here.engine.funded(5_000_000)
    roles = (("worker", "bitcoin"), ("worker", "bitcoin"), ("worker", "tasks"), ("scheduler",), ("scheduler",))
    processes = [here.start(*role) for role in roles]
    payees = [here.chain.outside_address() for _ in range(8)]
    paid = [here.engine.withdraw(customer, 100_000 + i, payee) for i, payee in enumerate(payees)]
    wait_for(lambda: here.completed(*paid), "eight withdrawals")
    assert [here.chain.received(payee) for payee in payees] == [100_000 + i for i in range(8)]
    for process in processes:
        process.stop()
    assert [process.exit_code for process in processes] == [0] * 5, [p.log_tail(5) for p in processes]
    here.engine.check_invariants()


def test_redis_may_be_flushed_and_killed_while_withdrawals_run(install: Install, own_redis: RedisServer) -> None:
    here = install(own_redis.url)
    customer = here.engine.funded(5_000_000)
    worker, scheduler = here.started("worker", "bitcoin"), here.started("scheduler")
    first = here.engine.withdraw(customer, 100_000)
    own_redis.flush()
    second = here.engine.withdraw(customer, 200_000)
    wait_for(lambda: here.completed(first, second), "withdrawals after a flush")
    own_redis.kill()
    third = here.engine.withdraw(customer, 300_000)
    wait_for(lambda: here.completed(third), "a withdrawal without Redis")
    wait_for(lambda: "redis is away" in log_of(worker), "a word about it")
    own_redis.start()
    wait_for(lambda: "redis is back" in log_of(worker), "the worker to reconnect by itself")
    connection = Redis.from_url(own_redis.url)
    queues.queue("bitcoin", connection).enqueue(queues.FUNCTION, "deposit", 1, result_ttl=0)
    wait_for(lambda: queues.queue("bitcoin", connection).count == 0, "a wake-up to be taken")
    connection.close()
    worker.stop()
    scheduler.stop()
    assert (worker.exit_code, scheduler.exit_code) == (0, 0), worker.log_tail()
    here.engine.check_invariants()
    logs = log_of(worker) + log_of(scheduler)
    assert own_redis.password not in logs
    assert ROW_MAC_KEY not in logs
    assert "Traceback" not in logs


def test_a_worker_waits_for_its_node_and_says_so(install: Install) -> None:
    here = install()
    customer = here.engine.funded(1_000_000)
    here.database.run(lambda tx: tx.execute(chain.update().values(health_at=None, health_reason=None)), "test")
    here.chain.down()
    worker = here.start("worker", "bitcoin")
    wait_for(lambda: _reason(here) == "unreachable", "the reason in the chain's row")
    assert here.database.read(_open_alarms) == ["node_not_ready"]
    here.chain.up()
    paid = here.engine.withdraw(customer, 100_000)
    wait_for(lambda: here.completed(paid), "the withdrawal once the node is back")
    wait_for(lambda: _reason(here) is None and not here.database.read(_open_alarms), "the alarm to be cleared")
    worker.stop()


def test_a_stop_is_heard_while_the_node_is_waited_for(install: Install) -> None:
    here = install()
    here.chain.down()
    worker = here.start("worker", "bitcoin")
    wait_for(lambda: "cannot be used yet" in log_of(worker), "the first try")
    worker.stop(grace_seconds=10)
    assert worker.exit_code == 0


def test_another_network_ends_the_worker_with_a_clear_message(install: Install) -> None:
    here = install()
    here.database.run(lambda tx: tx.execute(chain.update().values(genesis_hash="0" * 64)), "test")
    worker = here.start("worker", "bitcoin")
    wait_for(lambda: not worker.alive, "the worker to end")
    assert worker.exit_code == 1
    assert "made for another chain" in log_of(worker)
    assert _reason(here) in (None, "wrong_network")


def test_a_second_signal_ends_the_worker_on_the_spot(install: Install) -> None:
    here = install()
    worker = here.started("worker", "bitcoin")
    worker.pause()  # both signals are delivered together, as with an impatient operator
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(worker.pid, number)
    worker.resume()
    wait_for(lambda: not worker.alive, "the worker to end", seconds=5)
    assert worker.exit_code in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT)  # whichever was taken second


def _reason(here: Installation) -> str | None:
    return here.database.read(lambda tx: tx.value(select(chain.c.health_reason)))


def _open_alarms(tx: Tx) -> list[str]:
    return [row.name for row in tx.all(select(alarm.c.name).where(alarm.c.open == 1))]
