"""A report by schedule: through a real mail server, once, with the owner's permissions."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from backups.choices import FiringResult, NoticeKind, ScheduledWork, Trigger
from backups.forms.schedules import ScheduleForm
from backups.lists.report import Range, Span
from backups.models import Channel, Delivery, Project, Schedule, ScopeChange
from backups.services.report import make_report
from backups.services.runs.requests import Requester
from backups.services.schedules import firing, pings, reporting
from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from tests.grants import give
from tests.services.schedules import make_schedule

from .conftest import Mailbox, deliver_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(db: None) -> User:
    return give(User.objects.create_user("olga"), Role.ADMIN)


def report_schedule(owner: User, channel: Channel, **columns: object) -> Schedule:
    values = {
        "work": ScheduledWork.REPORT,
        "query": "",
        "report_channel": channel,
        "report_span": Span.LAST_WEEK,
        "zone": "Europe/Berlin",
    }
    return make_schedule(owner, due=timedelta(seconds=5), **values | columns)


def test_a_report_arrives_once_by_mail(admin, mail: Mailbox, mail_channel, make_cluster):
    cluster = make_cluster()
    ScopeChange.objects.filter(cluster=cluster).update(at=timezone.now() - timedelta(days=60))
    schedule = report_schedule(admin, mail_channel)
    slot = schedule.next_slot
    assert firing.fire_due() == 1
    assert firing.fire_due() == 0
    fired = schedule.firings.get()
    assert fired.result == FiringResult.FIRED
    assert not hasattr(fired, "batch")
    # the same slot again, as after a crash of the process that queued it
    again = schedule.firings.get()
    firing._fire(again, admin, None, None)
    assert [each.state for each in deliver_due()] == ["sent"]
    assert deliver_due() == []
    (message,) = mail.mails
    days = Range.of(Span.LAST_WEEK, "Europe/Berlin", slot)
    assert f"{days.first} to {days.last}" in message["subject"]
    (file,) = message.iter_attachments()
    assert file.get_filename() == f"report-{days.first}-{days.last}.csv"
    text = file.get_payload(decode=True).decode("utf-8-sig")
    tables = [list(csv.reader(io.StringIO(part))) for part in text.split("\r\n\r\n")]
    figures = dict(tables[0])
    assert figures["protected_percent"] == make_report(admin, days).time.share == "0.00"
    assert figures["for"] == "olga"
    assert pings.problem_of(fired) == ""


def test_it_stops_when_its_owner_is_no_admin_any_more(admin, mail_channel, project):
    schedule = report_schedule(admin, mail_channel)
    Grant.objects.all().delete()
    give(admin, Role.OPERATOR)
    firing.fire_due()
    fired = schedule.firings.get()
    assert fired.result == FiringResult.SKIPPED
    assert "channels" in fired.note
    assert "olga" not in fired.note
    assert not Delivery.objects.filter(kind=NoticeKind.REPORT)


def test_a_deleted_channel_is_told(admin, mail_channel):
    schedule = report_schedule(admin, mail_channel)
    mail_channel.delete()
    firing.fire_due()
    assert schedule.firings.get().note == "Its channel was deleted."


def test_a_report_is_of_its_project(admin, mail_channel, project, make_cluster):
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="other")
    make_cluster()
    make_cluster(project=other)
    now = timezone.now()
    ScopeChange.objects.update(at=now - timedelta(days=60))
    report_schedule(admin, mail_channel, query=f"project={project.pk}")
    firing.fire_due()
    sent = Delivery.objects.get(kind=NoticeKind.REPORT)
    assert "1 clusters" in sent.body
    assert f"project={project.pk}" in sent.body


def form(user: User, **data: str) -> ScheduleForm:
    values = {
        "name": "monthly",
        "work": "report",
        "every": "cron",
        "cron": "0 6 1 * *",
        "zone": "UTC",
        "when_not_ready": "skip",
        "catch_up": "one",
        "report_span": "last_month",
    }
    query = QueryDict(mutable=True)
    query.update(values | data)
    return ScheduleForm(query, user=user)


def test_the_form_says_what_a_report_needs(admin, mail_channel, project):
    channel = str(mail_channel.pk)
    assert form(admin, report_channel=channel).errors == {}
    assert form(admin, report_channel=channel, query=f"project={project.pk}").errors == {}
    assert "report_channel" in form(admin).errors
    assert "query" in form(admin, report_channel=channel, query="q=orders").errors
    operator = give(User.objects.create_user("otto"), Role.OPERATOR)
    errors = form(operator, report_channel=channel).errors
    assert {"work", "report_channel"} <= set(errors)


def test_a_saved_one_is_shown_with_its_channel(admin, mail_channel, client: Client):
    client.force_login(admin)
    answer = client.post(
        reverse("backups:schedule-new"),
        form(admin, report_channel=str(mail_channel.pk)).data.dict(),
    )
    assert answer.status_code == 302, answer.content.decode()
    schedule = Schedule.objects.get()
    assert (schedule.work, schedule.report_channel) == ("report", mail_channel)
    assert "Sends the report to" in client.get(answer["Location"]).content.decode()
    assert client.get(f"{answer['Location']}edit/").status_code in (200, 404)
    assert datetime.now(UTC) < schedule.next_slot


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by_hand", [False, True])
def test_no_writer_waits_while_it_is_made(
    admin, mail_channel, make_cluster, monkeypatch: pytest.MonkeyPatch, by_hand: bool
):
    make_cluster()
    schedule = report_schedule(admin, mail_channel)
    within: list[bool] = []

    def make(*args, **more):
        within.append(connection.in_atomic_block)
        return make_report(*args, **more)

    monkeypatch.setattr(reporting, "make_report", make)
    if by_hand:
        firing.run_now(schedule, admin, Requester("olga", Trigger.SCHEDULE, user=admin))
    else:
        assert firing.fire_due() == 1
    assert within == [False]
    assert Delivery.objects.filter(kind=NoticeKind.REPORT).count() == 1


def test_one_that_was_changed_meanwhile_is_made_again(admin, mail_channel, project):
    schedule = report_schedule(admin, mail_channel)
    ready = reporting.prepare_report(schedule, admin, schedule.next_slot)
    Schedule.objects.update(query=f"project={project.pk}")
    assert firing._fire_slot(schedule.pk, ready=ready)
    assert f"project={project.pk}" in Delivery.objects.get(kind=NoticeKind.REPORT).body
