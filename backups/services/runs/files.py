"""Proof in the bucket: which files a verified run has left there.

A step of its own, after the end of a run, which it neither delays nor changes. The sealer plans it
with the run's seal, the sweeper finds it when it is due, and a task lists the bucket. It is retried
with growing pauses, has an end, and is concluded once: the files, the check and the audit event
with their digest are stored in one transaction. docs/log-settings.md says what each result means.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from backups.choices import RunState
from backups.css_api.errors import ConfigurationError, CssApiError
from backups.css_api.object_list import StorageError, StorageProblem, StoredObject
from backups.css_api.object_storage import LONGEST, prefix_of
from backups.models import BackupRun, Connection, FileCheck, LogSettings, SeenFile
from backups.rules.files import Attribution, attribute
from backups.services.cloud import storage_for
from backups.services.clusters import checks
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from dashboard.audit.values import instant, sha256
from dashboard.db import leases
from dashboard.db.concurrency import retry_while_unavailable, several_reads
from dashboard.db.prepared import Param, Prepared

from .posts import skew

logger = logging.getLogger(__name__)

CHECKER = Actor.process("file check")
MARGIN = timedelta(minutes=1)  # after the job's end, for files that are written last
LATEST = timedelta(hours=1)  # older files may have been overwritten: their absence proves nothing
PAUSES = (30.0, 60.0, 120.0, 300.0, 600.0, 600.0, 600.0)  # seconds between looks
PROBLEM_LASTS = timedelta(days=30)  # what an older check met says nothing of today
LOOKS = 3  # after so many a bucket without the run's files is taken at its word
LEASE = LONGEST + 420.0  # seconds; a list, a token and a key, all at their timeouts
LARGEST = 2**63 - 1  # bytes; what the column holds
MOST_NAMES = 1000  # files that are stored by name; all are counted
# Those of the storage itself, which no later attempt mends.
LASTING = frozenset({StorageProblem.DENIED, StorageProblem.NO_BUCKET, StorageProblem.OTHER_REGION})
FORM = 1  # version of the digested form
DIGESTED = (
    *("result", "why", "problem", "bucket", "prefix", "since", "until", "files", "size"),
    "newest_at",
)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a look into the bucket says.

    Attributes:
        columns: those of `FileCheck`.
        files: the files to store.
    """

    columns: dict[str, Any]
    files: Sequence[StoredObject] = field(default=())


def plan(run_ids: Collection[int]) -> None:
    """Plan the checks of verified runs, in the transaction that seals them.

    Args:
        run_ids: runs that have ended; others than verified and recent ones are left out, and those
            of connections that are switched off.
    """
    if not settings.FILE_CHECKS:
        return
    now = timezone.now()
    off = _off(OuterRef("cloud"), OuterRef("region"))
    runs = BackupRun.objects.annotate(over=Coalesce("job_finished_at", "finished_at")).filter(
        ~Exists(off),
        pk__in=run_ids,
        state=RunState.SUCCEEDED,
        over__gt=now - LATEST,
        file_check=None,
    )
    due = now + timedelta(seconds=settings.FILE_CHECK_DELAY)
    FileCheck.objects.bulk_create(
        [FileCheck(run_id=pk, due_at=due) for pk in runs.order_by().values_list("pk", flat=True)]
    )


def due_for_files(limit: int) -> list[int]:
    """Lease the checks that are due, so that each goes to one sweep only.

    Args:
        limit: maximum number of checks.

    Returns:
        Primary keys of their runs.
    """
    now = timezone.now()
    found = leases.claim_due(
        FileCheck.objects.filter(checked_at=None).order_by("due_at"),
        Q(due_at__lte=now),
        limit,
        mark={"due_at": now + timedelta(seconds=LEASE)},
        attempts=F("attempts") + 1,
    )
    return list(FileCheck.objects.filter(pk__in=found).values_list("run_id", flat=True))


def check_files(run_ids: Iterable[int]) -> None:
    """Look for the files of runs whose checks are due.

    Args:
        run_ids: primary keys of the runs.
    """
    for pk in run_ids:
        _check(pk)


