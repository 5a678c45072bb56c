"""The report: what was protected, what runs came to, and who did what, over some days.

It judges each moment by the objectives and clusters of that moment. docs/report.md defines the
figures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import (
    Aggregate,
    Case,
    Count,
    DateTimeField,
    Exists,
    Max,
    OuterRef,
    Q,
    TextChoices,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Least, Left
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups.choices import ACTIVE, TERMINAL, Protection, RunState
from backups.lists.report import Range
from backups.models import (
    BackupRun,
    Cluster,
    ObjectiveChange,
    Project,
    RetentionKind,
    RetentionRun,
    RunSeal,
    ScopeChange,
)
from backups.models.cluster import protection_at
from backups.models.run import BackupRunQuerySet
from backups.rules.protected_time import ZERO, Period, ProtectedTime, periods, protected_time
from dashboard.accounts.access import Permission, may, visible_q
from dashboard.accounts.models import User

from .clusters.protection import DUE_SHARE
from .report_trail import TrailReport, trail_of

# Verified runs are found by the time of their request; one that took longer is not found.
_LONGEST_RUN = timedelta(days=31)
_SKEW = timedelta(days=1)  # between the clocks of the cloud and of the product
MOST_OF_MESSAGE = 200  # characters

# When a verified backup ended: as services.clusters.protection has it, never after it was stored.
_ENDED_AT = Case(
    When(corrected_from="", then=Least(Coalesce("job_finished_at", "finished_at"), "finished_at")),
    default=Coalesce("job_finished_at", "finished_at"),
    output_field=DateTimeField(),
)


class Moments(Aggregate):
    """Times as text, joined by commas: reading each as a value takes ten times as long."""

    function = "string_agg"
    template = (
        "string_agg(to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), ',')"
    )
    output_field = TextField()
    allow_distinct = False

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        same = self.copy()
        same.template = "group_concat(%(expressions)s)"
        return same.as_sql(compiler, connection, **context)


# The cloud's ids of a cluster: several entries of clouds.yaml can reach it.
Key = tuple[str, str]
_KEY = ("project_id_in_cloud", "cluster_cloud_id")


class RunGroup(TextChoices):
    """A column of runs; each state is in one."""

    VERIFIED = "verified", _("Verified")
    FAILED = "failed", _("Backup failed")
    REJECTED = "rejected", _("Rejected")
    UNPROVEN = "unproven", _("Not proven")  # unknown, not verified or not started
    CANCELLED = "cancelled", _("Cancelled")
    ACTIVE = "active", _("In progress")

    @property
    def states(self) -> list[RunState]:
        """Its states; with the filter `state` the history shows the same runs."""
        return [state for state, group in _GROUPS.items() if group is self]


_GROUPS: dict[RunState, RunGroup] = {
    **dict.fromkeys(RunState, RunGroup.UNPROVEN),
    **dict.fromkeys(ACTIVE - {RunState.UNKNOWN}, RunGroup.ACTIVE),
    RunState.SUCCEEDED: RunGroup.VERIFIED,
    RunState.FAILED: RunGroup.FAILED,
    RunState.REJECTED: RunGroup.REJECTED,
    RunState.CANCELLED: RunGroup.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """A cluster in the range.

    Attributes:
        cluster: the cluster, with its project.
        hours: the objectives in the order in which they held.
        time: how long it was protected.
        verified_at: its last verified backup before the end.
        state: its protection at the end; None if it did not count then, or if the backup that
            decides may have been deleted.
        runs: requested in the range, by group.
    """

    cluster: Cluster
    hours: list[int]
    time: ProtectedTime
    verified_at: datetime | None
    state: Protection | None
    runs: Counter[RunGroup]


@dataclass(frozen=True, slots=True)
class CauseCount:
    """Runs that ended, or stand, for the same cause.

    Attributes:
        state, outcome, error_code, by_hand: as in the run.
        message: of the cloud's failed job, its beginning.
        count: their number.
    """

    state: RunState
    outcome: str
    error_code: str
    by_hand: bool
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of a report.

    Attributes:
        days: the range.
        project: the project; None for all that the viewer may see.
        as_of: when it was made.
        end: until when it judges: the end of the range, or as_of if that is earlier.
        clusters: those that counted at some time or have runs; least protected first.
        causes: runs by state and cause.
        sealed, unsealed: ended runs of the range with and without a seal in the audit trail.
        trail: None if the viewer may not read the audit trail.
        runs: by group.
        cuts: what retention has deleted or masked of the range: kind and from before when.
        assumed_until: before then, scope and objectives are what was known then; None: all are
            recorded.
    """

    days: Range
    project: Project | None
    as_of: datetime
    end: datetime
    clusters: list[ClusterReport]
    causes: list[CauseCount]
    runs: Counter[RunGroup]
    sealed: int
    unsealed: int
    trail: TrailReport | None
    cuts: list[tuple[RetentionKind, datetime]]
    assumed_until: datetime | None

    @property
    def counted(self) -> list[ClusterReport]:
        """The clusters that counted at some time of the range."""
        return [each for each in self.clusters if each.time.in_scope]

    @property
    def time(self) -> ProtectedTime:
        """The times of all clusters added, and the longest gap of any."""
        return ProtectedTime(
            protected=sum((each.time.protected for each in self.clusters), ZERO),
            unprotected=sum((each.time.unprotected for each in self.clusters), ZERO),
            unknown=sum((each.time.unknown for each in self.clusters), ZERO),
            longest_gap=max((each.time.longest_gap for each in self.clusters), default=ZERO),
        )

    @property
    def always_protected(self) -> int:
        """How many clusters were protected all the time that can be judged."""
        return sum(
            bool(each.time.protected and not each.time.unprotected) for each in self.clusters
        )

    def at_end(self, state: Protection) -> int:
        """How many clusters are in a state at the end."""
        return sum(each.state is state for each in self.clusters)

    @property
    def within(self) -> int:
        """How many clusters are within their objective at the end, also those that are due."""
        return self.at_end(Protection.PROTECTED) + self.at_end(Protection.DUE)


