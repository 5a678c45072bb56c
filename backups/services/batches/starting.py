"""Turn waiting items into runs as the rate allows, and end batches.

Any process can do both at any time, and die at any point: an item and its run change in one
transaction, which holds the items' rows. A new batch publishes a task that calls `advance`, and the
ticker does once a second, by `look_after`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.utils import timezone
from structlog.contextvars import bound_contextvars

from backups import instance, uptime
from backups.choices import (
    ACTIVE,
    PASSABLE,
    PASSING,
    Cause,
    ItemState,
    NoticeKind,
    RunState,
    Trigger,
    Work,
    in_english,
)
from backups.models import BackupRun, Batch, BatchItem, Cluster, Project
from backups.services import rate
from backups.services.dispatch import dispatch_batches
from backups.services.notifications.outbox import announce, is_subscribed
from backups.services.runs.requests import IN_BATCHES, Requester, request_backups

from .changing import change_waiting
from .other_work import work_on_waiting
from .progress import progress_of
from .selecting import cause_of

logger = logging.getLogger(__name__)

TOGETHER = 25  # items that become runs in one transaction
LONGEST = 1.0  # seconds after which no further project is begun


def look_after() -> None:
    """Have waiting items started, and end what has nothing left to do; called each second.

    A worker's thread starts the items, so that the ticker is not held up.
    """
    if not Batch.objects.open().exists():
        return
    working = BatchItem.objects.filter(
        state=ItemState.WORKING, batch__in=Batch.objects.open().filter(work=Work.SETTINGS)
    )
    if BatchItem.objects.filter(state=ItemState.WAITING).exists() or working.exists():
        dispatch_batches()
    end_batches()


def advance() -> int:
    """Start what may be started now, and end what has nothing left to do.

    Returns:
        The number of items that are not waiting any more.
    """
    started = start_waiting()
    end_batches()
    return started


def start_waiting() -> int:
    """Turn waiting items into runs, for each project as many as its rate and its queue allow.

    It begins no further project after a second: then the next message is there, with the projects
    in another order.

    Returns:
        The number of items that are not waiting any more.
    """
    until = time.monotonic() + LONGEST
    if instance.problem():
        return 0
    waiting = BatchItem.objects.filter(
        ~_held(), state=ItemState.WAITING, batch__work=Work.BACKUP
    ).order_by()
    found: dict[int, dict[int, int]] = {}
    for project, batch, number in waiting.values_list("project", "batch").annotate(n=Count("pk")):
        found.setdefault(project, {})[batch] = number
    started = 0
    for project in Project.objects.filter(pk__in=found).order_by("?"):
        if time.monotonic() > until:
            break
        started += _start(project, found[project.pk])
    return started + work_on_waiting(until) + change_waiting(until)


def _held() -> Q:
    """Items that wait until their cluster is free; they take no turn and no token meanwhile."""
    at = uptime.now()
    if not Batch.objects.open().filter(waits_until__gt=at).exists():
        return Q(pk__in=[])
    busy = Cluster.objects.annotate(cause=cause_of(None)).filter(cause__in=sorted(PASSING))
    return Q(batch__waits_until__gt=at, cluster__in=busy.order_by().values("pk"))


def _start(project: Project, waiting: dict[int, int]) -> int:
    """Start items of a project, in turn from each of its batches."""
    not_sent = BackupRun.objects.filter(
        project=project,
        state__in=[RunState.QUEUED, RunState.SENDING],
        trigger__in=sorted(IN_BATCHES),
    )
    room = queue_length() - not_sent.count()
    granted = rate.take(project.project_id, min(room, sum(waiting.values())))
    done = 0
    for place, (pk, number) in enumerate(sorted(waiting.items())):
        share = -(-(granted - done) // (len(waiting) - place))
        for size in _parts(min(share, number)):
            try:
                done += _start_some(pk, project, size)
            except (DatabaseError, InterfaceError):
                raise
            except Exception:  # of one batch: the others must not wait for it
                logger.exception("batch %d: its clusters cannot be started", pk)
                break
    return done


def queue_length() -> int:
    """How many runs of a project may wait for a worker, or be sent, because of batches.

    Enough for two seconds; more would hold their clusters without being sent earlier.
    """
    return max(TOGETHER, round(2 * settings.BACKUP_BATCH_RATE))


def _parts(number: int) -> list[int]:
    return [min(TOGETHER, number - done) for done in range(0, number, TOGETHER)]


def _start_some(batch_pk: int, project: Project, most: int) -> int:
    """Start some items of a batch; a transaction in which nothing is left half done."""
    try:
        # its runs are queued at the commit, within the same context
        with bound_contextvars(correlation_id=correlation_of(batch_pk)), transaction.atomic():
            batch = Batch.objects.select_related("requested_by").get(pk=batch_pk)
            items = list(
                BatchItem.objects.select_for_update(skip_locked=True, of=("self",))
                .filter(~_held(), batch=batch, project=project, state=ItemState.WAITING)
                .select_related("cluster__project")
                .order_by("id")[:most]
            )
            if items:
                _settle(batch, items)
                # by primary key: the rows are locked
                BatchItem.objects.bulk_update(items, ["state", "cause", "run"])
    except IntegrityError:  # somebody requests one of these clusters now: the next tick joins
        logger.info("batch %d: a cluster was requested at the same time", batch_pk)
        return 0
    return sum(item.state != ItemState.WAITING for item in items)


def _settle(batch: Batch, items: Sequence[BatchItem]) -> None:
    """Decide for each item: skipped, backed up by another run, or a run of its own."""
    clusters = {item.cluster_id: item.cluster for item in items}
    causes = _causes(batch, list(clusters))
    since = _verified_since(batch, list(clusters))
    # Without "anyway", also what is no longer ready is skipped; an active run is joined.
    allowed = PASSABLE | {Cause.NONE} if batch.anyway else {Cause.RUNNING, Cause.NONE}
    wanted = [
        cluster for pk, cluster in clusters.items() if causes[pk] in allowed and pk not in since
    ]
    made = request_backups(wanted, _requester(batch)) if wanted else {}
    for item in items:
        if (run := since.get(item.cluster_id)) is not None:
            item.state, item.cause, item.run = ItemState.STARTED, Cause.JOINED, run
        elif (request := made.get(item.cluster_id)) is not None:
            item.state, item.run = ItemState.STARTED, request.run
            item.cause = Cause.NONE if request.created else Cause.JOINED
        elif causes[item.cluster_id] not in allowed:
            item.state, item.cause = ItemState.SKIPPED, causes[item.cluster_id]


def _causes(batch: Batch, pks: list[int]) -> dict[int, Cause]:
    """Why each cluster is skipped now: permission and inventory may have changed meanwhile."""
    if batch.requested_by is None and batch.trigger != Trigger.CLI:  # the account was deleted
        return dict.fromkeys(pks, Cause.NOT_PERMITTED)
    found = Cluster.objects.filter(pk__in=pks).annotate(cause=cause_of(batch.requested_by))
    return {pk: Cause(cause) for pk, cause in found.values_list("pk", "cause")}


def _verified_since(batch: Batch, pks: list[int]) -> dict[int, BackupRun]:
    """Runs that were requested after the batch and are verified: its request is fulfilled.

    Without the cloud's own jobs, whose times are those of the cloud's clock.
    """
    runs = BackupRun.objects.filter(
        cluster__in=pks, state=RunState.SUCCEEDED, requested_at__gte=batch.requested_at
    ).exclude(trigger=Trigger.CLOUD)
    return {run.cluster_id: run for run in runs.order_by("requested_at")}


def correlation_of(batch_pk: int) -> str:
    """The correlation id of a batch's runs, which are not started by the request for the batch."""
    return f"batch-{batch_pk}"