def _check(pk: int) -> None:
    pending = FileCheck.objects.filter(run=pk, checked_at=None)
    with several_reads():
        check = pending.select_related("run__cluster", "run__project").first()
        if check is None:
            return
        run = check.run
        place, window, why = _place(run), _window(run), _switched_off(run)
    try:
        found = _look(check, place, window, why)
    except Exception:  # the other runs of the message must not wait for it
        logger.exception("run %s: its files could not be checked", pk)
        found = _failed("An error in the dashboard; its log says more.")
        found = found if check.attempts > len(PAUSES) else None
    if found is None:
        pause = PAUSES[min(check.attempts, len(PAUSES)) - 1]
        pending.update(due_at=timezone.now() + timedelta(seconds=pause))
        return
    retry_while_unavailable(lambda: _conclude(check.run, found))


def _look(
    check: FileCheck, place: tuple[str, str], window: tuple[datetime, datetime], why: str
) -> Conclusion | None:
    """Look into the bucket; None: look again later.

    Args:
        check: the pending check.
        place: bucket and prefix.
        window: when the files were written, on the cloud's clock.
        why: why the bucket is not asked, "" where it is.
    """
    run, last = check.run, check.attempts > len(PAUSES)
    columns: dict[str, Any] = {
        "bucket": place[0][:255],
        "prefix": place[1][:1024],
        "since": window[0],
        "until": window[1],
    }
    if why:
        return _failed(why, columns)
    try:
        written = [
            each
            for each in storage_for(run).objects(*place)
            if window[0] < each.modified_at <= window[1]
        ]
    except StorageError as error:
        if error.retryable and not last:
            return None
        return _failed(str(error), columns, error.problem)
    except ConfigurationError as error:
        return _failed(str(error), columns)
    except CssApiError as error:
        return _failed(str(error), columns) if last else None
    with several_reads():
        known, neighbours = _seen_before(run, window[0]), _neighbours(run, *place)
    written = [each for each in written if (each.name, each.etag, each.modified_at) not in known]
    found = attribute(written, run.cluster_name, neighbours)
    if not found.mine and check.attempts < LOOKS:
        return None  # the storage may list them late
    return Conclusion(columns | _seen(found), found.mine[:MOST_NAMES])


def _failed(why: str, columns: Mapping[str, Any] | None = None, problem: str = "") -> Conclusion:
    words = {"result": FileCheck.Result.NOT_CHECKED, "why": why[:500], "problem": problem}
    return Conclusion({**(columns or {}), **words})


def _seen(found: Attribution) -> dict[str, Any]:
    result = FileCheck.Result.SEEN
    if not found.mine:
        result = FileCheck.Result.UNATTRIBUTED if found.unclear else FileCheck.Result.NOTHING
    return {
        "result": result,
        "why": found.why,
        "files": len(found.mine),
        "size": min(sum(each.size for each in found.mine), LARGEST),
        "newest_at": max((each.modified_at for each in found.mine), default=None),
    }


def _switched_off(run: BackupRun) -> str:
    """Why the bucket is not asked, "" where it is."""
    if run.project.is_disconnected:
        return "The connection was disconnected."
    if not settings.FILE_CHECKS or _off(run.cloud, run.region).exists():
        return "The check is switched off."
    return ""


def _off(cloud: str | OuterRef, region: str | OuterRef) -> QuerySet[Connection]:
    """The connection of a run, if it is switched off for it."""
    return Connection.objects.filter(cloud=cloud, region=region, file_checks=False)


def _place(run: BackupRun) -> tuple[str, str]:
    """Bucket and prefix: those that the job's record names, or else the cluster's settings."""
    bucket, _, path = run.log_path.strip("/").partition("/")
    if not bucket:
        stored = LogSettings.objects.filter(cluster=run.cluster_id).first()
        bucket, path = (stored.bucket, stored.base_path) if stored else ("", "")
    return bucket, prefix_of(path)


