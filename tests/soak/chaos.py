"""Carries out a plan: breaks things at their time, and has what ended started again as a supervisor would."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from devstack.process import Daemon, DaemonFailed
from devstack.revive import Reviver
from tests.soak.outside import NODE_TROUBLE, World
from tests.soak.plan import Act
from tests.soak.stack import SoakStack

_LOOK_SECONDS = 0.25
#: How long an act waits for a victim that an earlier act has ended.
_PATIENCE_SECONDS = 10.0
#: How long one that is asked to end has for it, where that is not half a minute: anvil writes its whole chain.
_GRACE_SECONDS = {"anvil": 120.0}


class Chaos:
    def __init__(self, stack: SoakStack, world: World, acts: Sequence[Act], tell: Callable[[str], None]) -> None:
        self._stack, self._world, self._acts, self._tell = stack, world, acts, tell
        self.kills: Counter[str] = Counter()  #: how each victim was made to end
        self.others: Counter[str] = Counter()
        self.ended_alone: list[str] = []  #: processes that ended without anybody asking
        self._over = threading.Event()
        self._asked: set[int] = set()  #: pids that were told to end
        self._healing: list[threading.Thread] = []
        self._reviver = threading.Thread(target=self._revive, name="reviver", daemon=True)

    def run(self) -> None:
        """Returns when the plan is done and nothing is broken any more but what is still starting."""
        self._reviver.start()
        begun = time.monotonic()
        for act in self._acts:
            time.sleep(max(0.0, begun + act.at_seconds - time.monotonic()))
            self._tell(act.told)
            try:
                self._do(act)
            except NODE_TROUBLE as error:  # the one it was meant for is down from an earlier act
                self.others[f"{act.kind} that could not be done"] += 1
                self._tell(f"  not done: {type(error).__name__}: {error}"[:200])
        for thread in self._healing:
            thread.join(150)
        self._stack.heal()

    def stop(self) -> None:
        """Nothing is revived any more."""
        self._over.set()
        if self._reviver.is_alive():
            self._reviver.join(30)

    def settle(self, seconds: float) -> list[str]:
        """Waits until every process runs and answers; those that do not."""
        deadline = time.monotonic() + seconds
        late = dict(self._stack.daemons)
        while late and time.monotonic() < deadline:
            for name, daemon in list(late.items()):
                with contextlib.suppress(DaemonFailed):  # it ended, and is started again
                    daemon.wait_ready(10)
                    del late[name]
        return [f"{name} does not come up: {daemon.log_tail(4)}" for name, daemon in late.items()]

    def _do(self, act: Act) -> None:
        if act.kind in ("kill", "end", "stop"):
            self._hurt(act, self._victim(act.target[0]))
        elif act.kind == "reorg":
            taken_back = self._world.reorg(act.target[0], act.depth, spent_again=act.spent_again)
            self.others[f"reorg {act.target[0]}"] += 1
            self.others["payments taken back"] += taken_back
        elif act.kind == "flush":
            self._stack.redis.flush()
            self.others["FLUSHALL"] += 1
        else:
            self._break(act)

    def _victim(self, name: str) -> Daemon:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        daemon = self._stack.daemons[name]
        while not daemon.alive and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        if not daemon.alive:
            raise RuntimeError(f"{name} is down already")
        return daemon

    def _hurt(self, act: Act, daemon: Daemon) -> None:
        """A stopped one is stopped with all its children, as a machine that sleeps."""
        pid, name = daemon.pid, act.target[0]
        if act.kind == "stop":
            os.killpg(pid, signal.SIGSTOP)
            self.others["SIGSTOP"] += 1
            self._later(act.seconds, lambda: os.killpg(pid, signal.SIGCONT))
            return
        self._asked.add(pid)
        if act.kind == "kill":
            daemon.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)
            self._later(_GRACE_SECONDS.get(name, 30.0), lambda: self._insist(daemon, pid))
        self.kills[f"{name} {'SIGKILL' if act.kind == 'kill' else 'SIGTERM'}"] += 1

    def _insist(self, daemon: Daemon, pid: int) -> None:
        """As a supervisor does with one that does not hear."""
        if daemon.pid == pid and daemon.alive:
            self.others[f"{daemon.name} killed, since it did not end"] += 1
            daemon.kill()

    def _break(self, act: Act) -> None:
        role, server = act.target
        wire = self._stack.wires[role, server]
        self.others[act.kind] += 1
        if act.kind == "lose_reply":
            wire.lose_reply(act.request)
            return
        if act.kind == "slow":
            wire.slow(0.3)
        else:
            (wire.cut if act.kind == "cut" else wire.mute)()
        self._later(act.seconds, wire.heal)

    def _later(self, seconds: float, work: Callable[[], object]) -> None:
        def wait() -> None:
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended meanwhile
                work()

        self._healing = [thread for thread in self._healing if thread.is_alive()]
        self._healing.append(threading.Thread(target=wait, daemon=True))
        self._healing[-1].start()

    def _revive(self) -> None:
        reviver = Reviver()
        while not self._over.wait(_LOOK_SECONDS):
            for name, daemon in self._stack.daemons.items():
                code = daemon.exit_code
                if code is not None and daemon.pid not in self._asked:
                    self._asked.add(daemon.pid)
                    self.ended_alone.append(f"{name} ended by itself with {code}: {daemon.log_tail(4)}")
                    self._tell(f"  {self.ended_alone[-1]}")
            with contextlib.suppress(RuntimeError):  # it was started in the same moment
                reviver.look(self._stack.daemons)
