"""The whole product as child processes: database, Redis, simulator, web, workers."""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from dashboard.local_run import guard as guard_script
from dashboard.local_run import listening, redis, startup
from dashboard.local_run.redis import redis_socket
from dashboard.local_run.supervisor import Program, tail
from simulator.client import SimulatorControl

POLL_SECONDS = 0.05


class StackError(Exception):
    """A part of the stack did not start; the text is printed in the terminal."""


class ThreadedGuard:
    """dashboard/local_run/guard.py as a process: it ends our children if we are killed.

    The supervisor's `Guard` registers a child between fork and exec, which is safe only in a
    process with one thread. This process has many, so it registers a child right after its start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        reading, self._pipe = os.pipe()  # neither end is inheritable: only this process can write
        script = str(Path(guard_script.__file__).resolve())
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", script], stdin=reading, start_new_session=True
        )
        os.close(reading)

    def started(self, group: int) -> None:
        self._tell(b"+%d\n" % group)

    def gone(self, group: int) -> None:
        self._tell(b"-%d\n" % group)

    def _tell(self, line: bytes) -> None:
        with self._lock:
            os.write(self._pipe, line)

    def close(self) -> None:
        """Have it end the remaining children and exit."""
        os.close(self._pipe)
        self._process.wait()


class Process:
    """One program, which can be started and stopped repeatedly, with one log file.

    Args:
        program: the program to run.
        logs: folder of the log file.
        guard: is notified of every start and end.
        user: run as this user; None for the current one.
    """

    def __init__(
        self, program: Program, logs: Path, guard: ThreadedGuard, *, user: str | None = None
    ) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self.pids: list[int] = []
        self._guard = guard
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Start it and return its process id. Raises OSError."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                list(self.program.command),
                env=dict(self.program.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=self.program.inherit,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
            )
        self._guard.started(self._process.pid)
        self.pids.append(self._process.pid)
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: int) -> None:
        """Send a signal to the program itself, if it is running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL to the program and everything that it has started."""
        if self._process is not None:
            guard_script.send(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._guard.gone(self._process.pid)
            self._process = None

    def stop(self, number: int = signal.SIGTERM) -> bool:
        """Send a signal, and kill the program if it has not ended after its grace period.

        Returns:
            True if it ended in time.
        """
        if self._process is None:
            return True
        self.send(number)
        in_time = until(lambda: not self.alive, self.program.grace)
        self.kill()
        return in_time

    def fail(self, why: str) -> StackError:
        """Return an error that includes the end of the log."""
        return StackError(f"{self.program.name}: {why}\n{tail(self.log)}")


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition for at most `seconds`; return whether it became true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that configures the product."""
    named = {"DATA_DIR", "PORT", "HOST", "DEMO_CLOUD", "DEPLOYMENT", "DEBUG", "HTTPS"}
    named |= {"ALLOWED_HOSTS", "STATIC_ROOT", "COOKIE_SUFFIX", "DJANGO_SETTINGS_MODULE"}
    product = ("BACKUP_", "CSS_", "HEARTBEAT_", "DATABASE_", "REDIS_", "SECRET_KEY")
    prefixes = (*product, "OS_", "PYTEST_")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in named and not name.startswith(prefixes)
    }


Pause = Callable[[float], None]
BINARIES = "/usr/lib/postgresql"
START_SECONDS = 30.0


class Database(Protocol):
    """What the stack and the trouble-maker need from a database."""

    url: str

    def open(self) -> None:
        """Make it usable."""

    def outage(self, rng: random.Random, pause: Pause) -> str:
        """Make it unavailable, `pause` for some seconds, restore it; return what was done."""

    def close(self) -> None:
        """Stop it and remove its files."""


