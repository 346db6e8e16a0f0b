"""A private Redis: loopback only, with a password, nothing on disk, and no eviction."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from devstack.files import private_folder, write_private
from devstack.ports import free_port
from devstack.process import Daemon
from devstack.programs import find


class RedisServer:
    """`url` stays the same over stop, kill and start; what was stored does not."""

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self.daemon = Daemon(
            "redis-server",
            [str(find("redis-server")), str(self._write_config())],
            log=self.folder / "redis.log",
            folder=self.folder,
            ready=lambda: self.command("PING") == "PONG",
        )

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.daemon.up(timeout_seconds=20)

    def stop(self) -> None:
        self.daemon.stop(grace_seconds=5)

    def kill(self) -> None:
        self.daemon.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        self.daemon.pause()

    def resume(self) -> None:
        self.daemon.resume()

    def flush(self) -> None:
        """Forgets everything, as an operator's FLUSHALL would."""
        self.command("FLUSHALL")

    def command(self, *words: str) -> str:
        """Sends one command that answers with a status, on a connection of its own; OSError when it fails."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(_encode("AUTH", self.password) + _encode(*words))
            with connection.makefile("rb") as answers:
                answers.readline()
                answer = answers.readline().decode().rstrip("\r\n")
        if not answer or answer.startswith("-"):
            raise ConnectionError(answer or "connection closed")
        return answer[1:]

    def _write_config(self) -> Path:
        config = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.folder}"',
            "daemonize no",
            'save ""',
            "appendonly no",
            "maxmemory-policy noeviction",
        ]
        return write_private(self.folder / "redis.conf", "\n".join(config) + "\n")


def _encode(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        raw = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(parts)
