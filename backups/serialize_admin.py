"""All but runs, clusters and batches as JSON: connections, schedules, channels, the audit trail.

The rules for keys, times and texts are those of serialize.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from backups.models import (
    Channel,
    Delivery,
    Export,
    Firing,
    Handling,
    Project,
    RetentionPolicy,
    RetentionRun,
    Rule,
    Schedule,
)

from .serialize import Json, iso

if TYPE_CHECKING:
    from backups.services.connections.diagnosis import Diagnosis
    from backups.services.connections.manage import Entry
    from backups.services.retention import Preview
    from dashboard.audit.models import AuditEvent, Verification
    from dashboard.tokens.models import ApiToken


def project_line(project: Project) -> Json:
    """A project, as clusters name theirs, with its objective."""
    return {
        "id": project.pk,
        "cloud": project.cloud,
        "region": project.region,
        "project_id": project.project_id,
        "name": project.name,
        "objective_hours": project.objective_hours,
    }


def connection_line(entry: Entry) -> Json:
    """An entry of clouds.yaml in one region, and its synchronisation.

    Args:
        entry: without a row, it was never connected: `id` is null.
    """
    row = entry.connection
    return {
        "id": row.pk if row else None,
        "cloud": entry.cloud,
        "region": entry.region,
        "configured": entry.configured,
        "connected": entry.connected,
        "project": project_line(row.project) if row and row.project else None,
        "connected_at": iso(row.connected_at) if row else None,
        "disconnected_at": iso(row.disconnected_at) if row else None,
        "file_checks": row.file_checks if row else None,
        "sync_step": row.sync_step if row else "",
        "synced_at": iso(row.synced_at) if row else None,
        "sync_ended_at": iso(row.sync_ended_at) if row else None,
        "sync_fault": row.sync_fault if row else "",
        "sync_error": row.sync_error if row else "",
        "clusters_listed": row.listed if row else 0,
        "clusters_added": row.added if row else 0,
        "clusters_gone": row.gone if row else 0,
    }


def diagnosis_document(found: Diagnosis) -> Json:
    """The steps of a connection test."""
    return {
        "passed": found.passed,
        "steps": [
            {
                "step": str(step.label),
                "state": step.state.value,
                "text": step.text,
                "fault": str(step.fault),
            }
            for step in found.steps
        ],
    }


def export_line(export: Export, *, is_lost: bool) -> Json:
    """An export and its progress.

    Args:
        export: the export.
        is_lost: it has not advanced for so long that nobody can still be receiving it.
    """
    return {
        "id": export.pk,
        "format": export.format,
        "filter": export.query,
        "state": str(Export.State.BROKEN_OFF if is_lost else export.state),
        "rows": export.rows,
        "started_at": iso(export.started_at),
        "finished_at": iso(export.finished_at),
    }


def retention_document(
    policy: RetentionPolicy, previews: Iterable[Preview], runs: Iterable[RetentionRun]
) -> Json:
    """The policy, what it would delete now, and the latest clean-ups."""
    return {
        "policy": dict(policy.as_dict()),
        "due_now": [
            {
                "kind": str(each.kind),
                "days": each.days,
                "cutoff": iso(each.cutoff),
                "count": each.count,
                "more": each.more,
            }
            for each in previews
        ],
        "clean_ups": [
            {
                "kind": str(run.kind),
                "cutoff": iso(run.cutoff),
                "audit_event": run.told,
                "automatic": run.automatic,
                "started_at": iso(run.started_at),
                "finished_at": iso(run.finished_at),
                "done": run.done,
            }
            for run in runs
        ],
    }


def token_line(token: ApiToken) -> Json:
    """A token without its secret."""
    return {
        "id": token.pk,
        "name": token.name,
        "scope": token.scope,
        "lookup": token.lookup,
        "projects": token.project_ids,
        "created_at": iso(token.created_at),
        "expires_at": iso(token.expires_at),
        "last_used_at": iso(token.last_used_at),
        "last_used_ip": token.last_used_ip,
        "revoked_at": iso(token.revoked_at),
        "revoked_by": token.revoked_by_name,
        "usable": token.is_usable,
    }


def verification_document(made: Verification) -> Json:
    """A verification of the audit trail, waiting or ended."""
    return {
        "id": made.pk,
        "result": str(made.result),
        "requested_at": iso(made.requested_at),
        "finished_at": iso(made.finished_at),
        "complete": made.complete,
        "first": made.first,
        "last": made.last,
        "events": made.events,
        "head": made.head,
        "broken_at": made.broken_at,
        "problem": made.problem,
        "guards_missing": made.guards_missing,
        "records": made.records,
        "pending": made.pending,
    }


def audit_line(event: AuditEvent) -> Json:
    """An event of the audit trail with its link in the chain."""
    return {
        "sequence": event.sequence,
        "at": iso(event.at),
        "action": event.action,
        "actor": event.actor_name,
        "ip": event.ip,
        "user_agent": event.user_agent,
        "masked": event.is_masked,
        "target_type": event.target_type,
        "target_id": event.target_id,
        "target": event.target_label,
        "project": event.project_label,
        "reason": event.reason,
        "before": event.before,
        "after": event.after,
        "details": event.details,
        "request_id": event.request_id,
        "previous_hash": event.previous_hash,
        "hash": event.hash,
    }


def schedule_line(schedule: Schedule) -> Json:
    """A schedule. Its ping URL is a secret: `ping` is whether there is one."""
    return {
        "id": schedule.pk,
        "name": schedule.name,
        "work": str(schedule.work),
        "on": schedule.is_on,
        "stopped_reason": schedule.stopped_reason,
        "owner": schedule.owner_name,
        "cron": schedule.cron,
        "minutes": schedule.interval // 60 or None,
        "zone": schedule.zone,
        "jitter": schedule.jitter,
        "filter": schedule.query,
        "clusters": schedule.picked,
        "when_not_ready": str(schedule.when_not_ready),
        "wait_minutes": schedule.wait_minutes,
        "catch_up": str(schedule.catch_up),
        "overlap": schedule.overlap,
        "reason": schedule.reason,
        "report_channel": schedule.report_channel_id,
        "report_span": schedule.report_span,
        "ping": bool(schedule.ping_sealed),
        "next_at": iso(schedule.next_at),
        "created_at": iso(schedule.created_at),
        "changed_at": iso(schedule.changed_at),
        "deleted_at": iso(schedule.deleted_at),
    }


def firing_line(firing: Firing) -> Json:
    """What became of a slot of a schedule."""
    batch = getattr(firing, "batch", None)  # a skipped one has none
    return {
        "id": firing.pk,
        "schedule": firing.schedule_id,
        "slot": iso(firing.slot),
        "fired_at": iso(firing.fired_at),
        "result": str(firing.result),
        "note": firing.note,
        "matched": firing.matched,
        "requested": firing.requested,
        "by_hand": firing.by_hand,
        "by": firing.by_name,
        "batch_id": batch.pk if batch else None,
    }


def channel_line(channel: Channel) -> Json:
    """A channel; of its address what is no secret."""
    return {
        "id": channel.pk,
        "name": channel.name,
        "kind": str(channel.kind),
        "address": channel.shown,
        "enabled": channel.enabled,
        "created_at": iso(channel.created_at),
        "created_by": channel.created_by_name,
    }


def rule_line(rule: Rule) -> Json:
    """A rule: which channel is told what."""
    return {
        "id": rule.pk,
        "channel": rule.channel_id,
        "kinds": rule.kinds,
        "project": rule.project_id,
        "label": rule.label,
    }


def delivery_line(delivery: Delivery) -> Json:
    """A message to a channel without its text."""
    return {
        "id": delivery.pk,
        "message_id": delivery.message_id,
        "channel": delivery.channel_id,
        "channel_name": delivery.channel_name,
        "kind": str(delivery.kind),
        "notices": delivery.count,
        "state": str(delivery.state),
        "attempts": delivery.attempts,
        "error": delivery.error,
        "created_at": iso(delivery.created_at),
        "sent_at": iso(delivery.sent_at),
    }


def handling_line(handling: Handling) -> Json:
    """What somebody handled. Without a cluster it is the whole cause, without a project in all."""
    return {
        "id": handling.pk,
        "cause": handling.cause,
        "cluster": handling.cluster_id,
        "project": handling.project_id,
        "reason": handling.reason,
        "until": iso(handling.until),
        "made_at": iso(handling.made_at),
        "made_by": handling.made_by_name,
        "ended_at": iso(handling.ended_at),
        "ended_by": handling.ended_by_name,
    }
