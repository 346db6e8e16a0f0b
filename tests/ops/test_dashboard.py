"""/ops/rq: the dashboard works with real jobs, for operators only, and no link of it changes anything."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import sync_playwright
from redis import Redis
from werkzeug.serving import make_server

from api.app import create_app
from devstack.redis import RedisServer
from jobs import bootstrap, queues
from ledger.schema import audit
from settings import Settings
from tests.ops.installation import Installation, wait_for
from tests.ops.test_foreign_jobs import bomb
from workers import waker

Install = Callable[..., Installation]
OURS = {"Origin": "http://localhost"}


class Operator:
    """A browser with a key in its password box."""

    def __init__(self, here: Installation, *scopes: str) -> None:
        self.here = here
        named = [part for scope in scopes for part in ("--scope", scope)]
        made = here.said("keys", "create", "--project", "house", "--name", "x", "--holder", "alice", "--json", *named)
        self.key_id, self.key = json.loads(made)["id"], json.loads(made)["key"]
        variables = {name.removeprefix("COFFER_").lower(): value for name, value in here.environment.items()}
        settings = Settings(**variables)
        services = bootstrap.services(settings, here.database)
        self.client: FlaskClient = create_app(services, settings).test_client()

    @property
    def login(self) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"operator:{self.key}".encode()).decode()}


@pytest.fixture
def operator(install: Install, redis: Redis, redis_server: RedisServer) -> Iterator[Operator]:
    made = Operator(install(redis_server.url), "admin")
    yield made
    made.here.database.on_commit = None


@pytest.fixture
def job_id(redis: Redis) -> str:
    """A worker, one queued and one failed wake-up; the id of the queued one."""
    waker.Waker("bitcoin", redis, threading.Event()).register_birth()
    queue = queues.queue("bitcoin", redis)
    failed = queue.enqueue(queues.FUNCTION, "deposit", 7)
    queue.failed_job_registry.add(failed, ttl=60, exc_string="Traceback: as it happened")
    redis.delete(queue.key)
    return str(queue.enqueue(queues.FUNCTION, "deposit", 8).id)


def test_every_page_answers(operator: Operator, job_id: str) -> None:
    pages = ["/", "/0/view/workers", "/0/view/jobs", f"/0/view/job/{job_id}"]
    pages += ["/0/data/queues.json", "/0/data/workers.json", f"/0/data/job/{job_id}.json", "/favicon.ico"]
    for registry in ("queued", "failed", "deferred", "started", "finished", "scheduled", "canceled"):
        pages += [f"/0/{kind}/jobs/bitcoin/{registry}/8/asc/1{end}" for kind, end in (("view", ""), ("data", ".json"))]
    for page in [*pages, "/static/js/jquery-3.5.1.min.js"]:
        answer = operator.client.get(f"/ops/rq{page}", headers=operator.login)
        assert answer.status_code == 200, (page, answer.get_data(as_text=True)[:300])
    listed = operator.client.get("/ops/rq/0/data/jobs/bitcoin/queued/8/asc/1.json", headers=operator.login).get_json()
    assert [job["id"] for job in listed["jobs"]] == [job_id]


def test_its_pages_carry_their_own_policy(operator: Operator, job_id: str) -> None:
    answer = operator.client.get("/ops/rq/", headers=operator.login)
    policy = answer.headers["Content-Security-Policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    html = answer.get_data(as_text=True)
    assert nonce
    assert html.count("<script") == html.count(f'<script nonce="{nonce}"')
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert operator.here.environment["COFFER_REDIS_URL"] not in html
    assert "unsafe-eval" not in operator.client.get("/healthz").headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/", "/0/data/queues.json", "/requeue/bitcoin", "/no/such/page", ""])
def test_nobody_sees_anything_without_a_key(operator: Operator, path: str) -> None:
    for headers in ({}, {"Authorization": "Basic " + base64.b64encode(b"a:b").decode()}, {"Authorization": "Basic ?"}):
        answer = operator.client.get(f"/ops/rq{path}", headers=headers)
        assert answer.status_code == 401
        assert "Basic" in answer.headers["WWW-Authenticate"]


def test_a_key_without_the_operators_scope_is_refused(operator: Operator) -> None:
    other = Operator(operator.here, "accounts:read", "withdrawals:approve")
    assert other.client.get("/ops/rq/", headers=other.login).status_code == 403


def test_a_revoked_key_changes_nothing(operator: Operator, job_id: str, redis: Redis) -> None:
    assert operator.client.get("/ops/rq/", headers=operator.login).status_code == 200
    operator.here.said("keys", "revoke", operator.key_id)
    answer = operator.client.post(f"/ops/rq/job/{job_id}/delete", headers=operator.login | OURS)
    assert answer.status_code == 401
    assert redis.exists(f"rq:job:{job_id}")


def test_no_get_changes_anything(operator: Operator, job_id: str, redis: Redis) -> None:
    paths = ["/requeue/bitcoin", f"/job/{job_id}/delete", f"/job/{job_id}/requeue"]
    paths += ["/queue/bitcoin/queued/empty", "/queue/bitcoin/compact"]
    before = _stored(redis)
    for path in paths:
        for method in ("GET", "HEAD"):
            answer = operator.client.open(f"/ops/rq{path}", method=method, headers=operator.login | OURS)
            assert answer.status_code == 405, (method, path)
    assert _stored(redis) == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Referer": "https://evil.example/ops/rq/"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_post_from_elsewhere_is_refused(
    operator: Operator, job_id: str, redis: Redis, headers: dict[str, str]
) -> None:
    before = _stored(redis)
    for path in ("/requeue/bitcoin", f"/job/{job_id}/delete", "/queue/bitcoin/queued/empty"):
        assert operator.client.post(f"/ops/rq{path}", headers=operator.login | headers).status_code == 403
    assert _stored(redis) == before


def test_an_operators_act_is_in_the_audit_log(operator: Operator, job_id: str, redis: Redis) -> None:
    answer = operator.client.post(f"/ops/rq/job/{job_id}/delete", headers=operator.login | OURS)
    assert (answer.status_code, answer.get_json()) == (200, {"status": "OK"})
    assert not redis.exists(f"rq:job:{job_id}")
    act = operator.here.engine.rows(audit)[-1]
    assert (act.actor, act.action) == (f"key:{operator.key_id}", "rq.delete_job_view")
    assert job_id in act.target


def test_guessing_is_slowed_down(operator: Operator) -> None:
    wrong = {"Authorization": "Basic " + base64.b64encode(b"operator:wrong").decode()}
    answers = [operator.client.get("/ops/rq/", headers=wrong).status_code for _ in range(25)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert operator.client.get("/healthz").status_code == 200


def test_what_redis_holds_is_never_unpickled_by_a_page(
    operator: Operator, redis: Redis, tmp_path: Path, job_id: str
) -> None:
    mark = tmp_path / "unpickled"
    body = {"created_at": "2026-01-01T00:00:00.000000Z", "origin": "bitcoin", "status": "queued"}
    redis.hset("rq:job:bad", mapping=body | {"data": bomb(mark), "meta": bomb(mark), "result": bomb(mark)})
    redis.rpush("rq:queue:bitcoin", "bad")
    for page in ("/0/view/job/bad", "/0/data/job/bad.json", "/0/data/jobs/bitcoin/queued/8/asc/1.json"):
        operator.client.get(f"/ops/rq{page}", headers=operator.login)
    operator.client.post("/ops/rq/job/bad/requeue", headers=operator.login | OURS)
    assert not mark.exists()


def test_without_redis_it_says_so(install: Install) -> None:
    operator = Operator(install(), "admin")
    assert operator.client.get("/ops/rq/").status_code == 401
    answer = operator.client.get("/ops/rq/0/data/queues.json", headers=operator.login)
    assert answer.status_code == 503
    assert "no Redis" in answer.get_data(as_text=True)


def test_with_redis_away_it_says_so(install: Install, own_redis: RedisServer) -> None:
    operator = Operator(install(own_redis.url), "admin")
    own_redis.kill()
    for page in ("/0/data/queues.json", "/0/view/workers"):
        assert operator.client.get(f"/ops/rq{page}", headers=operator.login).status_code == 503
    operator.here.database.on_commit = None


def _stored(redis: Redis) -> dict[bytes, object]:
    """Queues and registries; the limiter's counters come and go."""
    found: dict[bytes, object] = {}
    for key in sorted(redis.keys("rq:*")):
        kind = redis.type(key)
        read = {b"list": lambda k: redis.lrange(k, 0, -1), b"zset": lambda k: redis.zrange(k, 0, -1)}.get(kind)
        found[key] = read(key) if read is not None else kind
    return found


def test_it_works_in_a_browser(operator: Operator, job_id: str, redis: Redis) -> None:
    """Its scripts run under our policy, and its own buttons come through."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    server = make_server("127.0.0.1", 0, operator.client.application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(http_credentials={"username": "operator", "password": operator.key})
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.port}/ops/rq/0/view/jobs/bitcoin/queued/8/asc/1")
        page.get_by_text(job_id).wait_for()
        page.locator("[data-role=delete-job-btn]").click()
        page.locator("#confirmation-modal-yes").click()
        wait_for(lambda: not redis.exists(f"rq:job:{job_id}"), "the job to be deleted by its button")
        browser.close()
    server.shutdown()
    assert [text for text in problems if "401" not in text] == []  # it asks without the key first
