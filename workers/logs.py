"""Logging of every process: structlog over stdlib, one line an event on stderr, secrets taken out on the way.

Context travels in contextvars: `request_id` in the API, `saga` and `row` in the workers. Whatever is logged, by us or
by a library, passes `Redaction` last, tracebacks included.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import SecretStr
from structlog.typing import Processor

from settings import Settings

REDACTED = "[redacted]"

#: A value under such a name is never shown, whatever it is.
_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|authorization|cookie|(private|view|spend|tx)_?key|api_?key$|token$|seed|mnemonic|signature",
    re.IGNORECASE,
)

#: Shapes of secrets, wherever they stand. The first group of each is kept.
_SECRET_SHAPES = (
    re.compile(r"(\bcf_(?:test|live)_[0-9a-f]{32})_[0-9a-f]{48}"),
    re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@'\"]*@"),
    re.compile(r"(\bauthorization['\"]?\s*[:=]\s*['\"]?)(?:(?:bearer|basic|digest)\s+)?[^\s'\",}]+", re.IGNORECASE),
    re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(\b[xt])prv[1-9A-HJ-NP-Za-km-z]{50,}"),
    re.compile(r"(\bwhsec_)[A-Za-z0-9+/=]+"),
    re.compile(r"(\bhv[sb]\.)[A-Za-z0-9_-]{8,}"),
)


class Redaction:
    """A structlog processor that knows this process's own secrets and the shapes of others'."""

    def __init__(self, known: frozenset[str] = frozenset()) -> None:
        # The longest first: one secret may be part of another.
        self._known = sorted((text for text in known if len(text) >= 8), key=len, reverse=True)

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {name: self._value(name, value) for name, value in event.items()}

    def _value(self, name: str, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if _SECRET_NAME.search(name):
            return REDACTED
        if isinstance(value, Mapping):
            return {str(key): self._value(str(key), inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(name, inner) for inner in value]
        return self.text(value if isinstance(value, str) else repr(value))

    def text(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._known:
            text = text.replace(secret, REDACTED)
        for shape in _SECRET_SHAPES:
            text = shape.sub(rf"\1{REDACTED}", text)
        return text


def configure(settings: Settings) -> None:
    """Set up logging for a process that runs for long, once, before anything is logged."""
    _install(settings.log_format, settings.log_level.upper(), Redaction(secrets_of(settings)))


def configure_command() -> None:
    """Set up logging for an operator's command: warnings only, for people, on stderr."""
    _install("console", "WARNING", Redaction())


def secrets_of(settings: Settings) -> frozenset[str]:
    """Every secret value of the settings, and the passwords inside those that are URLs."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            found |= {text, *_passwords(text)} if "://" in text else {text}
    return frozenset(found)


def _passwords(url: str) -> set[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return set()
    return set() if password is None else {password, unquote(password)}


def _install(form: str, level: str, redaction: Redaction) -> None:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redaction,
                _renderer(form),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    _quieten(level)


def _renderer(form: str) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(sort_keys=False, default=str)
    plain = structlog.dev.plain_traceback  # the pretty one would show local variables
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)


def _quieten(level: str) -> None:
    """Libraries that tell of every step are heard from warnings on, unless someone asked for all."""
    if level == "DEBUG":
        return
    for name in ("rq", "rq.worker", "rq.job", "apscheduler", "alembic", "urllib3", "web3", "websockets"):
        logging.getLogger(name).setLevel(logging.WARNING)
