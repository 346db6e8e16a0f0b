"""The dashboard in a browser needs more than its page: every file that the page names must be there."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from redis import Redis
from werkzeug.test import Client

from api.app import create_app
from devstack.redis import RedisServer
from jobs import bootstrap
from settings import Settings
from tests.ops.installation import Installation

_NAMED = re.compile(r'(?:href|src)="([^"#]+\.(?:css|js|ico|png|svg)[^"]*)"')


def test_every_file_that_the_dashboard_names_is_served_with_its_type(
    install: Callable[..., Installation], redis_server: RedisServer, redis: Redis
) -> None:
    installation = install(redis_server.url)
    key = installation.said("keys", "create", "--project", "ops", "--name", "o", "--holder", "ada", "--scope", "admin")
    token = re.search(r"cf_test_\w+", key)
    assert token is not None
    given = {name.removeprefix("COFFER_").lower(): value for name, value in installation.environment.items()}
    settings = Settings.model_validate(given)
    client = Client(create_app(bootstrap.services(settings), settings))
    login = {"Authorization": "Basic " + b64encode(f"ada:{token.group(0)}".encode()).decode()}
    page = client.get("/ops/rq/", headers=login)
    assert page.status_code == 200
    named = {urlsplit(urljoin("/ops/rq/", name)).path for name in _NAMED.findall(page.get_data(as_text=True))}
    assert len(named) >= 5
    kinds = {".css": "text/css", ".js": "text/javascript"}
    for path in sorted(named):
        answer = client.get(path, headers=login)
        assert answer.status_code == 200, path
        expected = kinds.get(path[path.rindex(".") :], "image/")
        assert (answer.content_type or "").startswith(expected), (path, answer.content_type)
