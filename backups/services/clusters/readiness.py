"""Checking how ready a cluster is, and keeping what was found.

A check reads the cluster's detail, its log backup settings and its records, which are imported
(services.importing). Each part fails alone. Where what was read cannot tell, the last known answer
stays, with its age, and `check_error` says why there is no newer one.
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
from backups.css_api.types import (
    BodyKind,
    ClusterInfo,
    LogRecords,
    LogSettingsInfo,
    RecordStatus,
)
from backups.models import BackupRun, Cluster, Post
from backups.models import LogSettings as StoredSettings
from backups.rules.outcomes import outcome_of
from backups.rules.readiness import LASTING_CODES, STORAGE_CODES, Refusal, judge, readiness_of
from backups.services.cloud import client_for
from backups.services.runs import importing
from backups.services.runs.posts import without_job
from dashboard.db.concurrency import hold_and_retry

from . import checks

__all__ = ["check_cluster", "judge", "request_check", "run_ended", "store_settings"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Found:
    """What a check has read.

    Attributes:
        info, settings, records: the parts, None where one could not be read.
        refusals: what the cloud said of the cluster in place of one.
        errors: a sentence for each part that failed.
        gone: the cloud does not know the cluster.
        out_of_reach: why the whole project's cloud could not be reached, "" where it could.
    """

    info: ClusterInfo | None = None
    settings: LogSettingsInfo | None = None
    records: LogRecords | None = None
    refusals: list[Refusal] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    gone: bool = False
    out_of_reach: str = ""


def request_check(cluster: Cluster) -> None:
    """Have a cluster checked at once, by a worker, after the present transaction."""
    checks.request_check(cluster.pk)


def check_cluster(cluster_id: int) -> None:
    """Read a cluster's detail, log backup settings and records, and store what they say.

    Args:
        cluster_id: primary key; a cluster that is not there is left alone.
    """
    cluster = Cluster.objects.select_related("project").filter(pk=cluster_id).first()
    if cluster is None:
        return
    if cluster.project.is_disconnected:  # nobody is asked, whoever wants to know
        checks.finish(cluster.pk)
        return
    checks.begin(cluster.pk)
    started = timezone.now()
    # before the reading: each POST that can have made one of its records is among them
    posts = without_job(cluster)
    found = _read(cluster, posts)
    hold_and_retry(lambda: _keep(cluster, found, started, posts))
    if found.out_of_reach:
        hold_and_retry(lambda: checks.postpone_project(cluster.project_id, found.out_of_reach))


def store_settings(
    cluster: Cluster, found: LogSettingsInfo, read_at: datetime | None = None
) -> StoredSettings:
    """Keep a cluster's log backup settings, unless newer ones are there.

    Args:
        cluster: whose they are.
        found: as the cloud told them.
        read_at: a time of our clock before they were read; None: just now.

    Returns:
        The stored row.
    """
    read_at = read_at or timezone.now()
    same = {
        "enabled": found.enabled,
        "bucket": found.bucket[:255],
        "base_path": found.base_path[:1024],
        "agency": found.agency[:255],
    }
    more = {"automatic": found.auto_enabled, "period": found.period[:40], "read_at": read_at}
    since = min(found.updated_at, read_at) if found.updated_at else None
    StoredSettings.objects.bulk_create(
        [StoredSettings(cluster_id=cluster.pk, changed_at=since, **same, **more)],
        ignore_conflicts=True,
    )
    stored = StoredSettings.objects.filter(cluster=cluster)
    stored.filter(Q(read_at__lt=read_at) | _from_the_future("read_at", read_at)).update(
        changed_at=Case(When(**same, then=F("changed_at")), default=Value(read_at)), **same, **more
    )
    return stored.get()


def run_ended(run: BackupRun) -> None:
    """Have the cluster checked where the end of a run says something about its readiness.

    To be called in the transaction that ends the run.
    """
    told = run.run_state is RunState.REJECTED and readiness_of(Outcome(run.outcome), run.error_code)
    if told or run.run_state is RunState.FAILED:
        checks.request_check(run.cluster_id)
    elif run.sent_at is not None:
        # it may have been busy with this very run
        busy = Cluster.objects.filter(pk=run.cluster_id, readiness=Readiness.BUSY)
        busy.update(check_due_at=checks.ASKED_FOR)


def _read(cluster: Cluster, posts: list[Post]) -> _Found:
    found = _Found()
    cloud_id, since = cluster.cluster_id, importing.read_since(cluster, posts)
    try:
        client = client_for(cluster)
        found.info = _detail(found, lambda: client.get_cluster(cloud_id))
        if not found.gone:
            found.settings = _settings(found, lambda: client.get_log_settings(cloud_id))
            found.records = _records(
                found,
                lambda: client.list_log_records(cloud_id, newest=importing.MOST, since=since),
            )
    except CssApiError as error:
        # No answer: what was still to be read would wait as long, for the same.
        found.errors.append(str(error))
        if not isinstance(error, Unanswered):
            found.out_of_reach = str(error)
    return found


def _detail(found: _Found, read: Callable[[], ClusterInfo]) -> ClusterInfo | None:
    try:
        return read()
    except ApiError as error:
        refusal = _refusal(error)
        if refusal.outcome is Outcome.NOT_FOUND:
            # but not where a proxy or the gateway knows no such page
            page = error.answer.body_kind is BodyKind.HTML
            found.gone = not page and readiness_of(refusal.outcome, refusal.code) is not None
        else:
            found.refusals.append(refusal)
        found.errors.append(f"Cluster: {error}")
    return None


def _settings(found: _Found, read: Callable[[], LogSettingsInfo]) -> LogSettingsInfo | None:
    try:
        return read()
    except ApiError as error:
        refusal = _refusal(error)
        if refusal.outcome is not Outcome.NOT_FOUND:  # the detail says that it is there
            found.refusals.append(refusal)
        found.errors.append(f"Log backup settings: {error}")
    return None


def _records(found: _Found, read: Callable[[], LogRecords]) -> LogRecords | None:
    try:
        return read()
    except ApiError as error:
        found.errors.append(f"Records: {error}")
    return None


def _refusal(error: ApiError) -> Refusal:
    if isinstance(error, MalformedAnswer):
        return Refusal(Outcome.MALFORMED)
    return Refusal(outcome_of(error.answer), error.answer.error_code)


def _keep(cluster: Cluster, found: _Found, started: datetime, posts: list[Post]) -> None:
    if found.settings is not None:
        store_settings(cluster, found.settings, started)
    if found.records is not None:
        importing.import_jobs(cluster, found.records, posts)
    columns = _facts(cluster, found) | _answer(cluster, found, started)
    columns["check_error"] = "; ".join(found.errors)[:500]
    # A check that began later may have been quicker.
    unless_newer = Q(checked_at=None) | Q(checked_at__lte=started)
    unless_newer |= _from_the_future("checked_at", started)
    # Disconnected meanwhile, what was read says nothing about later.
    Cluster.objects.filter(unless_newer, checks.is_connected(), pk=cluster.pk).update(**columns)
    checks.finish(cluster.pk, out_of_reach=bool(found.out_of_reach))


def _from_the_future(column: str, started: datetime) -> Q:
    """Stored by a clock that has been set back since: no check takes as long as that lies ahead."""
    return Q(**{f"{column}__gt": started + timedelta(seconds=checks.longest_check())})


def _facts(cluster: Cluster, found: _Found) -> dict[str, Any]:
    """The columns that tell what the cluster is."""
    if found.gone:
        # The list of clusters decides for the others.
        return {"gone_at": cluster.gone_at or timezone.now()} if cluster.by_hand else {}
    info = found.info
    if info is None:
        return {}
    columns: dict[str, Any] = {
        "status": info.status[:20],
        "actions": [action[:100] for action in info.actions],
        "nodes": [
            {"name": node.name, "type": node.type, "status": node.status} for node in info.instances
        ],
        "endpoint": ", ".join(info.endpoints)[:500],
        "failed_reason": " ".join(p for p in (info.failed_code, info.failed_message) if p),
    }
    return columns | ({"gone_at": None} if cluster.by_hand else {})


def _answer(cluster: Cluster, found: _Found, started: datetime) -> dict[str, Any]:
    """The columns that tell the readiness; none where what was read cannot tell."""
    if found.gone:
        readiness, detail = Readiness.UNAVAILABLE, "Not found in the cloud."
    else:
        rows = found.records.rows if found.records else ()
        running = [r for r in rows if r.status is RecordStatus.RUNNING]
        readiness, detail = judge(
            found.info,
            found.settings,
            running=running[0] if running else None,
            refusals=[*found.refusals, *_lasting_refusal(cluster)],
        )
        whole = found.info is not None and found.settings is not None
        nothing = found.info is None and found.settings is None and not found.refusals
        if nothing or (readiness is Readiness.UNKNOWN and not whole):
            return {}
    return {"readiness": readiness, "readiness_detail": detail[:500], "checked_at": started}


def _lasting_refusal(cluster: Cluster) -> list[Refusal]:
    """What the last request that tells was refused for, if no reading would show it."""
    accepted = Q(
        state__in=[RunState.ACCEPTED, RunState.SUCCEEDED, RunState.UNVERIFIED],
        settled_by_hand=False,
    )
    refused = Q(state=RunState.REJECTED) & (
        Q(error_code__in=LASTING_CODES) | Q(outcome=Outcome.FORBIDDEN, sent_at__isnull=False)
    )
    run = cluster.runs.filter(accepted | refused).order_by("-requested_at", "-id").first()
    if run is None or run.run_state is not RunState.REJECTED:
        return []
    at = run.answered_at or run.requested_at
    if run.error_code in STORAGE_CODES and StoredSettings.objects.filter(
        cluster=cluster, changed_at__gte=at
    ):
        return []  # bucket or agency are others by now
    return [Refusal(Outcome(run.outcome), run.error_code, at, run.pk)]
