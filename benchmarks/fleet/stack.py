"""The product as child processes, and their CPU and memory usage."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psutil

from chaos.stack import Process, StackError, ThreadedGuard, clean_environment, until
from dashboard.local_run import listening, redis, startup
from dashboard.local_run.redis import redis_socket
from dashboard.local_run.supervisor import Program
from simulator.client import SimulatorControl

from . import statements

ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 90.0


class Stack:
    """Database, Redis, simulator, web and workers; `close` ends and removes all of them.

    Args:
        database: "sqlite" or "postgresql".
        server: PostgreSQL server on which to create a separate database.
        clusters: number of clusters in the simulator.
        job_seconds: how long a log backup takes.
        workers: number of worker processes.
        threads: number of threads per worker.
    """

    def __init__(
        self,
        database: str,
        server: str,
        clusters: int,
        job_seconds: float,
        workers: int,
        threads: int,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-fleet-"))
        self.data_dir = self.folder / "data"
        logs, clouds = self.folder / "logs", self.folder / "clouds"
        for each in (self.data_dir, logs, clouds):
            each.mkdir(mode=0o700)
        (clouds / "secure.yaml").write_text("{}\n")
        self._guard = ThreadedGuard()
        self._logs = logs
        self._processes: list[Process] = []
        self._database = ""
        self._server = server
        self.threads = threads
        url = f"sqlite:///{quote(str(self.data_dir / 'db.sqlite3'))}"
        if database == "postgresql":
            self._database = f"bench_fleet_{os.getpid()}"
            self._admin(f'CREATE DATABASE "{self._database}"')
            url = urlunsplit(urlsplit(server)._replace(path=f"/{self._database}"))
        socket_path = redis_socket(self.data_dir)
        self.environ = {
            **clean_environment(),
            "DATA_DIR": str(self.data_dir),
            "DATABASE_URL": url,
            "REDIS_SOCKET": str(socket_path),
            "OS_CLIENT_CONFIG_FILE": str(clouds / "clouds.yaml"),
            "OS_CLIENT_SECURE_FILE": str(clouds / "secure.yaml"),
            "DJANGO_SETTINGS_MODULE": "benchmarks.fleet.settings",
            "PYTHONPATH": os.pathsep.join([str(ROOT), clean_environment().get("PYTHONPATH", "")]),
            "CHECK_INTERVAL": "86400",  # readiness checks are measured separately
            "SYNC_INTERVAL": "86400",
            "BACKUP_BATCH_RATE": "100",  # the most that can be set
        }
        try:
            server_path = redis.command(redis.find_server(), socket_path, self.data_dir / "redis")
            self.redis = self._process(Program("redis", server_path, self.environ))
            self.redis.start()
            ready = clouds / "ready.json"
            simulator = [
                *(sys.executable, "-m", "simulator", "--clusters", str(clusters)),
                *("--job-seconds", str(job_seconds), "--clouds-file", str(clouds / "clouds.yaml")),
                *("--ready-file", str(ready)),
            ]
            self.simulator = self._process(Program("simulator", simulator, self.environ))
            self.simulator.start()
            if not until(lambda: ready.exists() and redis.answers(socket_path), READY_SECONDS):
                raise StackError("Redis or the simulator did not start")
            self.control = SimulatorControl(json.loads(ready.read_text())["url"])
            self._listener = listening.listen("127.0.0.1", 0)
            self.url = listening.url(self._listener, "127.0.0.1").rstrip("/")
            self.web = self._process(startup.web_server(self.environ, self._listener.fileno()))
            self.workers = [self.worker(number) for number in range(workers)]
        except BaseException:
            self.close()
            raise

    def worker(self, number: int, **environ: str) -> Process:
        """A worker process of the product, not started."""
        made = startup.worker({**self.environ, **environ}, number)
        command = list(made.command)
        command[command.index("-c") + 1] = str(self.threads)
        name = f"worker-{number}"
        return self._process(Program(name, tuple(command), made.environ, made.grace))

    def program(self, name: str, *command: str) -> Process:
        """Another process, not started."""
        return self._process(Program(name, (sys.executable, *command), self.environ))

    def _process(self, program: Program) -> Process:
        process = Process(program, self._logs, self._guard)
        self._processes.append(process)
        return process

    def statements(self, process: Process) -> Counter[str]:
        """Statements that a process and its children have sent to the database so far."""
        time.sleep(0.5)
        pids = [each.pid for each in family(process)]
        return statements.counted(self.data_dir / "statements", pids)

    def commits(self) -> int | None:
        """Transactions that the database has committed; None for SQLite, which has no counter."""
        if not self._database:
            return None
        time.sleep(1.5)  # PostgreSQL's counters are up to a second late
        query = "SELECT xact_commit FROM pg_stat_database WHERE datname = %s"
        return int(self._admin(query, self._database)[0])

    def backends(self) -> list[psutil.Process]:
        """PostgreSQL's processes that serve this database, if they run on this machine."""
        if not self._database:
            return []
        found = []
        for each in psutil.process_iter(["cmdline", "name"]):
            if each.info["name"] == "postgres" and self._database in " ".join(
                each.info["cmdline"] or ()
            ):
                found.append(each)
        return found

    def _admin(self, statement: str, *params: str) -> tuple[int, ...]:
        import psycopg

        with psycopg.connect(self._server, autocommit=True) as connection:
            done = connection.execute(statement, params or None)  # type: ignore[arg-type]
            return (done.fetchone() or ()) if done.description else ()

    def close(self) -> None:
        """End every process, and remove the database and the folder."""
        for process in reversed(self._processes):
            process.kill()
        self._guard.close()
        if self._database:
            self._admin(f'DROP DATABASE IF EXISTS "{self._database}" WITH (FORCE)')
        shutil.rmtree(self.folder, ignore_errors=True)


def family(process: Process) -> list[psutil.Process]:
    """A process and its children; empty if it has ended."""
    try:
        parent = psutil.Process(process.pids[-1])
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class Usage(threading.Thread):
    """CPU seconds and peak memory of named processes, sampled until it is stopped."""

    def __init__(self, named: dict[str, list[Process]], stack: Stack) -> None:
        super().__init__(daemon=True)
        self._named, self._stack = named, stack
        self._stopped = threading.Event()
        self._first: dict[tuple[str, int], float] = {}
        self._last: dict[tuple[str, int], float] = {}
        self.peak: dict[str, int] = {}
        self._sample(first=True)
        self.start()

    def run(self) -> None:
        while not self._stopped.wait(1.0):
            self._sample()

    def _sample(self, *, first: bool = False) -> None:
        groups = {
            name: [p for one in some for p in family(one)] for name, some in self._named.items()
        }
        groups["postgresql"] = self._stack.backends()
        for name, some in groups.items():
            memory = 0
            for each in some:
                try:
                    times = each.cpu_times()
                    spent = times.user + times.system
                    memory += each.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
                key = name, each.pid
                self._first.setdefault(key, spent if first else 0.0)
                self._last[key] = spent
            self.peak[name] = max(self.peak.get(name, 0), memory)

    def stop(self) -> dict[str, float]:
        """Stop, and return the CPU seconds of each name since the start."""
        self._stopped.set()
        self.join()
        self._sample()
        total: dict[str, float] = {}
        for (name, pid), spent in self._last.items():
            total[name] = total.get(name, 0.0) + spent - self._first[name, pid]
        return total
