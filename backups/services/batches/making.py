"""Store batches, cancel what waits, and request again what failed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import BigIntegerField, Case, CharField, F, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from backups import instance, uptime
from backups.choices import ENDED_BADLY, PASSABLE, PASSING, Cause, ItemState, RunState, Work
from backups.models import BackupRun, Batch, BatchItem, Cluster, Firing, Project
from backups.services.dispatch import dispatch_batches
from backups.services.runs.requests import (
    CannotCancel,
    ReasonMissing,
    Requester,
    cancel_run,
    reason_required,
    request_hash,
)
from dashboard.accounts.access import may, permitted_q, require, visible_q
from dashboard.accounts.models import User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record

from .other_work import problems_of
from .selecting import MOST, Preview, Selection, permission_for, preview


class BatchProblem(Exception):
    """The batch cannot be made or changed; the message says why and what to do.

    Attributes:
        found: what it would have done, None where that does not matter.
    """

    def __init__(self, message: str, found: Preview | None = None) -> None:
        self.found = found
        super().__init__(message)


class BatchKeyReused(Exception):
    """The idempotency key was used for another batch; the message says so.

    Attributes:
        batch: the batch that the earlier request made.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        super().__init__(
            _("This request was sent before with other values, and has its batch %(batch)d.")
            % {"batch": batch.pk}
        )


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """Result of a request: the batch, and whether it was created or already existed."""

    batch: Batch
    created: bool


def make_batch(
    selection: Selection,
    requester: Requester,
    *,
    anyway: bool = False,
    idempotency_key: str = "",
    retry_of: Batch | None = None,
    values: dict[str, Any] | None = None,
    wait_minutes: int = 0,
    firing: Firing | None = None,
) -> BatchRequest:
    """Request a batch: store it with an item for each of the selected clusters.

    One INSERT … SELECT, and one event of the audit trail with filter, count and a digest of the
    cloud's ids. The runs are created later, as the rate allows.

    Args:
        selection: the clusters.
        requester: who requests it; its trigger says from where.
        anyway: also back up what the cloud would probably reject, and join active runs.
        idempotency_key: the same key from the same requester returns the same batch; "" for none.
        retry_of: the batch whose failed clusters these are.
        values: of other work than a backup (other_work.py).
        wait_minutes: for how long busy clusters wait until they are free, by the product's clock.
        firing: the slot of a schedule that requests it.

    Returns:
        The new batch, or the one that the key belongs to.

    Raises:
        BatchProblem: there is nothing to back up, or there are too many clusters.
        BatchKeyReused: the key was used with another selection, reason or choice.
        ReasonMissing: `BACKUP_REASON_REQUIRED` is on, and a backup has no reason.
    """
    values = values or {}
    is_backup = selection.work is Work.BACKUP
    if is_backup and reason_required(requester.trigger) and not requester.reason.strip():
        raise ReasonMissing(_("A reason is required for every backup."))
    if selection.work in (Work.BACKUP, Work.SETTINGS) and (why := instance.problem()):
        raise BatchProblem(why)
    if not is_backup and (wrong := problems_of(selection.work, values, requester.reason)):
        raise BatchProblem(" ".join(wrong))
    asked = (str(selection.work), json.dumps(values, sort_keys=True), str(anyway))
    key, body = _key(selection, requester, idempotency_key, asked, retry_of)
    try:
        with transaction.atomic():
            if same := _made(key, body):
                return BatchRequest(same, created=False)
            batch = Batch(
                work=selection.work,
                values=values,
                anyway=anyway and is_backup,
                retry_of=retry_of,
                idempotency_key=key,
                body=body,
                firing=firing,
                waits_until=uptime.now() + 60 * wait_minutes if wait_minutes else None,
            )
            _store(batch, selection, requester)
            return BatchRequest(batch, created=True)
    except IntegrityError:
        if (same := _made(key, body)) is None:
            raise
        return BatchRequest(same, created=False)