class SqliteFile:
    """A SQLite file; its outage is an exclusive lock."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "db.sqlite3"
        self.url = f"sqlite:///{quote(str(self._path))}"

    def open(self) -> None:
        """Do nothing: Django creates the file."""

    def outage(self, rng: random.Random, pause: Pause) -> str:
        """Hold the write lock for some seconds, one time in four for longer than anything waits."""
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
        """Do nothing: the file is removed with its folder."""


class PostgresCluster:
    """A private PostgreSQL cluster, on a Unix socket only; the machine's own is not used."""

    def __init__(self, logs: Path, guard: ThreadedGuard) -> None:
        self._bin = find_binaries()
        self._user = _unprivileged_user()
        # In /tmp, because its own user must have access and the paths of sockets must be short.
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
            "fsync": "off",  # processes are killed here, but the machine does not crash
            "max_connections": "200",
            "shared_buffers": "64MB",
        }
        command = [str(self._bin / "postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        program = Program("postgres", command, {"PATH": os.defpath, "LC_ALL": "C"}, grace=20)
        self._process = Process(program, logs, guard, user=self._user)

    def open(self) -> None:
        """Create the cluster and start it. Raises StackError."""
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
        """Stop it as `pg_ctl stop -m fast|immediate` does, and start it some seconds later."""
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
    """A random time in seconds; one time in four so long that all heartbeats become stale."""
    return rng.uniform(least, most) if rng.random() < 0.25 else rng.uniform(1, 6)


def find_binaries() -> Path:
    """Folder of the newest PostgreSQL server on this machine. Raises StackError without one."""
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
    """The user to run PostgreSQL as, which refuses to run as root; None for the current user."""
    if os.geteuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise StackError("running as root, and there is no user postgres or nobody to start initdb as")


ROOT = Path(__file__).resolve().parent.parent
REGIONS = ("eu-de", "eu-nl")  # the listener of the second can be closed
READY_SECONDS = 90.0
# Shorter than the defaults, so that minutes show what otherwise takes hours. Settings that
# determine how fast the product recovers (heartbeats, dispatch, grace before "not started") keep
# their defaults.
SETTINGS = {
    "CSS_CONNECT_TIMEOUT": "2",
    "CSS_READ_TIMEOUT": "4",
    "CSS_TOTAL_TIMEOUT": "8",
    "BACKUP_RETRY_BASE": "1",
    "BACKUP_RETRY_CAP": "8",
    "BACKUP_CONFLICT_RETRY": "3",
    "BACKUP_RECORD_GRACE": "20",
    "WORKER_SHUTDOWN_GRACE": "6",
    # Check every cluster repeatedly, so that imports coincide with every step of a run.
    "CHECK_INTERVAL": "10",
}
RULES = ("BACKUP_", "CHECK_", "CSS_", "HEARTBEAT_", "WORKER_")
RECOVERY_SETTINGS = (
    "BACKUP_REDISPATCH_AFTER",
    "BACKUP_SETTLE_GRACE",
    "HEARTBEAT_INTERVAL",
    "HEARTBEAT_STALE_AFTER",
    "BACKUP_CLOCK_SKEW",
    "BACKUP_MAX_ATTEMPTS",
)


def environment(data_dir: Path, simulator_dir: Path, database_url: str) -> dict[str, str]:
    """The product's environment; variables with a prefix in RULES override SETTINGS."""
    given = {name: value for name, value in os.environ.items() if name.startswith(RULES)}
    return {
        **clean_environment(),
        **SETTINGS,
        **given,
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": database_url,
        "REDIS_SOCKET": str(redis_socket(data_dir)),
        "DEMO_CLOUD": "1",
        "OS_CLIENT_CONFIG_FILE": str(simulator_dir / "clouds.yaml"),
        "OS_CLIENT_SECURE_FILE": str(simulator_dir / "secure.yaml"),
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        "LOG_LEVEL": "INFO",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


class Stack:
    """Starts everything; `stop` ends everything, even after an incomplete start.

    Args:
        kind: "sqlite" or "postgres".
        seed: seed of the simulator's random faults.
        workers: number of worker processes.
    """

    def __init__(self, kind: str, seed: int, workers: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="css-chaos-"))
        self.logs, self.data_dir = self.folder / "logs", self.folder / "data"
        self._simulator_dir = self.folder / "simulator"
        for each in (self.logs, self.data_dir, self._simulator_dir):
            each.mkdir(mode=0o700)
        (self._simulator_dir / "secure.yaml").write_text("{}\n")
        self._seed = seed
        self._worker_count = workers
        self._guard = ThreadedGuard()
        self._listener: socket.socket | None = None
        self._started: list[Process] = []
        self.database: Database = SqliteFile(self.data_dir)
        try:
            if kind == "postgres":
                self.database = PostgresCluster(self.logs, self._guard)
            self.environ = environment(self.data_dir, self._simulator_dir, self.database.url)
            self._build()
        except BaseException:
            self.stop()
            raise

    def _build(self) -> None:
        self.socket_path = redis_socket(self.data_dir)
        server = redis.command(redis.find_server(), self.socket_path, self.data_dir / "redis")
        self.redis = self._process(Program("redis", server, self.environ))
        self.simulator = self._process(Program("simulator", self._simulator(), self.environ))
        self._listener = listening.listen("127.0.0.1", 0)
        self.url = listening.url(self._listener, "127.0.0.1").rstrip("/")
        self.web = self._process(startup.web_server(self.environ, self._listener.fileno()))
        self.workers = [self._worker(number) for number in range(1, self._worker_count + 1)]

    def _simulator(self) -> list[str]:
        return [
            *(sys.executable, "-m", "simulator", "--regions", ",".join(REGIONS)),
            *("--job-seconds", "2", "--seed", str(self._seed)),
            *("--clouds-file", str(self._simulator_dir / "clouds.yaml")),
            *("--ready-file", str(self._simulator_dir / "ready.json")),
        ]

    def _worker(self, number: int) -> Process:
        made = startup.worker(self.environ, number)
        return self._process(Program(f"worker-{number}", made.command, made.environ, made.grace))

    def _process(self, program: Program) -> Process:
        process = Process(program, self.logs, self._guard)
        self._started.append(process)
        return process

    def open(self) -> None:
        """Start what the product needs: database, Redis and simulator. Raises StackError."""
        self.database.open()
        self.start_redis()
        self.simulator.start()
        ready = self._simulator_dir / "ready.json"
        if not until(ready.exists, READY_SECONDS):
            raise self.simulator.fail("not ready")
        self.control = SimulatorControl(json.loads(ready.read_text())["url"])

    def start_redis(self) -> None:
        """Start Redis, empty, and wait until it answers."""
        self.socket_path.unlink(missing_ok=True)
        self.redis.start()
        if not until(lambda: redis.answers(self.socket_path), READY_SECONDS):
            raise self.redis.fail("does not answer")

    def start_product(self) -> None:
        """Start web and workers, and wait until /health/work reports that they are running."""
        for process in (self.web, *self.workers):
            process.start()
        if not until(self._ready, READY_SECONDS):
            raise self.web.fail("the product was not ready")

    def _ready(self) -> bool:
        import requests

        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.get(f"{self.url}/health/work", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def heal(self) -> None:
        """Start Redis, web and workers if they are not running."""
        if not self.redis.alive:
            self.start_redis()
        for process in (self.web, *self.workers):
            if not process.alive:
                process.start()

    def stop(self, *, keep: bool = False) -> None:
        """End every process and remove every file; `keep` keeps the folder for inspection."""
        for process in reversed(self._started):
            process.kill()
        self.database.close()
        if self._listener is not None:
            self._listener.close()
        self._guard.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
