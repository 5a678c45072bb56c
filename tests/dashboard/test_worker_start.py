"""A worker that starts before the migrations takes no run until they are applied."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.instances import ROOT, clean_environment

SECONDS = 60.0
WORKER = [*("celery", "-A", "dashboard", "worker", "--pool", "threads", "-c", "1")]
WORKER += ["--without-gossip", "--without-mingle", "-n", "early@%h"]


def _manage(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def _wait_for(true: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def test_a_worker_waits_for_the_migrations(tmp_path: Path, redis_url: str) -> None:
    database = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    environ = clean_environment(tmp_path, DATABASE_URL=database, REDIS_URL=redis_url)
    (tmp_path / "data").mkdir()
    log = tmp_path / "worker.log"
    ping = ("worker_ping", "--name", "early@%h", "--timeout", "1")
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", *WORKER], cwd=ROOT, env=environ, stdout=out, stderr=out
        )
    try:
        _wait_for(lambda: "waiting to start: migrations" in log.read_text(), log)
        silent = _manage(environ, *ping)
        assert (silent.returncode, "Traceback" in silent.stderr) == (1, False)
        assert len(silent.stderr.splitlines()) == 1
        assert _manage(environ, "migrate", "-v", "0").returncode == 0
        _wait_for(lambda: _manage(environ, *ping).returncode == 0, log)
        assert log.read_text().count("waiting to start") == 1
        assert "starting: all migrations are applied" in log.read_text()
    finally:
        worker.terminate()
        assert worker.wait(SECONDS) == 0, log.read_text()


def test_a_waiting_worker_ends_on_a_signal(tmp_path: Path) -> None:
    """It holds nothing yet: no run, no heartbeat, no connection."""
    environ = clean_environment(
        tmp_path,
        DATABASE_URL="postgres://nobody@127.0.0.1:1/none",
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    (tmp_path / "data").mkdir()
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", *WORKER], cwd=ROOT, env=environ, stdout=out, stderr=out
        )
    _wait_for(lambda: "the database cannot be reached" in log.read_text(), log)
    worker.terminate()
    assert worker.wait(10) != 0
    assert "Traceback" not in log.read_text()


def test_a_ping_without_a_broker_is_one_line(tmp_path: Path) -> None:
    environ = clean_environment(tmp_path, REDIS_URL="redis://:hidden-word@127.0.0.1:1/0")
    answer = _manage(environ, "worker_ping")
    assert answer.returncode == 1
    assert "cannot be pinged" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert "hidden-word" not in answer.stderr


@pytest.mark.parametrize("words", [("--timeout", "soon")])
def test_wrong_arguments_of_a_ping_are_2(tmp_path: Path, words: tuple[str, str]) -> None:
    assert _manage(clean_environment(tmp_path), "worker_ping", *words).returncode == 2
