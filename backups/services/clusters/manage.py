"""Archiving and labelling clusters; nothing changes in the cloud."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import ACTIVE
from backups.models import BackupRun, Cluster, ClusterTag
from backups.models.cluster import label_problems
from dashboard.audit.trail import Action, Actor, record


class CannotArchive(Exception):
    """The cluster cannot be archived; the message says why."""

    def __init__(self, run: BackupRun) -> None:
        super().__init__(
            _(
                "Run %(run)d of this cluster is in progress (%(state)s). "
                "Archive the cluster after it has ended."
            )
            % {"run": run.pk, "state": run.run_state.label}
        )
        self.run = run


class LabelsChanged(Exception):
    """The labels were changed after the form was displayed.

    Attributes:
        now: the current labels, value by key.
    """

    def __init__(self, now: Mapping[str, str]) -> None:
        super().__init__(_("These labels have been changed in the meantime."))
        self.now = dict(now)


def archive(cluster: Cluster, actor: Actor, reason: str = "") -> bool:
    """Archive a cluster: it is not listed, checked or counted until it is restored.

    A run that is requested at the same moment continues.

    Args:
        cluster: with its project.
        actor: for the audit trail.
        reason: free text.

    Returns:
        False if it was already archived.

    Raises:
        CannotArchive: one of its runs is in progress.
    """
    now = timezone.now()
    active = BackupRun.objects.filter(cluster=OuterRef("pk"), state__in=sorted(ACTIVE))
    idle = Cluster.objects.filter(~Exists(active), pk=cluster.pk, archived_at=None)
    with transaction.atomic():
        if idle.update(archived_at=now):
            cluster.archived_at = now
            _record(Action.CLUSTER_ARCHIVED, cluster, actor, before=None, after=now, reason=reason)
            return True
    run = cluster.runs.filter(state__in=sorted(ACTIVE)).first()
    if run is not None and Cluster.objects.filter(pk=cluster.pk, archived_at=None).exists():
        raise CannotArchive(run)
    return False


def restore(cluster: Cluster, actor: Actor) -> bool:
    """Restore an archived cluster; the next sweep schedules a check.

    Args:
        cluster: with its project.
        actor: for the audit trail.

    Returns:
        False if it was not archived.
    """
    with transaction.atomic():
        before = Cluster.objects.values_list("archived_at", flat=True).get(pk=cluster.pk)
        same = Cluster.objects.filter(pk=cluster.pk, archived_at=before)
        if before is None or not same.update(archived_at=None):
            return False
        cluster.archived_at = None
        _record(Action.CLUSTER_RESTORED, cluster, actor, before=before, after=None)
    return True


def _record(
    action: Action,
    cluster: Cluster,
    actor: Actor,
    *,
    before: object,
    after: object,
    reason: str = "",
) -> None:
    record(
        action,
        actor=actor,
        target=cluster,
        project=cluster.project,
        reason=reason,
        before={"archived_at": before},
        after={"archived_at": after},
    )


def own_labels(cluster: Cluster) -> dict[str, str]:
    """A cluster's labels, value by key."""
    own = cluster.tags.filter(origin=ClusterTag.Origin.OWN)
    return dict(own.order_by("key").values_list("key", "value"))


def set_labels(
    cluster: Cluster,
    labels: Mapping[str, str],
    actor: Actor,
    *,
    seen: Mapping[str, str] | None = None,
) -> bool:
    """Replace a cluster's labels; tags from the cloud stay.

    Args:
        cluster: with its project.
        labels: value by key; "" for a label without a value.
        actor: for the audit trail.
        seen: the labels that the form displayed; None to skip the check.

    Returns:
        False if nothing changed.

    Raises:
        LabelsChanged: the labels are no longer those in `seen`.
        ValueError: a label is invalid; the message describes the first problem.
    """
    if problems := label_problems(labels):
        raise ValueError(problems[0])
    with transaction.atomic():
        # A no-op UPDATE takes the row lock: a concurrent call waits and sees this result.
        Cluster.objects.filter(pk=cluster.pk).update(archived_at=F("archived_at"))
        before, after = own_labels(cluster), dict(sorted(labels.items()))
        if before == after:
            return False
        if seen is not None and before != dict(seen):
            raise LabelsChanged(before)
        own = cluster.tags.filter(origin=ClusterTag.Origin.OWN)
        own.delete()
        ClusterTag.objects.bulk_create(
            ClusterTag(cluster=cluster, origin=ClusterTag.Origin.OWN, key=key, value=value)
            for key, value in after.items()
        )
        record(
            Action.CLUSTER_LABELLED,
            actor=actor,
            target=cluster,
            project=cluster.project,
            before={"labels": before},
            after={"labels": after},
        )
    return True
