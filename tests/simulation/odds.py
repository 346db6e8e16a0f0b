"""How likely each kind of trouble is in a run: drawn by the seed, so that many runs have much of one kind and none of
another, and troubles are met alone as well as together."""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random

#: name -> (how many runs have it at all, the least, the most), drawn evenly by logarithm.
_RANGES: dict[str, tuple[float, float, float]] = {
    "die": (0.5, 0.001, 0.03),
    "switch": (0.6, 0.01, 0.3),
    "stop": (0.5, 0.05, 0.5),
    "database": (0.3, 0.002, 0.03),
    "lie": (0.5, 0.02, 0.4),
    "lost_wake": (0.5, 0.1, 1.0),
    "twice_wake": (0.4, 0.05, 0.5),
    "reorg": (0.5, 0.02, 0.15),
    "forget": (0.4, 0.02, 0.15),
    "replace": (0.4, 0.05, 0.3),
    "haunt": (0.4, 0.02, 0.2),
    "jump": (0.3, 0.01, 0.05),
    "down": (0.2, 0.01, 0.05),
}


@dataclass(slots=True)
class Odds:
    """Chances at each place or step; what they are chances of stands where they are used."""

    die: float = 0.0  #: a worker dies at a place
    switch: float = 0.0  #: a worker waits at a place while others go on
    stop: float = 0.0  #: of those that wait: stopped, heartbeat and all
    database: float = 0.0  #: a unit of work fails, or its COMMIT is not answered
    lie: float = 0.0  #: a node call's reply is lost or wrong
    lost_wake: float = 0.0
    twice_wake: float = 0.0
    reorg: float = 0.0  #: at each step
    forget: float = 0.0  #: at each step, the node's pool loses a transaction
    replace: float = 0.0  #: a payer replaces what waits in the pool
    haunt: float = 0.0  #: at each step, bytes that were once sent come in again
    jump: float = 0.0  #: at each step, the clock is set
    down: float = 0.0  #: at each step, a node goes down or comes up

    @classmethod
    def drawn(cls, rng: Random) -> Odds:
        odds = cls()
        for name, (part, least, most) in _RANGES.items():
            there, height = rng.random(), rng.random()
            if there < part:
                setattr(odds, name, least * (most / least) ** height)
        return odds

    def end(self) -> None:
        """No more trouble."""
        for field in fields(self):
            setattr(self, field.name, 0.0)
