"""Events made through `record`, and changes that only the database owner can make."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit import retention, trail, verification
from dashboard.audit.models import Action, AuditEvent, Verification
from dashboard.audit.trail import Actor, record
from dashboard.audit.verification import request_verification, run_verification
from tests.audit_guards import guards_lifted
from tests.grants import give

KEEPER = Actor.process("retention")
Tamper = Callable[..., None]
MakeEvents = Callable[..., list[AuditEvent]]


@pytest.fixture
def anna(db: None) -> User:
    """An auditor, created without a sign-in: the trail is still empty."""
    return give(User.objects.create_user("anna", password="a-password"), Role.AUDITOR)


@pytest.fixture
def actor(anna: User) -> Actor:
    return Actor(
        name="anna", user=anna, ip="192.0.2.7", user_agent="Firefox", request_id="0123456789abcdef"
    )


@pytest.fixture
def make_events(actor: Actor) -> MakeEvents:
    def make(count: int = 1, action: Action = Action.LOG_BACKUP_CHANGED, **fields: Any) -> Any:
        values = {"actor": actor, "target_label": "prod-logs", "before": {"days": 7}} | fields
        return [record(action, **values) for _ in range(count)]

    return make


class Clock:
    """Gives each event its own time, one second apart, all in the past."""

    def __init__(self) -> None:
        start = timezone.now() - timedelta(hours=1)
        self.moment = start.replace(microsecond=0)

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment

    def between(self) -> datetime:
        """Return a time after all events so far and before the next."""
        return self.moment + timedelta(seconds=0.5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(trail, "now", made)
    return made


@pytest.fixture
def tamper(db: None) -> Tamper:
    """Run SQL as the database owner can: without the triggers."""

    def run(sql: str, *parameters: Any) -> None:
        with guards_lifted(), connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    return run


@pytest.fixture
def web(client: Client, anna: User) -> Client:
    """A browser in which anna is signed in."""
    client.force_login(anna)
    return client


@pytest.fixture(params=[2, 2000])
def small_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks smaller and larger than the chain."""
    monkeypatch.setattr(verification, "CHUNK", request.param)
    monkeypatch.setattr(retention, "CHUNK", request.param)


def verified() -> Verification:
    """Run a verification as the task does."""
    asked = request_verification()
    assert run_verification(asked)
    return asked


def soon() -> Any:
    """Return a time after all events."""
    return timezone.now() + timedelta(seconds=1)


def shown(web: Client, **query: Any) -> list[int]:
    """Return the numbers of the events on a page, in order."""
    response = web.get(reverse("audit:events"), query)
    assert response.status_code == 200
    return [int(n) for n in re.findall(r'id="event-(\d+)"', response.content.decode())]


def page_of(web: Client, **query: Any) -> str:
    return str(web.get(reverse("audit:events"), query).content.decode())


@pytest.fixture
def own_data_dir(settings: Any, tmp_path: Path) -> None:
    """Use a signing key of this test only."""
    settings.DATA_DIR = tmp_path / "var"


@pytest.fixture
def exported(own_data_dir: None, tmp_path: Path) -> Callable[..., Path]:
    """Export to a file, and store the public key next to it."""

    def run(*arguments: str) -> Path:
        path = tmp_path / "export.jsonl"
        path.unlink(missing_ok=True)
        call_command("audit_export", "--output", str(path), *arguments, stderr=StringIO())
        printed = StringIO()
        call_command("audit_export", "--public-key", stdout=printed)
        (tmp_path / "key.pem").write_text(printed.getvalue())
        return path

    return run
