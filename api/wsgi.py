"""The app that gunicorn serves: `gunicorn --config python:api.gunicorn_conf api.wsgi:app`.

Imported once in each gunicorn worker, after the fork, so no connection is shared between processes.
"""

from __future__ import annotations

import settings as settings_module
from api.app import create_app
from jobs import bootstrap

_settings = settings_module.load()

app = create_app(bootstrap.services(_settings, pool_size=_settings.api_threads + 2), _settings)
