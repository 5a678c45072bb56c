"""When schedules fire: through years of clock changes; and what is refused."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from backups.services.schedules.timing import NICKNAMES, BadTiming, Timing, check, parse_cron

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC")
START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)


def slots(zone: str, cron: str, start: datetime = START, end: datetime = END) -> list[datetime]:
    timing = Timing(ZoneInfo(zone), parse_cron(cron))
    return list(takewhile(lambda slot: slot < end, timing.after(start - timedelta(seconds=1))))


def shown(zone: str, cron: str, after: str, count: int) -> list[str]:
    """The next slots as the clock on the wall shows them, with the offset."""
    timing = Timing(ZoneInfo(zone), parse_cron(cron))
    found = islice(timing.after(datetime.fromisoformat(after)), count)
    return [slot.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M%z") for slot in found]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", ["30 2 * * *", "45 1 * * *", "15 2 * * *", "0 30 2 * * *"])
def test_a_daily_time_fires_once_on_each_of_5844_days(zone: str, cron: str) -> None:
    there = ZoneInfo(zone)
    local = [slot.astimezone(there) for slot in slots(zone, cron)]
    days = Counter(slot.date() for slot in local)
    first, last = min(days), max(days)
    expected = {first + timedelta(days=n) for n in range((last - first).days + 1)}
    assert set(days) == expected
    assert set(days.values()) == {1}
    assert (date(2020, 1, 1) - first, last - date(2035, 12, 31)) <= (timedelta(1), timedelta(1))
    minute, hour = map(int, cron.split()[-5:-3])
    elsewhere = [slot for slot in local if (slot.hour, slot.minute) != (hour, minute)]
    for slot in elsewhere:  # the hour was skipped: the first moment after the gap
        clock = datetime(slot.year, slot.month, slot.day, hour, minute, tzinfo=there)
        assert clock.astimezone(UTC).astimezone(there) != clock
        before = (slot.astimezone(UTC) - timedelta(seconds=1)).astimezone(there)
        assert before.utcoffset() != slot.utcoffset()
    years = {("Europe/Berlin", 2), ("America/New_York", 2)}
    if cron == "30 2 * * *" and (zone, hour) in years:
        assert len(elsewhere) == 16, "once a year"
    assert all(slot.fold == 0 for slot in local), "a repeated hour: the first time"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", ["*/30 2 * * *", "0 */2 * * *", "*/20 1-3 * * SUN", "0 0 2 * * *"])
def test_slots_are_in_order_and_each_clock_time_is_one(zone: str, cron: str) -> None:
    found = slots(zone, cron, END - timedelta(days=3 * 365))
    assert all(a < b for a, b in pairwise(found))
    there = ZoneInfo(zone)
    clocks = Counter(slot.astimezone(there).replace(tzinfo=None) for slot in found)
    assert set(clocks.values()) == {1}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "UTC"])
def test_an_hourly_schedule_fires_every_hour_that_passes(zone: str) -> None:
    found = slots(zone, "0 * * * *", END - timedelta(days=450))
    assert {b - a for a, b in pairwise(found)} == {timedelta(hours=1)}


def test_changes_of_the_clock_by_name() -> None:
    berlin, lord_howe = "Europe/Berlin", "Australia/Lord_Howe"
    assert shown(berlin, "30 2 * * *", "2026-03-28T12:00Z", 2) == [
        "03-29 03:00+0200",
        "03-30 02:30+0200",
    ]
    assert shown(berlin, "30 2 * * *", "2026-10-24T12:00Z", 2) == [
        "10-25 02:30+0200",
        "10-26 02:30+0100",
    ]
    assert shown(berlin, "*/30 2 * * *", "2026-03-28T12:00Z", 2) == [
        "03-29 03:00+0200",
        "03-30 02:00+0200",
    ], "two slots of one gap are one"
    assert shown(berlin, "0 * * * *", "2026-10-24T22:30Z", 4) == [
        "10-25 01:00+0200",
        "10-25 02:00+0200",
        "10-25 02:00+0100",
        "10-25 03:00+0100",
    ], "every hour means every hour"
    assert shown("America/New_York", "30 1 * * *", "2026-10-31T12:00Z", 2) == [
        "11-01 01:30-0400",
        "11-02 01:30-0500",
    ]
    # half an hour is skipped, and half an hour comes twice
    assert shown(lord_howe, "15 2 * * *", "2026-10-03T00:00Z", 2) == [
        "10-04 02:30+1100",
        "10-05 02:15+1100",
    ]
    assert shown(lord_howe, "45 1 * * *", "2026-04-04T00:00Z", 2) == [
        "04-05 01:45+1100",
        "04-06 01:45+1030",
    ]
    assert shown(lord_howe, "0 * * * *", "2026-10-03T14:15Z", 3) == [
        "10-04 01:00+1030",
        "10-04 02:30+1100",
        "10-04 03:00+1100",
    ]


@pytest.mark.parametrize(
    "text",
    ["0 2 * * *", "0 0 2 * * *", "@daily", "@Hourly", "0 3 L * *", "0 3 * * MON#1", "5 4 * * sun"],
)
def test_texts_that_are_understood(text: str) -> None:
    cron = parse_cron(f"  {text} ")
    assert cron == NICKNAMES.get(text.lower(), text.upper())
    assert Timing(ZoneInfo("UTC"), cron).next(START) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Enter a cron text"),
        ("* " * 60, "at most 100 characters"),
        ("every day", "five fields"),
        ("0 0 0 2 * * *", "this one has 7"),
        ("0 0 30 2 *", "No date fits"),
        ("0 0 31 4,6,9 *", "No date fits"),
        ("61 * * * *", "field for the minute"),
        ("* 25 * * *", "field for the hour"),
        ("0 0 * * 8", "day of the week"),
        ("0 0 * 13 *", "field for the month"),
        ("*/0 * * * *", "field for the minute"),
        ("@reboot", "@reboot is not known. Use one of @hourly"),
        ("@every 5m", "is not known"),
    ],
)
def test_nonsense_is_refused_and_says_why(text: str, said: str) -> None:
    with pytest.raises(BadTiming, match=said):
        parse_cron(text)


@given(st.text("0123456789*/,-#LW@MON² \n", max_size=30))
def test_any_text_is_refused_or_has_a_next_slot(text: str) -> None:
    try:
        cron = parse_cron(text)
    except BadTiming:
        return
    timing = Timing(ZoneInfo("Europe/Berlin"), cron)
    assert timing.next(START) is not None
    assert timing.words()


def test_an_interval_counts_from_its_anchor() -> None:
    anchor = datetime(2026, 1, 1, 0, 7, tzinfo=UTC)
    timing = Timing(ZoneInfo("Europe/Berlin"), interval=5400, anchor=anchor)
    found = list(islice(timing.after(anchor + timedelta(days=100, minutes=1)), 3))
    assert found[0] == anchor + timedelta(days=100, minutes=90)
    assert {b - a for a, b in pairwise(found)} == {timedelta(minutes=90)}
    assert timing.next(anchor) == anchor + timedelta(minutes=90)
    assert timing.next(anchor - timedelta(seconds=1)) == anchor


@pytest.mark.parametrize("cron", ["0 */6 * * *", "30 2 * * *", "0 0 29 2 *", "0 0 1 1 *"])
def test_the_newest_slot_is_found_without_walking_through_all(cron: str) -> None:
    timing = Timing(ZoneInfo("Europe/Berlin"), cron)
    first = timing.next(datetime(2023, 12, 1, tzinfo=UTC))
    assert first is not None
    for until in (first, first + timedelta(minutes=7), first + timedelta(days=401, minutes=3)):
        walked = [first, *takewhile(lambda s, until=until: s <= until, timing.after(first))]  # type: ignore[misc]
        assert timing.latest(first, until) == walked[-1]


def refused(timing: Timing, jitter: int = 0) -> str:
    with pytest.raises(BadTiming) as caught:
        check(timing, START, shortest=300, jitter=jitter)
    return str(caught.value)


def test_what_fires_too_often_is_refused() -> None:
    zone = ZoneInfo("UTC")
    assert refused(Timing(zone, "* * * * *")) == "Two firings must be at least 5 minutes apart."
    assert refused(Timing(zone, "0,1 3 * * *")) == "Two firings must be at least 5 minutes apart."
    assert refused(Timing(zone, interval=299)) == "Two firings must be at least 5 minutes apart."
    assert "at most 366 days" in refused(Timing(zone, interval=400 * 86_400))
    assert "(5 minutes)" in refused(Timing(zone, "*/5 * * * *"), jitter=300)
    check(Timing(zone, "*/5 * * * *"), START, shortest=300, jitter=299)
    check(Timing(zone, interval=300), START, shortest=300, jitter=0)


def test_words() -> None:
    zone = ZoneInfo("UTC")
    assert Timing(zone, "30 2 * * MON-FRI").words() == "At 02:30, Monday through Friday"
    assert Timing(zone, interval=7200).words() == "Every 2 hours"
    assert Timing(zone, interval=5400).words() == "Every 90 minutes"
    with translation.override("de"):
        assert Timing(zone, "30 2 * * *").words() == "Um 02:30"
