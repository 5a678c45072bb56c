"""The form that settles a run by hand: who sees it, when, and what it answers."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups import uptime
from backups.choices import RunState
from backups.models import BackupRun
from backups.services.runs.following import unreadable_limit
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from tests.grants import give
from tests.views.conftest import MakeRun

WHY = "No job in the console"
TYPED = {"ruling": "not_started", "reason": WHY}
FORM = 'action="/runs/{}/settle/"'


@pytest.fixture
def stuck(make_run: MakeRun) -> BackupRun:
    """A run whose records have been read in vain for long, and still are."""
    now = timezone.now()
    return make_run(
        state="unknown",
        outcome="unanswered",
        sent_at=now - timedelta(seconds=unreadable_limit() + 60),
        step_uptime=uptime.now() - unreadable_limit() - 60,
        checks=40,
        next_check_at=now + timedelta(seconds=20),
        note="The cloud's records cannot be read: HTTP 403",
    )


@pytest.fixture
def admin(client: Client, stuck: BackupRun) -> Client:
    """A browser in which an admin of the run's project has signed in."""
    user = give(User.objects.create_user("cleo"), Role.ADMIN, project=stuck.project)
    client.force_login(user)
    return client


def html(client: Client, run: BackupRun) -> str:
    response = client.get(run.get_absolute_url())
    assert response.status_code == 200
    return response.content.decode()


def test_an_admin_of_the_project_settles_it(admin: Client, stuck: BackupRun) -> None:
    assert FORM.format(stuck.pk) in html(admin, stuck)
    response = admin.post(f"/runs/{stuck.pk}/settle/", TYPED, follow=True)
    text = response.content.decode()
    assert response.redirect_chain == [(f"/runs/{stuck.pk}/", 302)]
    assert f"Run {stuck.pk} was settled by hand." in text
    assert "By hand, by <bdi>cleo</bdi>" in text
    assert f"Settled by hand, the cloud started nothing: {WHY}" in text
    assert FORM.format(stuck.pk) not in text
    assert "Back up again" in text
    stuck.refresh_from_db()
    assert (stuck.state, stuck.settled_by_hand) == ("not_started", True)
    event = AuditEvent.objects.about(stuck).get()
    assert (event.action, event.actor_name, event.reason) == ("run_settled", "cleo", WHY)
    assert event.ip == "127.0.0.1"


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.ADMIN}))
def test_no_other_role_is_offered_it_or_may_do_it(
    client: Client, stuck: BackupRun, role: Role
) -> None:
    client.force_login(give(User.objects.create_user("dora"), role))
    assert FORM.format(stuck.pk) not in html(client, stuck)
    response = client.post(f"/runs/{stuck.pk}/settle/", TYPED)
    assert response.status_code == 403
    assert "Settling a run manually requires the role Admin" in response.content.decode()
    stuck.refresh_from_db()
    assert stuck.state == "unknown"


def test_too_early_the_page_says_from_when_on(admin: Client, stuck: BackupRun) -> None:
    BackupRun.objects.filter(pk=stuck.pk).update(sent_at=timezone.now(), step_uptime=uptime.now())
    text = html(admin, stuck)
    assert FORM.format(stuck.pk) not in text
    assert "By hand it can be settled from" in text
    response = admin.post(f"/runs/{stuck.pk}/settle/", TYPED)
    assert response.status_code == 409
    text = response.content.decode()
    assert "Not settled. The cloud" in text
    assert WHY in text, "what was typed is not lost"
    stuck.refresh_from_db()
    assert stuck.state == "unknown"


@pytest.mark.parametrize("state", sorted(set(RunState) - {RunState.UNKNOWN}))
def test_other_runs_have_no_such_form(
    admin: Client, stuck: BackupRun, make_run: MakeRun, state: RunState
) -> None:
    run = make_run(state=state)
    text = html(admin, run)
    assert "Settle by hand" not in text
    assert admin.post(f"/runs/{run.pk}/settle/", TYPED).status_code == 409
    run.refresh_from_db()
    assert (run.state, run.settled_by_hand) == (state, False)


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ({"reason": WHY}, "What happened: Choose one."),
        ({"ruling": "verified", "reason": WHY}, "What happened: Select a valid choice."),
        ({"ruling": "started"}, "How you know: Say where you looked"),
        ({"ruling": "started", "reason": "   "}, "How you know: Say where you looked"),
        ({"ruling": "started", "reason": "x" * 401}, "How you know: Ensure this value has at most"),
        ({"ruling": "started", "reason": "a\0b"}, "How you know: Null characters"),
    ],
)
def test_what_is_wrong_is_named_and_what_was_typed_stays(
    admin: Client, stuck: BackupRun, typed: dict[str, Any], problem: str
) -> None:
    response = admin.post(f"/runs/{stuck.pk}/settle/", typed)
    text = response.content.decode()
    assert response.status_code == 422
    assert problem in text
    assert '<details class="excerpt" id="settle" open>' in text
    assert f'name="reason" value="{typed.get("reason", "")}"' in text
    assert bool(re.search(r'value="started" required\s+checked', text)) is (
        typed.get("ruling") == "started"
    )
    stuck.refresh_from_db()
    assert stuck.state == "unknown"


def test_it_needs_a_post_and_a_form_of_ours(admin: Client, stuck: BackupRun) -> None:
    assert admin.get(f"/runs/{stuck.pk}/settle/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="cleo"))
    assert strict.post(f"/runs/{stuck.pk}/settle/", TYPED).status_code == 403
    stuck.refresh_from_db()
    assert stuck.state == "unknown"
