"""The pages of the audit trail."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from backups.models import Cluster, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit import trail
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from dashboard.members.recording import not_recorded
from tests.audit.conftest import MakeEvents, page_of, shown
from tests.grants import give

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_sign_in_events(web: Client) -> None:
    """The sign-in is event 1; events of tests start at 2."""


def test_events_are_listed_newest_first(web: Client, make_events: MakeEvents) -> None:
    make_events(3)
    assert shown(web) == [4, 3, 2, 1]


def test_pages_lead_to_every_event_once_and_back(
    web: Client, make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.audit import views

    monkeypatch.setattr(views, "PAGE_SIZE", 3)
    make_events(8)  # 9 with the sign-in
    url, seen, pages = reverse("audit:events"), [], []
    while url:
        page = web.get(url).content.decode()
        pages.append([int(n) for n in re.findall(r'id="event-(\d+)"', page)])
        seen += pages[-1]
        older = re.search(r'rel="next"\s+href="([^"]+)"', page)
        url = older[1].replace("&amp;", "&") if older else ""
    assert seen == list(range(9, 0, -1))
    assert shown(web, newer=pages[2][0]) == pages[1]
    assert shown(web, newer=pages[1][0]) == pages[0]


def test_events_of_one_moment_are_paged_by_number(
    web: Client, make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.audit import views

    now = timezone.now()
    monkeypatch.setattr(trail, "now", lambda: now)
    monkeypatch.setattr(views, "PAGE_SIZE", 2)
    make_events(4)
    assert [shown(web), shown(web, older=4), shown(web, newer=3)] == [[5, 4], [3, 2], [5, 4]]


def test_a_page_counts_nothing_and_skips_nothing(web: Client, make_events: MakeEvents) -> None:
    make_events(60)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        shown(web, older=55)
    sql = " ".join(query["sql"] for query in queries).upper()
    assert "COUNT(" not in sql
    assert "OFFSET" not in sql


def test_each_filter_keeps_what_it_says(web: Client, make_events: MakeEvents) -> None:
    with not_recorded():
        ben = User.objects.create_user("ben")
    make_events(1, action=Action.RUN_REQUESTED)  # 2
    make_events(1, actor=Actor("ben", ben))  # 3
    make_events(1, target_label="Test-Index")  # 4
    make_events(1, target=ben, target_label="", project=User(pk=7, username="eu-de_logging"))  # 5
    assert shown(web, action="run_requested") == [2]
    assert shown(web, action=["run_requested", "sign_in"]) == [2, 1]
    assert shown(web, actor="ben") == [3]
    assert shown(web, object="test-ind") == [4]
    assert shown(web, object="logging") == [5]
    assert shown(web, object=str(ben.pk)) == [5]
    assert shown(web, about=f"accounts.user:{ben.pk}") == [5]
    assert shown(web, action="log_backup_changed", object="prod-logs") == [3]
    assert shown(web, object="nothing like it") == []


def test_the_date_range_is_in_the_viewers_zone(
    web: Client, make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """22:30 UTC is the next day in Berlin."""
    moment = timezone.now().replace(hour=22, minute=30) - timedelta(days=3)
    monkeypatch.setattr(trail, "now", lambda: moment)
    make_events(1)
    monkeypatch.undo()
    web.cookies["tz"] = "Asia/Tokyo"  # nine hours ahead all year
    day = f"{moment + timedelta(days=1):%Y-%m-%d}"
    assert shown(web, since=f"{day}T00:00", until=f"{day}T12:00") == [2]
    assert shown(web, since=f"{day}T07:31", until=f"{day}T12:00") == []


def test_older_events_are_one_click_away(
    web: Client, make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = timezone.now() - timedelta(days=40)
    monkeypatch.setattr(trail, "now", lambda: old)
    make_events(1)
    monkeypatch.undo()
    assert shown(web) == [1]
    assert "window=all" in page_of(web)
    assert shown(web, window="all") == [1, 2]


@pytest.mark.parametrize(
    "query",
    [
        {"action": "no_such"},
        {"window": "2y"},
        {"since": "yesterday"},
        {"since": "2026-02-01", "until": "2026-01-01"},
        {"older": "x"},
        {"older": "0"},
        {"older": "1", "newer": "1"},
        {"about": "nonsense"},
        {"actor": "nul\x00"},
        {"older": str(2**70)},
    ],
)
def test_an_address_that_cannot_be_read_is_told(web: Client, query: dict[str, str]) -> None:
    assert web.get(reverse("audit:events"), query).status_code == 400


def test_a_place_that_is_gone_is_not_found(web: Client) -> None:
    assert web.get(reverse("audit:events"), {"older": 99}).status_code == 404
    assert web.get(reverse("audit:event-detail", args=[99])).status_code == 404
    assert web.get("/audit/99999999999999999999999/").status_code == 404


def test_only_those_who_may_audit_see_the_trail(client: Client) -> None:
    urls = [reverse("audit:events"), reverse("audit:event-detail", args=[1])]
    client.logout()
    for url in urls:
        assert client.get(url).status_code == 302
    client.force_login(User.objects.create_user("ben"))
    for url in urls:
        assert client.get(url).status_code == 403
    assert client.post(reverse("audit:verify")).status_code == 403
    assert reverse("audit:events") not in client.get(reverse("backups:history")).content.decode()


def test_an_auditor_of_one_project_sees_its_events_alone(
    client: Client, make_events: MakeEvents
) -> None:
    audited, other = (
        Project.objects.create(cloud="otc", region="eu-de", project_id=key * 32, name=key)
        for key in "ab"
    )
    make_events(1, project=audited)  # 2
    make_events(1, project=other)  # 3
    make_events(1)  # 4
    client.force_login(give(User.objects.create_user("ben"), Role.AUDITOR, project=audited))
    assert shown(client, window="all") == [2]
    assert client.get(reverse("audit:event-detail", args=[2])).status_code == 200
    for number in (1, 3, 4):
        assert client.get(reverse("audit:event-detail", args=[number])).status_code == 404
        assert client.get(reverse("audit:events"), {"older": number}).status_code == 404
    assert "Verify now" not in page_of(client)
    assert client.post(reverse("audit:verify")).status_code == 403


def test_the_navigation_leads_to_the_trail(web: Client) -> None:
    page = web.get(reverse("backups:history")).content.decode()
    assert f'href="{reverse("audit:events")}"' in page


def test_objects_lead_to_their_pages(web: Client, make_events: MakeEvents) -> None:
    project = Project.objects.create(cloud="otc", region="eu-de", project_id="p", name="shop")
    cluster = Cluster.objects.create(project=project, cluster_id="c-1", name="prod-logs")
    with not_recorded():
        ben = User.objects.create_user("ben")
    make_events(1, target=cluster)
    make_events(1, action=Action.ACCOUNT_RENAMED, target=ben, target_label="ben")
    make_events(1, target=project)  # has no page
    make_events(1, target=Cluster(pk=cluster.pk + 1, name="gone", project=project))
    text = page_of(web)
    for address in (cluster.get_absolute_url(), f"/settings/access/accounts/{ben.pk}/"):
        assert text.count(f'<a href="{address}">') == 1
    assert f"/clusters/{cluster.pk + 1}/" not in text
    event = web.get(AuditEvent.objects.about(cluster).get().get_absolute_url()).content.decode()
    assert f'<a href="{cluster.get_absolute_url()}">' in event