def _requester(batch: Batch) -> Requester:
    return Requester(
        batch.requested_by_name,
        Trigger.SCHEDULE if batch.trigger == Trigger.SCHEDULE else Trigger.BULK,
        user=batch.requested_by,
        source_ip=batch.source_ip,
        reason=batch.reason,
        request_id=correlation_of(batch.pk),
        token=batch.token,
    )


def end_batches() -> int:
    """End the batches without a waiting item or an active run; returns their number."""
    items = BatchItem.objects.filter(batch=OuterRef("pk"))
    active = BackupRun.objects.filter(state__in=sorted(ACTIVE), batch_items__batch=OuterRef("pk"))
    ended = Batch.objects.open().filter(
        ~(Q(work=Work.SETTINGS) & Exists(items.filter(state=ItemState.WORKING))),
        ~Exists(items.filter(state=ItemState.WAITING)),
        ~Exists(active),
    )
    pks = list(ended.values_list("pk", flat=True))
    done = 0
    for pk in pks:
        try:
            done += _end(pk)
        except (DatabaseError, InterfaceError):
            raise
        except Exception:  # the others end nevertheless
            logger.exception("batch %d cannot be ended", pk)
    return done


def _end(pk: int) -> bool:
    """End a batch, and announce that in the same transaction."""
    with transaction.atomic():
        if not Batch.objects.open().filter(pk=pk).update(finished_at=timezone.now()):
            return False  # another process was faster
        if is_subscribed(NoticeKind.BATCH_ENDED):
            _announce_end(Batch.objects.get(pk=pk))
    return True


def _announce_end(batch: Batch) -> None:
    found = progress_of(batch, None)
    worked = batch.work == Work.BACKUP
    counts = {
        "verified" if worked else "done": found.verified if worked else found.worked,
        "failed": found.failed + found.unworked,
        "skipped": sum(found.skipped.values()),
        "cancelled": found.cancelled,
    }
    projects = list(batch.items.order_by().values_list("project_id", flat=True).distinct()[:2])
    announce(
        NoticeKind.BATCH_ENDED,
        key=f"batch {batch.pk}",
        project=projects[0] if len(projects) == 1 else None,
        cause=f"Batch {batch.pk} ({in_english(Work(batch.work).label)})",
        facts={
            **counts,
            "batch": batch.pk,
            "clusters": found.total,
            "requested_by": batch.requested_by_name,
            "text": f"{found.total} clusters: "
            + ", ".join(f"{number} {name}" for name, number in counts.items() if number),
            "path": batch.get_absolute_url(),
        },
    )
