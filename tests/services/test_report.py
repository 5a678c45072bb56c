"""The report agrees with the history and with protection, and judges by what held at the time."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups.choices import Outcome, Protection, RunState
from backups.css_api.types import ClusterInfo, ProjectIdentity
from backups.lists.history import HistoryFilter
from backups.lists.report import Range, Span
from backups.models import (
    BackupRun,
    Cluster,
    ObjectiveChange,
    Project,
    RetentionKind,
    RetentionPolicy,
    RunSeal,
    ScopeChange,
    SealBatch,
)
from backups.rules.protected_time import ZERO
from backups.services import retention
from backups.services.clusters import manage, protection, scope
from backups.services.connections import registering
from backups.services.report import RunGroup, make_report
from backups.services.report_csv import csv_report
from backups.views.report import _cause_rows
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from tests.grants import give

pytestmark = pytest.mark.django_db
ANNA = Actor("anna")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
BEGIN = datetime(2026, 3, 10, tzinfo=UTC)
DAYS = Range(BEGIN.date(), NOW.date(), "UTC")


@pytest.fixture
def user(db: None) -> User:
    return give(User.objects.create_user("vera"), Role.VIEWER)


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="p" * 32, name="logs")


def registered(project: Project, at: datetime = BEGIN - DAY, name: str = "orders") -> Cluster:
    """A cluster that was registered at a time."""
    cluster = Cluster.objects.create(
        project=project, cluster_id=f"c-{Cluster.objects.count()}", name=name
    )
    ScopeChange.objects.filter(cluster=cluster).update(at=at)
    return cluster


def happened(at: datetime) -> None:
    """Date back the last change of scope."""
    ScopeChange.objects.filter(pk=ScopeChange.objects.latest("pk").pk).update(at=at)


def make_run(
    cluster: Cluster, ended: datetime, state: str = RunState.SUCCEEDED, **more
) -> BackupRun:
    columns = {
        "requested_at": ended - HOUR / 2,
        "finished_at": ended,
        "job_finished_at": ended if state == RunState.SUCCEEDED else None,
        "outcome": Outcome.ACCEPTED,
        "cluster_cloud_id": cluster.cluster_id,
        "project_id_in_cloud": cluster.project.project_id,
        "requested_by_name": "ben",
        "trigger": "button",
    }
    return BackupRun.objects.create(
        cluster=cluster, project=cluster.project, state=state, **columns | more
    )


def only(report):
    (each,) = report.clusters
    return each


# --- the history of objectives and of the clusters that count


def changes(cluster: Cluster) -> list[tuple[bool, int | None]]:
    return list(cluster.scope_changes.order_by("pk").values_list("watched", "objective_hours"))


def test_every_change_of_scope_and_objective_is_recorded(project):
    cluster = Cluster.objects.create(project=project, cluster_id="c-1", name="orders")
    assert cluster.scope_changes.get().at == cluster.registered_at
    manage.archive(cluster, ANNA, "moved")
    manage.restore(cluster, ANNA)
    protection.set_objective(cluster, 48, ANNA)
    Cluster.objects.filter(pk=cluster.pk).update(gone_at=timezone.now())
    Cluster.objects.filter(pk=cluster.pk).update(archived_at=timezone.now())  # counted for nothing
    Cluster.objects.filter(pk=cluster.pk).update(gone_at=None, archived_at=None)
    protection.set_objective(cluster, None, ANNA)
    cluster.refresh_from_db()
    cluster.name = "renamed"
    cluster.save()
    assert changes(cluster) == [
        (True, None),
        (False, None),
        (True, None),
        (True, 48),
        (False, 48),
        (True, 48),
        (True, None),
    ]
    assert not cluster.scope_changes.exclude(assumed_at=None)


def test_so_is_a_change_that_no_line_of_the_product_makes(project):
    cluster = registered(project)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE backups_cluster SET objective_hours = 7")
        cursor.execute("UPDATE backups_project SET objective_hours = 9")
        cursor.execute("UPDATE backups_project SET objective_hours = 9")
    assert changes(cluster) == [(True, None), (True, 7)]
    hours = project.objectives.order_by("pk").values_list("objective_hours", flat=True)
    assert list(hours) == [24, 9]


def test_a_synchronisation_records_what_it_adds_misses_and_finds_again(project):
    identity = ProjectIdentity(project.cloud, project.region, project.project_id, "logs", "")
    for names in ("ab", "a", "ab"):
        found = [ClusterInfo(id=f"id-{name}", name=name, status="200") for name in names]
        registering.store_list(identity, found)
    by_name = {each.name: changes(each) for each in Cluster.objects.all()}
    assert by_name == {
        "a": [(True, None)],
        "b": [(True, None), (False, None), (True, None)],
    }


def test_what_was_there_before_is_assumed_from_its_registration_on(project):
    kept, archived = registered(project), registered(project)
    at = timezone.now()
    Cluster.objects.filter(pk=archived.pk).update(archived_at=at, objective_hours=3)
    ScopeChange.objects.all().delete()
    ObjectiveChange.objects.all().delete()
    scope.add_missing("default")
    assert changes(kept) == [(True, None)]
    assert changes(archived) == [(True, 3), (False, 3)]
    assert archived.scope_changes.latest("pk").at == at
    assert kept.scope_changes.get().at == kept.registered_at
    assert project.objectives.get().at == min(kept.registered_at, archived.registered_at)
    assert not ScopeChange.objects.filter(assumed_at=None)
    with CaptureQueriesContext(connection) as queries:
        scope.add_missing("default")
    assert not [q for q in queries if "INSERT" in q["sql"]], "once"


def test_what_changed_without_triggers_holds_from_then_on(project):
    from backups.guards import CHANGES

    cluster = registered(project)
    CHANGES.remove(connection)
    Cluster.objects.update(objective_hours=5)
    Project.objects.update(objective_hours=6)
    CHANGES.install(connection)
    before = timezone.now()
    scope.add_missing("default")
    assert changes(cluster) == [(True, None), (True, 5)]
    assert cluster.scope_changes.latest("pk").at >= before
    assert project.objectives.latest("pk").objective_hours == 6


# --- share of time protected


def test_a_month_is_judged_by_the_objectives_of_its_days(project, user):
    cluster = registered(project)
    make_run(cluster, BEGIN)
    protection.set_objective(cluster, 48, ANNA)
    happened(BEGIN + 36 * HOUR)  # it was unprotected since the 24th hour
    time = only(make_report(user, DAYS, now=NOW)).time
    assert time.protected == 24 * HOUR + 12 * HOUR
    assert time.in_scope == NOW - BEGIN
    assert only(make_report(user, DAYS, now=NOW)).hours == [24, 48]


def test_a_project_objective_that_changed_later_changes_nothing_before(project, user):
    cluster = registered(project)
    ObjectiveChange.objects.update(at=BEGIN - 2 * DAY)
    make_run(cluster, BEGIN)
    before = only(make_report(user, Range(BEGIN.date(), BEGIN.date(), "UTC"), now=NOW))
    protection.set_objective(project, 1, ANNA)
    after = only(make_report(user, Range(BEGIN.date(), BEGIN.date(), "UTC"), now=NOW))
    assert before.time == after.time
    assert before.time.share == "100.00"


def test_only_time_in_scope_counts(project, user):
    cluster = registered(project, at=BEGIN + DAY)
    manage.archive(cluster, ANNA, "moved")
    happened(BEGIN + 2 * DAY)
    manage.restore(cluster, ANNA)
    happened(BEGIN + 3 * DAY)
    each = only(make_report(user, DAYS, now=NOW))
    assert each.time.in_scope == DAY + (NOW - BEGIN - 3 * DAY)
    assert each.time.longest_gap == NOW - BEGIN - 3 * DAY, "two gaps, not one"
    assert each.state is Protection.NEVER


def test_a_cluster_that_left_before_the_range_is_in_it_only_with_its_runs(project, user):
    cluster = registered(project)
    manage.archive(cluster, ANNA, "moved")
    happened(BEGIN - HOUR)
    assert make_report(user, DAYS, now=NOW).clusters == []
    make_run(cluster, BEGIN + DAY, RunState.FAILED)
    report = make_report(user, DAYS, now=NOW)
    assert only(report).time.share == ""
    assert (report.counted, report.runs) == ([], Counter({RunGroup.FAILED: 1}))


def test_a_backup_through_another_entry_of_the_same_project_protects(project, user):
    other = Project.objects.create(cloud="otc2", region="eu-de", project_id=project.project_id)
    mine = registered(project)
    theirs = registered(other)
    Cluster.objects.filter(pk=theirs.pk).update(cluster_id=mine.cluster_id)
    make_run(Cluster.objects.get(pk=theirs.pk), BEGIN)
    for chosen in (project, other, None):
        shares = {each.time.protected for each in make_report(user, DAYS, chosen, NOW).clusters}
        assert shares == {24 * HOUR}


def test_a_job_that_late_evidence_found_protects_from_its_own_end(project, user):
    cluster = registered(project)
    make_run(
        cluster,
        BEGIN + 50 * HOUR,
        job_finished_at=BEGIN + 52 * HOUR,
        corrected_from=RunState.NOT_STARTED,
        corrected_by=1,
    )
    assert only(make_report(user, DAYS, now=NOW)).verified_at == BEGIN + 52 * HOUR


def test_a_cloud_whose_clock_is_ahead_protects_no_longer(project, user):
    make_run(registered(project), BEGIN, job_finished_at=BEGIN + HOUR)
    assert only(make_report(user, DAYS, now=NOW)).verified_at == BEGIN


def test_the_last_backup_before_the_range_protects_its_beginning(project, user):
    cluster = registered(project)
    for hours in (60, 30, 20):
        make_run(cluster, BEGIN - hours * HOUR)
    assert only(make_report(user, DAYS, now=NOW)).time.protected == 4 * HOUR


def test_where_retention_has_deleted_backups_protection_is_not_known(project, user):
    now = timezone.now()
    cluster = registered(project, at=now - 30 * DAY)
    make_run(cluster, now - 20 * DAY)
    make_run(cluster, now - 8 * DAY)
    days = Range((now - 15 * DAY).date(), now.date(), "UTC")
    assert make_report(user, days, now=now).time.unknown == ZERO
    retention.change({**RetentionPolicy().as_dict(), "successes_days": 10}, actor=ANNA)
    work = retention.start(RetentionKind.SUCCESSES, RetentionPolicy.current(), actor=ANNA)
    assert retention.work(work)
    assert cluster.runs.count() == 1
    report = make_report(user, days, now=now)
    ((kind, cutoff),) = report.cuts
    assert kind is RetentionKind.SUCCESSES
    time = only(report).time
    # a deleted one may have protected it until the objective after the cutoff
    assert time.unknown == cutoff + DAY - days.begin
    assert time.protected == DAY
    assert time.unprotected == (now - 8 * DAY) - (cutoff + DAY) + 7 * DAY
    assert time.in_scope == now - days.begin


# --- agreement with the history and with protection

states = st.sampled_from(
    [s for s in RunState if s not in (RunState.QUEUED, RunState.SENDING, RunState.ACCEPTED)]
)
ACTS = ("archive", "restore", "own", "projects", "project")
minutes = st.integers(-3 * 1440, 10 * 1440 + 12 * 60 - 1)


@st.composite
def histories(draw: st.DrawFn) -> list:
    return draw(
        st.lists(
            st.tuples(
                st.lists(
                    st.sampled_from(["archive", "restore", "own", "projects", "project"]),
                    max_size=4,
                ),
                st.lists(
                    st.tuples(minutes, states, st.sampled_from(["", "CSS.0011", "CSS.3004"])),
                    max_size=6,
                ),
            ),
            min_size=1,
            max_size=4,
        )
    )


def build(histories: list, projects: list[Project]) -> None:
    for number, (acts, runs) in enumerate(histories):
        project = projects[number % 2]
        cluster = registered(project, at=BEGIN + (number - 1) * DAY, name=f"c{number}")
        for step, act in enumerate(acts):
            before = ScopeChange.objects.count()
            cluster.refresh_from_db()
            match act:
                case "archive" if not cluster.archived_at:
                    Cluster.objects.filter(pk=cluster.pk).update(archived_at=timezone.now())
                case "restore":
                    Cluster.objects.filter(pk=cluster.pk).update(archived_at=None)
                case "own":
                    protection.set_objective(cluster, 6 + step, ANNA)
                case "projects":
                    protection.set_objective(cluster, None, ANNA)
                case "project":
                    protection.set_objective(project, 30 + step, ANNA)
                    ObjectiveChange.objects.filter(project=project).update(at=BEGIN - 9 * DAY)
            if ScopeChange.objects.count() > before:
                happened(BEGIN + (2 * step + 1) * DAY)
        for at, state, code in runs:
            busy = state == RunState.UNKNOWN and cluster.runs.filter(state=state).exists()
            run = make_run(
                cluster,
                BEGIN + at * HOUR / 60,
                RunState.FAILED if busy else state,
                outcome=Outcome.CONFLICT if state == RunState.REJECTED else Outcome.ACCEPTED,
                error_code=code if state == RunState.REJECTED else "",
                failed_message="disk full" if code else "",
            )
            if run.state == RunState.SUCCEEDED:
                protection.verified_for(run, run.job_finished_at)


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(histories())
def test_it_agrees_with_the_history_and_with_protection(user, given_histories):
    with transaction.atomic():
        projects = [
            Project.objects.create(
                cloud="otc", region="eu-de", project_id=f"{n:032x}", name=f"p{n}"
            )
            for n in range(2)
        ]
        build(given_histories, projects)
        for chosen in (None, *projects):
            check(make_report(user, DAYS, chosen, NOW), user)
        transaction.set_rollback(True)


def check(report, user) -> None:
    begin, end = report.days.begin.isoformat(), report.days.end.isoformat()

    def in_history(query: str = "", **more: list[str]) -> int:
        data = QueryDict(query or "", mutable=True)
        if not query:
            data["since"], data["until"] = begin, end
            if report.project:
                data["project"] = str(report.project.pk)
        for name, values in more.items():
            data.setlist(name, values)
        found = HistoryFilter(data, user=user, now=NOW)
        assert found.is_valid()
        return found.runs().count()

    assert report.runs.total() == in_history()
    for group in RunGroup:
        assert report.runs[group] == in_history(state=group.states), group
    for each in report.clusters:
        cloud_id = each.cluster.cluster_id
        for group in RunGroup:
            assert each.runs[group] == in_history(state=group.states, cluster=[cloud_id])
    assert sum(cause.count for cause in report.causes) == report.runs.total()
    for row in _cause_rows(report):
        if row.query:
            assert row.cause.count == in_history(row.query)

    clusters = Cluster.objects.watched()
    if report.project:
        clusters = clusters.filter(project=report.project)
    now = {c.pk: c.protection(NOW) for c in clusters.select_related("project")}
    assert {r.cluster.pk: r.state for r in report.clusters if r.state} == now
    assert report.within == sum(s in (Protection.PROTECTED, Protection.DUE) for s in now.values())
    for each in report.clusters:
        last = Cluster.objects.get(pk=each.cluster.pk).verified_at
        assert each.verified_at == last or last < BEGIN - 31 * DAY
        if each.state in (Protection.PROTECTED, Protection.DUE):
            assert each.time.protected > ZERO or each.time.in_scope == ZERO


def test_ten_times_the_clusters_need_no_more_queries(project, user):
    def queries() -> int:
        fresh = User.objects.get(pk=user.pk)
        with CaptureQueriesContext(connection) as found:
            make_report(fresh, DAYS, now=NOW)
        return len(found)

    make_run(registered(project), BEGIN)
    few = queries()
    for _ in range(10):
        make_run(registered(project), BEGIN)
    assert queries() == few


# --- who may see what


def test_the_audit_trail_is_for_those_who_may_read_it(project, user):
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q" * 32)
    for each in (project, other):
        record(Action.OBJECTIVE_CHANGED, actor=ANNA, target=each, project=each, reason="agreed")
    today = timezone.now().date()
    days = Range(today - DAY, today + DAY, "UTC")
    assert make_report(user, days).trail is None
    auditor = give(User.objects.create_user("otto"), Role.AUDITOR, project=project)
    trail = make_report(auditor, days).trail
    assert [event.project_id for event in trail.events] == [project.pk]
    assert make_report(auditor, days, project).trail.events == trail.events
    everything = give(User.objects.create_user("olga"), Role.AUDITOR)
    assert len(make_report(everything, days).trail.events) == 2
    assert len(make_report(everything, days, other).trail.events) == 1


def test_others_projects_are_left_out(project):
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q" * 32)
    make_run(registered(project), BEGIN + DAY)
    make_run(registered(other), BEGIN + DAY)
    vera = give(User.objects.create_user("hana"), Role.VIEWER, project=project)
    report = make_report(vera, DAYS, now=NOW)
    assert only(report).cluster.project_id == project.pk
    assert report.runs.total() == 1


def test_sealed_runs_are_counted(project, user):
    cluster = registered(project)
    first, _second = make_run(cluster, BEGIN + DAY), make_run(cluster, BEGIN + 2 * DAY)
    RunSeal.objects.create(run_id=first.pk, facts="{}")
    assert (make_report(user, DAYS, now=NOW).sealed, make_report(user, DAYS, now=NOW).unsealed) == (
        0,
        2,
    )
    RunSeal.objects.filter(run_id=first.pk).update(batch=SealBatch.objects.create(root="r", runs=1))
    report = make_report(user, DAYS, now=NOW)
    assert (report.sealed, report.unsealed) == (1, 1)


# --- ranges


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span.LAST_MONTH, ("2026-02-01", "2026-02-28")),
        (Span.LAST_WEEK, ("2026-03-09", "2026-03-15")),
        (Span.THIS_MONTH, ("2026-03-01", "2026-03-20")),
    ],
)
def test_spans(span, expected):
    days = Range.of(span, "UTC", NOW)
    assert (days.first.isoformat(), days.last.isoformat()) == expected


def test_days_begin_and_end_in_their_zone_also_with_daylight_saving_time():
    days = Range(datetime(2026, 3, 29).date(), datetime(2026, 3, 29).date(), "Europe/Berlin")
    assert days.begin == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert days.end - days.begin == 23 * HOUR
    assert (
        Range.of(Span.THIS_MONTH, "Asia/Tokyo", datetime(2026, 2, 28, 16, tzinfo=UTC)).first.month
        == 3
    )


# --- CSV


def test_the_csv_has_the_figures_and_no_formula(project, user):
    cluster = registered(project, name="=cmd|' /C calc'!A0")
    make_run(cluster, BEGIN + DAY)
    make_run(cluster, BEGIN + 3 * DAY, RunState.FAILED, failed_message="@SUM(1)")
    report = make_report(user, DAYS, now=NOW)
    text = csv_report(report, user).decode("utf-8-sig")
    tables = [list(csv.reader(io.StringIO(part))) for part in text.split("\r\n\r\n")]
    figures = dict(tables[0])
    assert figures["protected_percent"] == report.time.share
    assert figures["runs_verified"] == figures["runs_failed"] == "1"
    assert figures["time_zone"] == "UTC"
    (row,) = [dict(zip(tables[1][0], cells, strict=True)) for cells in tables[1][1:]]
    assert row["cluster"] == "'=cmd|' /C calc'!A0"
    assert row["protected_percent"] == only(report).time.share
    assert int(row["protected_s"]) == 24 * 3600
    assert {cells[4] for cells in tables[2][1:]} == {"", "'@SUM(1)"}
