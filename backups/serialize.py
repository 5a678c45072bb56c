"""Runs and clusters as JSON, for the API, the command line and downloads.

Keys are stable: they are never renamed or removed, and new ones are appended. Times are ISO 8601 in
UTC or null; texts are in English, "" for none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from backups.models import ApiCall, BackupRun, Batch, Cluster, FileCheck, LogSettings, RunEvent
from backups.models.run_log import exchange_lasted, records_read

from .choices import Outcome, in_english
from .guide import explain_run

if TYPE_CHECKING:
    from backups.services.batches.progress import Progress
    from dashboard.audit.models import AuditEvent

Json = dict[str, object]


def run_line(run: BackupRun) -> Json:
    """A run without events and calls, as `manage.py backup --json` prints it.

    Returns:
        cluster_id (the cloud's id), cluster (its name), run_id, state, outcome, http_status,
        error_code, message and request_id first; then project, requester, times and cloud job.
    """
    return {
        "cluster_id": run.cluster_cloud_id,
        "cluster": run.cluster_name,
        "run_id": run.pk,
        "state": str(run.state),
        "outcome": str(run.outcome),
        "http_status": run.http_status,
        "error_code": run.error_code,
        "message": run.message,
        "request_id": run.request_id,
        "cloud": run.cloud,
        "region": run.region,
        "project_id": run.project_id_in_cloud,
        "project": run.project_name,
        "requested_by": run.requested_by_name,
        "trigger": str(run.trigger),
        "reason": run.reason,
        "source_ip": run.source_ip,
        "requested_at": iso(run.requested_at),
        "sent_at": iso(run.sent_at),
        "answered_at": iso(run.answered_at),
        "finished_at": iso(run.finished_at),
        "duration_seconds": _seconds(run.duration),
        "attempts": run.attempt,
        "note": run.note,
        "job_id": run.job_id or "",
        "record_id": run.record_id,
        "job_type": run.job_type,
        "job_created_at": iso(run.job_created_at),
        "job_finished_at": iso(run.job_finished_at),
        "log_path": run.log_path,
        "failed_message": run.failed_message,
        "conflict_holder": run.conflict_holder,
        "conflict_run_id": run.conflict_run_id,
        "evidence": str(run.evidence),
        "corrected_from": run.corrected_from,
    }


def run_document(
    run: BackupRun,
    *,
    run_before: BackupRun | None = None,
    run_after: BackupRun | None = None,
    resolved_by: BackupRun | None = None,
    audit: Iterable[AuditEvent] | None = None,
    seal: Json | None = None,
) -> Json:
    """Everything that the run's page shows: explanation, events, API calls, times, neighbours.

    Args:
        run: with its cluster, events, calls and files.
        run_before, run_after: the cluster's adjacent runs, None for none.
        resolved_by: for a failed run, the cluster's next verified run.
        audit: its audit events; None if the reader lacks the permission to audit.
        seal: its seal, as from `services.runs.seal_proof.document`.
    """
    words = explain_run(
        run.run_state,
        Outcome(run.outcome),
        run.error_code,
        imported=run.is_imported,
        by_hand=run.settled_by_hand,
    )
    return {
        **run_line(run),
        "explanation": {
            "meaning": in_english(words.meaning),
            "actor": str(words.actor),
            "next_step": in_english(words.next_step),
            "retryable": words.retryable,
        },
        "personal_data_masked": run.masked_by is not None,
        "events": [_event(event) for event in run.events.all()],
        "api_calls": [_call(call) for call in run.api_calls.all()],
        "settled_by_hand": run.settled_by_hand,
        "waited_seconds": _seconds(run.waited),
        "exchange_seconds": _seconds(exchange_lasted(run.api_calls.all())),
        "job_seconds": _seconds(run.job_lasted),
        "waits_if_busy_until": iso(run.retry_conflict_until),
        "not_before": iso(run.not_before),
        "records_read": records_read(run, run.api_calls.all()),
        "records_readable_at": iso(run.records_readable_at),
        "run_before": _neighbour(run_before),
        "run_after": _neighbour(run_after),
        "resolved_by": _neighbour(resolved_by),
        "cluster_now": _cluster(run.cluster),
        "audit_events": None if audit is None else [_audit_event(event) for event in audit],
        "seal": seal,
        "files": _files(run),
    }


def file_check_of(run: BackupRun) -> FileCheck | None:
    """The check of a run's files in the bucket, None if there is none."""
    try:
        return run.file_check
    except FileCheck.DoesNotExist:
        return None


def _files(run: BackupRun) -> Json | None:
    check = file_check_of(run)
    if check is None:
        return None
    return {
        "result": check.result or None,
        "why": check.why,
        "problem": check.problem,
        "checked_at": iso(check.checked_at),
        "bucket": check.bucket,
        "prefix": check.prefix,
        "written_after": iso(check.since),
        "written_until": iso(check.until),
        "count": check.files,
        "bytes": check.size,
        "newest_at": iso(check.newest_at),
        "digest": check.digest,
        "event": check.event,
        "names": [
            {
                "name": each.name,
                "bytes": each.size,
                "etag": each.etag,
                "modified_at": iso(each.modified_at),
            }
            for each in run.seen_files.all()
        ],
    }


def cluster_line(cluster: Cluster, now: datetime) -> Json:
    """A cluster as an item of a list.

    Args:
        cluster: with its project, tags and latest run.
        now: the time at which protection is evaluated.
    """
    project = cluster.project
    return {
        "id": cluster.pk,
        "cluster_id": cluster.cluster_id,
        "cluster": cluster.name,
        "engine": cluster.engine,
        "version": cluster.version,
        "project": {
            "id": project.pk,
            "cloud": project.cloud,
            "region": project.region,
            "project_id": project.project_id,
            "name": project.name,
        },
        "status": cluster.status,
        "status_in_words": cluster.status_label,
        **_cluster(cluster),
        "archived_at": iso(cluster.archived_at),
        "protection": {
            "state": str(cluster.protection(now)),
            "verified_at": iso(cluster.verified_at),
            "due_at": iso(cluster.due_at),
            "overdue_at": iso(cluster.overdue_at),
            "objective_hours": cluster.objective,
        },
        "tags": [
            {"origin": str(tag.origin), "key": tag.key, "value": tag.value}
            for tag in cluster.tags.all()
        ],
        "latest_run": run_line(cluster.latest_run) if cluster.latest_run else None,
    }


def cluster_document(
    cluster: Cluster, now: datetime, settings: LogSettings | None, active_run: BackupRun | None
) -> Json:
    """All details of a cluster.

    Args:
        cluster: as for `cluster_line`.
        now: the time at which protection is evaluated.
        settings: its log backup settings as last read, None if never.
        active_run: its active run, None for none.
    """
    return {
        **cluster_line(cluster, now),
        "active_run": run_line(active_run) if active_run else None,
        "actions": cluster.actions,
        "nodes": cluster.nodes,
        "endpoint": cluster.endpoint,
        "failed_reason": cluster.failed_reason,
        "created_in_cloud_at": iso(cluster.created_in_cloud_at),
        "registered_at": iso(cluster.registered_at),
        "log_settings": log_settings_document(settings) if settings else None,
    }


def log_settings_document(settings: LogSettings) -> Json:
    """The log backup settings of a cluster as last read."""
    return {
        "enabled": settings.enabled,
        "bucket": settings.bucket,
        "base_path": settings.base_path,
        "agency": settings.agency,
        "automatic": settings.automatic,
        "period": settings.period,
        "read_at": iso(settings.read_at),
    }


def batch_line(batch: Batch) -> Json:
    """A batch as an item of a list.

    Args:
        batch: the batch.
    """
    return {
        "batch_id": batch.pk,
        "work": str(batch.work),
        "values": batch.values,
        "requested_at": iso(batch.requested_at),
        "requested_by": batch.requested_by_name,
        "trigger": str(batch.trigger),
        "source_ip": batch.source_ip,
        "reason": batch.reason,
        "anyway": batch.anyway,
        "filter": batch.query,
        "sha256": batch.digest,
        "retry_of": batch.retry_of_id,
        "cancelled_at": iso(batch.cancelled_at),
        "cancelled_by": batch.cancelled_by_name,
        "finished_at": iso(batch.finished_at),
    }


def batch_document(batch: Batch, progress: Progress) -> Json:
    """A batch with its progress, as its page shows it.

    Args:
        batch: the batch.
        progress: as the reader may see it.
    """
    left = progress.left
    return {
        **batch_line(batch),
        "clusters": progress.total,
        "done": progress.done,
        "waiting": progress.waiting,
        "cancelled_waiting": progress.cancelled,
        "working": progress.working,
        "worked": progress.worked,
        "failed_work": progress.unworked,
        "joined": progress.joined,
        "runs": {str(state): count for state, count in progress.states.items()},
        "skipped": {str(cause): count for cause, count in progress.skipped.items()},
        "refusals": [_refusal(each.run, each.count) for each in progress.refusals],
        "requests_per_second": round(progress.rate, 2),
        "seconds_left": _seconds(left),
    }


def _refusal(run: BackupRun, count: int) -> Json:
    words = explain_run(
        run.run_state, Outcome(run.outcome), run.error_code, by_hand=run.settled_by_hand
    )
    return {
        "state": str(run.state),
        "outcome": str(run.outcome),
        "error_code": run.error_code,
        "count": count,
        "newest_run": run.pk,
        "meaning": in_english(words.meaning),
        "next_step": in_english(words.next_step),
        "retryable": words.retryable,
    }


def _neighbour(run: BackupRun | None) -> Json | None:
    return {"run_id": run.pk, "state": str(run.state)} if run else None


def _cluster(cluster: Cluster) -> Json:
    return {
        "readiness": str(cluster.readiness),
        "readiness_detail": cluster.readiness_detail,
        "checked_at": iso(cluster.checked_at),
        "check_error": cluster.check_error,
        "gone_at": iso(cluster.gone_at),
    }


def _audit_event(event: AuditEvent) -> Json:
    return {
        "sequence": event.sequence,
        "at": iso(event.at),
        "action": event.action,
        "actor": event.actor_name,
        "ip": event.ip,
        "user_agent": event.user_agent,
        "masked": event.is_masked,
        "reason": event.reason,
        "before": event.before,
        "after": event.after,
        "details": event.details,
        "request_id": event.request_id,
        "previous_hash": event.previous_hash,
        "hash": event.hash,
    }


def _event(event: RunEvent) -> Json:
    return {
        "at": iso(event.at),
        "from_state": event.from_state,
        "to_state": event.to_state,
        "outcome": event.outcome,
        "note": event.note,
        "actor": event.actor,
    }


def _call(call: ApiCall) -> Json:
    return {
        "attempt": call.attempt,
        "purpose": call.purpose,
        "method": call.method,
        "path": call.path,
        "started_at": iso(call.started_at),
        "finished_at": iso(call.finished_at),
        "duration_ms": call.duration_ms,
        "http_status": call.status,
        "error_code": call.error_code,
        "message": call.message,
        "request_id": call.request_id,
        "transport_error": call.transport_error,
        "sent": call.sent,
        "retry_after": call.retry_after,
        "body_kind": call.body_kind,
        "body_size": call.body_size,
        "excerpt": call.excerpt,
        "url": call.url,
        "request_headers": call.request_headers,
        "request_body": call.request_body,
    }


def _seconds(lasted: timedelta | None) -> float | None:
    return lasted.total_seconds() if lasted is not None else None


def iso(moment: datetime | None) -> str | None:
    """A time in ISO 8601, such as 2030-01-31T12:00:00Z."""
    return moment.isoformat().replace("+00:00", "Z") if moment else None
