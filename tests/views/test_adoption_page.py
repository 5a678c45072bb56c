"""A copied or moved database is adopted on a page, too, by those who may."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups import heartbeats, instance
from backups.choices import RunState
from backups.models import Instance
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from tests.grants import give
from tests.visitor import text_of

URL = "/settings/adopt/"


@pytest.fixture
def copied(db: None, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """The database came from elsewhere, and workers run."""
    monkeypatch.setattr(heartbeats, "absences", list)
    monkeypatch.setattr(instance, "_uid", "")
    uid = instance.uid()
    Instance.objects.update(
        adopted=False, origin="0011", differs="path of the file", noticed_at=timezone.now()
    )
    return Instance.objects.get(uid=uid)


def visitor(role: str) -> Client:
    client = Client()
    client.force_login(give(User.objects.create_user(role), role))
    return client


def read(answer: Any) -> str:
    return text_of(answer.content.decode())


def test_an_admin_adopts_it_and_says_why(copied: Instance, make_run: Any) -> None:
    admin, run = visitor(Role.ADMIN), make_run(state="queued")
    assert f'href="{URL}"' in admin.get("/settings/").content.decode()
    page = read(admin.get(URL))
    assert "path of the file" in page
    assert "1 queued run" in page

    refused = admin.post(URL, {"queued": "cancel", "reason": " "})
    assert refused.status_code == 422
    assert "Enter a reason for adopting the database." in refused.content.decode()
    assert admin.post(URL, {"reason": "a copy"}).status_code == 422
    assert not Instance.objects.get().adopted

    page = read(admin.post(URL, {"queued": "cancel", "reason": "a copy"}, follow=True))
    assert "1 queued run was cancelled" in page
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    event = AuditEvent.objects.get(action="instance_adopted")
    assert (event.actor_name, event.reason) == (Role.ADMIN, "a copy")
    assert URL not in admin.get("/settings/").content.decode()
    assert "nothing to adopt" in read(admin.get(URL))
    again = admin.post(URL, {"queued": "cancel", "reason": "a copy"}, follow=True)
    assert "nothing to adopt" in read(again)


def test_queued_runs_are_sent_from_here_where_it_was_moved(copied: Instance, make_run: Any) -> None:
    run = make_run(state="queued")
    visitor(Role.ADMIN).post(URL, {"queued": "send", "reason": "a new server"})
    run.refresh_from_db()
    assert (run.state, Instance.objects.get().adopted) == (RunState.QUEUED, True)


def test_others_see_the_banner_and_no_link(copied: Instance) -> None:
    page = visitor(Role.OPERATOR).get("/settings/").content.decode()
    assert "Nothing is sent to a cloud" in page
    assert URL not in page


def test_a_process_that_has_to_be_restarted_offers_no_adoption(copied: Instance) -> None:
    Instance.objects.update(uid="another", adopted=False)
    page = visitor(Role.ADMIN).get("/settings/").content.decode()
    assert "Restart web and workers" in page
    assert URL not in page
