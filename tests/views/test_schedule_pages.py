"""Schedules in the browser: the form and its preview, the page, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups.models import BackupRun, Batch, Firing, Project, Schedule
from backups.services import rate
from backups.services.batches.starting import advance
from backups.services.schedules.firing import fire_due
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import Action, AuditEvent
from dashboard.encryption import decrypt
from tests.grants import give
from tests.services.schedules import make_schedule
from tests.views.conftest import MakeCluster
from tests.views.page_text import tight

NEW = "/schedules/new/"


@pytest.fixture(autouse=True)
def broker(redis_url: str) -> Iterator[None]:
    rate.close()
    yield
    rate.close()


def fields(**changes: Any) -> dict[str, Any]:
    usual = {
        "name": "Every night",
        "every": "cron",
        "cron": "30 2 * * *",
        "zone": "Europe/Berlin",
        "when_not_ready": "skip",
        "catch_up": "one",
    }
    return usual | changes


def page(web: Client, path: str, status: int = 200) -> str:
    response = web.get(path)
    assert response.status_code == status
    return tight(response.content.decode())


def problems(response: Any) -> str:
    assert response.status_code == 422
    return tight(response.content.decode())


def test_a_selection_of_the_clusters_page_becomes_a_schedule(
    web: Client, anna: User, make_cluster: MakeCluster
) -> None:
    first, _second = make_cluster("orders"), make_cluster("payments")
    text = page(web, "/batches/new/?q=orders")
    assert f'href="{NEW}?q=orders&amp;show=present&amp;work=backup"' in text
    text = page(web, f"{NEW}?q=orders&show=present&work=backup")
    assert 'value="q=orders&amp;show=present"' in text
    response = web.post(NEW, fields(query="q=orders&show=present", reason="agreed"))
    schedule = Schedule.objects.get()
    assert response.headers["Location"] == f"/schedules/{schedule.pk}/"
    assert (schedule.owner, schedule.is_on, schedule.cron) == (anna, True, "30 2 * * *")
    assert schedule.next_slot is not None
    assert schedule.next_slot.astimezone(schedule.tz).strftime("%H:%M") == "02:30"
    assert list(schedule.projects.all()) == [first.project]
    event = AuditEvent.objects.get(action=Action.SCHEDULE_CREATED)
    assert event.before is None
    assert event.after["query"] == "q=orders&show=present"
    text = page(web, f"/schedules/{schedule.pk}/")
    assert "At 02:30" in text
    assert "1, of which 1 ready" in text
    assert "It has not fired yet." in text
    assert "Every night" in page(web, "/schedules/")


def test_rows_that_were_selected(web: Client, make_cluster: MakeCluster) -> None:
    picked, other = make_cluster(), make_cluster()
    text = page(web, f"{NEW}?cluster={picked.pk}&cluster={other.pk}")
    assert f'name="cluster" value="{picked.pk}" checked' in text
    web.post(NEW, fields(cluster=[picked.pk], query="q=ignored"))
    schedule = Schedule.objects.get()
    assert (schedule.picked, schedule.query) == ([picked.pk], "")


def test_a_preview_saves_nothing_and_says_the_next_times_in_both_zones(
    web: Client, make_cluster: MakeCluster
) -> None:
    make_cluster()
    make_cluster(readiness="backup_off", checked_at=timezone.now())
    given = fields(zone="Asia/Tokyo", cron="0 5 * * MON-FRI", ping_url="https://hc.example/1")
    text = tight(web.post(NEW, given | {"preview": "1"}).content.decode())
    assert "At 05:00, Monday through Friday" in text
    assert text.count("20:00:00 UTC") >= 5
    assert text.count("05:00:00 ") == 5
    assert "2, of which 1 ready" in text
    assert "Log backup is off" in text
    assert 'value="0 5 * * MON-FRI"' in text, "the form keeps what was entered"
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cron": "0 0 30 2 *"}, "No date fits"),
        ({"cron": ""}, "Enter a cron text"),
        ({"cron": "* * * * *"}, "at least 5 minutes apart"),
        ({"every": "interval", "minutes": "4"}, "at least 5 minutes apart"),
        ({"every": "interval"}, "Enter the interval."),
        ({"every": "interval", "minutes": "5", "jitter": "300"}, "The jitter must be shorter"),
        ({"when_not_ready": "wait"}, "Enter for how many minutes."),
        ({"zone": "Mars/Olympus"}, "Select a valid choice"),
        ({"query": "labels=env"}, "labels: unknown filter"),
        ({"query": "engine=nonsense"}, "Select a valid choice"),
        ({"ping_url": "ftp://hc.example/1"}, "Enter an address with http:// or https://."),
        ({"cluster": "x"}, "One of the selected clusters is not valid."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(
    changes: dict[str, str], said: str, web: Client, make_cluster: MakeCluster
) -> None:
    make_cluster()
    text = problems(web.post(NEW, fields(reason="long thought about", **changes)))
    assert said in text
    assert 'value="long thought about"' in text
    assert not Schedule.objects.exists()


def test_a_cluster_with_thousands_of_digits_is_refused(web: Client) -> None:
    assert "not valid" in problems(web.post(NEW, fields(cluster="9" * 5000)))


def test_an_address_that_was_pasted_with_its_filter(web: Client, make_cluster: MakeCluster) -> None:
    make_cluster()
    web.post(NEW, fields(query="https://logs.example/clusters/?q=a%3Fb&sort=-name&page=3"))
    assert Schedule.objects.get().query == "q=a%3Fb&show=present"


def test_the_ping_url_is_stored_encrypted_and_never_shown(
    web: Client, make_cluster: MakeCluster
) -> None:
    make_cluster()
    web.post(NEW, fields(ping_url="https://hc.example/secret"))
    schedule = Schedule.objects.get()
    assert decrypt(schedule.ping_sealed).reveal() == "https://hc.example/secret"
    for path in (f"/schedules/{schedule.pk}/", f"/schedules/{schedule.pk}/edit/", "/schedules/"):
        assert "hc.example" not in page(web, path)
    edit = f"/schedules/{schedule.pk}/edit/"
    web.post(edit, fields(seen=schedule.changed_at.isoformat(), name="kept"))
    schedule.refresh_from_db()
    assert (schedule.name, bool(schedule.ping_sealed)) == ("kept", True)
    web.post(edit, fields(seen=schedule.changed_at.isoformat(), no_ping="1"))
    schedule.refresh_from_db()
    assert schedule.ping_sealed == ""
    assert "hc.example" not in str(list(AuditEvent.objects.values_list("before", "after")))


def test_a_form_that_is_out_of_date_changes_nothing(
    web: Client, anna: User, project: Project, make_cluster: MakeCluster
) -> None:
    make_cluster()
    schedule = make_schedule(anna, project, due=-timedelta(hours=1))
    seen = schedule.changed_at.isoformat()
    edit = f"/schedules/{schedule.pk}/edit/"
    assert web.post(edit, fields(seen=seen, name="first")).status_code == 302
    response = web.post(edit, fields(seen=seen, name="second"))
    assert response.status_code == 409
    assert 'value="second"' in response.content.decode()
    assert Schedule.objects.get().name == "first"


def test_run_now_leads_to_the_batch_which_names_the_schedule(
    web: Client, anna: User, project: Project, make_cluster: MakeCluster
) -> None:
    make_cluster()
    schedule = make_schedule(anna, project, due=-timedelta(hours=1))
    response = web.post(f"/schedules/{schedule.pk}/run/")
    batch = Batch.objects.get()
    assert response.headers["Location"] == f"/batches/{batch.pk}/"
    text = page(web, f"/batches/{batch.pk}/")
    assert f'href="/schedules/{schedule.pk}/"' in text
    assert "(Schedule)" in text
    advance()
    run = BackupRun.objects.get()
    for each in (f"/runs/{run.pk}/", "/history/?trigger=schedule"):
        assert f'href="/schedules/{schedule.pk}/"' in page(web, each)
    response = web.post(f"/schedules/{schedule.pk}/run/", follow=True)
    text = tight(response.content.decode())
    assert f"Nothing was requested. Batch {batch.pk} of an earlier firing is still open." in text
    assert f'href="/batches/{batch.pk}/"' in text


def test_pause_resume_and_delete_are_on_the_record(
    web: Client, anna: User, project: Project, make_cluster: MakeCluster
) -> None:
    make_cluster()
    schedule = make_schedule(anna, project, due=timedelta(seconds=2))
    fire_due()
    path = f"/schedules/{schedule.pk}/"
    web.post(f"{path}switch/", {"on": "0"})
    schedule.refresh_from_db()
    assert (schedule.is_on, schedule.next_at) == (False, None)
    assert "Paused" in page(web, path)
    web.post(f"{path}switch/", {"on": "1"})
    schedule.refresh_from_db()
    assert schedule.next_at is not None
    assert schedule.next_at > timezone.now()
    web.post(f"{path}delete/")
    assert "Every" not in page(web, "/schedules/")
    text = page(web, path)
    assert "Deleted" in text
    assert f"Batch {Batch.objects.get().pk}" in text, "firings outlive their schedule"
    assert "Run now" not in text
    for action in ("run/", "switch/", "delete/", "edit/"):
        assert web.post(path + action, {"on": "1"}).status_code == 404
    actions = [Action.SCHEDULE_PAUSED, Action.SCHEDULE_RESUMED, Action.SCHEDULE_DELETED]
    events = AuditEvent.objects.filter(action__in=actions).order_by("sequence")
    assert [event.action for event in events] == actions
    assert [(event.before["is_on"], event.after["is_on"]) for event in events] == [
        (True, False),
        (False, True),
        (True, False),
    ]


def test_somebody_elses_schedule_is_taken_over_by_who_may_configure(
    web: Client, anna: User, project: Project, make_cluster: MakeCluster
) -> None:
    make_cluster()
    carl = give(User.objects.create_user("carl"), Role.OPERATOR)
    schedule = make_schedule(carl, project, due=-timedelta(hours=1))
    text = page(web, f"/schedules/{schedule.pk}/")
    assert "Run now" in text, "an operator may back up"
    assert "Pause" not in text
    page(web, f"/schedules/{schedule.pk}/edit/", 403)
    give(anna, Role.ADMIN)
    assert "you become the owner" in page(web, f"/schedules/{schedule.pk}/edit/")
    web.post(f"/schedules/{schedule.pk}/edit/", fields(seen=schedule.changed_at.isoformat()))
    schedule.refresh_from_db()
    assert schedule.owner == anna


def test_firings_are_read_a_page_at_a_time(web: Client, anna: User, project: Project) -> None:
    schedule = make_schedule(anna, project, due=None)
    now = timezone.now()
    Firing.objects.bulk_create(
        Firing(
            schedule=schedule, slot=now - timedelta(minutes=n), result="skipped", note=f"no {n}."
        )
        for n in range(60)
    )
    text = page(web, f"/schedules/{schedule.pk}/")
    assert "no 59." in text
    assert "no 9." not in text
    last = Firing.objects.order_by("-pk")[49]
    assert f'href="?before={last.pk}"' in text
    older = page(web, f"/schedules/{schedule.pk}/?before={last.pk}")
    assert "no 9." in older
    assert "no 59." not in older
    page(web, f"/schedules/{schedule.pk}/?before=x", 400)
    page(web, "/schedules/?before=x", 400)


def test_the_pages_take_few_queries_however_many_there_are(
    web: Client,
    anna: User,
    project: Project,
    make_cluster: MakeCluster,
    django_assert_max_num_queries: Any,
) -> None:
    make_cluster()
    for number in range(20):
        schedule = make_schedule(anna, project, due=-timedelta(hours=1), name=f"s{number}")
        Firing.objects.create(schedule=schedule, slot=timezone.now(), result="fired")
    page(web, "/schedules/")
    with django_assert_max_num_queries(14):
        page(web, "/schedules/")
    with django_assert_max_num_queries(20):
        page(web, f"/schedules/{schedule.pk}/")
