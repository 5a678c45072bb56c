"""An installation after some weeks: every state and outcome, and what goes wrong."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.utils import timezone

from backups.choices import (
    ACTIVE,
    ConnectionFault,
    DeliveryState,
    FiringResult,
    NoticeKind,
    Outcome,
    RunState,
    Trigger,
)
from backups.models import (
    ApiCall,
    BackupRun,
    Batch,
    BatchItem,
    Channel,
    Cluster,
    ClusterTag,
    Connection,
    Delivery,
    Export,
    Firing,
    Project,
    RunEvent,
    SavedView,
    Schedule,
)
from backups.models.retention import RetentionKind
from backups.services import retention
from backups.services.clusters import readiness
from backups.services.connections.sync import sync_clusters
from backups.services.notifications.channels import add_channel, add_rule
from backups.services.notifications.queueing import new_message_id
from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from dashboard.audit.verification import request_verification, run_verification
from dashboard.tokens.issuing import create_token
from dashboard.tokens.models import Scope

Things = dict[str, dict[str, str]]
_S, _O = RunState, Outcome

# state, outcome, HTTP status, code: one run for each, and each outcome of a request
RUNS: list[tuple[RunState, Outcome, int | None, str]] = [
    (_S.SUCCEEDED, _O.ACCEPTED, 200, ""),
    (_S.FAILED, _O.ACCEPTED, 200, ""),
    (_S.UNVERIFIED, _O.ACCEPTED, 200, ""),
    (_S.NOT_STARTED, _O.MALFORMED, 200, ""),
    (_S.CANCELLED, _O.NONE, None, ""),
    (_S.QUEUED, _O.NONE, None, ""),
    (_S.QUEUED, _O.CONFLICT, 409, "CSS.3004"),
    (_S.SENDING, _O.NONE, None, ""),
    (_S.ACCEPTED, _O.ACCEPTED, 200, ""),
    (_S.UNKNOWN, _O.UNANSWERED, None, ""),
    (_S.REJECTED, _O.INVALID_REQUEST, 400, "CSS.5301"),
    (_S.REJECTED, _O.UNAUTHENTICATED, 401, ""),
    (_S.REJECTED, _O.FORBIDDEN, 403, "CSS.0010"),
    (_S.REJECTED, _O.NOT_FOUND, 404, ""),
    (_S.REJECTED, _O.CONFLICT, 409, "CSS.3004"),
    (_S.REJECTED, _O.PRECONDITION_FAILED, 412, ""),
    (_S.REJECTED, _O.THROTTLED, 429, ""),
    (_S.REJECTED, _O.SERVER_ERROR, 503, ""),
    (_S.REJECTED, _O.UNREACHABLE, None, ""),
]
FIRST_RUN = 1_204_417  # as long as numbers get
READINESS = ("orders-prod", "payments-logs", "growing-cache", "brand-new", "frozen-archive")


def fill(root: User) -> Things:
    """Fill the database; the simulated cloud with the demo's clusters is what clouds.yaml names.

    Args:
        root: whose views, exports and grants there are.

    Returns:
        The keys of pages, by kind and by what they show.
    """
    now = timezone.now()
    ben = User.objects.create_user("ben", password="a-password")
    sync_clusters("demo")
    for name in READINESS:
        readiness.check_cluster(Cluster.objects.get(name=name).pk)
    clusters = list(Cluster.objects.order_by("pk"))
    runs = _runs(clusters, now)
    _ages(clusters, now)
    gone, archived = clusters[-1], clusters[-2]
    Cluster.objects.filter(pk=gone.pk).update(gone_at=now - timedelta(days=2))
    Cluster.objects.filter(pk=archived.pk).update(archived_at=now - timedelta(days=1))
    ClusterTag.objects.create(cluster=clusters[0], origin="own", key="team", value="shop")
    ClusterTag.objects.create(cluster=clusters[0], origin="own", key="critical")
    _connections(now)
    _kept(root, ben, now)
    events = _trail(clusters[0], ben, root)
    by_name = {cluster.name: cluster for cluster in clusters}
    ready = by_name["orders-prod"]
    return {
        "cluster": {
            **{f"cluster {name}": str(by_name[name].pk) for name in READINESS[:3]},
            "gone": str(gone.pk),
            "archived": str(archived.pk),
        },
        "node": {
            "form": str(ready.pk),
            "lines": f"{ready.pk}?node={ready.nodes[0]['name']}",
            "no node": f"{ready.pk}?node=",
        },
        "run": {f"{run.state} {run.outcome}".strip(): str(run.pk) for run in runs}
        | {"cloud's own": str(_clouds_own(clusters[0], now).pk)},
        "batch": _batches(runs, clusters),
        "schedule": _schedules(root, clusters),
        "audit_event": events,
        "channel": channels_and_messages([cluster.name for cluster in clusters]),
    }


def channels_and_messages(texts: list[str]) -> dict[str, str]:
    """A webhook, and a mail channel that is off, with a rule and a message of each state."""
    who, found = Actor("root"), {}
    for what, url in (
        ("webhook", "https://ops.example.com/hooks/1"),
        ("mail", "mailto://smtp.example.com?from=css@example.com&to=ops@example.com"),
    ):
        name = f"{what} {texts[0]}"[:100]
        channel, _secret = add_channel(name, url, actor=who)
        add_rule(channel, ["run_failed", "run_rejected", "work_stalled"], None, "", actor=who)
        found[what] = str(channel.pk)
        for number, state in enumerate(DeliveryState):
            Delivery.objects.create(
                message_id=new_message_id(), channel=channel, channel_name=name, count=number + 1,
                kind=NoticeKind.RUN_REJECTED, state=state, attempts=number, title=texts[-1][:300],
                error=texts[-1][:500] if number % 2 else "",
            )  # fmt: skip
    Channel.objects.filter(pk=found["mail"]).update(enabled=False)
    return found


def _batches(runs: list[BackupRun], clusters: list[Cluster]) -> dict[str, str]:
    """An open batch with runs of every kind, and one that was cancelled."""
    now = timezone.now()
    under_way = Batch.objects.create(
        requested_by_name="ben", trigger=Trigger.BULK, reason="patch day", query="show=present"
    )
    cancelled = Batch.objects.create(
        requested_by_name="ben", trigger=Trigger.API, retry_of=under_way, finished_at=now,
        cancelled_at=now, cancelled_by_name="root",
    )  # fmt: skip
    for cluster, run in {run.cluster: run for run in runs}.items():
        put_in_batch(under_way, cluster, state="started", run=run)
    for cluster in clusters:
        put_in_batch(cancelled, cluster, state="cancelled")
    return {"under way": str(under_way.pk), "cancelled": str(cancelled.pk)}


def _schedules(root: User, clusters: list[Cluster]) -> dict[str, str]:
    """One that fires every night, one that has stopped."""
    now = timezone.now()
    nightly = Schedule.objects.create(
        name="Every night", cron="30 2 * * *", zone="Europe/Berlin", owner=root, owner_name="root",
        query="show=present", next_slot=now, next_at=now, when_not_ready="wait", wait_minutes=30,
        jitter=300, ping_sealed="sealed",
    )  # fmt: skip
    stopped = Schedule.objects.create(
        name="Every two hours", interval=7200, owner_name="ben", is_on=False,
        picked=[each.pk for each in clusters[:2]], stopped_reason="The account was deactivated.",
    )  # fmt: skip
    for schedule in (nightly, stopped):
        schedule.projects.set({each.project_id for each in clusters})
    for number, result in enumerate(FiringResult):
        firing = Firing.objects.create(
            schedule=nightly, slot=now - timedelta(days=number), result=result, matched=12,
            note="Batch 1 of an earlier firing is still open." if number else "",
        )  # fmt: skip
        if not number:
            Batch.objects.filter(requested_by_name="ben", finished_at=None).update(firing=firing)
    return {"on": str(nightly.pk), "stopped": str(stopped.pk)}


def put_in_batch(batch: Batch, cluster: Cluster, **columns: Any) -> None:
    """Add a cluster to a batch, if it is not in it."""
    values = {"project": cluster.project, **columns}
    BatchItem.objects.get_or_create(batch=batch, cluster=cluster, defaults=values)


def _runs(clusters: list[Cluster], now: datetime) -> list[BackupRun]:
    made = []
    for number, (state, outcome, status, code) in enumerate(RUNS):
        # one active run for each cluster at most
        cluster = clusters[number % len(clusters)]
        at = now - timedelta(minutes=3, hours=number if state not in ACTIVE else 0)
        made.append(make_run(cluster, state, outcome, status, code, at))
    return made


def make_run(
    cluster: Cluster,
    state: RunState,
    outcome: Outcome,
    status: int | None,
    code: str,
    at: datetime,
    call: dict[str, Any] | None = None,
    **columns: Any,
) -> BackupRun:
    """A run with its steps and its call, as the services would have left it.

    Args:
        call: other values for columns of the call.
        columns: other values for columns of the run.
    """
    sent = at + timedelta(seconds=1) if state not in (_S.QUEUED, _S.CANCELLED) else None
    proven = state in (_S.SUCCEEDED, _S.FAILED)
    values: dict[str, Any] = {
        "cluster": cluster, "project": cluster.project, "cluster_cloud_id": cluster.cluster_id,
        "cluster_name": cluster.name, "cloud": cluster.project.cloud,
        "region": cluster.project.region, "project_id_in_cloud": cluster.project.project_id,
        "project_name": cluster.project.name, "requested_by_name": "ben",
        "trigger": Trigger.BUTTON, "reason": "before the upgrade", "source_ip": "192.0.2.7",
        "requested_at": at, "state": state, "outcome": outcome, "http_status": status,
        "error_code": code, "message": "The cloud's own words about it." if status else "",
        "request_id": "0123456789abcdef" if status else "", "attempt": 1, "sent_at": sent,
        "answered_at": sent and status and sent + timedelta(seconds=1),
        "finished_at": None if state in ACTIVE else at + timedelta(seconds=40),
        "note": "Waits until the cluster is free." if state is _S.QUEUED and status else "",
        "retry_conflict_until": at + timedelta(hours=2) if state is _S.QUEUED else None,
        # far away: no sweeper runs here, but the page says when the records are read next
        "next_check_at": at + timedelta(hours=2) if state in (_S.ACCEPTED, _S.UNKNOWN) else None,
        "checks": 9 if state is _S.UNKNOWN else 1,
        "conflict_holder": "The cloud's automatic backup." if code == "CSS.3004" else "",
        "job_id": f"job-{cluster.pk}-{state}" if proven else None,
        "record_id": f"record-{BackupRun.objects.count()}" if proven else "",
        "job_type": "Manual" if proven else "",
        "job_created_at": at + timedelta(seconds=2) if proven else None,
        "job_finished_at": at + timedelta(seconds=30) if proven else None,
        "log_path": "css-logs/css/log/2026" if proven else "",
        "failed_message": "The bucket is full." if state is _S.FAILED else "",
    }  # fmt: skip
    number = FIRST_RUN + BackupRun.objects.count()
    run = BackupRun.objects.create(pk=number, **values | columns)
    RunEvent.objects.create(run=run, at=at, to_state=_S.QUEUED, actor="ben")
    if state is not _S.QUEUED:
        RunEvent.objects.create(run=run, from_state=_S.QUEUED, to_state=state, outcome=outcome)
    if sent:
        path = f"/v1.0/p/clusters/{cluster.cluster_id}/logs/collect"
        values = {
            "attempt": 1, "purpose": "collect", "method": "POST", "path": path,
            "url": f"https://css.example.com{path}", "request_body": "{}",
            "request_headers": {"X-Auth-Token": "[redacted]"}, "started_at": sent,
            "finished_at": sent + timedelta(seconds=1), "duration_ms": 1000, "status": status,
            "error_code": code, "request_id": "0123456789abcdef", "body_kind": "json_object",
            "body_size": 23, "excerpt": '{"errCode": "CSS.3004"}',
        }  # fmt: skip
        ApiCall.objects.create(run=run, **values | (call or {}))
    return run


def _clouds_own(cluster: Cluster, now: datetime) -> BackupRun:
    return make_run(
        cluster, _S.SUCCEEDED, _O.NONE, None, "", now - timedelta(days=3),
        trigger=Trigger.CLOUD, requested_by_name="", job_id="job-auto", job_type="Auto",
        sent_at=None, reason="", source_ip=None,
    )  # fmt: skip


def _ages(clusters: list[Cluster], now: datetime) -> None:
    """Each state of protection."""
    for cluster, hours in zip(clusters, (1, 20, 30), strict=False):
        at = now - timedelta(hours=hours)
        Cluster.objects.filter(pk=cluster.pk).update(
            verified_at=at, due_at=at + timedelta(hours=18), overdue_at=at + timedelta(hours=24)
        )


def _connections(now: datetime) -> None:
    other = Project.objects.create(cloud="left", region="eu-nl", project_id="q", name="left")
    values = {"next_sync_at": now + timedelta(days=1), "sync_ended_at": now, "synced_at": now}
    Connection.objects.create(
        cloud="left", region="eu-nl", project=other, sync_error="401 from the identity service",
        sync_fault=ConnectionFault.REFUSED, **values,
    )  # fmt: skip
    Connection.objects.create(cloud="old", region="eu-de", disconnected_at=now, **values)
    busy = Connection.objects.filter(cloud="demo").first()
    assert busy
    Connection.objects.filter(pk=busy.pk).update(next_sync_at=now + timedelta(days=1))


def _kept(root: User, ben: User, now: datetime) -> None:
    SavedView.objects.create(owner=root, name="Refused this week", query="group=failed&window=7d")
    SavedView.objects.create(owner=ben, name="Ben's", query="user=ben", shared=True)
    for state in Export.State:
        Export.objects.create(
            owner=root, owner_name="root", format="csv", query="window=all", state=state, rows=12,
            requested_before=now, finished_at=None if state == Export.State.RUNNING else now,
        )  # fmt: skip
    for name, scope in (("nightly job", Scope.RUN), ("dashboard", Scope.READ)):
        create_token(root, name, scope, 30, Actor("root", user=root))
    group = Group.objects.create(name="on-call")
    project = Project.objects.order_by("pk").first()
    Grant.objects.create(user=ben, role=Role.OPERATOR, project=project, granted_by_name="root")
    Grant.objects.create(group=group, role=Role.VIEWER, granted_by_name="root")
    who = Actor("root", user=root)
    days = {"successes_days": 3650, "failures_days": 400, "audit_days": None, "personal_days": 1}
    retention.change(days, actor=who, reason="our rules")
    from backups.models.retention import RetentionPolicy

    old = make_run(
        Cluster.objects.order_by("pk")[4], _S.SUCCEEDED, _O.ACCEPTED, 200, "",
        now - timedelta(days=300), job_id="job-old",
    )  # fmt: skip
    begun = retention.start(RetentionKind.PERSONAL, RetentionPolicy.current(), actor=who)
    assert begun, f"nothing to mask, not even run {old.pk}"
    assert retention.work(begun)


def _trail(cluster: Cluster, ben: User, root: User) -> dict[str, str]:
    who = Actor("ben", user=ben, ip="192.0.2.1", user_agent="Firefox", request_id="0123456789")
    change = record(
        Action.LOG_BACKUP_CHANGED, actor=who, target=cluster, project=cluster.project,
        reason="a new bucket", before={"bucket": "old", "agency": "css"},
        after={"bucket": "new", "agency": "css"},
    )  # fmt: skip
    person = record(Action.GRANT_ADDED, actor=who, target=root, details={"role": "viewer"})
    run_verification(request_verification())
    return {"a change": str(change.sequence), "about a person": str(person.sequence)}
