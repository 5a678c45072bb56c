"""The figures of the home page: outcomes by day, latency and errors of the API."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backups.choices import RunState
from backups.models import ApiCall, BackupRun, Project
from backups.services import statistics
from backups.services.statistics import ResultGroup, api_figures, outcomes_by_day
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun

NOW = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def counts(user: User) -> dict[date, dict[ResultGroup, int]]:
    return {day.date: day.counts for day in outcomes_by_day(user, NOW).days if day.total}


def test_there_are_thirty_days_and_the_last_is_today(anna: User) -> None:
    days = outcomes_by_day(anna, NOW).days
    assert [day.date for day in days] == [
        date(2026, 10, 26) + timedelta(days=place) for place in range(30)
    ]
    assert outcomes_by_day(anna, NOW).total == 0


@pytest.mark.parametrize(
    ("requested_at", "day"),
    [
        (datetime(2026, 11, 22, 23, 59, 59, 999_000, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 22, 23, 59, 59, 999_999, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 23, tzinfo=UTC), date(2026, 11, 23)),
        (datetime(2026, 11, 24, 0, 0, 0, 1, tzinfo=UTC), date(2026, 11, 24)),
        (datetime(2026, 10, 26, tzinfo=UTC), date(2026, 10, 26)),
        (datetime(2026, 10, 25, 23, 59, 59, 999_999, tzinfo=UTC), None),
        (datetime(2026, 11, 25, tzinfo=UTC), None),  # a clock that was set back
    ],
)
def test_a_run_belongs_to_the_utc_day_of_its_request(
    anna: User, make_run: MakeRun, requested_at: datetime, day: date | None
) -> None:
    make_run(state="succeeded", requested_at=requested_at)
    assert list(counts(anna)) == ([day] if day else [])


def test_the_day_does_not_depend_on_the_viewers_zone(anna: User, make_run: MakeRun) -> None:
    from django.utils import timezone

    make_run(state="succeeded", requested_at=datetime(2026, 11, 22, 23, 30, tzinfo=UTC))
    with timezone.override("Asia/Tokyo"):
        assert list(counts(anna)) == [date(2026, 11, 22)]


@pytest.mark.parametrize(
    ("state", "result"),
    [
        ("succeeded", ResultGroup.VERIFIED),
        ("failed", ResultGroup.FAILED),
        ("rejected", ResultGroup.REJECTED),
        ("unknown", ResultGroup.UNPROVEN),
        ("unverified", ResultGroup.UNPROVEN),
        ("not_started", ResultGroup.UNPROVEN),
        ("cancelled", None),
        ("queued", None),
        ("sending", None),
        ("accepted", None),
    ],
)
def test_each_state_counts_as_one_result_or_none(
    anna: User, make_run: MakeRun, state: str, result: ResultGroup | None
) -> None:
    make_run(state=state, requested_at=NOW - SECOND)
    totals = outcomes_by_day(anna, NOW).totals
    assert {each for each, count in totals.items() if count} == ({result} if result else set())
    if result:
        assert RunState(state) in result.states


def test_runs_of_other_projects_are_not_counted(
    make_run: MakeRun, make_cluster: MakeCluster, project: Project
) -> None:
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q" * 32, name="other")
    for each, state in ((project, "succeeded"), (other, "failed")):
        run = make_run(make_cluster(project=each), state=state, requested_at=NOW - SECOND)
        _call(run, 100)
    ben = give(User.objects.create_user("ben"), Role.VIEWER, project=project)
    assert outcomes_by_day(ben, NOW).totals[ResultGroup.VERIFIED] == 1
    assert outcomes_by_day(ben, NOW).total == 1
    assert api_figures(ben, NOW).calls == 1
    nobody = User.objects.create_user("nobody")
    assert outcomes_by_day(nobody, NOW).total == 0
    assert api_figures(nobody, NOW).calls == 0


def test_many_runs_cost_as_many_queries_as_few(anna: User, make_run: MakeRun) -> None:
    def cost() -> list[int]:
        found = []
        for figures in (outcomes_by_day, api_figures):
            with CaptureQueriesContext(connection) as queries:
                figures(anna, NOW)
            found.append(len(queries))
        return found

    run = make_run(state="failed", requested_at=NOW - SECOND)
    _call(run, 5)
    cost()  # the roles are read once
    few = cost()
    BackupRun.objects.bulk_create(
        BackupRun(
            cluster=run.cluster,
            project=run.project,
            state="succeeded",
            requested_at=NOW - number * timedelta(minutes=10),
        )
        for number in range(5_000)
    )
    assert cost() == few == [1, 2]
    # today's 00:00, 00:10, 00:20 and 00:30, then 144 a day
    assert [day.counts[ResultGroup.VERIFIED] for day in outcomes_by_day(anna, NOW).days[-3:]] == [
        144,
        144,
        4,
    ]


def _call(
    run: BackupRun, duration: int | None, status: int | None = 200, **columns: object
) -> None:
    started = columns.pop("started_at", NOW - timedelta(hours=1))
    assert isinstance(started, datetime)
    values = {
        "attempt": 1,
        "purpose": "records",
        "method": "GET",
        "path": "/",
        "started_at": started,
        "finished_at": started + timedelta(milliseconds=duration or 0),
        "duration_ms": duration,
        "status": status,
    }
    ApiCall.objects.create(run=run, **(values | columns))


def test_latency_is_that_of_answers_and_errors_are_told_apart(
    anna: User, make_run: MakeRun
) -> None:
    run = make_run(state="succeeded")
    for duration in range(1, 18):
        _call(run, duration)
    _call(run, 18, 412)
    _call(run, 19, 409)
    _call(run, 20, 503)
    _call(run, 30_000, None, transport_error="read_timeout")
    _call(run, None, None, finished_at=None)  # under way
    figures = api_figures(anna, NOW)
    assert (figures.calls, figures.rejected, figures.failed, figures.unanswered) == (21, 2, 1, 1)
    assert (figures.median_ms, figures.p95_ms) == (10, 19)
    assert figures.error_percent == pytest.approx(100 * 4 / 21)


def test_only_the_last_day_counts(anna: User, make_run: MakeRun) -> None:
    run = make_run(state="succeeded")
    day = timedelta(hours=24)
    for started in (NOW - day, NOW - day - SECOND, NOW, NOW + SECOND):
        _call(run, 5, started_at=started)
    assert api_figures(anna, NOW).calls == 2


def test_without_a_call_there_is_no_latency_and_no_error(anna: User) -> None:
    figures = api_figures(anna, NOW)
    assert (figures.calls, figures.median_ms, figures.p95_ms) == (0, None, None)
    assert figures.error_percent == 0


def test_of_too_many_calls_the_newest_count_and_the_page_can_tell(
    anna: User, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MOST_CALLS", 10)
    run = make_run(state="succeeded")
    for minute in range(30):
        _call(run, minute, started_at=NOW - timedelta(minutes=minute))
    figures = api_figures(anna, NOW)
    assert figures.limited
    assert figures.calls == 10
    assert figures.since == NOW - timedelta(minutes=9)
    assert figures.p95_ms == 9


def test_figures_are_cached_for_those_who_see_the_same(
    anna: User, project: Project, make_run: MakeRun, settings: Any
) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }
    cora = give(User.objects.create_user("cora"), Role.VIEWER)
    ben = give(User.objects.create_user("ben"), Role.VIEWER, project=project)
    assert outcomes_by_day(anna, NOW).total == 0
    make_run(state="succeeded", requested_at=NOW - SECOND)
    later = NOW + 10 * SECOND
    kept = outcomes_by_day(cora, later)
    assert (kept.total, kept.made_at) == (0, NOW)
    assert outcomes_by_day(ben, later).total == 1  # sees through another query
    tomorrow = NOW + timedelta(days=1)
    assert outcomes_by_day(anna, tomorrow).total == 1  # another day, another chart
