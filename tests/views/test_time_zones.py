"""Times are shown in the viewer's zone, with its name and UTC on hover, and never ambiguous."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from backups.views.presentation import local, zone_label
from tests.views.conftest import MakeRun


def test_without_a_zone_times_are_utc(web: Client, make_run: MakeRun) -> None:
    run = make_run(state="failed")
    text = web.get("/history/").content.decode()
    assert f"{run.requested_at:%Y-%m-%d %H:%M:%S} UTC</time>" in text
    assert "Times are shown in UTC" in text


def test_the_browsers_zone_is_used_and_utc_is_on_hover(web: Client, make_run: MakeRun) -> None:
    run = make_run(state="failed", requested_at=timezone.now() - timedelta(hours=1))
    web.cookies["tz"] = "Asia%2FKolkata"
    text = web.get("/history/").content.decode()
    there = run.requested_at.astimezone(ZoneInfo("Asia/Kolkata"))
    assert f"{there:%Y-%m-%d %H:%M:%S} UTC+05:30</time>" in text
    assert f'title="{run.requested_at:%Y-%m-%d %H:%M:%S} UTC"' in text
    assert "Times are shown in Asia/Kolkata" in text


@pytest.mark.parametrize(
    "cookie", ["", "Mars/Base", "../../etc/passwd", "%00", "<script>", "x" * 9]
)
def test_a_zone_that_is_none_is_utc(web: Client, make_run: MakeRun, cookie: str) -> None:
    make_run(state="failed")
    web.cookies["tz"] = cookie
    answer = web.get("/history/")
    assert answer.status_code == 200
    assert "Times are shown in UTC" in answer.content.decode()


def test_the_zone_of_one_request_does_not_leak_into_the_next(web: Client, client: Client) -> None:
    web.cookies["tz"] = "Asia/Kolkata"
    web.get("/history/")
    assert timezone.get_current_timezone_name() == "UTC"


def test_the_hour_that_comes_twice_is_told_apart() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    with timezone.override(ZoneInfo("Europe/Berlin")):
        assert local(first) == "2026-10-25 02:30:00 CEST"
        assert local(first + timedelta(hours=1)) == "2026-10-25 02:30:00 CET"


@pytest.mark.parametrize(
    ("zone", "label"),
    [
        ("UTC", "UTC"),
        ("Europe/Berlin", "CET"),
        ("America/Sao_Paulo", "UTC-03:00"),
        ("America/Chicago", "UTC-06:00"),  # CST is China's too
        ("Asia/Kathmandu", "UTC+05:45"),
        ("America/St_Johns", "UTC-03:30"),
    ],
)
def test_a_zone_is_named_so_that_it_cannot_be_taken_for_another(zone: str, label: str) -> None:
    assert zone_label(datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))) == label
