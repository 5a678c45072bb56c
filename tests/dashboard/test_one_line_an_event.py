"""One event is one line, also in an outage: of a real worker and a real web process."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from dashboard.logs import FOLD, FORMAT, LineFormatter, log_warnings_and_exceptions
from tests.instances import ROOT, clean_environment
from tests.private_redis import PrivateRedis

EVENT = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [\w.]+ \S"
)
SECONDS = 60.0


class Process:
    """A process of the product, and what it writes."""

    def __init__(self, arguments: list[str], environ: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until a text was written so many times."""
        deadline = time.monotonic() + SECONDS
        while (said := self.log.read_text()).count(text) < count:
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def stop(self) -> list[str]:
        """Stop it; returns its lines."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(SECONDS)
        return self.log.read_text().split("\n")[:-1]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data").mkdir()
    given = clean_environment(tmp_path, REDIS_SOCKET=str(tmp_path / "redis.sock"))
    given["DEBUG"] = "1"  # static files without collectstatic
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=given, check=True)
    return given


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[PrivateRedis]:
    (tmp_path / "redis").mkdir()
    with PrivateRedis(tmp_path / "redis", tmp_path / "redis.sock") as started:
        yield started


def assert_events(lines: list[str]) -> None:
    wrong = [line for line in lines if not EVENT.match(line)]
    assert not wrong, "\n".join(wrong[:20])
    assert len(lines) > 2


@pytest.mark.e2e
def test_a_worker_whose_broker_is_away(
    tmp_path: Path, environ: dict[str, str], redis: PrivateRedis
) -> None:
    pool = ["--pool", "threads", "-c", "4", "--without-gossip", "--without-mingle"]
    arguments = ["-m", "celery", "-A", "dashboard", "worker", *pool, "--loglevel", "INFO"]
    worker = Process(arguments, environ, tmp_path / "worker.log")
    try:
        worker.wait_for(" ready.")
        redis.stop()
        worker.wait_for("Cannot connect to", 3)
        redis.start()
        worker.wait_for("Connected to", 2)
    finally:
        lines = worker.stop()
    assert_events(lines)
    assert any("Warm shutdown" in line for line in lines)


@pytest.mark.e2e
def test_a_web_process_whose_database_is_away(tmp_path: Path, environ: dict[str, str]) -> None:
    from tests.proxies.conftest import free_port

    port = free_port()
    arguments = ["-m", "gunicorn", "-c", "python:dashboard.gunicorn"]
    web = Process([*arguments, "--bind", f"127.0.0.1:{port}"], environ, tmp_path / "web.log")
    try:
        web.wait_for("Listening at")
        with requests.Session() as session:
            session.trust_env = False
            url = f"http://127.0.0.1:{port}/sign-in/"
            assert session.get(url, timeout=30).status_code == 200
            for path in (tmp_path / "data").glob("db.sqlite3*"):
                path.unlink()
            (tmp_path / "data" / "db.sqlite3").mkdir()
            for _ in range(3):
                given = {"username": "x", "password": "y"}
                given["csrfmiddlewaretoken"] = next(iter(session.cookies.values()))
                session.post(url, data=given, timeout=60)
        web.wait_for("Traceback")
    finally:
        lines = web.stop()
    assert_events(lines)
    told = [line for line in lines if "Traceback" in line]
    assert told
    assert all(FOLD in line and "Error" in line for line in told)


# --- what makes the lines


def line_of(record: logging.LogRecord) -> str:
    return LineFormatter(FORMAT).format(record)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028"])
def test_a_text_from_outside_makes_no_line_of_its_own(end: str) -> None:
    forged = f"/x{end}2026-03-02 10:30:00,000 INFO dashboard all is well"
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "asked for %s", (forged,), None)
    (line,) = line_of(record).splitlines()
    assert EVENT.match(line)
    assert (FOLD in line) or end != "\n"
    assert line.endswith("all is well")


def test_a_traceback_is_in_the_line_of_its_event() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", (), sys.exc_info())
    (line,) = line_of(record).splitlines()
    for part in ("failed", "Traceback (most recent call last):", "ValueError: first", "second"):
        assert part in line.split(FOLD) or part in line


@pytest.fixture
def python_prints() -> Iterator[None]:
    hooks = sys.excepthook, threading.excepthook
    log_warnings_and_exceptions()
    yield
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)


def warn() -> None:
    warnings.warn("a\nwarning", UserWarning, stacklevel=1)


def end_a_thread() -> None:
    thread = threading.Thread(target=lambda: 1 / 0, name="divides")
    thread.start()
    thread.join()


def end_a_process() -> None:
    try:
        raise RuntimeError("uncaught")
    except RuntimeError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("happens", "told"), [(warn, "a"), (end_a_thread, "divides"), (end_a_process, "uncaught")]
)
def test_what_python_would_print_is_an_event(
    python_prints: None,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    happens: Callable[[], None],
    told: str,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        happens()
    records = [r for r in caplog.records if r.name in ("py.warnings", "dashboard.logs")]
    assert len(records) == 1
    (line,) = line_of(records[0]).splitlines()
    assert told in line
    assert "Traceback" not in capfd.readouterr().err