def _key(
    selection: Selection,
    requester: Requester,
    key: str,
    asked: tuple[str, ...],
    retry_of: Batch | None,
) -> tuple[str | None, str]:
    """Hashes of key and request; the scope of a key is its requester."""
    if not key:
        return None, ""
    owner = f"user:{requester.user.pk}" if requester.user else f"name:{requester.name}"
    what = selection.query
    if not what and retry_of is None:
        picked = selection.clusters.order_by("pk").values_list("pk", flat=True)[: MOST + 1]
        what = ",".join(map(str, picked))
    again = str(retry_of.pk) if retry_of else ""
    reason = requester.reason[:500].strip()
    return (
        request_hash("batch", owner, key),
        request_hash(key, what, again, reason, *asked),
    )


def _made(key: str | None, body: str) -> Batch | None:
    if key is None:
        return None
    batch = Batch.objects.filter(idempotency_key=key).first()
    if batch is not None and batch.body != body:
        raise BatchKeyReused(batch)
    return batch


def _store(batch: Batch, selection: Selection, requester: Requester) -> None:
    found = preview(selection)
    _refuse(found, anyway=batch.anyway, wait=batch.waits_until is not None)
    batch.requested_by = requester.user
    batch.requested_by_name = requester.name[:255]
    batch.trigger = requester.trigger
    batch.token = requester.token[:255]
    batch.source_ip = requester.source_ip
    batch.reason = requester.reason[:500]
    batch.query = selection.query[:2000]
    batch.save(force_insert=True)
    _insert_items(batch, selection)
    # what was stored counts, not what was counted before
    items = BatchItem.objects.filter(batch=batch).order_by()
    waiting = items.filter(state=ItemState.WAITING)
    ids = sorted(waiting.values_list("cluster__cluster_id", flat=True))
    if not ids:
        raise BatchProblem(_nothing(found), found)
    batch.digest = hashlib.sha256("".join(f"{each}\n" for each in ids).encode()).hexdigest()
    batch.save(update_fields=["digest"])
    transaction.on_commit(dispatch_batches, robust=True)
    skipped = {str(cause): n for cause, n in found.counts.items() if cause is not Cause.NONE}
    projects = list(items.values_list("project", flat=True).distinct()[:2])
    record(
        Action.BATCH_REQUESTED,
        actor=requester.as_actor(),
        target=batch,
        target_label=f"batch {batch.pk}",
        project=Project.objects.get(pk=projects[0]) if len(projects) == 1 else None,
        reason=requester.reason,
        details={
            "filter": selection.query,
            "clusters": len(ids),
            "sha256": batch.digest,
            "not_ready": skipped,
            "anyway": batch.anyway,
            **({"retry_of": batch.retry_of_id} if batch.retry_of_id else {}),
            **({"schedule": str(batch.firing.schedule)} if batch.firing else {}),
            **({"work": str(batch.work)} if selection.work is not Work.BACKUP else {}),
            **batch.values,
        },
    )


def _refuse(found: Preview, *, anyway: bool, wait: bool) -> None:
    if found.is_too_large:
        raise BatchProblem(
            _(
                "%(count)d clusters are selected, and a batch has at most %(most)d. Narrow the "
                "filter, for example to a project, and send several batches."
            )
            % {"count": found.total, "most": MOST},
            found,
        )
    if not found.requested(anyway=anyway, wait=wait):
        raise BatchProblem(_nothing(found), found)


def _nothing(found: Preview) -> str:
    if not found.total:
        return _("No cluster is selected: nothing matches the filter, or the clusters are gone.")
    if found.possible:
        return ngettext(
            "The selected cluster is not ready. You can back it up anyway.",
            "None of the %(n)d selected clusters is ready. You can back them up anyway.",
            found.total,
        ) % {"n": found.total}
    return ngettext(
        "The selected cluster cannot be backed up.",
        "None of the %(n)d selected clusters can be backed up.",
        found.total,
    ) % {"n": found.total}


