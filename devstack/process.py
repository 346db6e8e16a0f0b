"""One child process: started, waited for, stopped by its own pid, and never outliving us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_POLL_SECONDS = 0.02
#: How long a process may take to stop once it was told to.
PAUSE_SECONDS = 5.0
_LOG_TAIL_LINES = 20


class DaemonFailed(Exception):
    """A daemon ended by itself or did not become ready in time. The message carries the end of its log."""


class Daemon:
    """A program that runs until stopped. The same object can be started again: same command, same ports, same data.

    `ready` is asked until it says True; exceptions it raises count as not yet.
    The child leads a process group of its own, so Ctrl-C in a terminal reaches us alone and we end it in order.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        ready: Callable[[], bool] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.environ = None if environ is None else dict(environ)
        self.folder = folder
        self._ready = ready
        self._stop_signal = stop_signal
        self._child: subprocess.Popen[bytes] | None = None
        self._last_complaint = ""

    @property
    def pid(self) -> int:
        """The pid of the running child; RuntimeError before the first start."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs or before the first start; minus the signal number when a signal ended it."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Starts the child. Does not wait; see `wait_ready`."""
        if self.alive:
            raise RuntimeError(f"{self.name} runs already")
        _SPAWNER.submit(self._spawn).result()

    def wait_ready(self, timeout_seconds: float = 60) -> None:
        """Returns when the daemon answers; raises DaemonFailed when it ends or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while not self._is_ready():
            if not self.alive:
                raise DaemonFailed(f"{self.name} ended with {self.exit_code} while starting\n{self.log_tail()}")
            if time.monotonic() > deadline:
                complaint = f" ({self._last_complaint})" if self._last_complaint else ""
                raise DaemonFailed(f"{self.name} not ready in {timeout_seconds:g} s{complaint}\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def up(self, timeout_seconds: float = 60) -> None:
        """Starts and waits; a child that does not become ready is not left behind."""
        self.start()
        try:
            self.wait_ready(timeout_seconds)
        except BaseException:  # also Ctrl-C
            self.kill()
            raise

    def stop(self, grace_seconds: float = 15) -> None:
        """Asks the child to end, and after the grace ends it and its group. Harmless when it does not run."""
        child = self._started()
        if child is None:
            return
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)  # a paused one would not hear the request
            child.send_signal(self._stop_signal)
            try:
                child.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                return
        self._end_group()

    def kill(self) -> None:
        """SIGKILL to the child and whatever it started: the crash, as the tests want it."""
        child = self._started()
        if child is None:
            return
        if child.poll() is None:
            self._end_group()
            child.kill()
            child.wait()
        self._end_group()

    def pause(self) -> None:
        """The process is there and its ports are open, and it answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + PAUSE_SECONDS
        while not self._stopped():  # a thread that was busy may answer one more request meanwhile
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not stop")
            time.sleep(0.005)

    def _stopped(self) -> bool:
        """Whether each of its threads is; proc(5): the state comes after the name in parentheses."""
        for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            try:
                if stat.read_text().rpartition(") ")[2][0] not in "TtZX":
                    return False
            except (FileNotFoundError, ProcessLookupError):  # it ended
                continue
        return True

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, timeout_seconds: float = 60) -> None:
        """A clean stop, then the same command again."""
        self.stop()
        self.up(timeout_seconds)

    def log_tail(self, lines: int = _LOG_TAIL_LINES) -> str:
        if not self.log.is_file():
            return "(no log)"
        text = self.log.read_text(errors="replace")
        return "\n".join(line[:400] for line in text.splitlines()[-lines:])

    def _started(self) -> subprocess.Popen[bytes] | None:
        """The child, once no start is under way: a signal may have broken off the wait for one, not the start."""
        _SPAWNER.submit(lambda: None).result()
        return self._child

    def _spawn(self) -> None:
        parent = os.getpid()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _die_with(parent),
            )

    def _is_ready(self) -> bool:
        try:
            return self.alive and (self._ready is None or self._ready())
        except Exception as error:  # noqa: BLE001 - whatever a daemon that is still starting answers
            self._last_complaint = f"{type(error).__name__}: {error}"
            return False

    def _end_group(self) -> None:
        """Ends what is left of the child's own process group; its number stays ours while a member lives."""
        if self._child is None:
            return
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


def _die_with(parent: int) -> None:
    """In the child, before it becomes the program: ask the kernel to end it when we end, however we end."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


#: The kernel's parent-death signal follows the *thread* that forked, not the process: a daemon started from a
#: short-lived thread would die with it. This one thread starts them all and lives as long as we do.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="devstack-spawner")
