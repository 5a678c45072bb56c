"""What batches do beside backups: check, label, set the objective, archive.

changing.py changes log backup settings, for which the cloud has to be asked.

Each cluster is a transaction of its own, with the event of the audit trail that its page would
record, before and after included.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _
from django.utils.translation import override

from backups.choices import Cause, ItemState, Trigger, Work
from backups.models import Batch, BatchItem, Cluster
from backups.models.cluster import label_problems
from backups.models.project import LONGEST_OBJECTIVE_HOURS
from backups.rules.log_settings import agency_problem, bucket_problem, pattern_problem
from backups.services.clusters import checks
from backups.services.clusters.manage import CannotArchive, archive, own_labels, set_labels
from backups.services.clusters.protection import set_objective
from dashboard.audit.trail import Actor

from .selecting import MOST, cause_of

logger = logging.getLogger(__name__)


def problems_of(work: Work, values: dict[str, Any], reason: str) -> list[str]:
    """What is wrong with a request for other work, as sentences.

    Args:
        work: what is to be done.
        values: `labels` to set and keys to `remove`; or `hours`, None for the project's; or
            `bucket`, `base_path`, `agency` and `stop_after`, a number of failures.
        reason: free text, which archiving needs.
    """
    match work:
        case Work.SETTINGS:
            return settings_problems(values)
        case Work.LABEL:
            if not values["labels"] and not values["remove"]:
                return [_("Enter labels to set, or keys to remove.")]
            if both := sorted(set(values["labels"]) & set(values["remove"])):
                return [_("%(key)s: either set it or remove it.") % {"key": both[0][:100]}]
            return label_problems(values["labels"])
        case Work.OBJECTIVE:
            hours = values["hours"]
            if hours is not None and not 1 <= hours <= LONGEST_OBJECTIVE_HOURS:
                return [
                    _("An objective is 1 to %(most)d hours.") % {"most": LONGEST_OBJECTIVE_HOURS}
                ]
        case Work.ARCHIVE:
            if not reason.strip():
                return [_("Enter a reason for archiving the clusters.")]
    return []


_ELSEWHERE = (Work.BACKUP, Work.SETTINGS)


def work_on_waiting(until: float) -> int:
    """Do the work of batches that needs nothing of the cloud.

    Args:
        until: of the monotonic clock; no cluster is begun afterwards.

    Returns:
        The number of items that are not waiting any more.
    """
    waiting = BatchItem.objects.filter(batch=OuterRef("pk"), state=ItemState.WAITING)
    batches = Batch.objects.open().exclude(work__in=_ELSEWHERE).filter(Exists(waiting))
    done = 0
    for batch in batches.select_related("requested_by").order_by("?"):
        try:
            while time.monotonic() < until and _next(batch):
                done += 1
        except (DatabaseError, InterfaceError):
            raise
        except Exception:  # of one batch: the others must not wait for it
            logger.exception("batch %d: its work cannot be done", batch.pk)
    return done


def _next(batch: Batch) -> bool:
    """Do the next cluster of a batch; False if there is none."""
    with transaction.atomic():
        item = (
            BatchItem.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(batch=batch, state=ItemState.WAITING)
            .select_related("cluster__project")
            .order_by("id")
            .first()
        )
        if item is None:
            return False
        item.cause = cause_now(batch, item.cluster)
        if item.cause:
            item.state = ItemState.SKIPPED
        else:
            item.state, item.cause, item.note = _result(batch, item.cluster)
        item.save(update_fields=["state", "cause", "note"])
    return True


def cause_now(batch: Batch, cluster: Cluster) -> Cause:
    """Why the cluster is skipped now; permission is looked at again."""
    user = batch.requested_by
    if user is None and batch.trigger != Trigger.CLI:  # the account was deleted
        return Cause.NOT_PERMITTED
    found = Cluster.objects.filter(pk=cluster.pk).values_list(cause_of(user, Work(batch.work)))
    return Cause(found[0][0])


def _result(batch: Batch, cluster: Cluster) -> tuple[ItemState, Cause, str]:
    try:
        # a savepoint: what was refused leaves nothing behind
        with transaction.atomic(), override("en"):  # stored texts are English
            _do(batch, cluster, actor_of(batch))
    except (CannotArchive, ValueError) as error:
        return ItemState.SKIPPED, Cause.IMPOSSIBLE, str(error)[:200]
    return ItemState.DONE, Cause.NONE, ""


def actor_of(batch: Batch) -> Actor:
    """Who requested the batch, for the audit trail."""
    return Actor(batch.requested_by_name, batch.requested_by, batch.source_ip, token=batch.token)


def _do(batch: Batch, cluster: Cluster, actor: Actor) -> None:
    match batch.work:
        case Work.CHECK:
            checks.ask_for(cluster.pk)
        case Work.LABEL:
            # what somebody sets meanwhile is kept
            Cluster.objects.select_for_update(no_key=True).get(pk=cluster.pk)
            labels = {**own_labels(cluster), **batch.values["labels"]}
            set_labels(cluster, _without(labels, batch.values["remove"]), actor)
        case Work.OBJECTIVE:
            set_objective(cluster, batch.values["hours"], actor)
        case Work.ARCHIVE:
            archive(cluster, actor, batch.reason)


def settings_problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with log backup settings for many clusters, as sentences."""
    found = [
        (_("OBS bucket"), bucket_problem(values["bucket"])),
        (_("Path in the bucket"), pattern_problem(values["base_path"])),
        (_("IAM agency"), agency_problem(values["agency"])),
    ]
    if not 1 <= values["stop_after"] <= MOST:
        found.append((_("Failures"), _("Enter 1 to %(most)d.") % {"most": MOST}))
    return [f"{field}: {problem}" for field, problem in found if problem]


def _without(labels: dict[str, str], keys: Iterable[str]) -> dict[str, str]:
    gone = set(keys)
    return {key: value for key, value in labels.items() if key not in gone}