def _insert_items(batch: Batch, selection: Selection) -> None:
    """Store an item for each cluster: one INSERT … SELECT."""
    goes = Q(cause=Cause.NONE)
    if batch.anyway:
        goes |= Q(cause__in=sorted(PASSABLE))
    if batch.waits_until is not None:
        goes |= Q(cause__in=sorted(PASSING))
    clusters = selection.with_cause().annotate(
        item_batch=Value(batch.pk, output_field=BigIntegerField()),
        item_state=Case(
            When(goes, then=Value(ItemState.WAITING.value)),
            default=Value(ItemState.SKIPPED.value),
            output_field=CharField(),
        ),
        item_note=Value(""),
        item_code=Value(""),
        item_cause=Case(When(goes, then=Value("")), default=F("cause"), output_field=CharField()),
    )
    columns = (
        "item_batch",
        "pk",
        "project_id",
        "item_state",
        "item_cause",
        "item_note",
        "item_code",
    )
    sql, values = clusters.order_by("pk").values_list(*columns).query.sql_with_params()
    table = connection.ops.quote_name(BatchItem._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (batch_id, cluster_id, project_id, state, cause, note, code) "
            f"{sql}",
            values,
        )


def cancel_batch(batch: Batch, user: User, *, actor: Actor) -> int:
    """Cancel what has not been sent or done, in the projects where the user may request it.

    One UPDATE cancels all waiting clusters. The few runs of the batch that are queued are
    cancelled one by one, as on their pages; those that it joined belong to others.

    Args:
        batch: a batch that the user may see.
        user: whose permissions apply.
        actor: for the audit trail.

    Returns:
        The number of clusters that are not backed up now.

    Raises:
        RoleRequired: the user may not back up in any project of the batch.
        BatchProblem: nothing of it waits any more.
    """
    require_in_batch(batch, user)
    mine = permitted(user, Work(batch.work))
    with transaction.atomic():
        waiting = BatchItem.objects.filter(mine, batch=batch, state=ItemState.WAITING)
        count = waiting.update(state=ItemState.CANCELLED)
        if count:
            Batch.objects.filter(pk=batch.pk).update(
                cancelled_at=timezone.now(), cancelled_by_name=actor.name[:255]
            )
            record(
                Action.BATCH_CANCELLED,
                actor=actor,
                target=batch,
                target_label=f"batch {batch.pk}",
                details={"clusters": count},
            )
    queued = BackupRun.objects.filter(
        mine,
        state=RunState.QUEUED,
        pk__in=BatchItem.objects.filter(batch=batch, cause=Cause.NONE).values("run"),
    )
    for run in queued.select_related("project"):
        try:
            cancel_run(run, actor=actor)
        except CannotCancel:
            continue
        count += 1
    if not count:
        raise BatchProblem(_("Nothing of this batch is waiting any more."))
    return count


def failed_of(batch: Batch, user: User) -> Selection:
    """The clusters of a batch whose run ended badly, and that have not been verified since."""
    failed = BatchItem.objects.filter(
        visible_q(user), batch=batch, run__state__in=sorted(ENDED_BADLY)
    ).exclude(cluster__verified_at__gt=F("run__requested_at"))
    clusters = Cluster.objects.filter(pk__in=failed.order_by().values("cluster"))
    return Selection(clusters, user)


def retry_batch(
    batch: Batch, requester: Requester, *, anyway: bool = False, idempotency_key: str = ""
) -> BatchRequest:
    """Request again what failed, as a new batch that is linked to this one.

    Args:
        batch: a batch that the requester may see.
        requester: who requests it; `user` must be given.
        anyway, idempotency_key: as for `make_batch`.

    Raises:
        RoleRequired: the user may not back up in any project of the batch.
        BatchProblem, BatchKeyReused, ReasonMissing: as for `make_batch`.
    """
    if requester.user is None:
        raise ValueError("a retry belongs to an account")
    require_in_batch(batch, requester.user)
    return make_batch(
        failed_of(batch, requester.user),
        requester,
        anyway=anyway,
        idempotency_key=idempotency_key,
        retry_of=batch,
    )


def permitted(user: User, work: Work = Work.BACKUP) -> Q:
    """A condition for the items of batches that the user may have worked on, or cancel."""
    return permitted_q(user, permission_for(work))


def require_in_batch(batch: Batch, user: User) -> None:
    """Raise an error unless the user may do the batch's work in one of its projects.

    Raises:
        RoleRequired: they may not.
    """
    permission = permission_for(Work(batch.work))
    seen = BatchItem.objects.filter(visible_q(user), batch=batch).order_by()
    projects = Project.objects.filter(pk__in=seen.values("project"))
    for project in projects:
        if may(user, permission, project):
            return
    require(user, permission, projects.first())
