"""The least that a Flask route can do: the limit for everything that the API answers."""

from __future__ import annotations

from typing import Any

from flask import Flask, request

app = Flask("bare")


@app.post("/bare")
def bare() -> Any:
    return {"status": "ok", "account": request.get_json()["account"]}, 201
