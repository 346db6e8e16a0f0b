"""The world of each kind of chain."""

from __future__ import annotations

from flask import Flask

from tests.faults.place import Place
from tests.faults.world import World
from tests.faults.world_trades import TradeWorld


def world(place: Place, app: Flask | None = None) -> World:
    return (TradeWorld if place.kind == "trades" else World)(place, app)
