"""The whole product as processes of our own: database, Redis, simulator, web, workers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from dashboard.local_run import listening, redis, startup
from dashboard.local_run.redis import redis_socket
from dashboard.local_run.supervisor import Program
from simulator.client import SimulatorControl

from .databases import Database, PostgresCluster, SqliteFile
from .process import Guard, Process, clean_environment, until

ROOT = Path(__file__).resolve().parent.parent
REGIONS = ("eu-de", "eu-nl")  # the listener of the second can be closed
READY_SECONDS = 90.0
# Shorter than the defaults, so that minutes show what otherwise takes hours. What decides how fast
# the product recovers (heartbeats, dispatch, grace before "not started") is left as it is shipped.
SETTINGS = {
    "CSS_CONNECT_TIMEOUT": "2",
    "CSS_READ_TIMEOUT": "4",
    "CSS_TOTAL_TIMEOUT": "8",
    "BACKUP_RETRY_BASE": "1",
    "BACKUP_RETRY_CAP": "8",
    "BACKUP_CONFLICT_RETRY": "3",
    "BACKUP_RECORD_GRACE": "20",
    "WORKER_SHUTDOWN_GRACE": "6",
    # every cluster is checked again and again: imports meet runs at every step
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
    """The product's environment; a rule's variable in our own environment goes first."""
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
    """Starts everything; `stop` ends everything, however far the start came.

    Args:
        kind: "sqlite" or "postgres".
        seed: of the simulator's faults that strike by chance.
        workers: how many worker processes.
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
        self._guard = Guard()
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
        """Start database, Redis and simulator: what the product needs. Raises StackError."""
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
        """Start web and workers, and wait until /health/work says that all are there."""
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
        """Have everything run that should: Redis, web, all workers."""
        if not self.redis.alive:
            self.start_redis()
        for process in (self.web, *self.workers):
            if not process.alive:
                process.start()

    def stop(self, *, keep: bool = False) -> None:
        """End every process and remove every file; `keep` leaves the folder for a look."""
        for process in reversed(self._started):
            process.kill()
        self.database.close()
        if self._listener is not None:
            self._listener.close()
        self._guard.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
