"""`/healthz` tells that the process answers, `/readyz` that it can work."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from dashboard.health import LIMIT
from tests.instances import ROOT, clean_environment

ASK = """
import time, django
django.setup()
from dashboard.health import readiness
begun = time.monotonic()
answer = readiness()
print(answer.status_code, round(time.monotonic() - begun, 2), answer.content.decode())
"""


def _ready(folder: Path, **environ: str) -> tuple[int, float, dict[str, str]]:
    """Status, seconds and checks of /readyz in a process with these settings."""
    answer = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=ROOT,
        env=clean_environment(folder, DJANGO_SETTINGS_MODULE="dashboard.settings", **environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    status, seconds, body = answer.stdout.split(" ", 2)
    return int(status), float(seconds), json.loads(body)["checks"]


def test_healthz_needs_no_sign_in_no_known_host_and_no_database(client: Client) -> None:
    answer = client.get("/healthz", headers={"host": "10.1.2.3:8000"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer["Cache-Control"] == "no-store"


def test_readyz_names_what_is_away(tmp_path: Path) -> None:
    status, _, checks = _ready(
        tmp_path,
        DATABASE_URL="postgres://dashboard:hidden-word@127.0.0.1:1/dashboard",
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert status == 503
    assert checks["database"] == "unreachable (OperationalError)"
    assert checks["broker"].startswith("unreachable (")
    assert "127.0.0.1" not in str(checks)


def test_readyz_answers_in_time_where_services_hang(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begun = time.monotonic()
        status, seconds, checks = _ready(
            tmp_path,
            DATABASE_URL=f"postgres://dashboard@127.0.0.1:{port}/dashboard",
            REDIS_URL=f"redis://127.0.0.1:{port}/0",
        )
    assert status == 503
    assert seconds < LIMIT + 1.0
    assert checks["database"] != "ok"
    assert checks["broker"] != "ok"
    assert time.monotonic() - begun < 40


@pytest.mark.django_db(transaction=True)
def test_readyz_reaches_database_and_broker(client: Client, redis_url: str) -> None:
    checks = client.get("/readyz").json()["checks"]
    assert (checks["database"], checks["broker"]) == ("ok", "ok")


def test_readyz_says_that_migrations_are_missing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    status, _, checks = _ready(tmp_path, DATABASE_URL=url)
    assert (status, checks["database"]) == (503, "ok")
    assert re.fullmatch(r"\d+ not applied: run manage.py migrate", checks["migrations"])
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"],
        cwd=ROOT,
        env=clean_environment(tmp_path, DATABASE_URL=url),
        check=True,
    )
    assert _ready(tmp_path, DATABASE_URL=url)[2]["migrations"] == "ok"


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