def make_report(
    user: User, days: Range, project: Project | None = None, now: datetime | None = None
) -> Report:
    """Make the report of what a user may see; a constant number of queries.

    Args:
        user: whose permissions apply.
        days: the range; what lies in the future is left out.
        project: a visible project; None for all.
        now: the time of the report.
    """
    now = now or timezone.now()
    begin, end = days.begin, min(days.end, now)
    here: dict[str, Any] = {"project": project} if project else {}
    asked = BackupRun.objects.visible_to(user).filter(
        requested_at__gte=begin, requested_at__lt=days.end, **here
    )
    causes, by_cluster = _results(asked)
    clusters = _clusters(user, here)
    scopes, objectives, assumed_until = _changes(user, here)
    counted: dict[int, list[Period]] = {}
    for each in clusters:
        of_project = objectives.get(each.project_id) or [(begin, each.project.objective_hours)]
        counted[each.pk] = periods(scopes.get(each.pk, []), of_project, begin, end)
    longest = max((each.hours for found in counted.values() for each in found), default=0)
    verified = _verified(
        clusters,
        all_projects=project is None and may(user, Permission.SEE),
        since=begin - timedelta(hours=longest),
        days=(begin, end),
    )
    cuts = _cuts()
    reports = [
        _cluster_report(
            each,
            counted[each.pk],
            verified.get(_key(each), []),
            cuts.get(RetentionKind.SUCCESSES),
            end,
            by_cluster[each.pk],
        )
        for each in clusters
        if counted[each.pk] or each.pk in by_cluster
    ]
    ended = asked.filter(state__in=[str(state) for state in sorted(TERMINAL)])
    seals = RunSeal.objects.filter(run_id=OuterRef("pk"), batch__isnull=False)
    sealed = ended.filter(Exists(seals)).count()
    return Report(
        days=days,
        project=project,
        as_of=now,
        end=end,
        clusters=sorted(reports, key=_worst_first),
        causes=causes,
        runs=sum((each.runs for each in reports), Counter()),
        sealed=sealed,
        unsealed=sum(each.count for each in causes if each.state in TERMINAL) - sealed,
        trail=trail_of(user, project, begin, days.end),
        cuts=sorted((kind, cutoff) for kind, cutoff in cuts.items() if cutoff > begin),
        assumed_until=assumed_until if assumed_until and assumed_until > begin else None,
    )


def _clusters(user: User, here: dict[str, Any]) -> list[Cluster]:
    """The clusters, with what a report shows of them; two queries, for thousands of them."""
    columns = ("project", "cluster_id", "name", "verified_at")
    clusters = Cluster.objects.visible_to(user).filter(**here).only(*columns).order_by()
    found = list(clusters)  # first: a project that is added now has no cluster in it
    projects = {project.pk: project for project in Project.objects.visible_to(user)}
    for each in found:
        each.project = projects[each.project_id]
    return found


def _worst_first(each: ClusterReport) -> tuple[Any, ...]:
    """The smallest share first; of equal ones, the longest time without protection."""
    protected, unprotected = each.time.protected, each.time.unprotected
    judged = protected + unprotected
    share = protected / judged if judged else 2.0
    return share, -unprotected, each.cluster.name, each.cluster.pk


def _cluster_report(
    cluster: Cluster,
    counted: list[Period],
    verified: list[datetime],
    known_since: datetime | None,
    end: datetime,
    runs: Counter[RunGroup],
) -> ClusterReport:
    verified_at = verified[-1] if verified else None
    state = None
    if counted and counted[-1].end == end:
        objective = timedelta(hours=counted[-1].hours)
        if verified_at or known_since is None or known_since <= end - objective:
            state = _state(verified_at, objective, end)
    hours = [each.hours for each in counted]
    return ClusterReport(
        cluster=cluster,
        hours=[now for before, now in pairwise([0, *hours]) if now != before],
        time=protected_time(counted, verified, known_since),
        verified_at=verified_at,
        state=state,
        runs=runs,
    )


def _state(verified_at: datetime | None, objective: timedelta, end: datetime) -> Protection:
    if verified_at is None:
        return Protection.NEVER
    return protection_at(verified_at + objective * DUE_SHARE, verified_at + objective, end)


