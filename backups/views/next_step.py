"""The next thing to do for a cluster: the same on each page that offers one."""

from __future__ import annotations

from enum import StrEnum

from backups.choices import Outcome, Protection, Readiness
from backups.guide import Explanation, explain_run
from backups.models import BackupRun, Cluster


class NextStep(StrEnum):
    """What is offered for a cluster."""

    NOTHING = "nothing"
    FOLLOW = "follow"  # the run under way
    SETTINGS = "settings"
    CLUSTER = "cluster"
    READ = "read"  # what to do is on the page of the run that ended badly
    BACKUP = "backup"


def next_step(
    cluster: Cluster, bad: BackupRun | None, protection: Protection, *, may_ask: bool
) -> NextStep:
    """Choose what stands in the way first, then another try where it can help.

    Args:
        cluster: with its latest run.
        bad: its last run that came to a result, where that is a bad one.
        protection: how it stands to its objective.
        may_ask: whether the user may back it up.
    """
    latest, readiness = cluster.latest_run, cluster.readiness
    if latest and latest.is_active:
        return NextStep.FOLLOW
    if bad is None and protection is Protection.PROTECTED:
        return NextStep.NOTHING
    if readiness in (Readiness.BACKUP_OFF, Readiness.STORAGE_MISSING):
        return NextStep.SETTINGS
    if readiness == Readiness.UNAVAILABLE:
        return NextStep.CLUSTER
    if bad and bad.is_active:
        return NextStep.FOLLOW
    if bad and not can_end_well(bad, cluster):
        return NextStep.READ
    return NextStep.BACKUP if may_ask else NextStep.CLUSTER


def can_end_well(run: BackupRun, cluster: Cluster) -> bool:
    """Whether asking again can help, or what was in the way is gone by a later check."""
    ended = run.finished_at or run.requested_at
    ready_since = cluster.readiness == Readiness.READY and (cluster.checked_at or ended) > ended
    return words_of(run).retryable or (ready_since and run.outcome == Outcome.PRECONDITION_FAILED)


def words_of(run: BackupRun) -> Explanation:
    """What a run means, who acts, what is next."""
    return explain_run(
        run.run_state,
        Outcome(run.outcome),
        run.error_code,
        imported=run.is_imported,
        by_hand=run.settled_by_hand,
    )
