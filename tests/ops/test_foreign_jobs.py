"""Whatever is put into Redis: only `advance(kind, id)` ever runs, and nothing else is imported, unpickled or called."""

from __future__ import annotations

import json
import pickle
import secrets
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job
from rq.registry import clean_registries
from rq.serializers import JSONSerializer

from devstack.redis import RedisServer
from jobs import queues
from jobs.queues import FUNCTION, ForeignJob, WakeUp
from tests.ops.installation import wait_for
from workers import entry, waker

CANARY = "coffer_test_canary"


class Listening:
    """A waker in a thread, with a runtime that only takes notes."""

    def __init__(self, url: str, redis: Redis) -> None:
        self.redis = redis
        self.ran: list[tuple[str, int, bool]] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=waker.listen, args=(url, "bitcoin", self.stop), daemon=True)

    def advance(self, kind: str, row_id: int, *, woken: bool) -> None:
        if row_id == 666:
            raise RuntimeError("a crash in a job")
        self.ran.append((kind, row_id, woken))

    database: Any = None

    def put(self, job_id: str, data: bytes, **extra: Any) -> None:
        """A job as somebody with access to Redis would write it."""
        body = {"created_at": "2026-01-01T00:00:00.000000Z", "origin": "bitcoin", "status": "queued", "data": data}
        self.redis.hset(f"rq:job:{job_id}", mapping=body | extra)
        self.redis.sadd("rq:queues", "rq:queue:bitcoin")
        self.redis.rpush("rq:queue:bitcoin", job_id)

    def after_an_honest_one(self) -> None:
        """Returns when a wake-up put last has run: everything before it has been dealt with."""
        number = secrets.randbelow(10**9) + 1000
        queues.queue("bitcoin", self.redis).enqueue(FUNCTION, "payment", number, result_ttl=0)
        wait_for(lambda: ("payment", number, False) in self.ran, "an honest wake-up to run")


@pytest.fixture(scope="module")
def listener(redis_server: RedisServer) -> Iterator[Listening]:
    redis_server.flush()
    redis = Redis.from_url(redis_server.url)
    made = Listening(redis_server.url, redis)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waker, "RECONNECT_SECONDS", 0.05)
        patch.setattr(entry, "_serving", (made, "bitcoin"))
        patch.setattr("jobs.bootstrap.queue_of", lambda database, kind, row_id: "bitcoin")
        made.thread.start()
        yield made
        made.stop.set()
        made.thread.join(10)
    assert not made.thread.is_alive()
    redis.close()


