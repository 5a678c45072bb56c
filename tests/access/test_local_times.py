"""Local times that daylight saving time repeats or skips are accepted, in every zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from dashboard.web.moments import MomentField, MomentFilter, local_moment, zone_names
from tests.access.conftest import World
from tests.access.test_every_answer import superuser

ZONES = st.sampled_from(sorted(zone_names()))
# the whole history of the zones, and some years ahead
CLOCKS = st.datetimes(datetime(1850, 1, 1), datetime(2060, 1, 1))
BERLIN = ZoneInfo("Europe/Berlin")
FIELDS: dict[str, type[forms.DateTimeField]] = {
    "form": MomentField,
    "filter": MomentFilter.field_class,
}


def changes_of(zone: ZoneInfo, near: datetime) -> datetime | None:
    """Return the first offset change within 400 days after a time, to the second."""
    start = near.replace(tzinfo=UTC)
    for day in range(400):
        begin, end = start + timedelta(days=day), start + timedelta(days=day + 1)
        if begin.astimezone(zone).utcoffset() == end.astimezone(zone).utcoffset():
            continue
        while end - begin > timedelta(seconds=1):
            middle = begin + (end - begin) / 2
            same = middle.astimezone(zone).utcoffset() == begin.astimezone(zone).utcoffset()
            begin, end = (middle, end) if same else (begin, middle)
        return end.replace(microsecond=0)
    return None


def read(name: str, text: str, zone: ZoneInfo, *, latest: bool) -> datetime:
    with timezone.override(zone):
        moment = FIELDS[name](latest=latest).clean(text)
    assert isinstance(moment, datetime)
    return moment


@given(
    zone=ZONES.map(ZoneInfo),
    near=CLOCKS,
    around=st.integers(-7200, 7200),
    name=st.sampled_from(sorted(FIELDS)),
)
def test_every_local_time_is_taken(zone: ZoneInfo, near: datetime, around: int, name: str) -> None:
    change = changes_of(zone, near) or near.replace(tzinfo=UTC)
    clock = (change.astimezone(zone) + timedelta(seconds=around)).replace(tzinfo=None, fold=0)
    begun, ended = (read(name, clock.isoformat(), zone, latest=end) for end in (False, True))
    shown = [moment.astimezone(zone).replace(tzinfo=None, fold=0) for moment in (begun, ended)]
    folds = {clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    assert (begun, ended) == (min(folds), max(folds))
    if clock in shown:  # the time exists once or twice
        assert shown == [clock, clock]
    else:  # the time was skipped: the two results enclose the gap
        assert shown[0] < clock < shown[1]
    if begun == ended:
        assert len(folds) == 1


@given(zone=ZONES.map(ZoneInfo), at=CLOCKS)
def test_a_moment_read_by_its_offset_is_that_moment(zone: ZoneInfo, at: datetime) -> None:
    moment = at.replace(tzinfo=UTC, microsecond=0)
    for name in FIELDS:
        for latest in (False, True):
            assert read(name, moment.isoformat(), zone, latest=latest) == moment


@pytest.mark.parametrize(
    ("clock", "begun", "ended"),
    [
        ("2026-10-25T01:30", "2026-10-24T23:30Z", "2026-10-24T23:30Z"),
        ("2026-10-25T02:30", "2026-10-25T00:30Z", "2026-10-25T01:30Z"),  # repeated
        ("2026-03-29T02:30", "2026-03-29T00:30Z", "2026-03-29T01:30Z"),  # skipped
    ],
)
def test_a_beginning_is_the_earlier_and_an_end_the_later(
    clock: str, begun: str, ended: str
) -> None:
    at = datetime.fromisoformat(clock)
    assert local_moment(at, BERLIN) == datetime.fromisoformat(begun)
    assert local_moment(at, BERLIN, latest=True) == datetime.fromisoformat(ended)


@pytest.mark.parametrize("path", ["/history/", "/history/count/", "/audit/"])
@pytest.mark.parametrize("day", ["2026-10-25", "2026-03-29"])
def test_pages_take_them(world: World, redis_url: str, path: str, day: str) -> None:
    client = superuser(world).client
    client.cookies["tz"] = "Europe/Berlin"
    # from 02:30 to 02:30 is one hour in that night
    query = urlencode({"since": f"{day}T02:30", "until": f"{day}T02:30"})
    answer = client.get(f"{path}?{query}", follow=True)
    assert answer.status_code == 200, answer.content[:500]


def test_an_address_that_was_made_of_them_names_the_moments(world: World, redis_url: str) -> None:
    client = superuser(world).client
    client.cookies["tz"] = "Europe/Berlin"
    query = urlencode({"since": "2026-10-25T02:30", "until": "2026-10-25T02:30"})
    answer = client.get(f"/history/?{query}", follow=True)
    made = urlencode({"since": "2026-10-25T02:30:00+02:00", "until": "2026-10-25T02:30:00+01:00"})
    assert answer.redirect_chain[-1][0] == f"/history/?{made}"
