"""The retention page: what goes is seen before, asked for twice, and on record."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups.models import BackupRun, RetentionKind, RetentionPolicy, RetentionRun
from backups.services import retention
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Action, Actor
from tests.grants import give
from tests.views.page_text import tight
from tests.visitor import text_of

URL = "/settings/retention/"


@pytest.fixture
def admin(db: None) -> Client:
    client = Client()
    client.force_login(give(User.objects.create_user("root-of-all"), Role.ADMIN))
    return client


def seen() -> str:
    return retention.fingerprint(RetentionPolicy.current())


def save(client: Client, **values: Any) -> Any:
    return client.post(f"{URL}change/", {"seen": seen(), **values})


def old_run(make_run: Any) -> BackupRun:
    at = timezone.now() - timedelta(days=50)
    run: BackupRun = make_run(state="succeeded", requested_at=at, finished_at=at)
    return run


def test_by_default_everything_is_kept(admin: Client) -> None:
    page = text_of(admin.get(URL).content.decode())
    assert len(re.findall(r"\bNone\b", page)) == 4
    assert "Nothing has been deleted or masked so far." in page


def test_a_policy_by_which_nothing_goes_is_saved_at_once(admin: Client, make_run: Any) -> None:
    old_run(make_run)
    assert save(admin, successes_days="60", reason="law").status_code == 302
    assert RetentionPolicy.current().successes_days == 60
    event = AuditEvent.objects.latest("sequence")
    assert (event.action, event.actor_name, event.reason) == (
        Action.RETENTION_CHANGED,
        "root-of-all",
        "law",
    )


def test_a_policy_by_which_something_goes_is_asked_for_twice(
    admin: Client, make_run: Any, redis_url: str
) -> None:
    run = old_run(make_run)
    asked = save(admin, successes_days="40", reason="law")
    assert asked.status_code == 422
    page = asked.content.decode()
    assert "cannot be undone" in page
    assert 'name="confirmed" value="1"' in page
    assert 'value="law"' in page
    assert 'value="40"' in page
    assert RetentionPolicy.current().successes_days is None
    assert save(admin, successes_days="40", confirmed="1").status_code == 302
    assert RetentionPolicy.current().successes_days == 40
    assert "1" in text_of(admin.get(URL).content.decode())
    assert admin.post(f"{URL}run/", {"seen": seen()}).status_code == 302
    announced = RetentionRun.objects.get()
    assert announced.kind == RetentionKind.SUCCESSES
    assert "under way" in text_of(admin.get(URL).content.decode())
    assert BackupRun.objects.filter(pk=run.pk).exists(), "a worker does it, not the page"
    assert retention.run_due() == 1
    assert not BackupRun.objects.filter(pk=run.pk).exists()
    page = text_of(admin.get(URL).content.decode())
    assert "root-of-all" in page
    assert "done just now" in page or "done" in page


@pytest.mark.parametrize(
    ("value", "problem"),
    [("0", "greater than or equal to 1"), ("x", "whole number"), ("99999", "less than or equal")],
)
def test_a_bad_number_is_told_at_its_field(admin: Client, value: str, problem: str) -> None:
    answer = save(admin, failures_days=value, successes_days="30")
    assert answer.status_code == 422
    page = answer.content.decode()
    assert problem in page
    assert 'id="failures_days-problem"' in page
    assert 'value="30"' in page, "nothing that was typed is lost"
    assert not RetentionPolicy.objects.exists()


def test_a_page_that_is_out_of_date_changes_nothing(admin: Client, make_run: Any) -> None:
    stale = seen()
    retention.change({"successes_days": 10, **dict.fromkeys(
        ("failures_days", "audit_days", "personal_days"))}, actor=Actor("bert"))  # fmt: skip
    old_run(make_run)
    for path in ("change/", "run/"):
        answer = admin.post(f"{URL}{path}", {"seen": stale, "successes_days": "20"})
        assert answer.status_code == 409
        assert "The policy has changed" in answer.content.decode()
    assert RetentionPolicy.current().successes_days == 10
    assert not RetentionRun.objects.exists()


def test_nothing_to_do_is_said(admin: Client) -> None:
    answer = admin.post(f"{URL}run/", {"seen": seen()}, follow=True)
    assert "There is nothing to clean up" in answer.content.decode()
    assert not AuditEvent.objects.filter(action=Action.RETENTION_RUN).exists()


def test_an_auditor_sees_and_cannot_change(db: None, make_run: Any) -> None:
    auditor = Client()
    auditor.force_login(give(User.objects.create_user("auditor"), Role.AUDITOR))
    page = auditor.get(URL).content.decode()
    assert "disabled" in page
    assert "Save</button>" not in tight(page)
    assert save(auditor, successes_days="1").status_code == 403


def test_a_masked_run_says_so_everywhere(admin: Client, make_run: Any) -> None:
    at = timezone.now() - timedelta(days=50)
    run = make_run(
        state="failed", requested_at=at, finished_at=at, requested_by_name="a-name-that-goes",
        source_ip="192.0.2.99",
    )  # fmt: skip
    retention.change({"personal_days": 30, **dict.fromkeys(
        ("failures_days", "audit_days", "successes_days"))}, actor=Actor("bert"))  # fmt: skip
    assert retention.run_due() == 1
    for path in (f"/runs/{run.pk}/", "/history/?window=all", f"/clusters/{run.cluster_id}/"):
        page = admin.get(path).content.decode()
        assert "masked" in text_of(page), path
        assert "a-name-that-goes" not in page
        assert "192.0.2.99" not in page
    document = admin.get(f"/runs/{run.pk}.json").json()
    assert (document["requested_by"], document["source_ip"]) == ("", None)
    assert document["personal_data_masked"] is True
    assert "No run" in text_of(
        admin.get("/history/?window=all&user=a-name-that-goes").content.decode()
    )
