"""Times at the ends of the calendar, in any zone and offset, cause no server error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from itertools import product
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backups.css_api.answer import answered_on
from backups.css_api.parse import Fields, ShapeError
from backups.models import Cluster
from dashboard.accounts.models import User
from dashboard.web.moments import EARLIEST, LATEST, within_calendar
from tests.access.conftest import World
from tests.access.test_every_answer import superuser
from tests.tokens_made import Program, token_of

BOUNDED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
EDGES = [
    "0001-01-01",
    "0001-01-01T00:00",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00-23:59",
    "0001-01-02T00:00:00Z",
    "9999-12-31",
    "9999-12-31T23:59",
    "9999-12-31T23:59:59.999999-14:00",
    "9999-12-31T23:59:59.999999+23:59",
    "9999-12-30T24:00",
    "2026-03-02T10:30:00+15:59:59",
    "2026-03-02T10:30:00-23:59:59.999999",
    "2026-03-02T10:30:00+05:30:00.000001",
]
ZONES = ["UTC", "Pacific/Auckland", "Pacific/Kiritimati", "Pacific/Niue", "America/New_York"]
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
NEAR_AN_END = st.datetimes(max_value=datetime(1, 1, 4)) | st.datetimes(datetime(9999, 12, 28))
TEXTS = (
    st.sampled_from(EDGES)
    | st.builds(lambda at, zone: at.replace(tzinfo=zone).isoformat(), NEAR_AN_END, OFFSETS)
    | NEAR_AN_END.map(datetime.isoformat)
)
PAGES = [
    ("/history/", ("since", "until")),
    ("/history/count/", ("since", "until")),
    ("/history/live/", ("since", "until")),
    ("/audit/", ("since", "until")),
    ("/settings/access/accounts/", ("last_login__gte", "q")),
]


@given(at=NEAR_AN_END, offset=OFFSETS, zone=st.sampled_from(ZONES))
def test_a_moment_within_the_calendar_can_be_shown_in_every_zone(
    at: datetime, offset: timezone, zone: str
) -> None:
    safe = within_calendar(at.replace(tzinfo=offset))
    assert safe.astimezone(UTC).astimezone(ZoneInfo(zone)).astimezone(offset)


def test_a_usual_moment_stays_as_it_is() -> None:
    usual = datetime(2026, 3, 2, 10, 30, tzinfo=timezone(timedelta(hours=2)))
    assert within_calendar(usual) is usual
    assert EARLIEST < usual < LATEST


@BOUNDED
@given(data=st.data())
def test_no_time_in_an_address_of_a_page_is_an_error_of_ours(
    world: World, redis_url: str, data: st.DataObject
) -> None:
    client = superuser(world).client
    client.cookies["tz"] = zone = data.draw(st.sampled_from(ZONES), label="zone")
    path, names = data.draw(st.sampled_from(PAGES))
    query = {name: data.draw(TEXTS, label=name) for name in names}
    with transaction.atomic():
        answer = client.get(f"{path}?{urlencode(query)}", follow=True)
        transaction.set_rollback(True)
    assert answer.status_code in (200, 204, 400), f"{zone} {path} {query}"


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Niue"])
def test_each_end_of_the_calendar_in_every_page(world: World, redis_url: str, zone: str) -> None:
    client = superuser(world).client
    client.cookies["tz"] = zone
    for path, names in PAGES:
        for name, text in product(names, EDGES):
            answer = client.get(f"{path}?{urlencode({name: text})}", follow=True)
            assert answer.status_code in (200, 204, 400), f"{path} {name}"


def test_no_time_in_a_query_that_is_kept_or_exported_is_an_error_of_ours(
    world: World, redis_url: str
) -> None:
    client = superuser(world).client
    for zone, text in product(["Pacific/Auckland", "Pacific/Niue"], EDGES):
        client.cookies["tz"] = zone
        query = urlencode({"since": text})
        kept = client.post("/history/views/", {"name": "edge", "query": query})
        assert kept.status_code in (302, 400)
        if kept.status_code == 302:
            assert client.get(kept.headers["Location"], follow=True).status_code == 200
        export = client.post("/history/exports/", {"format": "csv", "query": query})
        assert export.status_code in (200, 400)
        assert b"".join(export) or export.status_code == 400


@pytest.mark.parametrize("text", EDGES)
def test_no_time_of_a_command_is_a_traceback(db: None, text: str) -> None:
    arguments = ["--since", text, "--until", text]
    with pytest.raises(CommandError):  # no event is both before and after it
        call_command("audit_export", *arguments, stdout=StringIO(), stderr=StringIO())


def test_everything_from_the_first_to_the_last_day_is_shown(world: World, redis_url: str) -> None:
    client = superuser(world).client
    for zone, path in product(ZONES, ("/audit/", "/history/")):
        client.cookies["tz"] = zone
        answer = client.get(f"{path}?since=0001-01-01&until=9999-12-31", follow=True)
        assert answer.status_code == 200


def test_a_log_search_before_any_time_is_answered(world: World, redis_url: str) -> None:
    client = superuser(world).client
    cluster = Cluster.objects.first()
    assert cluster is not None
    for zone, text in product(ZONES, ["0001-01-01T00:00", "9999-12-31T23:59"]):
        client.cookies["tz"] = zone
        answer = client.get(f"/clusters/{cluster.pk}/logs/?node=n&before={text}")
        assert answer.status_code in (200, 400, 502), "502: there is no cloud in this test"


def test_no_form_changes_a_time_of_an_account(world: World, redis_url: str) -> None:
    client = superuser(world).client
    client.cookies["tz"] = "Pacific/Auckland"
    account = world.own["account"]
    assert isinstance(account, User)
    joined = account.date_joined
    times = {"date_joined": "0001-01-01T00:00", "last_login": "9999-12-31T23:59:59"}
    path = f"/settings/access/accounts/{account.pk}/"
    answer = client.post(path, {"do": "rename", "name": "renamed", **times})
    assert answer.status_code == 302
    account.refresh_from_db()
    assert (account.username, account.date_joined, account.last_login) == ("renamed", joined, None)


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Niue"])
def test_an_account_of_any_time_is_shown(world: World, redis_url: str, zone: str) -> None:
    client = superuser(world).client
    client.cookies["tz"] = zone
    account = world.own["account"]
    for moment in (EARLIEST, LATEST):
        User.objects.filter(pk=account.pk).update(date_joined=moment, last_login=moment)
        for path in ("", f"{account.pk}/"):
            assert client.get(f"/settings/access/accounts/{path}").status_code == 200


@BOUNDED
@given(since=TEXTS, until=TEXTS)
@example(since="0001-01-01T00:00:00+14:00", until="9999-12-31T23:59:59.999999-14:00")
def test_no_time_that_a_program_sends_is_an_error_of_ours(
    db: None, redis_url: str, since: str, until: str
) -> None:
    user, _made = User.objects.get_or_create(username="api-root", is_superuser=True)
    with transaction.atomic():
        program = Program(token_of(user), Client())
        query = urlencode({"since": since, "until": until})
        answer = program.get(f"runs?{query}")
        transaction.set_rollback(True)
    assert answer.status in (200, 400)


@given(text=TEXTS, zone=st.sampled_from(ZONES))
def test_no_time_of_the_cloud_is_one_that_a_page_cannot_show(text: str, zone: str) -> None:
    try:
        moment = Fields({"created": text}, "").time("created")
    except ShapeError:
        return
    assert moment is None or moment.astimezone(ZoneInfo(zone))


@pytest.mark.parametrize("year", ["1601", "9999"])
@pytest.mark.parametrize("offset", ["GMT", "+1400", "-1400"])
def test_no_date_of_an_answer_is_one_that_nothing_can_be_added_to(year: str, offset: str) -> None:
    for day in ("01 Jan", "31 Dec"):
        assert answered_on({"Date": f"Fri, {day} {year} 23:59:59 {offset}"}) is None
    assert answered_on({"Date": "Mon, 02 Mar 2026 10:30:00 GMT"}) is not None
