"""Why a cluster needs attention, as a stable code. No I/O, no models.

One cause for each cluster: an obstacle first, then how its last run with a result ended, then the
age of its last verified backup. `backups.lists.causes` is the same in SQL; a property test holds
the two together.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from django.utils.translation import gettext_lazy as _

from backups.choices import AttentionCause, Outcome, Protection, Readiness, RunState, Work
from backups.guide import READINESS, Explanation, Text, explain_run

from .readiness import STORAGE_CODES

_C = AttentionCause

# Results without a verified backup.
BAD_ENDS: tuple[RunState, ...] = (
    RunState.REJECTED,
    RunState.FAILED,
    RunState.NOT_STARTED,
    RunState.UNVERIFIED,
    RunState.UNKNOWN,
)
# A user has to act before a backup can succeed. BUSY passes by itself.
BLOCKED: tuple[Readiness, ...] = (
    Readiness.BACKUP_OFF,
    Readiness.STORAGE_MISSING,
    Readiness.UNAVAILABLE,
)
# The beginning of `BackupRun.conflict_holder`, if the cloud's schedule is the holder.
SCHEDULE_HOLDS = "The cloud's automatic schedule holds"
# In the failedMsg of a job, in any case. No letter of them has a second lower or upper case outside
# ASCII that one of the databases would take for it.
BUCKET_WORDS = ("bucket", "agency")
_BUCKET = re.compile("|".join(BUCKET_WORDS), re.ASCII | re.IGNORECASE)

# Causes of rejected runs by outcome; an outcome that rejects nothing is MALFORMED.
REJECTED_AS: dict[Outcome, AttentionCause] = {
    Outcome.INVALID_REQUEST: _C.INVALID_REQUEST,
    Outcome.UNAUTHENTICATED: _C.UNAUTHENTICATED,
    Outcome.FORBIDDEN: _C.FORBIDDEN,
    Outcome.NOT_FOUND: _C.NOT_FOUND,
    Outcome.CONFLICT: _C.CONFLICT,
    Outcome.PRECONDITION_FAILED: _C.PRECONDITION_FAILED,
    Outcome.THROTTLED: _C.THROTTLED,
    Outcome.SERVER_ERROR: _C.SERVER_ERROR,
    Outcome.UNREACHABLE: _C.UNREACHABLE,
}
ENDED_AS: dict[RunState, AttentionCause] = {
    RunState.FAILED: _C.JOB_FAILED,
    RunState.NOT_STARTED: _C.NOT_STARTED,
    RunState.UNVERIFIED: _C.UNVERIFIED,
    RunState.UNKNOWN: _C.OUTCOME_UNKNOWN,
}


def run_cause(
    state: str,
    outcome: str = "",
    error_code: str = "",
    failed_message: str = "",
    conflict_holder: str = "",
) -> AttentionCause | None:
    """The cause that a run gives, None if it ended well, was cancelled or has no result.

    Args:
        state: a value of RunState.
        outcome: a value of Outcome.
        error_code: the cloud's code, "" for none.
        failed_message: the cloud's reason for a failed job.
        conflict_holder: what held the cluster at a conflict.
    """
    if state not in BAD_ENDS:
        return None
    if state == RunState.REJECTED:
        if error_code in STORAGE_CODES:
            return _C.BUCKET_REFUSED
        if outcome == Outcome.CONFLICT and conflict_holder.startswith(SCHEDULE_HOLDS):
            return _C.CONFLICT_SCHEDULE
        return REJECTED_AS.get(Outcome(outcome), _C.MALFORMED)
    if state == RunState.FAILED and _BUCKET.search(failed_message):
        return _C.BUCKET_REFUSED
    return ENDED_AS[RunState(state)]


def cause_of(
    protection: Protection, readiness: str, last: AttentionCause | str | None
) -> AttentionCause | None:
    """Why a cluster needs attention, None if it does not.

    Args:
        protection: its protection state.
        readiness: a value of Readiness.
        last: `run_cause` of its last run with a result; None or "" for a verified one, or none.
    """
    if readiness in BLOCKED and (last or protection is not Protection.PROTECTED):
        return _C(readiness)
    if last:
        return _C(last)
    return {Protection.OVERDUE: _C.OVERDUE, Protection.NEVER: _C.NEVER}.get(protection)


class BulkAction(NamedTuple):
    """What is offered for all clusters of a cause.

    Attributes:
        work: of the batch.
        text: of the link to its preview.
    """

    work: Work
    text: Text


def label(code: str) -> Text:
    """A cause in a few words."""
    return _C(code).label


def explanation(code: str) -> Explanation | None:
    """The guide's words for a cause; None for OVERDUE and NEVER, whose label says it all."""
    cause = _C(code)
    if code in BLOCKED:
        return READINESS[Readiness(code)]
    return _EXPLAINED.get(cause)


def action(code: str) -> BulkAction | None:
    """The bulk action for a cause; None where nothing may be sent until it is settled."""
    cause = _C(code)
    if cause is _C.OUTCOME_UNKNOWN:
        return None
    if cause in _ACTIONS:
        return _ACTIONS[cause]
    words = explanation(code)
    if words is None or words.retryable:
        return BulkAction(Work.BACKUP, _("Back up all again…"))
    return BulkAction(Work.BACKUP, _("Once fixed, back up all again…"))


_ACTIONS: dict[AttentionCause, BulkAction] = {
    _C.BACKUP_OFF: BulkAction(Work.SETTINGS, _("Enable log backup for all…")),
    _C.STORAGE_MISSING: BulkAction(Work.SETTINGS, _("Correct the settings of all…")),
    _C.BUCKET_REFUSED: BulkAction(Work.SETTINGS, _("Correct the settings of all…")),
    _C.UNAVAILABLE: BulkAction(Work.CHECK, _("Check all now…")),
    _C.CONFLICT: BulkAction(Work.BACKUP, _("Back up all once they are free…")),
    _C.CONFLICT_SCHEDULE: BulkAction(Work.BACKUP, _("Back up all once they are free…")),
    _C.OVERDUE: BulkAction(Work.BACKUP, _("Back up all…")),
    _C.NEVER: BulkAction(Work.BACKUP, _("Back up all…")),
}
_REJECTIONS = {cause: outcome for outcome, cause in REJECTED_AS.items()}
_EXPLAINED: dict[AttentionCause, Explanation] = {
    **{cause: explain_run(RunState.REJECTED, each) for cause, each in _REJECTIONS.items()},
    **{cause: explain_run(state, Outcome.ACCEPTED) for state, cause in ENDED_AS.items()},
    _C.CONFLICT_SCHEDULE: explain_run(RunState.REJECTED, Outcome.CONFLICT),
    _C.MALFORMED: explain_run(RunState.REJECTED, Outcome.MALFORMED),
    _C.BUCKET_REFUSED: explain_run(RunState.REJECTED, Outcome.INVALID_REQUEST, "CSS.0048"),
}