def _window(run: BackupRun) -> tuple[datetime, datetime]:
    """When the run's files were written, on the cloud's clock: not before an earlier job's end."""
    began = run.job_created_at or run.sent_at or run.requested_at
    ended = run.job_finished_at or run.finished_at or began
    before = (
        BackupRun.objects.filter(
            cluster=run.cluster_id, state=RunState.SUCCEEDED, job_finished_at__lte=began
        )
        .exclude(pk=run.pk)
        .order_by("-requested_at", "-id")
        .values_list("job_finished_at", flat=True)
        .first()
    )
    since = began - skew()
    return (max(since, before) if before else since), ended + MARGIN


def _seen_before(run: BackupRun, since: datetime) -> set[tuple[str, str, datetime]]:
    """Files that were credited to other runs of the cluster: a file belongs to one run."""
    seen = SeenFile.objects.filter(run__cluster=run.cluster_id, modified_at__gte=since)
    return set(seen.exclude(run=run).values_list("name", "etag", "modified_at"))


def _neighbours(run: BackupRun, bucket: str, prefix: str) -> set[str]:
    """Names of other clusters that write below the same prefix, or above or below it."""
    rows = (
        LogSettings.objects.filter(bucket=bucket)
        .exclude(cluster__cluster_id=run.cluster_cloud_id)
        .values_list("cluster__name", "base_path")
    )
    return {
        name
        for name, path in rows
        if prefix.startswith(prefix_of(path)) or prefix_of(path).startswith(prefix)
    }


def digest_of(columns: dict[str, Any], files: Iterable[StoredObject | SeenFile]) -> str:
    """SHA-256 of a concluded check with its files, in hexadecimal."""
    values = {
        name: instant(value) if isinstance(value, datetime) else value
        for name, value in ((name, columns.get(name)) for name in DIGESTED)
    }
    values |= {name: str(values[name] or "") for name in ("result", "problem", "why")}
    names = [[each.name, each.size, each.etag, instant(each.modified_at)] for each in files]
    return sha256({"form": FORM, **values, "names": names})


def _conclude(run: BackupRun, found: Conclusion) -> None:
    with transaction.atomic():
        pending = FileCheck.objects.select_for_update().filter(run=run, checked_at=None)
        if not pending.exists():
            return  # another worker was faster
        SeenFile.objects.bulk_create(
            [
                SeenFile(
                    run=run,
                    name=each.name,
                    size=each.size,
                    etag=each.etag,
                    modified_at=each.modified_at,
                )
                for each in found.files
            ]
        )
        columns, digest = found.columns, digest_of(found.columns, found.files)
        if columns.get("problem", "") in LASTING or _had_a_problem(run):
            checks.request_check(run.cluster_id)
        # Last, because everybody who records an event waits from here on.
        event = record(
            Action.RUN_FILES_CHECKED,
            actor=CHECKER,
            target=run,
            project=run.project,
            details={"digest": digest, **{name: columns.get(name) for name in DIGESTED}},
        )
        pending.update(
            **columns, digest=digest, event=event.sequence, due_at=None, checked_at=timezone.now()
        )


def _had_a_problem(run: BackupRun) -> bool:
    return lasting_problem(run.cluster_id) is not None


def lasting_problem(cluster_id: int) -> FileCheck | None:
    """The last concluded check of a cluster, if it met a problem of the storage.

    None where the check is switched off.
    """
    if not settings.FILE_CHECKS:
        return None
    concluded = _CONCLUDED.fetch(cluster=cluster_id, since=timezone.now() - PROBLEM_LASTS)
    return concluded[0] if concluded and concluded[0].problem in LASTING else None


_CONCLUDED = Prepared(
    lambda: FileCheck.objects.filter(
        ~Exists(_off(OuterRef("run__cloud"), OuterRef("run__region"))),
        run__cluster=Param("cluster"),
        run__requested_at__gte=Param("since"),
        checked_at__isnull=False,
    ).order_by("-run__requested_at", "-run__id")[:1]
)
