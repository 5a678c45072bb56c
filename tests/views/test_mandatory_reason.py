"""Where a reason is required, every way to ask for a backup asks for one, and loses nothing."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from backups.choices import Trigger
from backups.models import BackupRun
from backups.services.runs.requests import ReasonMissing, Requester, request_backup
from tests.views.conftest import MakeCluster, MakeRun
from tests.views.page_text import tight

HTMX = {"HX-Request": "true"}
MISSING = "Reason: A reason is required for every backup."
KEY = "k" * 22


@pytest.fixture(autouse=True)
def required(settings: Any) -> None:
    settings.BACKUP_REASON_REQUIRED = True


def reason_inputs(text: str) -> list[str]:
    return re.findall(r'<input [^>]*name="reason"[^>]*>', tight(text))


# --- the button ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_click_without_one_opens_the_rows_form_and_says_so(
    web: Client, make_cluster: MakeCluster, reason: str
) -> None:
    cluster = make_cluster()
    typed = {"reason": reason, "wait_minutes": "7", "idempotency_key": KEY}
    response = web.post(f"/clusters/{cluster.pk}/backup/", typed, headers=HTMX)
    text = response.content.decode()
    assert response.status_code == 422
    assert MISSING in text
    assert "data-closes open" in text
    assert 'value="7"' in text
    [field] = reason_inputs(text)
    assert 'aria-invalid="true"' in field
    assert f'id="{re.search(r"aria-describedby=.([a-z0-9-]+)", field)[1]}"' in text  # type: ignore[index]
    assert "(required, kept in the history)" in text
    assert text.count("data-refocus") == 1
    assert "data-refocus" in field, "where somebody has to type next"
    assert not BackupRun.objects.exists()


def test_without_javascript_a_page_asks_for_it(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster("orders-prod")
    typed = {"wait_minutes": "7", "back": "/clusters/?q=orders", "then": "run"}
    response = web.post(f"/clusters/{cluster.pk}/backup/", typed)
    text = response.content.decode()
    assert response.status_code == 422
    assert MISSING in text
    for part in ('value="7"', 'value="/clusters/?q=orders"', 'name="then" value="run"'):
        assert part in text
    [field] = reason_inputs(text)
    assert " required" in field
    assert 'aria-invalid="true"' in field
    assert " autofocus" in field
    assert not BackupRun.objects.exists()


def test_with_one_it_is_requested(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    web.post(f"/clusters/{cluster.pk}/backup/", {"reason": "before upgrade"})
    assert BackupRun.objects.get().reason == "before upgrade"


def test_a_reason_that_is_too_long_is_told_and_kept(web: Client, make_cluster: MakeCluster) -> None:
    response = web.post(f"/clusters/{make_cluster().pk}/backup/", {"reason": "x" * 501})
    assert response.status_code == 422
    assert "Reason: Ensure this value has at most 500" in response.content.decode()
    assert "x" * 501 in response.content.decode()


def test_joining_a_run_needs_one_too(web: Client, make_run: MakeRun) -> None:
    run = make_run()
    assert web.post(f"/clusters/{run.cluster_id}/backup/").status_code == 422
    assert run.events.count() == 1


def test_a_warning_is_read_and_the_reason_is_still_there(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(readiness="backup_off", checked_at=timezone.now())
    for headers in ({}, HTMX):
        url = f"/clusters/{cluster.pk}/backup/"
        response = web.post(url, {"reason": "typed text"}, headers=headers)
        assert response.status_code == 409
        assert 'value="typed text"' in response.content.decode()
    web.post(f"/clusters/{cluster.pk}/backup/", {"reason": "typed text", "anyway": "1"})
    assert BackupRun.objects.get().reason == "typed text"


# --- the other places ----------------------------------------------------------------------------


def test_back_up_again_has_a_field_for_it(web: Client, make_run: MakeRun) -> None:
    run = make_run(state="failed")
    [field] = reason_inputs(web.get(f"/runs/{run.pk}/").content.decode())
    assert " required" in field
    url = f"/clusters/{run.cluster_id}/backup/"
    assert web.post(url, {"then": "run"}).status_code == 422
    assert web.post(url, {"then": "run", "reason": "once more"}).status_code == 302
    assert BackupRun.objects.latest("pk").reason == "once more"


@pytest.mark.parametrize("page", ["/", "/protection/"])
def test_a_button_without_a_field_leads_to_the_page_that_asks(
    web: Client, make_cluster: MakeCluster, page: str
) -> None:
    make_cluster("orders-prod", readiness="ready", checked_at=timezone.now())
    text = web.get(page).content.decode()
    form = re.search(r'<form method="post" action="(/clusters/\d+/backup/)".*?</form>', text, re.S)
    assert form is not None
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0]))
    response = web.post(form[1], hidden)
    assert response.status_code == 422
    assert reason_inputs(response.content.decode())
    assert web.post(form[1], hidden | {"reason": "because"}).status_code == 302
    assert BackupRun.objects.get().reason == "because"


def test_the_clusters_page_has_the_same_form(web: Client, make_cluster: MakeCluster) -> None:
    text = web.get(f"/clusters/{make_cluster().pk}/").content.decode()
    assert "(required, kept in the history)" in text
    # required by the browser it would stop the click without a word: the field is folded away
    assert " required" not in reason_inputs(text)[0]


@pytest.mark.parametrize("reason", [[], ["--reason", " "]])
def test_the_command_asks_for_it_before_anything_is_requested(
    make_cluster: MakeCluster, reason: list[str]
) -> None:
    make_cluster("orders-prod")
    with pytest.raises(CommandError, match="--reason") as raised:
        call_command("backup", "orders-prod", *reason, stdout=io.StringIO())
    assert raised.value.returncode == 2
    assert not BackupRun.objects.exists()
    call_command("backup", "orders-prod", "--reason", "nightly", stdout=io.StringIO())
    assert BackupRun.objects.get().reason == "nightly"


# --- the service ---------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", sorted(set(Trigger) - {Trigger.SCHEDULE, Trigger.CLOUD}))
def test_no_caller_gets_past_it(make_cluster: MakeCluster, trigger: Trigger) -> None:
    with pytest.raises(ReasonMissing, match="reason is required"):
        request_backup(make_cluster(), Requester("anna", trigger, reason=" "))
    assert not BackupRun.objects.exists()


def test_a_schedule_needs_none(make_cluster: MakeCluster) -> None:
    assert request_backup(make_cluster(), Requester("nightly", Trigger.SCHEDULE)).created


def test_by_default_no_reason_is_asked_for(web: Client, make_run: MakeRun, settings: Any) -> None:
    settings.BACKUP_REASON_REQUIRED = False
    run = make_run(state="failed")
    assert not reason_inputs(web.get(f"/runs/{run.pk}/").content.decode())
    row = web.get("/clusters/").content.decode()
    assert "(optional, kept in the history)" in row
    web.post(f"/clusters/{run.cluster_id}/backup/")
    assert BackupRun.objects.count() == 2
