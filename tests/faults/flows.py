"""All flows and the states that they begin with, by name."""

from __future__ import annotations

from tests.faults import flows_bitcoin, flows_ethereum, flows_monero, flows_trades
from tests.faults.flow import Flow, Start

_MODULES = (flows_bitcoin, flows_ethereum, flows_monero, flows_trades)

STARTS: dict[str, Start] = {start.name: start for module in _MODULES for start in module.STARTS}
FLOWS: dict[str, Flow] = {flow.name: flow for module in _MODULES for flow in module.FLOWS}
