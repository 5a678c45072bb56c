"""A cluster is protected by its last verified backup, for as long as its objective says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import Protection, RunState
from backups.models import Cluster, Project
from backups.models.cluster import protection_q
from backups.models.project import LONGEST_OBJECTIVE_HOURS
from backups.services.clusters import protection
from backups.services.runs import following, sending
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor
from tests.grants import give

P = Protection
ANNA = Actor("anna")
HOUR = timedelta(hours=1)


@pytest.fixture
def cluster(project: Project) -> Cluster:
    return Cluster.objects.create(project=project, cluster_id="c-1", name="orders")


def fresh(cluster: Cluster) -> Cluster:
    cluster.refresh_from_db()
    return cluster


def counted(cluster: Cluster, now) -> Protection:
    """The state by the database's rule; asserts that it is one only, and the model's."""
    states = [s for s in P if Cluster.objects.filter(protection_q(s, now), pk=cluster.pk)]
    assert states == [cluster.protection(now)]
    return states[0]


# --- verified


def test_a_cluster_without_a_verified_backup_is_never_protected(cluster):
    assert counted(cluster, timezone.now()) is P.NEVER


def test_a_verified_backup_is_due_at_three_quarters_and_overdue_at_the_objective(cluster):
    at = timezone.now() - HOUR
    assert protection.verified(cluster.pk, at)
    fresh(cluster)
    assert cluster.verified_at == at
    assert cluster.due_at == at + 18 * HOUR
    assert cluster.overdue_at == at + 24 * HOUR


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(0), P.PROTECTED),
        (18 * HOUR - timedelta.resolution, P.PROTECTED),
        (18 * HOUR, P.DUE),
        (24 * HOUR - timedelta.resolution, P.DUE),
        (24 * HOUR, P.OVERDUE),
        (9000 * HOUR, P.OVERDUE),
    ],
)
def test_at_its_borders_a_state_is_the_same_for_database_and_model(cluster, age, state):
    protection.verified(cluster.pk, timezone.now())
    assert counted(fresh(cluster), cluster.verified_at + age) is state


def test_it_never_moves_back(cluster):
    now = timezone.now()
    assert protection.verified(cluster.pk, now)
    assert not protection.verified(cluster.pk, now - HOUR)
    assert fresh(cluster).verified_at == now
    assert cluster.overdue_at == now + 24 * HOUR


def test_a_clock_that_is_ahead_protects_no_longer(cluster):
    before = timezone.now()
    protection.verified(cluster.pk, before + HOUR)
    assert before <= fresh(cluster).verified_at <= timezone.now()


def test_a_run_that_is_verified_protects_its_cluster_in_the_same_breath(
    make_cluster, make_run, cloud
):
    cluster = make_cluster()
    run = make_run(cluster)
    sending.send_run(run.pk)
    following.follow_run(run.pk)
    assert fresh(cluster).verified_at is None, "accepted is not verified"
    cloud.end_jobs(cluster.cluster_id)
    following.follow_run(run.pk)
    run.refresh_from_db()
    assert run.state == RunState.SUCCEEDED
    assert fresh(cluster).verified_at == min(run.job_finished_at, run.finished_at)


def test_a_run_that_failed_protects_nothing(make_cluster, make_run, cloud):
    cluster = make_cluster()
    run = make_run(cluster)
    sending.send_run(run.pk)
    cloud.end_jobs(cluster.cluster_id, failed_message="no")
    following.follow_run(run.pk)
    assert fresh(cluster).protection() is P.NEVER


# --- objectives


def test_the_clusters_own_objective_goes_before_the_projects(cluster, project):
    protection.set_objective(project, 48, ANNA)
    protection.set_objective(cluster, 12, ANNA)
    protection.verified(cluster.pk, timezone.now())
    fresh(cluster)
    assert cluster.objective == 12
    assert cluster.overdue_at == cluster.verified_at + 12 * HOUR
    assert protection.set_objective(cluster, None, ANNA) == 1
    fresh(cluster)
    assert cluster.objective == 48
    assert cluster.due_at == cluster.verified_at + 36 * HOUR
    assert cluster.overdue_at == cluster.verified_at + 48 * HOUR


def test_a_projects_objective_decides_for_thousands_of_clusters_in_a_few_queries(project):
    now = timezone.now()
    rows = [
        Cluster(
            project=project,
            cluster_id=f"c{n}",
            name=f"c{n}",
            verified_at=now - n * timedelta(seconds=1) if n % 2 else None,
            objective_hours=6 if n % 10 == 1 else None,
        )
        for n in range(3000)
    ]
    Cluster.objects.bulk_create(rows)
    other = Project.objects.create(cloud="b", project_id="b")
    untouched = Cluster.objects.create(
        project=other, cluster_id="x", name="x", verified_at=now, due_at=now, overdue_at=now
    )
    with CaptureQueriesContext(connection) as queries:
        assert protection.set_objective(project, 36, ANNA) == 2700
    assert len(queries) < 15
    ours = Cluster.objects.filter(project=project)
    assert not ours.filter(verified_at=None).exclude(due_at=None, overdue_at=None).exists()
    assert not ours.filter(objective_hours=6).exclude(due_at=None).exists(), "it is its own"
    decided = ours.filter(objective_hours=None, verified_at__isnull=False)
    assert decided.count() == 1200
    assert {c.overdue_at - c.verified_at for c in decided} == {36 * HOUR}
    assert {c.due_at - c.verified_at for c in decided} == {27 * HOUR}
    assert fresh(untouched).overdue_at == now


def test_each_change_is_in_the_audit_trail_with_what_was_before(cluster, project):
    protection.set_objective(project, 36, ANNA)
    protection.set_objective(cluster, 6, ANNA)
    protection.set_objective(cluster, 6, ANNA)
    protection.set_objective(cluster, None, ANNA)
    events = AuditEvent.objects.filter(action=Action.OBJECTIVE_CHANGED).order_by("sequence")
    told = [
        (e.actor_name, e.target_label, e.before["objective_hours"], e.after["objective_hours"])
        for e in events
    ]
    assert told == [
        ("anna", str(project), 24, 36),
        ("anna", "orders", None, 6),
        ("anna", "orders", 6, None),
    ]
    assert {e.project_id for e in events} == {project.pk}


def test_the_trail_tells_what_a_change_replaced_and_not_what_its_page_showed(cluster):
    shown = Cluster.objects.get(pk=cluster.pk)
    protection.set_objective(cluster, 6, ANNA)
    protection.set_objective(shown, 8, ANNA)
    assert AuditEvent.objects.order_by("sequence").last().before == {"objective_hours": 6}


@pytest.mark.parametrize("hours", [0, -1, LONGEST_OBJECTIVE_HOURS + 1])
def test_an_objective_out_of_range_changes_nothing(cluster, hours):
    with pytest.raises(ValueError, match="1 to 8784 hours"):
        protection.set_objective(cluster, hours, ANNA)
    assert fresh(cluster).objective_hours is None
    assert not AuditEvent.objects.exists()


def test_a_project_always_has_an_objective(project):
    with pytest.raises(ValueError, match="always"):
        protection.set_objective(project, None, ANNA)


@pytest.mark.parametrize("hours", [1, LONGEST_OBJECTIVE_HOURS])
def test_the_shortest_and_the_longest_objective_are_taken(cluster, hours):
    protection.verified(cluster.pk, timezone.now())
    protection.set_objective(cluster, hours, ANNA)
    assert fresh(cluster).overdue_at - cluster.verified_at == hours * HOUR


# --- in all


def test_the_summary_counts_what_counts_and_may_be_seen_in_two_queries(project):
    anna, now = User.objects.create_user("anna"), timezone.now()
    give(anna, Role.VIEWER, project=project)
    hidden = Project.objects.create(cloud="b", project_id="b")
    Cluster.objects.create(project=hidden, cluster_id="h", name="hidden")
    ages = [HOUR, 17 * HOUR, 20 * HOUR, 30 * HOUR, 40 * HOUR, 50 * HOUR, None]
    for number, age in enumerate(ages):
        cluster = Cluster.objects.create(project=project, cluster_id=str(number), name="c")
        if age is not None:
            protection.verified(cluster.pk, now - age)
    for number, column in enumerate(("gone_at", "archived_at")):
        Cluster.objects.create(
            project=project, cluster_id=f"left-{number}", name="left", **{column: now}
        )
    with CaptureQueriesContext(connection) as queries:
        protected, total, by_state = protection.summary(anna)
    assert len(queries) <= 2, "what may be seen, and the counts"
    assert (protected, total) == (3, 7)
    assert by_state == {P.PROTECTED: 2, P.DUE: 1, P.OVERDUE: 3, P.NEVER: 1}


def test_without_a_cluster_the_summary_is_zero(db):
    assert protection.summary(give(User.objects.create_user("anna"), Role.VIEWER)) == (
        0,
        0,
        dict.fromkeys(Protection, 0),
    )
