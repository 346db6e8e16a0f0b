"""What breaks, and when: drawn from a seed before anything starts, so that one seed is one plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

#: Seconds between two acts, short ones more often.
GAP_MIN_SECONDS, GAP_MAX_SECONDS = 5, 40

#: kind -> how often, in parts.
KINDS: Mapping[str, int] = {
    "kill": 46, "end": 18, "stop": 10, "lose_reply": 10, "cut": 6, "mute": 4, "slow": 4, "flush": 3, "reorg": 9,
}  # fmt: skip

#: What may be killed, stopped or asked to end. anvil loses its chain when it is killed: it is only asked to end.
VICTIMS = (
    "api", "worker-bitcoin", "worker-bitcoin-2", "worker-monero", "worker-ethereum", "worker-tasks", "worker-rates",
    "worker-webhooks", "scheduler", "scheduler-2", "redis", "mariadb", "bitcoind", "monerod", "monero-wallet-rpc",
    "anvil",
)  # fmt: skip
FRAGILE = ("anvil",)

#: (role, server) -> what a request that matters holds. The answer to one of these may be lost.
REQUESTS: Mapping[tuple[str, str], Sequence[bytes]] = {
    ("shop", "api"): (b"POST /v1/withdrawals", b"POST /v1/transfers", b"POST /v1/escrows", b"POST /v1/swaps"),
    ("api", "database"): (b"COMMIT", b"INSERT INTO"),
    ("worker-tasks", "database"): (b"COMMIT",),
    ("worker-bitcoin", "bitcoind"): (b"sendrawtransaction", b"lockunspent", b"walletprocesspsbt"),
    ("worker-bitcoin", "database"): (b"COMMIT", b"UPDATE payment", b"INSERT INTO candidate"),
    ("worker-monero", "monero-wallet-rpc"): (b"relay_tx", b'"transfer"', b'"store"', b'"freeze"', b"create_address"),
    ("worker-monero", "monerod"): (b"get_transactions", b"is_key_image_spent"),
    ("worker-monero", "database"): (b"COMMIT", b"UPDATE payment"),
    ("worker-ethereum", "anvil"): (b"eth_sendRawTransaction",),
    ("worker-ethereum", "database"): (b"COMMIT", b"UPDATE payment", b"UPDATE sweep"),
    ("scheduler", "database"): (b"COMMIT",),
    ("scheduler", "redis"): (b"EVALSHA", b"RPUSH", b"LPUSH"),
}
#: Wires that are cut, muted or slowed.
WIRES = (
    *REQUESTS,
    ("api", "redis"), ("worker-bitcoin", "redis"), ("worker-monero", "redis"), ("worker-ethereum", "redis"),
    ("monero-wallet-rpc", "monerod"),
)  # fmt: skip

#: Deeper than what makes a small deposit money: 1, 12 and 12 confirmations. Monero's goes as far as was once seen.
DEPTHS: Mapping[str, tuple[int, int]] = {"bitcoin": (2, 8), "monero": (2, 14), "ethereum": (2, 16)}


@dataclass(frozen=True)
class Act:
    """One thing that breaks, and for how long."""

    at_seconds: float
    kind: str
    target: tuple[str, ...]  #: a process, a wire, or a chain
    seconds: float = 0.0
    request: bytes = b""
    depth: int = 0
    spent_again: bool = False  #: of a reorganisation: some payers take their money back in it

    @property
    def told(self) -> str:
        what = " > ".join(self.target)
        more = [
            f"{self.seconds:.0f} s" if self.seconds else "",
            self.request.decode(),
            f"{self.depth} blocks" if self.depth else "",
            "some payers pay themselves instead" if self.spent_again else "",
        ]
        return " ".join([self.kind, what, *filter(None, more)]).strip()


def plan(seed: int, seconds: float, *, mariadb: bool, only: Sequence[str] = ()) -> list[Act]:
    """All acts of a soak of that length. A soak on SQLite has no server to kill and no wire to it. `only` these kinds:
    to look closely at what one of them does."""
    random = Random(f"soak {seed}")
    acts, at = [], float(GAP_MIN_SECONDS)
    while at < seconds:
        act = _act(random, at, only or list(KINDS))
        if mariadb or not {"mariadb", "database"} & set(act.target):
            acts.append(act)
        at += GAP_MIN_SECONDS + (GAP_MAX_SECONDS - GAP_MIN_SECONDS) * random.random() ** 2
    return acts


def _act(random: Random, at: float, kinds: Sequence[str]) -> Act:
    kind = random.choices(kinds, [KINDS[kind] for kind in kinds])[0]
    seconds = round(random.uniform(3, 25), 1)  # some longer than a lease
    if kind == "kill":
        return Act(at, kind, (random.choice([name for name in VICTIMS if name not in FRAGILE]),))
    if kind == "end":
        return Act(at, kind, (random.choice((*VICTIMS, *FRAGILE, *FRAGILE)),))
    if kind == "stop":
        return Act(at, kind, (random.choice(VICTIMS),), seconds)
    if kind == "flush":
        return Act(at, kind, ("redis",))
    if kind == "reorg":
        chain = random.choice(list(DEPTHS))
        return Act(at, kind, (chain,), depth=random.randint(*DEPTHS[chain]), spent_again=random.random() < 0.6)
    if kind == "lose_reply":
        wire = random.choice(list(REQUESTS))
        return Act(at, kind, wire, request=random.choice(REQUESTS[wire]))
    wire = random.choice(WIRES)
    return Act(at, kind, wire, seconds if kind != "slow" else 2 * seconds)
