"""A cluster's last 90 days, in the strip, the table and the durations."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backups.models import Cluster
from backups.services import statistics
from backups.services.statistics import Mark
from tests.views.conftest import MakeCluster, MakeRun
from tests.views.page_text import page, tight, words

HOSTILE = "<script>alert(1)</script>\"'&‮"
NOW = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def history_of(cluster: Cluster) -> dict[date, Mark]:
    found = statistics.cluster_history(cluster, NOW)
    assert len(found.days) == 90
    assert found.days[-1].date == NOW.date()
    return {day.date: day.mark for day in found.days if day.mark is not Mark.NONE}


@pytest.mark.parametrize(
    ("requested_at", "day"),
    [
        (datetime(2026, 11, 22, 23, 59, 59, 999_000, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 23, tzinfo=UTC), date(2026, 11, 23)),
        (datetime(2026, 8, 27, tzinfo=UTC), date(2026, 8, 27)),
        (datetime(2026, 8, 26, 23, 59, 59, 999_999, tzinfo=UTC), None),
        (datetime(2026, 11, 25, tzinfo=UTC), None),
    ],
)
def test_a_run_belongs_to_the_utc_day_of_its_request(
    make_run: MakeRun, requested_at: datetime, day: date | None
) -> None:
    run = make_run(state="succeeded", requested_at=requested_at)
    assert history_of(run.cluster) == ({day: Mark.VERIFIED} if day else {})


@pytest.mark.parametrize(
    ("states", "mark"),
    [
        (["succeeded"], Mark.VERIFIED),
        (["failed", "succeeded", "rejected"], Mark.VERIFIED),
        (["failed"], Mark.FAILED),
        (["rejected"], Mark.FAILED),
        (["not_started"], Mark.FAILED),
        (["unverified"], Mark.FAILED),
        (["unknown"], Mark.FAILED),
        (["cancelled"], Mark.NONE),
        (["queued"], Mark.NONE),
        (["accepted"], Mark.NONE),
    ],
)
def test_a_day_is_verified_failed_or_none(
    make_cluster: MakeCluster, make_run: MakeRun, states: list[str], mark: Mark
) -> None:
    cluster = make_cluster()
    for state in states:
        make_run(cluster, state=state, requested_at=NOW - HOUR)
    wanted = {} if mark is Mark.NONE else {date(2026, 11, 23): mark}
    assert history_of(cluster) == wanted


def test_median_and_longest_duration_are_those_of_verified_runs(
    make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    cluster = make_cluster()
    for seconds in (10, 20, 40, 300):
        at = NOW - timedelta(days=seconds % 7)
        made = {"requested_at": at, "finished_at": at + timedelta(seconds=seconds)}
        make_run(cluster, state="succeeded", **made)
        make_run(cluster, state="failed", **made | {"finished_at": at + HOUR})
    old = NOW - timedelta(days=95)
    make_run(cluster, state="succeeded", requested_at=old, finished_at=old + HOUR)
    found = statistics.cluster_history(cluster, NOW)
    assert found.median == timedelta(seconds=30)
    assert found.longest == timedelta(seconds=300)
    assert (found.verified_runs, found.limited) == (4, False)


def test_of_too_many_runs_the_newest_count_and_the_page_says_so(
    web: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MOST_RUNS", 3)
    now = timezone.now()
    run = make_run(state="succeeded", requested_at=now - timedelta(days=9))
    for days in range(3):
        make_run(run.cluster, state="failed", requested_at=now - timedelta(days=days))
    text = page(web, run.cluster.get_absolute_url())
    assert "0 of 90 days have a verified backup, 3 have only unsuccessful backups" in text
    assert "the newest runs are counted" in text


def test_the_strip_shows_the_numbers_of_its_table(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    cluster = make_cluster()
    noon = timezone.now().astimezone(UTC).replace(hour=12)
    days = [noon - timedelta(days=back) for back in (1, 2, 3)]
    for state, day in (
        ("succeeded", days[0]),
        ("failed", days[0]),
        ("rejected", days[1]),
        ("cancelled", days[2]),
    ):
        make_run(cluster, state=state, requested_at=day)
    text = tight(page(web, cluster.get_absolute_url()))
    told = [("verified", "1", "1"), ("failed", "0", "1"), ("none", "0", "0")]
    for day, (mark, verified, bad) in zip(days, told, strict=True):
        label = f"{day:%a} {day.day} {day:%b %Y}"
        cell = re.search(rf"<title>{label}: ([^<]+)</title>(.*?)</g>", text)
        row = re.search(rf'<th scope="row">{label}</th>(.*?)</tr>', text)
        assert cell
        assert row
        assert cell[1] == f"{verified} verified, {bad} unsuccessful"
        assert re.findall(r'<rect class="([a-z]+)"', cell[2]) == ["hit", mark]
        assert re.findall(r">([^<]+)</td>", row[1]) == [mark.title(), verified, bad]
    legend = words(text[text.index('id="cluster-days"') :])
    assert "Verified 1 Only failures 1 None 88" in legend
