"""Causes of attention: the rule, the same in SQL, and the filter that selects their clusters."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db.models import F
from django.http import QueryDict
from django.utils import timezone

from backups.choices import (
    ACTIVE,
    TERMINAL,
    AttentionCause,
    Outcome,
    Protection,
    Readiness,
    RunState,
)
from backups.lists.causes import with_cause
from backups.lists.clusters import ClusterFilter
from backups.models import BackupRun, Cluster, Handling, Project
from backups.rules import causes
from backups.rules.causes import BAD_ENDS, SCHEDULE_HOLDS, cause_of, run_cause
from backups.services.attention import cause_of_run, needs_attention
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give

HOUR = timedelta(hours=1)
# what one database takes for an ASCII letter of another case, or a wildcard
ODD = (
    "buc\u212aet",
    "BUCKET",
    "agen\u017fy",
    "ageNCY",
    "bu_ket",
    "%",
    "",
    "the Bucket is full",
    "\u0130agency",
)
HOLDERS = ("", f"{SCHEDULE_HOLDS} the cluster.", SCHEDULE_HOLDS.upper(), "Our run 7 holds it.")
CODES = ("", "", "", "CSS.0048", "css.48", "CSS.5130", "CSS.3004")

HANDLED = (None, "cluster", "stale", "project", "all", "expired")
MANY = 1000  # of 6 x 4 readinesses and protections, each with up to three runs


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="p", name="logging")


def make_many(projects: list[Project], now: datetime, rng: Random) -> list[Cluster]:
    """Clusters of every kind, each with some runs of every kind, by chance."""
    ago = {Protection.PROTECTED: 1, Protection.DUE: 20, Protection.OVERDUE: 30}
    clusters = []
    for number in range(MANY):
        hours = ago.get(rng.choice(list(Protection)))
        at = now - hours * HOUR if hours else None
        clusters.append(
            Cluster(
                project=rng.choice(projects),
                cluster_id=f"c{number}",
                name=f"c{number}",
                readiness=rng.choice([*Readiness, *[Readiness.READY] * 6]),
                verified_at=at,
                due_at=at and at + 18 * HOUR,
                overdue_at=at and at + 24 * HOUR,
            )
        )
    clusters = Cluster.objects.bulk_create(clusters)
    runs: list[BackupRun] = []
    for cluster in clusters:
        states = [rng.choice(sorted([*TERMINAL, "rejected"])) for _ in range(rng.randrange(4))]
        states += rng.choice([[], [], [rng.choice(sorted(ACTIVE))]])  # one at most
        for place, state in enumerate(states):
            runs.append(
                BackupRun(
                    cluster=cluster,
                    project=cluster.project,
                    requested_at=now + place * HOUR,
                    state=state,
                    outcome=rng.choice([*Outcome, Outcome.CONFLICT, Outcome.CONFLICT]),
                    error_code=rng.choice(CODES),
                    failed_message=rng.choice(ODD),
                    conflict_holder=rng.choice(HOLDERS),
                )
            )
    BackupRun.objects.bulk_create(runs)
    return clusters


def expected(cluster: Cluster, now: datetime) -> AttentionCause | None:
    """The cause by the rows, newest run first."""
    for run in sorted(cluster.runs.all(), key=lambda run: run.requested_at, reverse=True):
        if run.state in (*BAD_ENDS, RunState.SUCCEEDED):
            last = cause_of_run(run)
            return cause_of(cluster.protection(now), cluster.readiness, last)
    return cause_of(cluster.protection(now), cluster.readiness, None)


def handle(cluster: Cluster, how: str | None, cause: str, now: datetime) -> Handling | None:
    made: dict[str, Any] = {"cause": cause, "made_at": now, "reason": "r"}
    if how in ("cluster", "expired", "stale"):
        made |= {"cluster": cluster, "project": cluster.project, "scope": f"cluster:{cluster.pk}"}
        # stale: verified since, and it fell back into the same cause
        made["verified_at"] = now - 400 * HOUR if how == "stale" else cluster.verified_at
        made["until"] = now if how == "expired" else None
    elif how == "project":
        made |= {"project": cluster.project, "scope": f"cause:{cause}:{cluster.project_id}"}
    elif how == "all":
        made["scope"] = f"cause:{cause}:"
    return Handling(**made) if how else None


def test_sql_and_python_agree_on_the_cause_and_on_what_is_handled(project: Project) -> None:
    rng, now = Random(18), timezone.now()
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q", name="other")
    made = make_many([project, other], now, rng)
    user = give(User.objects.create_user("anna"), Role.OPERATOR)
    clusters = Cluster.objects.prefetch_related("runs").filter(pk__in=[each.pk for each in made])
    by_hand = {each.pk: expected(each, now) for each in clusters}
    found = dict(with_cause(Cluster.objects.all(), now).values_list("pk", F("attention_cause")))
    assert found == {pk: cause or "" for pk, cause in by_hand.items()}
    assert set(by_hand.values()) == {None, *AttentionCause}, "too few clusters"

    handlings = {}
    for cluster in rng.sample(list(clusters), 60):
        cause = by_hand[cluster.pk] or AttentionCause.NEVER
        how = rng.choice(HANDLED[:5] if cause in list(AttentionCause)[:4] else HANDLED[:3])
        if handling := handle(cluster, how, cause, now):
            handlings[handling.scope] = handling
    assert handlings
    Handling.objects.bulk_create(handlings.values())
    attention = needs_attention(user, now)
    counted = {each.cause: each.count for each in attention.counts}
    for cause in AttentionCause:

        def count(handled: str, cause: AttentionCause = cause) -> int:
            query = QueryDict(f"cause={cause}&handled={handled}")
            return ClusterFilter(query, user=user, now=now).clusters().count()

        assert count("no") == counted.get(cause, 0), cause
        assert count("no") + count("yes") == list(by_hand.values()).count(cause)
    assert attention.handled_count + attention.total == sum(map(bool, by_hand.values()))


@pytest.mark.parametrize("cause", AttentionCause)
def test_every_cause_has_words_and_what_to_do(cause: AttentionCause) -> None:
    assert causes.label(cause)
    words = causes.explanation(cause)
    assert (words is None) == (cause in (AttentionCause.OVERDUE, AttentionCause.NEVER))
    assert (causes.action(cause) is None) == (cause is AttentionCause.OUTCOME_UNKNOWN)


RULES = [
    ("protected", "ready", None, None),
    ("due", "ready", None, None),
    ("due", "busy", None, None),
    ("protected", "backup_off", None, None),
    ("due", "backup_off", None, "backup_off"),
    ("never", "unavailable", "conflict", "unavailable"),
    ("protected", "storage_missing", "job_failed", "storage_missing"),
    ("overdue", "ready", "conflict", "conflict"),
    ("overdue", "busy", None, "overdue"),
    ("never", "unknown", None, "never"),
]


@pytest.mark.parametrize(("protection", "readiness", "last", "cause"), RULES)
def test_an_obstacle_counts_before_the_last_run_and_that_before_the_age(
    protection: str, readiness: str, last: str | None, cause: str | None
) -> None:
    assert cause_of(Protection(protection), readiness, last) == cause


RUNS = [
    (("succeeded", "accepted"), None),
    (("cancelled",), None),
    (("queued",), None),
    (("failed", "accepted", "", "The BUCKET refused the write"), "bucket_refused"),
    (("failed", "accepted", "", "timeout"), "job_failed"),
    (("rejected", "conflict", "CSS.3004", "", f"{SCHEDULE_HOLDS} it"), "conflict_schedule"),
    (("rejected", "conflict", "CSS.3004", "", "Our run 7 holds it"), "conflict"),
    (("rejected", "invalid_request", "CSS.0048"), "bucket_refused"),
    (("rejected", "forbidden"), "forbidden"),
    (("rejected", "unanswered"), "malformed"),
    (("unknown", "unanswered"), "outcome_unknown"),
]


@pytest.mark.parametrize(("run", "cause"), RUNS)
def test_the_cause_that_a_run_gives(run: tuple[str, ...], cause: str | None) -> None:
    assert run_cause(*run) == cause
