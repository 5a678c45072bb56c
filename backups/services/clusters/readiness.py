"""Readiness checks: would the cloud accept a backup request for a cluster?

A check reads the cluster's detail, its log backup settings and its records, which are imported
(services.runs.importing). Each part can fail on its own. Where the parts that were read do not
determine the readiness, the last result stays, with its age, and `check_error` says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from backups.choices import Outcome, Readiness, RunState
from backups.css_api.errors import ApiError, CssApiError, MalformedAnswer, Unanswered
from backups.css_api.object_list import StorageProblem
from backups.css_api.types import (
    BodyKind,
    ClusterInfo,
    LogRecords,
    LogSettingsInfo,
    RecordStatus,
)
from backups.models import BackupRun, Cluster, Connection, FileCheck, Post, Project
from backups.models import LogSettings as StoredSettings
from backups.rules.outcomes import outcome_of
from backups.rules.readiness import (
    LASTING_CODES,
    STORAGE_CODES,
    UNSEEN,
    Rejection,
    judge,
    readiness_of,
)
from backups.services.cloud import client_for
from backups.services.runs import files, importing
from backups.services.runs.posts import without_job
from dashboard.db.concurrency import retry_while_unavailable
from dashboard.db.prepared import Param, Prepared

from . import checks
from .columns import policy_columns, settings_columns, state_columns

__all__ = ["check_cluster", "judge", "request_check", "run_ended", "store_settings"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Found:
    """What a check has read.

    Attributes:
        info, settings, records: the parts; None where one could not be read.
        rejections: error responses about the cluster.
        errors: a message for each part that failed.
        gone: the cloud does not know the cluster.
        unseen: the cloud lists the cluster, but does not show it.
        out_of_reach: why the project's cloud could not be reached, "" where it could.
    """

    info: ClusterInfo | None = None
    settings: LogSettingsInfo | None = None
    records: LogRecords | None = None
    rejections: list[Rejection] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    gone: bool = False
    unseen: bool = False
    out_of_reach: str = ""


def request_check(cluster: Cluster) -> None:
    """Have a worker check a cluster now, after the current transaction."""
    checks.request_check(cluster.pk)


def check_cluster(cluster_id: int) -> None:
    """Check a cluster and store the result.

    Args:
        cluster_id: primary key; a missing cluster is ignored.
    """
    found = _CLUSTER.fetch(pk=cluster_id)
    if not found:
        return
    cluster: Cluster = found[0]
    (cluster.project,) = _PROJECT.fetch(pk=cluster.project_id)
    if _DISCONNECTED.fetch(pk=cluster.project_id):  # no request is sent for a disconnected project
        checks.release(cluster.pk)
        return
    checks.renew(cluster.pk)
    started = timezone.now()
    # before reading the records, so that every POST that can have created one is included
    posts = without_job(cluster)
    read = _read(cluster, posts)
    retry_while_unavailable(lambda: _store(cluster, read, started, posts))
    if read.out_of_reach:
        retry_while_unavailable(
            lambda: checks.postpone_project(cluster.project_id, read.out_of_reach)
        )


# Of every check, so prepared: they are most of what a check costs.
_CLUSTER = Prepared(lambda: Cluster.objects.filter(pk=Param("pk")))
_PROJECT = Prepared(lambda: Project.objects.filter(pk=Param("pk")))
_DISCONNECTED = Prepared(
    lambda: Project.objects.disconnected().filter(pk=Param("pk")).values_list("pk")
)
_SETTINGS = Prepared(lambda: StoredSettings.objects.filter(cluster=Param("cluster")))
_SAME_SETTINGS = Prepared(
    lambda: StoredSettings.objects.filter(pk=Param("pk"), read_at=Param("seen"))
)
_UNLESS_NEWER = Prepared(
    lambda: Cluster.objects.filter(
        # a check that began later may have ended earlier, unless the clock was set back
        Q(checked_at=None) | Q(checked_at__lte=Param("started")) | Q(checked_at__gt=Param("ahead")),
        # where the project was disconnected meanwhile, the result is outdated
        checks.is_connected(),
        pk=Param("pk"),
    )
)
# the last run that says something about what no check can detect
_LAST_SAID = Prepared(
    lambda: BackupRun.objects.filter(
        Q(
            state__in=[RunState.ACCEPTED, RunState.SUCCEEDED, RunState.UNVERIFIED],
            settled_by_hand=False,
        )
        | Q(state=RunState.REJECTED)
        & (Q(error_code__in=LASTING_CODES) | Q(outcome=Outcome.FORBIDDEN, sent_at__isnull=False)),
        cluster=Param("cluster"),
    ).order_by("-requested_at", "-id")[:1]
)


def store_settings(
    cluster: Cluster, found: LogSettingsInfo, read_at: datetime | None = None
) -> StoredSettings:
    """Store a cluster's log backup settings, unless newer ones are stored.

    Args:
        cluster: the cluster.
        found: the settings from the cloud.
        read_at: our clock before they were read; None: now.

    Returns:
        The stored row.
    """
    read_at = read_at or timezone.now()
    same = settings_columns(found)
    more = policy_columns(found) | {"read_at": read_at}
    for stored in _SETTINGS.fetch(cluster=cluster.pk):  # the usual: they are as they were
        columns = same | policy_columns(found)
        as_before = all(getattr(stored, name) == value for name, value in columns.items())
        if as_before and stored.read_at < read_at:
            seen = {"pk": stored.pk, "seen": stored.read_at}
            if _SAME_SETTINGS.update({"read_at": read_at}, **seen):
                stored.read_at = read_at
                return stored  # type: ignore[no-any-return]
    since = min(found.updated_at, read_at) if found.updated_at else None
    StoredSettings.objects.bulk_create(
        [StoredSettings(cluster_id=cluster.pk, changed_at=since, **same, **more)],
        ignore_conflicts=True,
    )
    rows = StoredSettings.objects.filter(cluster=cluster)
    rows.filter(Q(read_at__lt=read_at) | Q(read_at__gt=_ahead(read_at))).update(
        changed_at=Case(When(**same, then=F("changed_at")), default=Value(read_at)), **same, **more
    )
    return rows.get()


_BUSY = Prepared(lambda: Cluster.objects.filter(pk=Param("pk"), readiness=Readiness.BUSY))


def run_ended(run: BackupRun) -> None:
    """Request a check where the end of a run says something about the cluster's readiness.

    Call it in the transaction that ends the run.
    """
    rejected = run.run_state is RunState.REJECTED
    if (
        rejected and readiness_of(Outcome(run.outcome), run.error_code)
    ) or run.run_state is RunState.FAILED:
        checks.request_check(run.cluster_id)
    elif run.sent_at is not None:
        # it may have been busy with this run
        _BUSY.update({"check_due_at": checks.ASKED_FOR}, pk=run.cluster_id)


def _read(cluster: Cluster, posts: list[Post]) -> _Found:
    found = _Found()
    cloud_id, since = cluster.cluster_id, importing.read_since(cluster, posts)
    try:
        client = client_for(cluster)
        found.info = _detail(found, cluster, lambda: client.get_cluster(cloud_id))
        if not found.gone:
            found.settings = _settings(found, lambda: client.get_log_settings(cloud_id))
            found.records = _records(
                found,
                lambda: client.list_log_records(cloud_id, newest=importing.MOST, since=since),
            )
    except CssApiError as error:
        # No response: the remaining requests would fail in the same way.
        found.errors.append(str(error))
        if not isinstance(error, Unanswered):
            found.out_of_reach = str(error)
    return found


def _detail(found: _Found, cluster: Cluster, read: Callable[[], ClusterInfo]) -> ClusterInfo | None:
    try:
        return read()
    except ApiError as error:
        rejection = _rejection(error)
        if rejection.may_be_denied and _is_listed(cluster):
            found.unseen = True
        elif rejection.outcome is Outcome.NOT_FOUND:
            # but not an HTML page of a proxy or gateway
            page = error.answer.body_kind is BodyKind.HTML
            found.gone = not page and readiness_of(rejection.outcome, rejection.code) is not None
        else:
            found.rejections.append(rejection)
        found.errors.append(f"Cluster: {error}")
    return None


def _is_listed(cluster: Cluster) -> bool:
    """Whether the last list of clusters showed it."""
    read = Connection.objects.filter(project=cluster.project_id, synced_at__isnull=False)
    return not cluster.by_hand and cluster.gone_at is None and read.exists()


def _settings(found: _Found, read: Callable[[], LogSettingsInfo]) -> LogSettingsInfo | None:
    try:
        return read()
    except ApiError as error:
        rejection = _rejection(error)
        if rejection.outcome is not Outcome.NOT_FOUND:  # the detail decides whether it exists
            found.rejections.append(rejection)
        found.errors.append(f"Log backup settings: {error}")
    return None


def _records(found: _Found, read: Callable[[], LogRecords]) -> LogRecords | None:
    try:
        return read()
    except ApiError as error:
        # the cloud has records only while log backup is on
        off = found.settings is not None and not found.settings.enabled
        if not (off and 400 <= error.answer.status < 500):
            found.errors.append(f"Records: {error}")
    return None


def _rejection(error: ApiError) -> Rejection:
    if isinstance(error, MalformedAnswer):
        return Rejection(Outcome.MALFORMED)
    return Rejection(outcome_of(error.answer), error.answer.error_code)


def _store(cluster: Cluster, found: _Found, started: datetime, posts: list[Post]) -> None:
    if found.settings is not None:
        store_settings(cluster, found.settings, started)
    if found.records is not None:
        importing.import_jobs(cluster, found.records, posts)
    problem = _storage_problem(cluster)
    if problem is not None:
        found.errors.append(f"Files in the bucket: {problem.why}")
    columns = _state_columns(cluster, found) | _readiness_columns(cluster, found, started, problem)
    columns["check_error"] = "; ".join(found.errors)[:500]
    _UNLESS_NEWER.update(columns, pk=cluster.pk, started=started, ahead=_ahead(started))
    checks.release(cluster.pk, out_of_reach=bool(found.out_of_reach))


def _ahead(started: datetime) -> datetime:
    """A time further ahead than a check can take: what is stored after it was stored before the
    clock was set back."""
    return started + timedelta(seconds=checks.longest_check())


def _state_columns(cluster: Cluster, found: _Found) -> dict[str, Any]:
    """The columns for the cluster's state in the cloud."""
    if found.gone:
        # for the others the list of clusters decides
        return {"gone_at": cluster.gone_at or timezone.now()} if cluster.by_hand else {}
    info = found.info
    if info is None:
        return {}
    return state_columns(info) | ({"gone_at": None} if cluster.by_hand else {})


