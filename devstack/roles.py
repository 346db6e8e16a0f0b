"""Coffer's own processes, in the order of their start: name in a stack -> arguments of `coffer`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

#: Every chain that a stack may have.
CHAINS = ("bitcoin", "monero", "ethereum")
ROLES: Mapping[str, str] = {
    "api": "api",
    **{f"worker-{chain}": f"worker {chain}" for chain in CHAINS},
    "worker-tasks": "worker tasks",
    "worker-rates": "worker rates",
    "worker-webhooks": "worker webhooks",
    "scheduler": "scheduler",
}
#: The workers that call strangers: exchanges and shops. Most tests need neither, and each takes seconds to start.
OUTWARD = frozenset({"worker-rates", "worker-webhooks"})


def roles_of(chains: Collection[str], *, outward: bool = True) -> dict[str, str]:
    """The processes of a stack with these chains, and `outward` also with the workers that call strangers."""
    left_out = {f"worker-{chain}" for chain in CHAINS if chain not in chains}
    left_out |= frozenset() if outward else OUTWARD
    return {name: role for name, role in ROLES.items() if name not in left_out}
