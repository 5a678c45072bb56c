"""Which clusters a batch is for, and which of them are left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, CharField, Count, Exists, OuterRef, Q, Value, When
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.choices import ACTIVE, PASSABLE, PASSING, Cause, Work
from backups.lists.clusters import ClusterFilter
from backups.models import BackupRun, Cluster, Project
from backups.models.cluster import ClusterQuerySet
from backups.services.clusters.preflight import FRESH
from dashboard.accounts.access import Permission, permitted_q
from dashboard.accounts.models import User

MOST = 10_000  # clusters of a batch


@dataclass(frozen=True, slots=True)
class Selection:
    """The clusters that somebody selected, as the database has them now.

    Attributes:
        clusters: those that they may see, unordered.
        user: whose permissions apply; None for a command without an account.
        query: the filter as a URL's query; "" where rows were selected.
        work: what is to be done with them.
        picked: how many rows were selected, of which some may be gone; None for a filter.
    """

    clusters: ClusterQuerySet
    user: User | None
    query: str = ""
    work: Work = Work.BACKUP
    picked: int | None = None

    def with_cause(self, now: datetime | None = None) -> ClusterQuerySet:
        """The clusters with `cause`, a value of `Cause`: why they would be skipped."""
        return self.clusters.annotate(cause=cause_of(self.user, self.work, now))


@dataclass(frozen=True, slots=True)
class Preview:
    """What a batch of a selection would do now.

    Attributes:
        counts: number of clusters by the cause to skip them; Cause.NONE: they are ready.
        missing: selected rows that do not exist any more, or that the user may not see.
    """

    counts: dict[Cause, int]
    missing: int = 0

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def ready(self) -> int:
        """How many are backed up without `anyway`."""
        return self.counts.get(Cause.NONE, 0)

    @property
    def possible(self) -> int:
        """How many are backed up with `anyway`."""
        return self.ready + sum(n for cause, n in self.counts.items() if cause in PASSABLE)

    def requested(self, *, anyway: bool = False, wait: bool = False) -> int:
        """How many become a part of the batch.

        Args:
            anyway: also what would probably be rejected.
            wait: also what may be free in a few minutes.
        """
        if anyway:
            return self.possible
        waiting = sum(self.counts.get(cause, 0) for cause in PASSING)
        return self.ready + waiting if wait else self.ready

    @property
    def skipped(self) -> list[tuple[Cause, int]]:
        """The causes to skip clusters, each with their number, most frequent first."""
        some = [(cause, n) for cause, n in self.counts.items() if cause is not Cause.NONE]
        return sorted(some, key=lambda each: (-each[1], each[0]))

    @property
    def is_too_large(self) -> bool:
        return self.total > MOST


def of_filter(data: QueryDict, user: User | None) -> tuple[Selection, ClusterFilter]:
    """Select all clusters that match a filter of the clusters page.

    Args:
        data: the URL's query.
        user: whose permissions apply; None for a command without an account.

    Returns:
        The selection, and the filter, which must be valid before the selection is used.
    """
    kept = data.copy()
    for name in _NO_FILTERS:
        kept.pop(name, None)
    kept.setdefault("show", "present")  # says, also later, that it was a filter
    found = ClusterFilter(kept, user=user)
    # an invalid filter selects nothing
    valid = found.is_valid()
    clusters = found.clusters().order_by() if valid else Cluster.objects.none()
    return Selection(clusters, user, kept.urlencode()), found


# of the clusters page, and no filters
_NO_FILTERS = frozenset({"page", "sort", "cluster"})


def filter_problem(data: QueryDict) -> str:
    """Name what is no filter in a program's query: ignoring it would select too much; "" for none.

    Args:
        data: the query.
    """
    known = set(ClusterFilter.base_filters) - _NO_FILTERS
    if not (unknown := sorted(set(data) - known)):
        return ""
    return _("%(name)s: unknown filter; known are: %(names)s") % {
        "name": unknown[0][:100],
        "names": ", ".join(sorted(known)),
    }


def vague(text: str, user: User | None) -> str:
    """Name what in a program's filter has no value, and would so select all clusters; "" for none.

    Args:
        text: the filter as a URL's query, valid as of `of_filter`.
        user: whose permissions apply.
    """
    query = QueryDict(text)
    found = ClusterFilter(query, user=user)
    values = found.form.cleaned_data if found.is_valid() else {}
    names = [name for name in query if values and not values.get(name)]
    if query and not names:
        return ""
    return _("%(name)s has no value. All clusters that are present are “show=present”.") % {
        "name": names[0][:100] if names else _("The filter")
    }


def of_rows(pks: Sequence[int], user: User | None) -> Selection:
    """Select clusters by their primary keys; those that the user may not see are left out."""
    visible = Cluster.objects.all() if user is None else Cluster.objects.visible_to(user)
    return Selection(visible.filter(pk__in=pks), user, picked=len(pks))


def preview(selection: Selection) -> Preview:
    """Count what a batch of the selection would do now; one query."""
    cause = cause_of(selection.user, selection.work)
    rows = selection.clusters.order_by().values_list(cause).annotate(n=Count("pk"))
    counts = {Cause(each): n for each, n in rows}
    missing = max((selection.picked or 0) - sum(counts.values()), 0)
    return Preview(counts, missing)


# what other work than a backup skips
_OTHER_CAUSES: dict[Work, frozenset[Cause]] = {
    Work.CHECK: frozenset({Cause.DISCONNECTED}),
    Work.SETTINGS: frozenset({Cause.GONE, Cause.ARCHIVED, Cause.DISCONNECTED}),
    Work.LABEL: frozenset(),
    Work.OBJECTIVE: frozenset(),
    Work.ARCHIVE: frozenset({Cause.ARCHIVED, Cause.RUNNING}),
}


def permission_for(work: Work) -> Permission:
    """What an account needs in a cluster's project."""
    return Permission.RUN if work in (Work.BACKUP, Work.CHECK) else Permission.CONFIGURE


def cause_of(user: User | None, work: Work = Work.BACKUP, now: datetime | None = None) -> Case:
    """An expression for clusters: why one is skipped, Cause.NONE if it is not.

    For backups these are the rules of `services.clusters.preflight`, for many clusters.

    Args:
        work: what is to be done.
        user: who may lack the permission; None for a command without an account.
        now: the time at which the age of a check counts.
    """
    fresh = Q(checked_at__gte=(now or timezone.now()) - FRESH)
    running = BackupRun.objects.filter(cluster=OuterRef("pk"), state__in=sorted(ACTIVE))
    disconnected = Project.objects.disconnected().order_by().values("pk")
    conditions: dict[Cause, Q | Exists] = {
        Cause.GONE: Q(gone_at__isnull=False),
        Cause.ARCHIVED: Q(archived_at__isnull=False),
        Cause.DISCONNECTED: Q(project__in=disconnected),
        Cause.RUNNING: Exists(running),
        **{cause: fresh & Q(readiness=cause.value) for cause in sorted(PASSABLE - {Cause.RUNNING})},
    }
    whens = [
        When(conditions[cause], then=Value(cause.value))
        for cause in conditions
        if work is Work.BACKUP or cause in _OTHER_CAUSES[work]
    ]
    permitted = Q() if user is None else permitted_q(user, permission_for(work))
    if permitted:
        whens.insert(0, When(~permitted, then=Value(Cause.NOT_PERMITTED.value)))
    return Case(*whens, default=Value(Cause.NONE.value), output_field=CharField())
