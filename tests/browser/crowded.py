"""What breaks pages: the longest, right-to-left and hostile texts, large messages, many tags."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from backups.choices import ConnectionFault, Outcome, RunState, Trigger
from backups.models import (
    BackupRun,
    Batch,
    Cluster,
    ClusterTag,
    Connection,
    Export,
    Firing,
    Project,
    RunEvent,
    SavedView,
    Schedule,
)
from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from tests.browser.typical import Things, channels_and_messages, make_run, put_in_batch

RIGHT_TO_LEFT = "\u0633\u062c\u0644\u0627\u062a \u0627\u0644\u0637\u0644\u0628\u0627\u062a"
TEXTS = (
    "x" * 255,
    f"{RIGHT_TO_LEFT} \u202e{RIGHT_TO_LEFT * 10}"[:255],
    ("<script>alert(1)</script>\"'><img src=x onerror=alert(1)>" * 9)[:255],
    ("quite ordinary words that go on and on " * 9)[:255],
    "\U0001f4be" * 120,
)
LARGE = 2_000_000  # characters of a message
ROWS = 12  # enough for every text twice; a page holds 50


def fill(root: User) -> Things:
    """Fill the database with what is hard to show.

    Args:
        root: whose views, exports and grants there are.

    Returns:
        The keys of pages, by kind and by what they show.
    """
    now = timezone.now()
    projects = [
        Project.objects.create(cloud=text[:100], region=text[:100], project_id=f"{n}", name=text)
        for n, text in enumerate(TEXTS)
    ]
    clusters = [_cluster(projects[n % len(projects)], n) for n in range(ROWS)]
    runs = []
    for number, cluster in enumerate(clusters):
        text = TEXTS[number % len(TEXTS)]
        state = (RunState.REJECTED, RunState.FAILED, RunState.QUEUED)[number % 3]
        message = text * (LARGE // len(text)) if number == 0 else text * 12
        call = {
            "path": (text * 2)[:500], "url": (text * 8)[:2000], "message": text * 4,
            "excerpt": text * 40, "request_id": text[:120], "request_headers": {text[:60]: text},
            "request_body": text * 4,
        }  # fmt: skip
        run = make_run(
            cluster, state, Outcome.CONFLICT, 409, text[:60], now - timedelta(minutes=number), call,
            requested_by_name=text, reason=(text * 2)[:500], message=message, note=(text * 2)[:500],
            failed_message=message if state is RunState.FAILED else "", request_id=text[:120],
            conflict_holder=(text * 2)[:500], log_path=(text * 5)[:1024], job_id=f"{number}",
            record_id=f"{number}{text}"[:60], job_type=text[:20],
        )  # fmt: skip
        for _each in range(3):
            RunEvent.objects.create(run=run, to_state=state, note=(text * 2)[:500], actor=text)
        runs.append(run)
    _around(root, projects, now)
    who = Actor(TEXTS[0], ip="2001:db8:1111:2222:3333:4444:5555:6666", user_agent=TEXTS[2])
    events = [
        record(
            Action.CLUSTER_LABELLED, actor=who, target=clusters[n % ROWS], project=projects[n % 5],
            reason=(text * 4)[:1000], before={text[:60]: text * 4}, after={text[:60]: [text] * 9},
            details={"text": text * 9},
        )
        for n, text in enumerate(TEXTS)
    ]  # fmt: skip
    return {
        "cluster": {f"text {n}": str(clusters[n].pk) for n in range(3)},
        "node": {"form": f"{clusters[0].pk}?node={TEXTS[0][:60]}"},
        "run": {"2 MB": str(runs[0].pk), "failed": str(runs[1].pk), "queued": str(runs[2].pk)},
        "batch": {"of everything": str(_batch(runs).pk)},
        "schedule": {"long": str(_schedule(clusters).pk)},
        "channel": channels_and_messages(list(TEXTS)),
        "audit_event": {f"text {n}": str(events[n].sequence) for n in range(3)},
    }


def _batch(runs: list[BackupRun]) -> Batch:
    """A batch with a long reason, in which everything fails in another way."""
    batch = Batch.objects.create(
        requested_by_name=TEXTS[0], trigger=Trigger.BULK, reason=(TEXTS[1] * 20)[:500],
        query=f"q={TEXTS[2]}" * 20, cancelled_by_name=TEXTS[0], cancelled_at=timezone.now(),
    )  # fmt: skip
    for number, run in enumerate(runs):
        if number % 5 == 4:
            put_in_batch(batch, run.cluster, state="skipped", cause="backup_off")
        else:
            put_in_batch(batch, run.cluster, state="started", run=run)
    return batch


def _schedule(clusters: list[Cluster]) -> Schedule:
    """A schedule with long texts and more firings than a page has."""
    schedule = Schedule.objects.create(
        name=TEXTS[0][:100], owner_name=TEXTS[1][:255], cron="0,7,11,19,31 1-7/2 1,15 * MON-FRI",
        zone="America/Argentina/Buenos_Aires", query=(f"q={TEXTS[2]}" * 20)[:2000], is_on=False,
        stopped_reason=(TEXTS[1] * 20)[:500], reason=(TEXTS[0] * 20)[:500],
    )  # fmt: skip
    schedule.projects.set({each.project_id for each in clusters})
    now = timezone.now()
    for number in range(60):
        Firing.objects.create(
            schedule=schedule, slot=now - timedelta(hours=number), result="skipped",
            note=(TEXTS[number % len(TEXTS)] * 9)[:500], by_hand=True, by_name=TEXTS[1][:255],
        )  # fmt: skip
    return schedule


def _cluster(project: Project, number: int) -> Cluster:
    text, now = TEXTS[number % len(TEXTS)], timezone.now()
    cluster = Cluster.objects.create(
        project=project, cluster_id=f"{number:02}{text}"[:64], name=f"{text[:250]}{number}",
        engine=text[:50], version=text[:50], status=text[:20], endpoint=(text * 2)[:500],
        failed_reason=text * 4, readiness="storage_missing", readiness_detail=(text * 2)[:500],
        check_error=(text * 2)[:500], checked_at=now, check_due_at=now + timedelta(days=1),
        verified_at=now, due_at=now, overdue_at=now + timedelta(days=number - 5),
        nodes=[{"name": text[:60], "type": "ess", "status": "200"}] * 9, actions=[text[:60]] * 3,
    )  # fmt: skip
    ClusterTag.objects.bulk_create(
        ClusterTag(cluster=cluster, origin=origin, key=f"{n}{text}"[:64], value=text[:128])
        for n in range(18)
        for origin in ("cloud", "own")
    )
    return cluster


def _around(root: User, projects: list[Project], now: object) -> None:
    later = timezone.now() + timedelta(days=1)
    for number, text in enumerate(TEXTS):
        SavedView.objects.create(owner=root, name=text[:80], query="window=all", shared=True)
        Export.objects.create(
            owner=root, owner_name=text, format="csv", query=f"q={text}", rows=10**12,
            state=Export.State.BROKEN_OFF, requested_before=now,
        )  # fmt: skip
        Connection.objects.create(
            cloud=text[:100], region=text[:100], project=projects[number], next_sync_at=later,
            sync_error=text * 20, sync_fault=ConnectionFault.SERVER_ERROR, sync_ended_at=now,
            listed=10**6, added=10**6, gone=10**6,
        )  # fmt: skip
        user = User.objects.create_user(f"{number}{'u' * 140}")
        Grant.objects.create(user=user, role=Role.AUDITOR, project=projects[number],
                             granted_by_name=text)  # fmt: skip
