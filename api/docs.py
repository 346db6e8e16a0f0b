"""/openapi.json and the pages made from it. They need no key, load nothing from outside, and say nothing secret."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from flask import Blueprint, Flask, Response, request, send_from_directory

from api.answers import dump, etag
from api.endpoints import Resource
from api.errors import CODES
from api.openapi import document

_STATIC = Path(__file__).parent / "static"

_CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
_CSP += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_FILES = {"init.js": "init.js"} | {
    name: f"swagger-ui/{name}" for name in ("swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE")
}

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>{head}</head>
<body>{body}</body>
</html>
"""


def install(app: Flask, resources: Sequence[Resource]) -> None:
    """The document is made once: a mistake in a model shows at start."""
    spec = dump(document(resources))
    blueprint = Blueprint("docs", __name__)

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        response = Response(spec, content_type="application/json")
        response.headers["ETag"] = etag(spec)
        return response.make_conditional(request)

    blueprint.add_url_rule("/docs", "page", _page)
    blueprint.add_url_rule("/docs/problems", "problems", _problems)
    blueprint.add_url_rule("/docs/<name>", "file", _file)
    app.register_blueprint(blueprint)


def _page() -> Response:
    head = '<link rel="stylesheet" href="/docs/swagger-ui.css">'
    body = (
        '<div id="docs"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/init.js"></script>'
    )
    return _html("Coffer API", head, body)


def _problems() -> Response:
    """Every code with its status: the `type` of a problem points here."""
    rows = "".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{status}</td><td>{escape(title)}</td></tr>'
        for code, (status, title) in CODES.items()
    )
    table = f"<table><thead><tr><th>code</th><th>status</th><th>meaning</th></tr></thead><tbody>{rows}</tbody></table>"
    return _html("Coffer API problems", "", f"<h1>Problems</h1>{table}")


def _file(name: str) -> Response:
    response = send_from_directory(_STATIC, _FILES.get(name, "none"), max_age=3600)
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _html(title: str, head: str, body: str) -> Response:
    response = Response(_PAGE.format(title=title, head=head, body=body), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _CSP
    return response