@pytest.fixture
def listening(listener: Listening) -> Listening:
    listener.ran.clear()
    return listener


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """A module that could be imported; whether it was."""
    (tmp_path / f"{CANARY}.py").write_text("def sing(*a, **k):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda: CANARY in sys.modules


def call(function: str, args: list[Any], kwargs: dict[str, Any] | None = None, instance: Any = None) -> bytes:
    return json.dumps([function, instance, args, kwargs or {}]).encode()


def test_wake_ups_run_and_tasks_are_woken(listening: Listening) -> None:
    queue = queues.queue("bitcoin", listening.redis)
    queue.enqueue(FUNCTION, "task", 1, result_ttl=0)
    queue.enqueue(FUNCTION, "deposit", 2, result_ttl=0)
    wait_for(lambda: len(listening.ran) == 2, "both wake-ups")
    assert listening.ran == [("task", 1, True), ("deposit", 2, False)]


@pytest.mark.parametrize(
    ("data", "extra"),
    [
        (call(f"{CANARY}.sing", []), {}),
        (call(f"{CANARY}.sing", ["deposit", 1]), {}),
        (call(FUNCTION, ["withdrawal", 1]), {}),
        (call(FUNCTION, ["deposit", "1"]), {}),
        (call(FUNCTION, ["deposit", True]), {}),
        (call(FUNCTION, ["deposit", 0]), {}),
        (call(FUNCTION, ["deposit"]), {}),
        (call(FUNCTION, ["deposit", 1], {"woken": True}), {}),
        (call(FUNCTION, ["deposit", 1], instance="x"), {}),
        (call(FUNCTION, ["deposit", 1]), {"success_callback_name": f"{CANARY}.sing"}),
        (call(FUNCTION, ["deposit", 1]), {"failure_callback_name": f"{CANARY}.sing"}),
        (call(f"{CANARY}.sing", []), {"failure_callback_name": f"{CANARY}.sing"}),
        (call(FUNCTION, ["deposit", 1]), {"stopped_callback_name": f"{CANARY}.sing"}),
        (call(FUNCTION, ["deposit", 1]), {"retries_left": "5"}),
        (call(FUNCTION, ["deposit", 1]), {"repeats_left": "5"}),
        (b"not json", {}),
        (call(FUNCTION, ["deposit", 1]), {"status": "no such status"}),
        (call(FUNCTION, ["deposit", 1]), {"created_at": "never"}),
        (call(FUNCTION, ["deposit", 1]), {"timeout": "soon"}),
    ],
)
def test_a_foreign_job_is_dropped(
    listening: Listening, canary: Callable[[], bool], data: bytes, extra: dict[str, str]
) -> None:
    listening.put("evil", data, **extra)
    listening.after_an_honest_one()
    assert [kind for kind, _, _ in listening.ran] == ["payment"]
    assert not canary()
    assert listening.redis.llen("rq:queue:bitcoin") == 0
    assert listening.redis.zcard("rq:failed:bitcoin") == 0


def test_nothing_is_unpickled(listening: Listening, tmp_path: Path) -> None:
    mark = tmp_path / "unpickled"
    data = bomb(mark)
    listening.put("pickled", data)
    listening.put("zipped", zlib.compress(data))
    listening.put("meta", call(FUNCTION, ["deposit", 1]), meta=data, result=data)
    listening.after_an_honest_one()
    assert not mark.exists()


def test_nothing_is_unpickled_where_rq_was_told_no_serializer(redis: Redis, tmp_path: Path) -> None:
    """As some paths of RQ and of its dashboard read jobs."""
    mark = tmp_path / "unpickled"
    body = {"created_at": "2026-01-01T00:00:00.000000Z", "origin": "x", "status": "queued", "data": bomb(mark)}
    redis.hset("rq:job:plain", mapping=body | {"meta": bomb(mark), "result": bomb(mark)})
    job = Job.fetch("plain", connection=redis)
    with pytest.raises(DeserializationError):
        _ = job.func_name
    assert not mark.exists()


def test_an_unreadable_job_counts_as_none(redis: Redis) -> None:
    redis.hset("rq:job:odd", mapping={"data": "x", "origin": "x", "status": "no such status"})
    with pytest.raises(NoSuchJobError):
        WakeUp.fetch("odd", connection=redis, serializer=JSONSerializer)


def test_no_webhook_of_a_job_is_called(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr("rq.webhook.urlopen", lambda *a, **k: called.append(a))
    hooks = [{"url": "http://127.0.0.1:9/", "job_status": status} for status in ("finished", "failed")]
    listening.put("hook", call(FUNCTION, ["deposit", 1]), webhooks=json.dumps(hooks))
    listening.after_an_honest_one()
    assert called == []
    assert ("deposit", 1, False) not in listening.ran


def test_an_abandoned_foreign_job_is_cleaned_up_without_its_callback(redis: Redis, canary: Callable[[], bool]) -> None:
    """RQ's clean-up calls the failure callbacks of jobs whose worker seems to have died."""
    body = {"created_at": "2026-01-01T00:00:00.000000Z", "origin": "elsewhere", "status": "started"}
    body |= {"data": call(FUNCTION, ["deposit", 1]).decode(), "failure_callback_name": f"{CANARY}.sing"}
    redis.hset("rq:job:dead", mapping=body)
    redis.zadd("rq:wip:elsewhere", {"dead:x": 1})
    clean_registries(queues.queue("elsewhere", redis))
    assert redis.zcard("rq:wip:elsewhere") == 0
    assert not canary()


def test_a_crash_in_a_job_does_not_stop_the_worker(listening: Listening) -> None:
    queues.queue("bitcoin", listening.redis).enqueue(FUNCTION, "payment", 666, result_ttl=0, failure_ttl=60)
    listening.after_an_honest_one()


def test_commands_over_redis_are_not_obeyed(listening: Listening) -> None:
    names = [key.decode().rpartition(":")[2] for key in listening.redis.smembers("rq:workers")]
    for name in names:
        listening.redis.publish(f"rq:pubsub:{name}", json.dumps({"command": "shutdown"}))
    listening.after_an_honest_one()


def test_a_foreign_job_is_refused_by_its_class_alone(redis: Redis) -> None:
    """Also where it is not our worker that runs it."""
    job = WakeUp.create("os.getcwd", connection=redis, serializer=JSONSerializer)
    with pytest.raises(ForeignJob):
        job.perform()


def bomb(mark: Path) -> bytes:
    """A pickle that leaves a mark when it is loaded."""
    return pickle.dumps(_Bomb(mark))


class _Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self._mark,))