def _results(runs: BackupRunQuerySet) -> tuple[list[CauseCount], dict[int, Counter[RunGroup]]]:
    """Runs by cause, most first within a state, and by cluster and state; one query."""
    message = Case(
        When(state=RunState.FAILED, then=Left("failed_message", MOST_OF_MESSAGE)), default=Value("")
    )
    rows = (
        runs.order_by()
        .annotate(why=message)
        .values_list("cluster_id", "state", "outcome", "error_code", "settled_by_hand", "why")
        .annotate(count=Count("pk"))
    )
    by_cluster: defaultdict[int, Counter[RunGroup]] = defaultdict(Counter)
    causes: Counter[tuple[str, str, str, bool, str]] = Counter()
    for cluster, state, outcome, code, by_hand, why, count in rows:
        by_cluster[cluster][_GROUPS[RunState(state)]] += count
        causes[state, outcome, code, by_hand, why] += count
    order = list(RunState)
    counts = [
        CauseCount(RunState(state), outcome, code, by_hand, why, count)
        for (state, outcome, code, by_hand, why), count in causes.items()
    ]
    counts.sort(key=lambda c: (order.index(c.state), -c.count, c.outcome, c.error_code, c.message))
    return counts, by_cluster


def _changes(
    user: User, here: dict[str, Any]
) -> tuple[
    dict[int, list[tuple[datetime, bool, int | None]]],
    dict[int, list[tuple[datetime, int]]],
    datetime | None,
]:
    """Scope by cluster, objectives by project, and until when they are assumed; two queries."""
    scopes: defaultdict[int, list[tuple[datetime, bool, int | None]]] = defaultdict(list)
    objectives: defaultdict[int, list[tuple[datetime, int]]] = defaultdict(list)
    assumed: set[datetime | None] = set()
    of_clusters = ScopeChange.objects.filter(
        visible_q(user, "cluster__project"), **{f"cluster__{name}": here[name] for name in here}
    )
    columns = ("at", "assumed_at", "objective_hours")
    for pk, watched, at, added, hours in of_clusters.order_by("pk").values_list(
        "cluster_id", "watched", *columns
    ):
        scopes[pk].append((at, watched, hours))
        assumed.add(added)
    of_projects = ObjectiveChange.objects.filter(visible_q(user), **here)
    for pk, at, added, hours in of_projects.order_by("pk").values_list("project_id", *columns):
        objectives[pk].append((at, hours))
        assumed.add(added)
    return scopes, objectives, max((at for at in assumed if at is not None), default=None)


def _verified(
    clusters: Collection[Cluster],
    *,
    all_projects: bool,
    since: datetime,
    days: tuple[datetime, datetime],
) -> dict[Key, list[datetime]]:
    """When verified backups ended, ascending, by the cloud's ids of project and cluster.

    A backup protects a cluster whoever requested it, and under each entry of clouds.yaml.

    Args:
        clusters: the clusters in question.
        all_projects: they are those of all projects.
        since: the earliest backup that can still matter.
        days: begin and end; of the backups before the begin only the last one is returned.
    """
    begin, end = days
    runs = BackupRun.objects.filter(state=RunState.SUCCEEDED).order_by().annotate(at=_ENDED_AT)
    if not all_projects:
        ids = sorted({each.project.project_id for each in clusters})
        runs = runs.filter(project_id_in_cloud__in=ids)
    near = runs.filter(
        requested_at__gte=since - _LONGEST_RUN, requested_at__lt=end + _SKEW, at__gte=since
    )
    found: defaultdict[Key, set[datetime]] = defaultdict(set)
    before, inside = Q(at__lt=begin), Q(at__gte=begin, at__lte=end)
    for project, cluster, last, moments in near.values_list(*_KEY).annotate(
        last=Max("at", filter=before), moments=Moments("at", filter=inside)
    ):
        texts = moments.split(",") if moments else ()
        found[project, cluster].update(datetime.fromisoformat(f"{text}Z") for text in texts)
        if last:
            found[project, cluster].add(last)
    for each in clusters:  # the last one of all may be of a run that was deleted
        if each.verified_at is not None and each.verified_at <= end:
            found[_key(each)].add(each.verified_at)
    later = [each for each in clusters if each.verified_at and each.verified_at > end]
    if unseen := sorted(each.cluster_id for each in later if not found.get(_key(each))):
        older = runs.filter(before, cluster_cloud_id__in=unseen).values_list(*_KEY)
        for project, cluster, last in older.annotate(last=Max("at")):
            found[project, cluster].add(last)
    return {key: sorted(moments) for key, moments in found.items()}


def _key(cluster: Cluster) -> Key:
    return cluster.project.project_id, cluster.cluster_id


def _cuts() -> dict[RetentionKind, datetime]:
    """Until when retention has deleted or masked something, by kind."""
    newest = RetentionRun.objects.order_by().values_list("kind").annotate(cutoff=Max("cutoff"))
    return {RetentionKind(kind): cutoff for kind, cutoff in newest}
