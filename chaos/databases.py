"""A private database that can be taken away and given back."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from dashboard.local_run.supervisor import Program

from .process import Guard, Process, StackError, until

Pause = Callable[[float], None]
BINARIES = "/usr/lib/postgresql"
START_SECONDS = 30.0


class Database(Protocol):
    """What the stack and the trouble-maker need of a database."""

    url: str

    def open(self) -> None:
        """Make it usable."""

    def outage(self, rng: random.Random, pause: Pause) -> str:
        """Take it away, `pause` some seconds, give it back; returns what was done."""

    def close(self) -> None:
        """Stop it and remove what it left."""


class SqliteFile:
    """A SQLite file; its outage is somebody's exclusive lock."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "db.sqlite3"
        self.url = f"sqlite:///{quote(str(self._path))}"

    def open(self) -> None:
        """Nothing to start: Django makes the file."""

    def outage(self, rng: random.Random, pause: Pause) -> str:
        """Hold the write lock for some seconds, one time in four for longer than anybody waits."""
        seconds = _seconds(rng, 21, 24)
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            pause(seconds)
            connection.execute("ROLLBACK")
        finally:
            connection.close()
        return f"write lock held {seconds:.1f} s"

    def close(self) -> None:
        """The file goes with its folder."""


class PostgresCluster:
    """A PostgreSQL cluster of our own, on a unix socket only; the machine's own is not touched."""

    def __init__(self, logs: Path, guard: Guard) -> None:
        self._bin = find_binaries()
        self._user = _unprivileged_user()
        # Its own user must reach it, and the paths of sockets must be short: hence /tmp.
        self._folder = Path(tempfile.mkdtemp(prefix="css-chaos-pg-", dir="/tmp"))
        data, sockets = self._folder / "data", self._folder / "s"
        sockets.mkdir()
        if self._user:
            account = pwd.getpwnam(self._user)
            for each in (self._folder, sockets):
                os.chown(each, account.pw_uid, account.pw_gid)
        self._data = data
        self.url = f"postgres://chaos@{quote(str(sockets), safe='')}/postgres"
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(sockets),
            "fsync": "off",  # processes die here, the machine does not
            "max_connections": "200",
            "shared_buffers": "64MB",
        }
        command = [str(self._bin / "postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        program = Program("postgres", command, {"PATH": os.defpath, "LC_ALL": "C"}, grace=20)
        self._process = Process(program, logs, guard, user=self._user)

    def open(self) -> None:
        """Make the cluster and start it. Raises StackError."""
        made = subprocess.run(
            [
                *(str(self._bin / "initdb"), "-D", str(self._data), "-U", "chaos"),
                *("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"),
            ],
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise StackError(f"initdb failed: {made.stderr.strip()}")
        self._start()

    def _start(self) -> None:
        self._process.start()
        if not until(self._answers, START_SECONDS):
            raise self._process.fail("does not answer")

    def _answers(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def outage(self, rng: random.Random, pause: Pause) -> str:
        """What `pg_ctl stop -m fast|immediate` does, and a start some seconds later."""
        mode, number = rng.choice([("fast", signal.SIGINT), ("immediate", signal.SIGQUIT)])
        seconds = _seconds(rng, 13, 17)
        self._process.stop(number)
        pause(seconds)
        self._start()
        return f"stop -m {mode}, away {seconds:.1f} s"

    def close(self) -> None:
        """Stop the server and remove the cluster."""
        self._process.stop(signal.SIGINT)
        shutil.rmtree(self._folder, ignore_errors=True)


def _seconds(rng: random.Random, least: float, most: float) -> float:
    """Some seconds; one time in four so long that all heartbeats are stale at the end."""
    return rng.uniform(least, most) if rng.random() < 0.25 else rng.uniform(1, 6)


def find_binaries() -> Path:
    """The newest PostgreSQL server on this machine. Raises StackError: there is none."""
    found = sorted(
        (path.parent for path in Path(BINARIES).glob("*/bin/initdb")),
        key=lambda path: float(path.parent.name),
    )
    if found:
        return found[-1]
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    raise StackError(
        f"no PostgreSQL server was found in {BINARIES}/*/bin or on the PATH: "
        "install one (Debian: apt install postgresql), or use --database sqlite"
    )


def _unprivileged_user() -> str | None:
    """Whom to run PostgreSQL as: it refuses to run as root."""
    if os.geteuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise StackError("running as root, and there is no user postgres or nobody to start initdb as")
