"""Request backups: store the run, queue it after the commit, or join the cluster's active run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from backups import instance, run_events
from backups.choices import ACTIVE, Outcome, RunState, Trigger, in_english
from backups.models import BackupRun, Cluster, RequestKey, RunEvent
from backups.services.clusters.preflight import blocked_reason, blocked_reasons
from backups.services.dispatch import Priority, dispatch_send
from dashboard.accounts.models import User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record

from .transitions import transition


@dataclass(frozen=True, slots=True)
class Requester:
    """Who requests a backup, how and why; copied into the run.

    Attributes:
        name: displayed in the history.
        trigger: what caused the request.
        user: the account, None for the command line.
        source_ip: address of the client, None if there is none.
        reason: free text, at most 500 characters.
        user_agent, request_id, token: for the audit trail, "" for none.
    """

    name: str
    trigger: Trigger
    user: User | None = None
    source_ip: str | None = None
    reason: str = ""
    user_agent: str = ""
    request_id: str = ""
    token: str = ""

    def as_actor(self) -> Actor:
        """The requester as an actor of the audit trail."""
        return Actor(
            self.name, self.user, self.source_ip, self.user_agent, self.request_id, self.token
        )


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """Result of a request: the run, and whether it was created or already existed."""

    run: BackupRun
    created: bool


class CannotCancel(Exception):
    """The run cannot be cancelled; the message says why."""


class CannotBackUp(Exception):
    """The cluster cannot be backed up at all; the message says why."""


class KeyReused(Exception):
    """The idempotency key was used for a different request before; the message says so.

    Attributes:
        run: the run that the earlier request created or joined.
    """

    def __init__(self, run: BackupRun) -> None:
        self.run = run
        super().__init__(
            _("This request was sent before with other values, and has its run %(run)d.")
            % {"run": run.pk}
        )


class ReasonMissing(Exception):
    """The request lacks the required reason; the message says so."""


# Triggers that request many runs, so that no user waits for a single one.
IN_BATCHES = frozenset({Trigger.BULK, Trigger.SCHEDULE})
# Triggers without a person or program that could give a reason.
_ASKS_NOBODY = frozenset({Trigger.SCHEDULE, Trigger.CLOUD})


def request_backup(
    cluster: Cluster,
    requester: Requester,
    *,
    idempotency_key: str = "",
    wait_minutes: int = 0,
) -> BackupRequest:
    """Request a log backup of a cluster: store the run, and queue it after the commit.

    Args:
        cluster: the cluster to back up.
        requester: who requests it.
        idempotency_key: the same key from the same requester for the same cluster returns the same
            run, created or joined, even after it has ended; "" for none.
        wait_minutes: how long to retry after a 409, in minutes; 0 ends the run.

    Returns:
        The new run, or the active run of this cluster that the request joined.

    Raises:
        CannotBackUp: the cluster is gone from the cloud or archived, its cloud is disconnected, or
            this database came from another instance and has not been adopted yet.
        KeyReused: the key was used with another reason or waiting time before.
        ReasonMissing: `BACKUP_REASON_REQUIRED` is on, and a person or program gave no reason.
    """
    if reason_required(requester.trigger) and not requester.reason.strip():
        raise ReasonMissing(_("A reason is required for every backup."))
    key = _scoped_key(requester, cluster, idempotency_key)
    body = _body(idempotency_key, requester, wait_minutes)
    while True:
        try:
            with transaction.atomic():
                if key and (same := _answered(key, body)):
                    return BackupRequest(same, created=False)
                if why := instance.problem():
                    raise CannotBackUp(why)
                cluster.refresh_from_db(fields=["gone_at", "archived_at"])
                if why := blocked_reason(cluster):
                    raise CannotBackUp(why)
                active = cluster.runs.filter(state__in=ACTIVE).first()
                if active is not None:
                    if key:
                        RequestKey.objects.create(key=key, body=body, run=active)
                    _join(active, requester)
                    return BackupRequest(active, created=False)
            with transaction.atomic():
                run = _create(cluster, requester, key, body, wait_minutes)
        except IntegrityError:
            continue  # a concurrent request was faster: the next iteration finds its run
        return BackupRequest(run, created=True)


def request_backups(clusters: Sequence[Cluster], requester: Requester) -> dict[int, BackupRequest]:
    """Request log backups of several clusters, within the caller's transaction.

    New runs are stored before any event of the audit trail, whose lock is thus never held while
    another transaction stores a run of one of these clusters.

    Args:
        clusters: the clusters, without duplicates.
        requester: who requests all of them; whether a reason was required was looked at when they
            asked.

    Returns:
        The new or joined run by the cluster's primary key; clusters that cannot be backed up at
        all are left out.

    Raises:
        IntegrityError: one of them was requested at the same time; roll back and try again.
    """
    if instance.problem():
        return {}
    pks = [each.pk for each in clusters]
    active = {
        run.cluster_id: run for run in BackupRun.objects.filter(cluster__in=pks, state__in=ACTIVE)
    }
    fresh = list(Cluster.objects.filter(pk__in=pks).select_related("project").order_by("pk"))
    blocked = blocked_reasons(fresh)
    now = timezone.now()
    # in the order of the keys: two transactions never wait for each other
    runs = BackupRun.objects.bulk_create(
        _run(each, requester, None, now, 0)
        for each in fresh
        if each.pk not in active and each.pk not in blocked
    )
    RunEvent.objects.bulk_create([_requested(run, requester) for run in runs])
    if runs:
        _dispatch_later(runs, requester)
    made = {run.cluster_id: BackupRequest(run, created=True) for run in runs}
    for run in runs:
        put_on_record(Action.RUN_REQUESTED, run, requester.as_actor(), requester.reason)
    for each in fresh:
        if each.pk in active and each.pk not in blocked:
            _join(active[each.pk], requester)
            made[each.pk] = BackupRequest(active[each.pk], created=False)
    return made


def reason_required(trigger: Trigger) -> bool:
    """Whether requests with this trigger need a reason."""
    return settings.BACKUP_REASON_REQUIRED and trigger not in _ASKS_NOBODY


def is_replay(cluster: Cluster, requester: Requester, idempotency_key: str) -> bool:
    """Whether the key was used before: the request returns its run, without a warning.

    Args:
        cluster, requester, idempotency_key: as for `request_backup`.
    """
    key = _scoped_key(requester, cluster, idempotency_key)
    return key is not None and RequestKey.objects.filter(pk=key).exists()


def _answered(key: str, body: str) -> BackupRun | None:
    """The run that was returned for a key, None for a new key. Raises KeyReused."""
    # Read the run first: it is committed together with its RequestKey, so if the run is visible,
    # the RequestKey is visible to the query that follows.
    made = BackupRun.objects.filter(idempotency_key=key).first()
    used = RequestKey.objects.select_related("run").filter(pk=key).first()
    if used is None:  # a new key, or a run from before bodies were stored
        return made
    if used.body != body:
        raise KeyReused(used.run)
    return used.run


def _create(
    cluster: Cluster, requester: Requester, key: str | None, body: str, wait_minutes: int
) -> BackupRun:
    run = _run(cluster, requester, key, timezone.now(), wait_minutes)
    run.save(force_insert=True)
    if key:
        RequestKey.objects.create(key=key, body=body, run=run)
    _requested(run, requester).save(force_insert=True)
    _dispatch_later([run], requester)
    put_on_record(Action.RUN_REQUESTED, run, requester.as_actor(), requester.reason)
    return run


def _run(
    cluster: Cluster, requester: Requester, key: str | None, now: datetime, wait_minutes: int
) -> BackupRun:
    project = cluster.project
    return BackupRun(
        cluster=cluster,
        project=project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        cloud=project.cloud,
        region=project.region,
        project_id_in_cloud=project.project_id,
        project_name=project.name,
        requested_by=requester.user,
        requested_by_name=requester.name[:255],
        trigger=requester.trigger,
        reason=requester.reason[:500],
        source_ip=requester.source_ip,
        idempotency_key=key,
        requested_at=now,
        not_before=now,
        dispatched_at=now,  # by `_dispatch_later`; here it takes no statement of its own
        retry_conflict_until=now + timedelta(minutes=wait_minutes) if wait_minutes else None,
    )


def _requested(run: BackupRun, requester: Requester) -> RunEvent:
    """The first event of a run."""
    return RunEvent(
        run=run,
        to_state=RunState.QUEUED,
        note=f"Requested ({in_english(Trigger(requester.trigger).label)})",
        actor=requester.name[:255],
    )


def _dispatch_later(runs: Sequence[BackupRun], requester: Requester) -> None:
    """Queue runs once they are committed."""
    for run in runs:
        run_events.requested(run)
    ids = [run.pk for run in runs]
    priority = Priority.BATCH if requester.trigger in IN_BATCHES else Priority.CLICK
    transaction.on_commit(lambda: dispatch_send(ids, priority=priority, noted=True))


def _join(run: BackupRun, requester: Requester) -> None:
    """Add to the timeline and the audit trail that another request joined the run."""
    RunEvent.objects.create(
        run=run,
        from_state=run.state,
        to_state=run.state,
        outcome=run.outcome,
        note=f"Asked for again ({in_english(Trigger(requester.trigger).label)}); joined this run",
        actor=requester.name[:255],
    )
    put_on_record(Action.RUN_JOINED, run, requester.as_actor(), requester.reason)


def put_on_record(
    action: Action, run: BackupRun, actor: Actor, reason: str = "", **change: Mapping[str, Any]
) -> None:
    """Add an action on a run to the audit trail.

    Call it last in the transaction (dashboard.audit.trail.record).

    Args:
        action: what was done.
        run: the run.
        actor: who did it.
        reason: the reason they gave, "" for none.
        change: `before` and `after`, if the action changed something.
    """
    record(
        action,
        actor=actor,
        target=run,
        target_label=f"run {run.pk} of {run.cluster_name}",
        project=run.project,
        reason=reason,
        details={"cluster": run.cluster_name, "trigger": str(run.trigger)},
        **change,
    )


def _scoped_key(requester: Requester, cluster: Cluster, key: str) -> str | None:
    """Hash a key with its requester and cluster, which limit its scope; None without a key.

    A hash always fits the column.
    """
    if not key:
        return None
    owner = f"user:{requester.user.pk}" if requester.user else f"name:{requester.name}"
    return request_hash(owner, str(cluster.pk), key)


def _body(key: str, requester: Requester, wait_minutes: int) -> str:
    """A hash of the key and the request it was used for, to detect a different request."""
    return request_hash(key, requester.reason[:500].strip(), str(wait_minutes))


def request_hash(*parts: str) -> str:
    """A hash of an idempotency key, or of the request that it was used for."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def cancel_run(run: BackupRun, *, actor: Actor) -> None:
    """Cancel a run that has not been sent.

    Raises:
        CannotCancel: it was sent or has ended. The cloud's API has no call to stop a log backup.
    """
    with transaction.atomic():
        when = "sent" if run.outcome == Outcome.NONE else f"tried again (attempt {run.attempt + 1})"
        if run.run_state is RunState.QUEUED and transition(
            run, RunState.CANCELLED, actor=actor.name, note=f"Cancelled before it was {when}"
        ):
            put_on_record(Action.RUN_CANCELLED, run, actor)
            return
    run.refresh_from_db()
    if run.is_terminal:
        raise CannotCancel(_("The run has already ended: %(state)s.") % {"state": run.state_label})
    raise CannotCancel(
        _("The request has left for the cloud, and the cloud's API has no call to stop it.")
    )