def _storage_problem(cluster: Cluster) -> FileCheck | None:
    """What kept the last look for files out of the bucket, unless the settings have changed."""
    problem = files.lasting_problem(cluster.pk)
    if problem is None or problem.checked_at is None:
        return None
    changed = StoredSettings.objects.filter(cluster=cluster, changed_at__gte=problem.checked_at)
    return None if changed.exists() else problem


def _readiness_columns(
    cluster: Cluster, found: _Found, started: datetime, problem: FileCheck | None
) -> dict[str, Any]:
    """The columns for the readiness; none where it could not be determined."""
    if found.gone:
        readiness, detail = Readiness.UNAVAILABLE, "Not found in the cloud."
    else:
        rows = found.records.rows if found.records else ()
        running = [r for r in rows if r.status is RecordStatus.RUNNING]
        readiness, detail = judge(
            found.info,
            found.settings,
            running=running[0] if running else None,
            rejections=[*found.rejections, *_lasting_rejection(cluster)],
        )
        whole = found.info is not None and found.settings is not None
        unread = found.info is None and found.settings is None and not found.rejections
        missing = problem is not None and problem.problem == StorageProblem.NO_BUCKET
        if problem is not None and missing and readiness in (Readiness.READY, Readiness.BUSY):
            readiness, detail = Readiness.STORAGE_MISSING, f"The files: {problem.why}."
        if found.unseen and readiness is Readiness.UNKNOWN:
            detail = UNSEEN
        elif unread or (readiness is Readiness.UNKNOWN and not whole):
            return {}
    return {"readiness": readiness, "readiness_detail": detail[:500], "checked_at": started}


def _lasting_rejection(cluster: Cluster) -> list[Rejection]:
    """The last rejection whose cause no check can detect, if it still applies."""
    found = _LAST_SAID.fetch(cluster=cluster.pk)
    if not found or found[0].run_state is not RunState.REJECTED:
        return []
    run: BackupRun = found[0]
    at = run.answered_at or run.requested_at
    if run.error_code in STORAGE_CODES and StoredSettings.objects.filter(
        cluster=cluster, changed_at__gte=at
    ):
        return []  # bucket or agency have been changed since
    return [Rejection(Outcome(run.outcome), run.error_code, at, run.pk)]
