"""`/healthz`: the process answers. `/readyz`: it can serve pages. `/health/work`: work flows."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone

from backups import work
from backups.models import Canary, Heartbeat, Ticker
from dashboard.web.health import LIMIT
from tests.instances import ROOT, clean_environment
from tests.private_redis import PrivateRedis

ASK = """
import time, django
django.setup()
from dashboard.web.health import readiness, work_health
for ask in readiness, work_health:
    begun = time.monotonic()
    answer = ask()
    print(answer.status_code, round(time.monotonic() - begun, 2), answer.content.decode())
"""


@dataclass(frozen=True)
class Health:
    """An answer of a probe: its status, how long it took, and what it says."""

    status: int
    seconds: float
    body: dict[str, Any]

    @property
    def checks(self) -> dict[str, str]:
        return dict(self.body["checks"])


def _ask(folder: Path, **environ: str) -> tuple[Health, Health]:
    """What /readyz and /health/work say in a process with these settings."""
    answer = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=ROOT,
        env=clean_environment(folder, DJANGO_SETTINGS_MODULE="dashboard.settings", **environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line.split(" ", 2) for line in answer.stdout.splitlines()]
    ready, work = (Health(int(a), float(b), json.loads(c)) for a, b, c in lines)
    return ready, work


def test_healthz_needs_no_sign_in_no_known_host_and_no_database(client: Client) -> None:
    answer = client.get("/healthz", headers={"host": "10.1.2.3:8000"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer["Cache-Control"] == "no-store"


def test_what_is_away_is_named(tmp_path: Path) -> None:
    ready, work = _ask(
        tmp_path,
        DATABASE_URL="postgres://dashboard:hidden-word@127.0.0.1:1/dashboard",
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert (ready.status, work.status) == (503, 503)
    assert ready.checks["database"] == "unreachable (OperationalError)"
    assert work.checks["broker"].startswith("Redis is unreachable (")
    assert work.checks["processes"] == "unreachable (OperationalError)"
    assert "127.0.0.1" not in f"{ready} {work}"


def test_a_redis_that_wants_a_password_is_told_from_one_that_is_away(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path, tmp_path / "redis.sock") as private:
        with redis.Redis(unix_socket_path=str(private.socket_path)) as client:
            client.config_set("requirepass", "a-secret")
        environ = {
            "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
            "REDIS_URL": f"redis+socket://{private.socket_path}",
        }
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "-v", "0"],
            cwd=ROOT,
            env=clean_environment(tmp_path, **environ),
            check=True,
        )
        _, work = _ask(tmp_path, **environ)
    assert work.checks["broker"] == "Redis refuses the sign-in: Authentication required"


def test_probes_answer_in_time_where_services_hang(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begun = time.monotonic()
        ready, work = _ask(
            tmp_path,
            DATABASE_URL=f"postgres://dashboard@127.0.0.1:{port}/dashboard",
            REDIS_URL=f"redis://127.0.0.1:{port}/0",
        )
    assert (ready.status, work.status) == (503, 503)
    assert max(ready.seconds, work.seconds) < LIMIT + 1.0
    assert ready.checks["database"] != "ok"
    assert work.checks["broker"] != "ok"
    assert time.monotonic() - begun < 40


@pytest.mark.django_db(transaction=True)
def test_pages_are_ready_where_no_work_is_done(client: Client, redis_url: str) -> None:
    """A worker or a Redis that is away does not take the pages offline that say so."""
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["database"]) == (200, "ok")
    work = client.get("/health/work", headers={"host": "10.1.2.3:8000"})
    assert work.status_code == 503
    assert work.json()["checks"]["broker"] == "ok"
    assert "no worker" in work.json()["reason"]


@pytest.mark.django_db(transaction=True)
def test_work_flows_while_messages_are_consumed(client: Client, redis_url: str) -> None:
    now = timezone.now()
    for kind in Heartbeat.Kind.values:
        Heartbeat.objects.create(name=kind, kind=kind, started_at=now, seen_at=now)
    Ticker.objects.create(pk=1, ticks=1, ticked_at=now)
    answer = client.get("/health/work").json()
    assert answer["checks"]["messages"] == "none has come through yet"
    work.message_arrived()
    answer = client.get("/health/work")
    assert (answer.status_code, answer.json()["reason"]) == (200, "")


# --- How old the last message is ------------------------------------------------------------------


class Clock:
    """Stands for the module `time`; seconds pass when the test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(work, "time", clock)
    return clock


@pytest.mark.parametrize("hours", [0, 7, -7])
def test_no_step_of_a_wall_clock_changes_how_old_a_message_is(clock: Clock, hours: int) -> None:
    start = timezone.now()
    watch = work.Watch()
    assert watch.age((1, start)) == pytest.approx(0, abs=1)
    for second in range(1, 60):  # the worker's clock is stepped
        clock.now += 1
        at = start + timedelta(hours=hours, seconds=second)
        assert watch.age((1 + second, at)) == pytest.approx(0, abs=1)
    clock.now += 40
    assert watch.age((60, start + timedelta(hours=hours, seconds=59))) == pytest.approx(40, abs=1)


def test_a_web_process_that_starts_late_knows_how_old_the_last_message_is(clock: Clock) -> None:
    watch = work.Watch()
    assert watch.age((1, timezone.now() - timedelta(hours=3))) == pytest.approx(3 * 3600, abs=1)


def test_a_message_between_two_rare_looks_is_as_old_as_its_date_says(clock: Clock) -> None:
    watch = work.Watch()
    watch.age((1, timezone.now()))
    clock.now += 300
    assert watch.age((2, timezone.now() - timedelta(seconds=120))) == pytest.approx(120, abs=1)


def test_a_process_notes_few_of_its_messages(clock: Clock, db: None) -> None:
    for _ in range(50):
        work.message_arrived()
    assert Canary.objects.get().number == 0
    clock.now += work.NOTE_EVERY
    work.message_arrived()
    assert Canary.objects.get().number == 1


def test_what_redis_says_is_told_without_the_message_that_it_refused() -> None:
    error = redis.exceptions.OutOfMemoryError(
        "Command # 1 (LPUSH css {...secret...}) of pipeline caused error: command not allowed."
    )
    assert work.refusal(error) == "Redis refuses writes: OOM command not allowed"
    assert work.refusal(redis.exceptions.ConnectionError("Error 111 connecting to host")) == ""


def test_readyz_says_that_migrations_are_missing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    ready, _ = _ask(tmp_path, DATABASE_URL=url)
    assert (ready.status, ready.checks["database"]) == (503, "ok")
    assert re.fullmatch(r"\d+ not applied: run manage.py migrate", ready.checks["migrations"])
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"],
        cwd=ROOT,
        env=clean_environment(tmp_path, DATABASE_URL=url),
        check=True,
    )
    assert _ask(tmp_path, DATABASE_URL=url)[0].checks["migrations"] == "ok"


@pytest.mark.django_db(transaction=True)
def test_readyz_counts_what_this_code_brings_and_the_database_lacks(client: Client) -> None:
    rows = MigrationRecorder.Migration.objects
    assert client.get("/readyz").json()["checks"]["migrations"] == "ok"
    rows.create(app="backups", name="9999_of_newer_code")
    last = rows.filter(app="backups", name__lt="9999").latest("name")
    last.delete()
    try:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["migrations"] == "1 not applied: run manage.py migrate"
    finally:
        rows.filter(name="9999_of_newer_code").delete()
        last.pk = None
        last.save()
    assert client.get("/readyz").json()["checks"]["migrations"] == "ok"
