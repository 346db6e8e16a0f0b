"""Children of ours: ready or explained, ended by pid, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from devstack.files import kept_secret, private_folder, socket_path, write_private
from devstack.ports import free_port
from devstack.process import Daemon, DaemonFailed

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


def running(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, timeout_seconds: float = 10) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_child_that_ends_while_starting_is_told_with_its_last_words(tmp_path: Path) -> None:
    daemon = Daemon(
        "teller",
        [sys.executable, "-c", "print('no such port'); raise SystemExit(3)"],
        log=tmp_path / "log",
        ready=lambda: False,
    )
    with pytest.raises(DaemonFailed, match=r"(?s)teller ended with 3.*no such port"):
        daemon.up(timeout_seconds=20)


def test_a_child_that_is_not_ready_in_time_is_ended(tmp_path: Path) -> None:
    def never() -> bool:
        raise ConnectionError("nobody there")

    daemon = Daemon("sleeper", SLEEP, log=tmp_path / "log", ready=never)
    with pytest.raises(DaemonFailed, match=r"not ready in 0\.2 s.*nobody there"):
        daemon.up(timeout_seconds=0.2)
    assert not daemon.alive


def test_stop_gives_a_grace_and_then_ends_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    daemon = Daemon("stubborn", STUBBORN, log=log, ready=lambda: "up" in log.read_text())
    daemon.up()
    daemon.stop(grace_seconds=0.2)
    assert daemon.exit_code == -signal.SIGKILL


def test_a_paused_child_can_be_stopped(tmp_path: Path) -> None:
    daemon = Daemon("sleeper", SLEEP, log=tmp_path / "log")
    daemon.start()
    daemon.pause()
    daemon.stop(grace_seconds=10)
    assert daemon.exit_code == -signal.SIGTERM


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(p.pid, flush=True); p.wait()"
    )
    daemon = Daemon("parent", [sys.executable, "-c", code], log=log, ready=lambda: log.read_text().endswith("\n"))
    daemon.up()
    grandchild = int(log.read_text())
    daemon.stop()
    assert gone(grandchild)


def test_a_child_started_from_a_thread_outlives_the_thread(tmp_path: Path) -> None:
    daemon = Daemon("sleeper", SLEEP, log=tmp_path / "log")
    thread = threading.Thread(target=daemon.start)
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert daemon.alive
    daemon.kill()


def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from devstack.process import Daemon\n"
        f"d = Daemon('sleeper', {SLEEP!r}, log=Path(sys.argv[1])); d.start(); print(d.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert running(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_it_starts_again_with_the_same_command(tmp_path: Path) -> None:
    daemon = Daemon("sleeper", SLEEP, log=tmp_path / "log")
    daemon.start()
    first = daemon.pid
    daemon.kill()
    assert daemon.exit_code == -signal.SIGKILL
    daemon.start()
    assert daemon.alive
    assert daemon.pid != first
    daemon.stop()
    daemon.stop()


def test_ports_are_not_given_twice() -> None:
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == 200


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "a" / "b")
    path = write_private(folder / "secret", "x")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in folder.iterdir()] == ["secret"]


def test_a_kept_secret_stays(tmp_path: Path) -> None:
    secret = kept_secret(tmp_path / "secret")
    assert len(bytes.fromhex(secret)) == 32
    assert kept_secret(tmp_path / "secret") == secret


def test_sockets_get_a_short_path(tmp_path: Path) -> None:
    assert socket_path(Path("/tmp/x"), "db.sock") == Path("/tmp/x/db.sock")
    long = tmp_path / ("d" * 100)
    assert len(os.fsencode(socket_path(long, "db.sock"))) < 108


def test_a_start_that_a_signal_broke_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenOff(BaseException):
        pass

    def break_off(*_: object) -> None:
        raise BrokenOff

    daemon = Daemon("sleeper", SLEEP, log=tmp_path / "log")
    spawn, begun = daemon._spawn, threading.Event()

    def slowly() -> None:
        begun.set()
        time.sleep(0.3)  # the signal comes now
        spawn()

    monkeypatch.setattr(daemon, "_spawn", slowly)
    before = signal.signal(signal.SIGUSR1, break_off)
    threading.Thread(target=lambda: begun.wait(10) and os.kill(os.getpid(), signal.SIGUSR1)).start()
    try:
        with pytest.raises(BrokenOff):
            daemon.start()
        daemon.stop()
        assert daemon.exit_code is not None
        assert not running(daemon.pid)
    finally:
        signal.signal(signal.SIGUSR1, before)
