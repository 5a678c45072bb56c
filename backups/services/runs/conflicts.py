"""Find out whose job keeps a cluster busy when the cloud answers a request with a conflict."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.db.models import Q

from backups.css_api.errors import CssApiError
from backups.css_api.types import JobType, LogRecord, RecordStatus
from backups.models import BackupRun, Post
from backups.rules.causes import SCHEDULE_HOLDS
from backups.rules.matching import fits
from backups.services.cloud import client_for
from dashboard.db.concurrency import retry_while_unavailable

from .call_log import CallLog
from .posts import same_cluster, stored_keys, window_of, without_job

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Holder:
    """The job that keeps a cluster busy.

    Attributes:
        text: a sentence for the run's page.
        run: our run that the job belongs to; None if it is not ours or not known.
        is_own: an earlier attempt of the refused run may have started the job.
    """

    text: str
    run: BackupRun | None = None
    is_own: bool = False


def find_holder(run: BackupRun) -> Holder:
    """Read the cluster's records and identify the running job.

    Args:
        run: the run that was answered with a conflict; the reading is stored with its calls.

    Returns:
        The holder. If the records cannot be read or show no running job, its text says so.
    """
    log = CallLog(run, "conflict")
    try:
        client = client_for(run, log)
        posts = without_job(run)
        reading = client.list_log_records(run.cluster_cloud_id, newest=20)
    except CssApiError as error:
        logger.info("run %s: the conflict's holder is not known: %s", run.pk, error)
        return Holder("The cloud's records could not be read to see who holds the cluster.")
    finally:
        retry_while_unavailable(log.store)
    running = [record for record in reading.rows if record.status is RecordStatus.RUNNING]
    if not running:
        return Holder(
            "No log backup is running by the cloud's records: another operation holds it."
        )
    return _describe(run, running[0], posts)


def _describe(run: BackupRun, record: LogRecord, posts: list[Post]) -> Holder:
    since = f"{record.created_at:%Y-%m-%d %H:%M:%S} UTC" if record.created_at else "unknown"
    if record.job_type is JobType.AUTO:
        return Holder(f"{SCHEDULE_HOLDS} the cluster since {since}.")
    # By the cloud's ids, because two entries of clouds.yaml may point to one project.
    keys = stored_keys([record])
    ours = (
        BackupRun.objects.filter(same_cluster(run))
        .filter(Q(job_id__in=keys) | Q(record_id__in=keys))
        .first()
    )
    if ours is not None:
        return Holder(
            # Without a name: it would remain here after it is masked in that run.
            f"Our run {ours.pk} holds the cluster since {since}.",
            ours,
        )
    # This attempt was refused just now, so it did not start the job.
    earlier = [p for p in posts if (p.run_id, p.attempt) != (run.pk, run.attempt)]
    makers = [post.run for post in earlier if fits(record, window_of(post))]
    if any(maker.pk == run.pk for maker in makers):
        return Holder(
            "An earlier attempt of this run seems to have started the log backup that holds the "
            f"cluster since {since}; the cloud's records decide.",
            is_own=True,
        )
    if makers:
        return Holder(
            f"The request of our run {makers[0].pk} seems to hold the cluster since {since}.",
            makers[0],
        )
    return Holder(
        f"Somebody started a log backup outside this dashboard (console or API) at {since}."
    )
