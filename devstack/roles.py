"""Coffer's own processes, in the order of their start: name in a stack -> arguments of `coffer`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

#: Every chain that a stack may have.
CHAINS = ("bitcoin", "monero", "ethereum")
ROLES: Mapping[str, str] = {
    "api": "api",
    **{f"worker-{chain}": f"worker {chain}" for chain in CHAINS},
    "worker-tasks": "worker tasks",
    "scheduler": "scheduler",
}


def roles_of(chains: Collection[str]) -> dict[str, str]:
    """The processes of a stack with these chains."""
    left_out = {f"worker-{chain}" for chain in CHAINS if chain not in chains}
    return {name: role for name, role in ROLES.items() if name not in left_out}
