"""A private MariaDB: own data folder, durable settings, strict mode, loopback and a Unix socket."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pymysql

from devstack.files import kept_secret, private_folder, socket_path, write_private
from devstack.ports import free_port
from devstack.process import Daemon, DaemonFailed
from devstack.programs import find

USER = "coffer"


class MariaDB:
    """Databases made by `create_database` survive stop, kill and start; port and passwords stay the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        self.data = self.folder / "data"
        # Of its own: a server that starts removes temporary files it finds, those of others in /tmp included.
        self.temporary = private_folder(self.folder / "tmp")
        self.port = free_port()
        self.socket = socket_path(self.folder, "mariadb.sock")
        self.password = kept_secret(self.folder / "password")
        self.root_password = kept_secret(self.folder / "root-password")
        self.daemon = Daemon(
            "mariadbd",
            [str(find("mariadbd")), *self._options()],
            log=self.folder / "mariadb.log",
            folder=self.folder,
            ready=lambda: self.admin("SELECT 1") == [(1,)],
        )

    def start(self) -> None:
        """Makes the data folder the first time (some 3 s), then starts."""
        if not (self.data / "mysql").is_dir():
            self._install()
        self.daemon.up(timeout_seconds=60)

    def stop(self) -> None:
        self.daemon.stop(grace_seconds=30)

    def kill(self) -> None:
        self.daemon.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        self.daemon.pause()

    def resume(self) -> None:
        self.daemon.resume()

    def create_database(self, name: str) -> str:
        """Makes an empty database unless it exists; returns the SQLAlchemy URL for the ordinary user."""
        if not name.isidentifier():
            raise ValueError(f"not a database name: {name!r}")
        self.admin(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4")
        for host in ("localhost", "127.0.0.1"):
            self.admin(f"GRANT ALL PRIVILEGES ON `{name}`.* TO '{USER}'@'{host}'")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        if not name.isidentifier():
            raise ValueError(f"not a database name: {name!r}")
        self.admin(f"DROP DATABASE IF EXISTS `{name}`")

    def url(self, name: str) -> str:
        return f"mysql+pymysql://{USER}:{self.password}@127.0.0.1:{self.port}/{name}?unix_socket={self.socket}"

    def admin(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs one statement as root on a connection of its own; returns its rows. pymysql's errors pass through."""
        connection = pymysql.connect(
            unix_socket=str(self.socket),
            user="root",
            password=self.root_password,
            autocommit=True,
            connect_timeout=5,
            charset="utf8mb4",
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def _install(self) -> None:
        command = [
            str(find("mariadb-install-db")),
            "--no-defaults",
            f"--datadir={self.data}",
            f"--tmpdir={self.temporary}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *_as_root(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=self.folder)
        if done.returncode != 0:
            raise DaemonFailed(f"mariadb-install-db ended with {done.returncode}\n{done.stdout}{done.stderr}")

    def _options(self) -> list[str]:
        return [
            "--no-defaults",
            f"--datadir={self.data}",
            f"--tmpdir={self.temporary}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'mariadb.pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            f"--init-file={self._write_users()}",
            # What production must have too; the product refuses to start without these.
            "--innodb-flush-log-at-trx-commit=1",
            "--sync-binlog=1",
            "--sql-mode=STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
            "--character-set-server=utf8mb4",
            "--default-time-zone=+00:00",
            "--transaction-isolation=READ-COMMITTED",
            "--log-bin-trust-function-creators=1",
            "--skip-log-bin",
            # Small, since several of these run side by side.
            "--max-connections=250",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
            "--performance-schema=OFF",
            *_as_root(),
        ]

    def _write_users(self) -> Path:
        """Statements that the server runs at each start before it listens: passwords never stand on a command line."""
        root = [f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self.root_password}';"]
        users = [
            f"CREATE USER IF NOT EXISTS '{USER}'@'{host}' IDENTIFIED BY '{self.password}';"
            for host in ("localhost", "127.0.0.1")
        ]
        return write_private(self.folder / "users.sql", "\n".join(root + users) + "\n")


def _as_root() -> list[str]:
    """mariadbd refuses to run as root unless told by name."""
    return ["--user=root"] if os.geteuid() == 0 else []
