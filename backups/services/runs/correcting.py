"""Late evidence: a job that is listed after its run has ended without one corrects that run.

NOT_STARTED depends on how long the product waited, and a run settled by hand (settling.py) depends
on what somebody saw. If the records later show a job that belongs to such a run, the run becomes
SUCCEEDED or FAILED, once. An audit event contains the state and a digest of the row before and
after, and backups/guards.py rejects every other change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from backups import heartbeats
from backups.choices import CORRECTABLE, Evidence, RunState
from backups.css_api.types import LogRecord, LogRecords, RecordStatus
from backups.models import BackupRun, Post, RunEvent, RunSeal
from backups.rules.matching import record_keys
from backups.services.clusters import protection
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from dashboard.audit.values import canonical

from . import seals
from .posts import credit, match_post, stored_key
from .records import described, job_facts

_ENDS = {RecordStatus.SUCCESS: RunState.SUCCEEDED, RecordStatus.FAIL: RunState.FAILED}
_BY = "late evidence"


class _Lost(Exception):
    """Another process has changed the run in the meantime, or another run has its job."""


@dataclass(frozen=True, slots=True)
class LateJob:
    """A job that was listed after its run had ended without it.

    Attributes:
        post: the POST that created the job.
        record: the job's record, which has ended.
        evidence: how certain it is that the POST created it.
    """

    post: Post
    record: LogRecord
    evidence: Evidence


def late_jobs(reading: LogRecords, posts: Sequence[Post], taken: set[str]) -> list[LateJob]:
    """Find the jobs in a reading that belong to runs which ended without one.

    Args:
        reading: a cluster's records.
        posts: `without_job` of the cluster, through any entry of clouds.yaml, loaded after the
            reading.
        taken: `taken_keys` of the reading.
    """
    found: list[LateJob] = []
    accepted = {post.run_id for post in posts if post.result == Post.Result.ACCEPTED}
    candidates = [
        # In a run with an accepted POST, other attempts may have started a job as well, but that
        # is not the accepted one.
        post
        for post in posts
        if post.run_id not in accepted or post.result == Post.Result.ACCEPTED
    ]
    pending = list(candidates)
    while pending:
        post = pending.pop(0)
        run = post.run
        if run.run_state not in CORRECTABLE or run.job_id or any(f.post.run == run for f in found):
            continue
        other = [p for p in posts if all(p.pk != f.post.pk for f in found)]
        job = match_post(post, reading, other, taken)
        if job.record is not None and job.record.status in _ENDS:
            found.append(LateJob(post, job.record, job.evidence))
            taken = taken | record_keys(job.record)
            pending = [p for p in candidates if p.pk != post.pk]
    return found


def correct(job: LateJob) -> bool:
    """Assign the job to its run and set the resulting state.

    Call it at the end of the caller's transaction.

    Returns:
        True if this call did; False if another process has changed the run in the meantime, or
        another run has the job.
    """
    try:
        with transaction.atomic():
            _correct(job.post, job.record, job.evidence)
    except (_Lost, IntegrityError):
        return False
    return True


def _correct(post: Post, job: LogRecord, evidence: Evidence) -> None:
    run = BackupRun.objects.get(pk=post.run_id)
    state = _ENDS[job.status]
    if run.run_state not in CORRECTABLE or run.job_id is not None:
        raise _Lost
    before = {"state": run.state, "digest": digest(run)}
    changes: dict[str, Any] = {
        **job_facts(job),
        "state": state,
        "evidence": evidence,
        "corrected_from": run.state,
    }
    after = copy_with(run, changes)
    # Before `record` locks the audit trail: others hold these rows while they wait for that lock.
    ended = job.finished_at or run.finished_at
    if state is RunState.SUCCEEDED and ended is not None:
        protection.verified_for(run, ended)
    event = record(
        Action.RUN_CORRECTED,
        actor=Actor.process(_BY),
        target=run,
        target_label=f"run {run.pk} of {run.cluster_name}",
        project=run.project,
        reason=f"The cloud listed its job later: {described(job, evidence)}.",
        before=before,
        after={"state": str(state), "job_id": stored_key(job), "digest": digest(after)},
        details={"cluster": run.cluster_name, "evidence": str(evidence)},
    )
    # After the event, which backups/guards.py requires. Only a few rows follow.
    row = BackupRun.objects.filter(pk=run.pk, state=run.state, job_id=None, corrected_by=None)
    if not row.update(version=F("version") + 1, corrected_by=event.sequence, **changes):
        raise _Lost
    RunEvent.objects.create(
        run=run,
        from_state=run.state,
        to_state=state,
        outcome=run.outcome,
        note=f"Corrected: the cloud listed the job later ({described(job, evidence)})"[:500],
        actor=heartbeats.process_name(),
    )
    seals.pend(run, changes, RunSeal.Kind.CORRECTION)
    credit(post, stored_key(job), evidence)


def copy_with(run: BackupRun, changes: dict[str, Any]) -> BackupRun:
    """Copy a run with changed columns; the copy is not saved."""
    values = {field.attname: getattr(run, field.attname) for field in run._meta.concrete_fields}
    return BackupRun(**{**values, **changes})


def digest(run: BackupRun) -> str:
    """SHA-256 of a run's result columns, in hexadecimal; names of people are left out."""
    columns = (
        *("id", "cluster_cloud_id", "project_id_in_cloud", "state", "outcome", "http_status"),
        *("error_code", "request_id", "job_id", "record_id", "evidence"),
    )
    times = ("sent_at", "answered_at", "finished_at", "job_created_at", "job_finished_at")
    content: dict[str, Any] = {name: getattr(run, name) for name in columns}
    content |= {name: at.isoformat() if (at := getattr(run, name)) else None for name in times}
    content = {k: str(v) if v is not None else None for k, v in content.items()}
    return hashlib.sha256(canonical(content)).hexdigest()
