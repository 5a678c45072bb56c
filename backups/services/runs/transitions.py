"""Move runs from state to state: one conditional UPDATE whose row count is checked.

Only creating, claiming and correcting a run set a state elsewhere.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from backups import run_events
from backups.choices import ALLOWED, CORRECTABLE, TERMINAL, NoticeKind, RunState, in_english
from backups.models import BackupRun, RunEvent
from backups.services.clusters import checks, protection, readiness
from backups.services.notifications.outbox import announce
from dashboard.db.prepared import Param, Prepared, insert

from . import seals
from .posts import release

NOTICES = {
    RunState.FAILED: NoticeKind.RUN_FAILED,
    RunState.UNVERIFIED: NoticeKind.RUN_FAILED,
    RunState.NOT_STARTED: NoticeKind.RUN_FAILED,
    RunState.REJECTED: NoticeKind.RUN_REJECTED,
    RunState.UNKNOWN: NoticeKind.RUN_UNKNOWN,
}
NEXT_VERSION = F("version") + 1
# a run as the caller knows it
_KNOWN = Prepared(
    lambda: BackupRun.objects.filter(pk=Param("pk"), state=Param("state"), attempt=Param("attempt"))
)


class IllegalTransition(Exception):
    """The code requested a transition that ALLOWED does not have: a bug, never a race."""


def transition(
    run: BackupRun,
    to: RunState,
    *,
    actor: str,
    note: str = "",
    expect: RunState | None = None,
    only_if: Q | None = None,
    **changes: Any,
) -> bool:
    """Move a run to another state, if it is still in the state that the caller expects.

    The UPDATE applies only to the expected state and attempt, so one of two callers succeeds. The
    event row is written in the same transaction, and the pending seal of a run that ends.

    Args:
        run: the run as the caller knows it; on success it has the changes.
        to: the new state.
        actor: name of the user or process that moves it.
        note: a sentence for the timeline; it also becomes the run's note while it is active.
        expect: the state that the run must be in; by default `run.state`.
        only_if: a further condition of the UPDATE.
        changes: further columns to write.

    Returns:
        True if this call moved the run, False if it no longer matched.

    Raises:
        IllegalTransition: the state machine does not allow `expect` → `to`.
    """
    expected = expect or run.run_state
    if to not in ALLOWED[expected]:
        raise IllegalTransition(f"{expected} → {to}")
    changes.setdefault("note", "" if to in TERMINAL else note[:500])
    if expected is RunState.SENDING:
        changes |= {"claimed_by": "", "claimed_at": None}
    if to in TERMINAL:
        changes |= {"finished_at": timezone.now(), "next_check_at": None}
    changes |= {"state": to.value, "version": NEXT_VERSION}
    # Crediting a job has released its POST, which is the only one of a first attempt.
    held = run.job_id is None or run.attempt > 1
    with transaction.atomic(savepoint=False):
        if not _update(run, expected, changes, only_if):
            return False
        take_on(run, changes)
        add_event(run, expected, to, note, actor)
        # A run that is queued after a 503 keeps its POST active: its job may still be created.
        if to in TERMINAL and held:
            release(run)
        if to in TERMINAL:
            seals.pend(run, changes)
            _tell_the_cluster(run)
        if to in NOTICES:
            _announce(run, NOTICES[to])
        run_events.moved(run, expected)
    return True


def _announce(run: BackupRun, kind: NoticeKind) -> None:
    """Write the notice of a run that ended badly, or whose outcome is unknown."""
    why = RunState(run.state).label if kind is NoticeKind.RUN_FAILED else run.get_outcome_display()
    cause = in_english(why) + (f" ({run.error_code})" if run.error_code else "")
    announce(
        kind,
        key=f"run {run.pk}",
        project=run.project_id,
        cluster=run.cluster_id,
        cause=cause,
        facts={
            "cluster": run.cluster_name,
            "project": run.project_name or run.project_id_in_cloud,
            "cloud": run.cloud,
            "run": run.pk,
            "state": run.state,
            "outcome": run.outcome,
            "code": run.error_code,
            "text": run.message or run.note or cause,
            "path": run.get_absolute_url(),
        },
    )


def _update(
    run: BackupRun, expected: RunState, changes: dict[str, Any], only_if: Q | None = None
) -> int:
    if only_if is None:
        return _KNOWN.update(changes, pk=run.pk, state=expected.value, attempt=run.attempt)
    row = BackupRun.objects.filter(only_if, pk=run.pk, state=expected, attempt=run.attempt)
    return row.update(**changes)


def add_event(
    run: BackupRun, from_state: RunState, to_state: RunState, note: str, actor: str
) -> None:
    """Add a step to a run's timeline, in the transaction that takes it."""
    insert(
        RunEvent(
            run_id=run.pk,
            from_state=from_state.value,
            to_state=to_state.value,
            outcome=run.outcome,
            note=note[:500],
            actor=actor[:255],
        )
    )


def take_on(run: BackupRun, changes: dict[str, Any]) -> None:
    """Apply a row's changes to its object; values computed by the database load on access."""
    for name, value in changes.items():
        if hasattr(value, "resolve_expression"):
            run.__dict__.pop(name, None)
        else:
            setattr(run, name, value)


def _tell_the_cluster(run: BackupRun) -> None:
    """Update the cluster of a run that has ended."""
    if run.run_state is RunState.SUCCEEDED and run.finished_at is not None:
        protection.verified_for(run, run.job_finished_at or run.finished_at)
    if run.run_state in CORRECTABLE and run.sent_at is not None and run.job_id is None:
        checks.look_again(run.cluster_id)
    readiness.run_ended(run)


def amend(run: BackupRun, *, actor: str = "", event: str = "", **changes: Any) -> bool:
    """Change columns of an active run without moving it, if it has not moved in the meantime.

    Args:
        run: the run as the caller knows it; on success it has the changes.
        actor: name of the user or process, for the event.
        event: a sentence for the timeline, "" for none.
        changes: columns to write, without `state`.

    Returns:
        True if they were written, False if the run had moved.

    Raises:
        IllegalTransition: `changes` contains `state`.
    """
    if "state" in changes:
        raise IllegalTransition("amend() never writes the state")
    changes["version"] = NEXT_VERSION
    with transaction.atomic(savepoint=False):
        if not _update(run, run.run_state, changes):
            return False
        take_on(run, changes)
        if event:
            add_event(run, run.run_state, run.run_state, event, actor)
    return True
