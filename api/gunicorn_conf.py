"""How gunicorn runs the API: threads, quick stops, bounded requests, and a folder where the processes' metrics meet."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from typing import Any

import settings as settings_module

#: Open connections of one process, most of them silent, with those that are bidden farewell; beyond it new ones wait in
#: the backlog.
CONNECTIONS_MAX = 8_000
#: Descriptors that a process needs beside its connections: database, Redis, files.
DESCRIPTORS_BESIDE = 256

_settings = settings_module.load()


def _connections() -> int:
    """As many as there may be descriptors: a listener that runs out of them serves nobody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + DESCRIPTORS_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limit = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
    return max(64, limit - DESCRIPTORS_BESIDE)


bind = f"{_settings.api_host}:{_settings.api_port}"
workers = _settings.api_workers
worker_class = "api.front.Worker"
threads = _settings.api_threads
preload_app = False  # connections are made after the fork
timeout = 120
graceful_timeout = 20
keepalive = 30
backlog = 2048
worker_connections = _connections()
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
forwarded_allow_ips = ""  # who a client is decides ProxyFix, by COFFER_TRUSTED_PROXIES
accesslog = None  # the app writes one structured line a request
loglevel = "warning"
control_socket_disable = True


def on_starting(server: Any) -> None:
    """In the master, before the first fork."""
    folder = tempfile.mkdtemp(prefix="coffer-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)
