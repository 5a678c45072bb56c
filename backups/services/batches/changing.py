"""Change the log backup settings of many clusters: one after another, one service call each.

An item says when it was begun, and is ended by whoever began it. If its worker dies, another one
takes the item up once the interrupted change cannot be under way any more. `set_storage` then reads
the settings before it decides whether something is left to send.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Q
from django.utils import timezone

from backups.choices import Cause, ItemState, Work
from backups.css_api.types import LogStorage
from backups.models import Batch, BatchItem, Project
from backups.rules.log_settings import path_of, path_problem
from backups.services import rate
from backups.services.log_settings import (
    HOLD,
    LONGEST_CHANGE,
    ChangeOutcome,
    ChangeResult,
    set_storage,
)
from backups.services.runs.lanes import LANES
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from dashboard.db.concurrency import retry_while_unavailable
from dashboard.db.leases import expired

from .other_work import actor_of, cause_now
from .selecting import Selection, cause_of

logger = logging.getLogger(__name__)

MOST_EXAMPLES = 5  # of paths in the preview, and of names beside each
# A change, and one more exchange for settings that were never read.
LONGEST_ITEM = LONGEST_CHANGE + timedelta(minutes=1)


# --- before --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SharedPath:
    """A path that several clusters would write to.

    Attributes:
        path: the path.
        names: some of the clusters, each with its project.
        count: how many there are.
    """

    path: str
    names: list[str]
    count: int


@dataclass(frozen=True, slots=True)
class Paths:
    """What a pattern makes of the clusters of a selection that are ready.

    Attributes:
        examples: some clusters' names with their paths.
        shared: paths of more than one cluster.
        more_shared: how many of these are not listed.
        invalid: some clusters' names with what is wrong with their paths.
        more_invalid: how many of these are not listed.
    """

    examples: list[tuple[str, str]] = field(default_factory=list)
    shared: list[SharedPath] = field(default_factory=list)
    more_shared: int = 0
    invalid: list[tuple[str, str]] = field(default_factory=list)
    more_invalid: int = 0


def paths_of(selection: Selection, pattern: str) -> Paths:
    """Say what a pattern makes of a selection; one query.

    Args:
        selection: the clusters.
        pattern: a valid base path, with `{cluster}` where each cluster's name belongs.
    """
    cause = cause_of(selection.user, selection.work)
    ready = selection.clusters.annotate(cause=cause).filter(cause=Cause.NONE)
    found: dict[str, list[str]] = {}
    examples: list[tuple[str, str]] = []
    invalid: list[tuple[str, str]] = []
    named = ready.order_by("name", "pk").values_list("name", "project__name")
    for name, project in named:
        path = path_of(pattern, name)
        if problem := path_problem(path):
            invalid.append((name, problem))
            continue
        if len(examples) < MOST_EXAMPLES:
            examples.append((name, path))
        found.setdefault(path, []).append(f"{name} ({project})")
    shared = [
        SharedPath(path, names[:MOST_EXAMPLES], len(names))
        for path, names in found.items()
        if len(names) > 1
    ]
    return Paths(
        examples,
        shared[:MOST_EXAMPLES],
        len(shared[MOST_EXAMPLES:]),
        invalid[:MOST_EXAMPLES],
        len(invalid[MOST_EXAMPLES:]),
    )


# --- one after another ---------------------------------------------------------------------------


def change_waiting(until: float) -> int:
    """Change the settings of clusters that wait for it, as the rate of their projects allows.

    Args:
        until: of the monotonic clock; no cluster is begun afterwards.

    Returns:
        The number of clusters that were begun.
    """
    begun = 0
    batches = Batch.objects.open().filter(work=Work.SETTINGS)
    for batch in batches.select_related("requested_by").order_by("?"):
        due = BatchItem.objects.filter(_due(), batch=batch).order_by()
        try:
            for project in Project.objects.filter(pk__in=due.values("project")).order_by("?"):
                # a project whose cloud hangs holds no more threads than its backups would
                with LANES.enter(project.pk, batch=True) as free:
                    while free and time.monotonic() < until and _next(batch, project):
                        begun += 1
        except (DatabaseError, InterfaceError):
            raise
        except Exception:  # of one batch: the others must not wait for it
            logger.exception("batch %d: its clusters cannot be changed", batch.pk)
    return begun


def _due() -> Q:
    """Items that wait, and those that were begun so long ago that their worker must be dead."""
    states = [ItemState.WAITING, ItemState.WORKING]
    return Q(state=ItemState.WAITING, begun_at=None) | (
        Q(state__in=states) & expired("begun_at", LONGEST_ITEM)
    )


def _next(batch: Batch, project: Project) -> bool:
    """Change the next cluster of a batch in a project; False if there is none, or no token."""
    if not rate.take(project.project_id, 1):
        return False
    item = _begin(batch, project)
    if item is None:
        return False
    if item.state == ItemState.WORKING:
        result = set_storage(
            item.cluster,
            _storage(batch, item),
            actor_of(batch),
            since=batch.requested_at,
            reason=batch.reason,
        )
        if result.answer is not None and result.answer.status == 429:
            rate.lower(project.project_id)
        retry_while_unavailable(lambda: _end(item, result), seconds=HOLD)
        if code := _code(result):
            retry_while_unavailable(lambda: _stop(batch, code), seconds=HOLD)
    return True


def _storage(batch: Batch, item: BatchItem) -> LogStorage:
    path = path_of(batch.values["base_path"], item.cluster.name)
    return LogStorage(batch.values["bucket"], path, batch.values["agency"])


def _begin(batch: Batch, project: Project) -> BatchItem | None:
    """Take the next item; permission and path are looked at again."""
    with transaction.atomic():
        rows = (
            BatchItem.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(batch=batch, project=project)
            .select_related("cluster__project")
            .order_by("id")
        )
        # in two queries: an index has what waits
        item = rows.filter(state=ItemState.WAITING, begun_at=None).first()
        item = item or rows.filter(_due()).first()
        if item is None:
            return None
        interrupted = item.state == ItemState.WORKING
        item.begun_at, item.note = timezone.now(), ""
        item.state, item.cause = ItemState.WORKING, cause_now(batch, item.cluster)
        if not item.cause and (wrong := path_problem(_storage(batch, item).base_path)):
            item.cause, item.note = Cause.IMPOSSIBLE, wrong[:200]
        elif item.cause and interrupted:
            item.note = "Its change was interrupted: check its settings."
        if item.cause:
            item.state = ItemState.SKIPPED
        item.save(update_fields=["state", "cause", "note", "begun_at"])
    return item


def _code(result: ChangeResult) -> str:
    """What failures of one kind have in common; "" unless it is a failure."""
    if result.ending in (ChangeOutcome.DONE, ChangeOutcome.ALREADY, ChangeOutcome.OCCUPIED):
        return ""
    if result.answer is not None and result.ending is not ChangeOutcome.ACCEPTED:
        return (result.answer.error_code or f"HTTP {result.answer.status}")[:40]
    return result.ending.value


def _end(item: BatchItem, result: ChangeResult) -> None:
    """Store what became of an item, unless another worker has taken it up."""
    code = _code(result)
    if result.ending is ChangeOutcome.OCCUPIED:
        # it waits, and can be cancelled, until the other change must have ended
        state = ItemState.WAITING
    else:
        state = ItemState.FAILED if code else ItemState.DONE
    BatchItem.objects.filter(pk=item.pk, state=ItemState.WORKING, begun_at=item.begun_at).update(
        state=state, code=code, note=_note(result)[:200]
    )


def _note(result: ChangeResult) -> str:
    """The cluster's own answer, in English like everything that is stored."""
    match result.ending:
        case ChangeOutcome.DONE:
            policy = " The cloud has ended its daily backup." if result.ended_policy else ""
            return f"{_done(result)}{policy}"
        case ChangeOutcome.ALREADY:
            return "The settings were like this already; nothing was sent."
        case ChangeOutcome.ACCEPTED:
            return "The cloud accepted the change, but does not show these settings."
        case ChangeOutcome.REFUSED:
            return result.why
        case ChangeOutcome.UNKNOWN:
            return f"It is not known whether the cloud made the change: {result.why}"
        case ChangeOutcome.OCCUPIED:
            return "Another change of its settings was in progress."
        case ChangeOutcome.STALE:
            return "Nothing was sent: the settings have changed since the batch was requested."
        case ChangeOutcome.NOT_SENT:
            return f"Nothing was sent: {result.why}"


def _done(result: ChangeResult) -> str:
    was_on = result.before is not None and result.before.enabled
    return "The settings were changed." if was_on else "Log backup was switched on."


def _stop(batch: Batch, code: str) -> None:
    """Cancel what waits if there are too many failures of one kind.

    After the failure is committed: of two at the same time, the later one counts both.
    """
    with transaction.atomic():
        failures = BatchItem.objects.filter(batch=batch, state=ItemState.FAILED, code=code).count()
        if failures < batch.values["stop_after"]:
            return
        waiting = BatchItem.objects.filter(batch=batch, state=ItemState.WAITING)
        count = waiting.update(state=ItemState.CANCELLED, cause=Cause.STOPPED, code=code)
        if count:
            record(
                Action.BATCH_CANCELLED,
                actor=Actor.process("batches"),
                target=batch,
                target_label=f"batch {batch.pk}",
                details={"clusters": count, "failures": failures, "code": code},
            )
