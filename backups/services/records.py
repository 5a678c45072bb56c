"""The cloud's records as our rows know them: which one may be a run's, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings

from backups.choices import Trigger
from backups.css_api.types import LogRecord
from backups.matching import Window, record_key
from backups.models import BackupRun

LONGEST_KEY = 64


def skew() -> timedelta:
    """How far the cloud's clock may be off."""
    return timedelta(seconds=settings.BACKUP_CLOCK_SKEW)


def window_of(run: BackupRun) -> Window:
    """When, and after what, the job of a run that was sent can have been created."""
    assert run.sent_at is not None  # noqa: S101 - callers look at runs that were sent
    return Window(
        sent_at=run.sent_at,
        answered_at=run.answered_at or run.sent_at + _longest_exchange(),
        skew=skew(),
        baseline_known=run.baseline_known,
        baseline_created_at=run.baseline_created_at,
        baseline_job=run.baseline_job_id,
    )


def stored_key(record: LogRecord) -> str:
    """A record's key as `BackupRun.job_id` holds it."""
    return record_key(record)[:LONGEST_KEY]


def claimed_keys(run: BackupRun, records: Iterable[LogRecord]) -> set[str]:
    """Which of some records belong to other runs of a run's cluster, imported ones among them."""
    keys = [stored_key(record) for record in records]
    taken = BackupRun.objects.filter(cluster=run.cluster_id, job_id__in=keys).exclude(pk=run.pk)
    return {key for key in taken.values_list("job_id", flat=True) if key}


def is_anothers(run: BackupRun, record: LogRecord) -> bool:
    """Whether a record is that of a run of the same cluster through another entry of clouds.yaml.

    Two entries may lead to one project. What was imported there does not count: it may be this
    run's own job, as the other entry sees it.
    """
    return (
        BackupRun.objects.filter(
            cluster__cluster_id=run.cluster_cloud_id, job_id=stored_key(record)
        )
        .exclude(cluster=run.cluster_id)
        .exclude(trigger=Trigger.CLOUD)
        .exists()
    )


def job_facts(record: LogRecord) -> dict[str, Any]:
    """The columns of a run that tell of the cloud's job."""
    return {
        "job_id": stored_key(record),
        "record_id": record.record_id[:64],
        "job_type": record.job_type.value,
        "job_created_at": record.created_at,
        "job_finished_at": record.finished_at,
        "log_path": record.log_path[:1024],
        "failed_message": record.failed_message,
    }


def _longest_exchange() -> timedelta:
    """How long a request can have been under way whose sender died."""
    return timedelta(seconds=settings.CSS_CONNECT_TIMEOUT + settings.CSS_TOTAL_TIMEOUT)
