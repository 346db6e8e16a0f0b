"""How gunicorn runs the API: threads, quick stops, bounded requests, and a folder where the processes' metrics meet."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import settings as settings_module

_settings = settings_module.load()

bind = f"{_settings.api_host}:{_settings.api_port}"
workers = _settings.api_workers
worker_class = "gthread"
threads = _settings.api_threads
preload_app = False  # connections are made after the fork
timeout = 120
graceful_timeout = 20
keepalive = 30
backlog = 512
worker_connections = 1000
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
