"""Send a run: claim it, send its request to the cloud once, store the result."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import override

from backups import heartbeats, instance, uptime
from backups.choices import Outcome, RunState, in_english
from backups.css_api.errors import CssApiError
from backups.css_api.types import Answer, LogRecords
from backups.models import BackupRun, Post
from backups.rules.matching import record_keys
from backups.rules.outcomes import Next, Verdict, classify
from backups.services import rate
from backups.services.cloud import client_for
from backups.services.jitter import jittered
from dashboard.db.concurrency import retry_while_unavailable
from dashboard.db.prepared import Param, Prepared

from .call_log import Baseline, CallLog, ClaimLost, ClusterTaken, CollectLog
from .conflicts import Holder, find_holder
from .following import FOLLOWED, Reading, readings_of
from .lanes import lane_for, sending_here
from .posts import (
    earlier_posts,
    learn_date,
    match_post,
    note_result,
    open_for,
    skew,
    taken_by,
    taken_keys,
)
from .transitions import NEXT_VERSION, add_event, take_on, transition

logger = logging.getLogger(__name__)


def send_run(run_id: int) -> Sequence[Reading]:
    """Send a queued run to the cloud, unless another worker does or its time has not come.

    Args:
        run_id: primary key; a run that does not exist or is not queued is ignored, so a message
            that is delivered twice does nothing the second time.

    Returns:
        The reading of the cloud's records to make now, if the cloud has accepted the request, or
        may have; else none.
    """
    with sending_here(run_id):
        queued = next(iter(_QUEUED.fetch(pk=run_id)), None)
        if queued is None:  # the run of a second message is claimed
            return ()
        with lane_for(queued) as free:
            return _send(queued) if free else ()


def _send(queued: BackupRun) -> Sequence[Reading]:
    """Send a run whose lane is taken; see `send_run`."""
    run_id = queued.pk
    with transaction.atomic():
        run = _claim(queued, _CLAIMABLE_ALONE)
        # POSTs with an inferred job as well, because their own job may still be created.
        lately, earlier = ([], []) if run is None else earlier_posts(run)
    if run is None:
        # A run that is still queued notes why it waits.
        still = BackupRun.objects.filter(pk=run_id, state=RunState.QUEUED).exists()
        if still and not postponed(run_id):
            _say_why_not(run_id)
        return ()
    settling = list({post.pk: post for post in [*lately, *earlier]}.values())
    read = CallLog(run, "baseline")
    reading = read_baseline(run, read)
    if reading is not None:
        learn_date(settling, reading.date)
        if had_started(run, reading, earlier):
            retry_while_unavailable(read.store)
            return readings_of([run]) if run.run_state is RunState.UNKNOWN else ()
        wait = open_for(settling, reading.date)
        if wait > timedelta(0):
            wait_for_earlier(run, wait)
            retry_while_unavailable(read.store)
            return ()
    log = CollectLog(run, baseline_of(reading), read=read.calls, with_transition=True)
    try:
        result = ask_cloud(run, log=log)
    except ClaimLost:
        logger.warning("run %s was taken over before it was sent", run_id)
        retry_while_unavailable(log.store)
        return ()
    except ClusterTaken:
        wait_for_earlier(run, timedelta(seconds=settings.BACKUP_REDISPATCH_AFTER))
        retry_while_unavailable(log.store)
        return ()
    readings: list[Reading] = []
    apply_result(run, result, actor=heartbeats.process_name(), log=log, readings=readings)
    return readings


def _kept_by_another() -> Exists:
    """Condition of a claim: another run's active POST holds the same cluster."""
    other = Post.objects.filter(
        active=True,
        project_id_in_cloud=OuterRef("project_id_in_cloud"),
        cluster_cloud_id=OuterRef("cluster_cloud_id"),
    )
    return Exists(other.exclude(run=OuterRef("pk")))


def postponed(run_id: int) -> bool:
    """Leave a run queued, without an attempt, while another run's POST holds its cluster.

    Args:
        run_id: primary key.

    Returns:
        True if the run waits.
    """
    run = BackupRun.objects.filter(pk=run_id, state=RunState.QUEUED).first()
    other = taken_by(run) if run is not None else None
    if run is None or other is None:
        return False
    note = f"Waits until run {other} is settled: it is about the same cluster"
    BackupRun.objects.filter(pk=run_id, state=RunState.QUEUED).update(
        not_before=timezone.now() + timedelta(seconds=settings.BACKUP_REDISPATCH_AFTER),
        dispatched_at=None,
        note=note,
        version=F("version") + int(run.note != note),
    )
    return True


_QUEUED = Prepared(lambda: BackupRun.objects.filter(pk=Param("pk"), state=RunState.QUEUED))


def _claimable() -> QuerySet[BackupRun]:
    return BackupRun.objects.filter(
        ~instance.is_elsewhere(Param("instance")),
        pk=Param("pk"),
        state=RunState.QUEUED,
        attempt=Param("attempt"),
        not_before__lte=Param("now"),
    )


_CLAIMABLE = Prepared(_claimable)
_CLAIMABLE_ALONE = Prepared(lambda: _claimable().filter(~_kept_by_another()))


def claim(run_id: int) -> BackupRun | None:
    """Claim a queued run for this process: QUEUED → SENDING.

    The claim counts the attempt and clears ``sent_at``. From then on, an empty ``sent_at`` proves
    that this attempt sent nothing.

    Args:
        run_id: primary key.

    Returns:
        The run, None if it cannot be claimed.
    """
    queued = next(iter(_QUEUED.fetch(pk=run_id)), None)
    return None if queued is None else _claim(queued, _CLAIMABLE)


def _claim(run: BackupRun, claimable: Prepared[BackupRun]) -> BackupRun | None:
    now = timezone.now()
    worker = heartbeats.process_name()
    changes: dict[str, Any] = {
        "state": RunState.SENDING.value,
        "attempt": run.attempt + 1,
        "claimed_by": worker,
        "claimed_at": now,
        "step_uptime": uptime.stamp(),
        "sent_at": None,
        "answered_at": None,
        # the result of the previous attempt is in its event and its calls
        "outcome": Outcome.NONE.value,
        "http_status": None,
        "error_code": "",
        "message": "",
        "request_id": "",
        "conflict_holder": "",
        "conflict_run": None,
        "note": "",
        "version": NEXT_VERSION,
    }
    with transaction.atomic(savepoint=False):
        if not claimable.update(
            changes, instance=instance.uid(), pk=run.pk, attempt=run.attempt, now=now
        ):
            return None
        take_on(run, changes)
        note = f"Attempt {run.attempt}"
        add_event(run, RunState.QUEUED, RunState.SENDING, note, worker)
    return run


def _say_why_not(run_id: int) -> None:
    """Store in a queued run's note why this instance must not send (`instance.problem`)."""
    with override("en"):  # stored texts are English
        if not (why := instance.problem()):
            return
    note = f"Not sent. {why}"[:500]
    BackupRun.objects.filter(~Q(note=note), pk=run_id, state=RunState.QUEUED).update(
        note=note, version=F("version") + 1
    )


def read_baseline(run: BackupRun, log: CallLog | None = None) -> LogRecords | None:
    """Read the cluster's records before the POST; None if they cannot be read.

    These are all records that our job's record must be distinguished from: those from the time
    that our window can cover, and those without a time.

    Args:
        run: the run in SENDING.
        log: records the reading.
    """
    try:
        return client_for(run, log).list_log_records(
            run.cluster_cloud_id, newest=1_000, within=3 * skew()
        )
    except CssApiError as error:
        logger.info("run %s: no baseline: %s", run.pk, error)
        return None


def baseline_of(reading: LogRecords | None) -> Baseline:
    """The part of a reading that is stored with the POST that follows it."""
    if reading is None:
        return Baseline()
    return Baseline(sorted({k for r in reading.rows for k in record_keys(r)}), reading.date)


def had_started(run: BackupRun, reading: LogRecords, posts: Iterable[Post]) -> bool:
    """Move a run to UNKNOWN instead of sending again, if an earlier attempt may have started a job.

    A 503 is retried, because it says that the cloud has not begun. If the records show a job that
    such an attempt can have created, the records decide.

    Args:
        run: the run in SENDING.
        reading: the cluster's records.
        posts: the POSTs to the cluster without a job.

    Returns:
        True if the run was moved, or another process had already moved it.
    """
    mine = [post for post in posts if post.run_id == run.pk]
    if not mine:
        return False
    taken = taken_keys(run, reading.rows, but=run)
    if not any(match_post(post, reading, posts, taken).candidates for post in mine):
        return False
    note = "The cloud's records show a job that an earlier attempt of this run may have started"
    settle: dict[str, Any] = {
        "next_check_at": timezone.now(),
        "checks": 0,
        "outcome": Outcome.UNANSWERED,
    }
    settle |= {"sent_at": mine[0].sent_at, "answered_at": mine[0].answered_at}
    settle |= {"step_uptime": mine[0].step_uptime}
    transition(run, RunState.UNKNOWN, actor=heartbeats.process_name(), note=note, **settle)
    return True


def wait_for_earlier(run: BackupRun, wait: timedelta) -> None:
    """Queue a run again until no earlier POST to its cluster can be mistaken for its own.

    Args:
        run: the run in SENDING; this attempt has sent nothing.
        wait: how long to wait.
    """
    transition(
        run,
        RunState.QUEUED,
        actor=heartbeats.process_name(),
        note="Waits until an earlier request for this cluster can be told from this one",
        only_if=Q(sent_at=None),
        not_before=timezone.now() + wait,
        dispatched_at=None,
    )


def ask_cloud(
    run: BackupRun, baseline: Baseline | None = None, log: CollectLog | None = None
) -> Answer | CssApiError:
    """Send POST …/logs/collect once; return the answer, or the error if there is none.

    Args:
        run: the run in SENDING.
        baseline: the records listed just before; used only without a `log`.
        log: the recorder with the fence; None for a new one that stores the answer at once.
    """
    try:
        return client_for(run, log or CollectLog(run, baseline)).collect_logs(run.cluster_cloud_id)
    except CssApiError as error:
        return error


def apply_result(
    run: BackupRun,
    result: Answer | CssApiError,
    *,
    actor: str,
    answered_at: datetime | None = None,
    log: CollectLog | None = None,
    readings: list[Reading] | None = None,
) -> bool:
    """Move a run to the state that follows from the result of its POST.

    The run may have been taken over in the meantime and be UNKNOWN. A late answer of the same
    attempt is still correct, and is applied from there.

    Args:
        run: the run in SENDING (or, for a late answer, UNKNOWN).
        result: the cloud's answer, or the error if there is none.
        actor: name of the process that applies it.
        answered_at: when the result came, if it was stored by a worker that died; None for now.
        log: the POST's recorder, if its calls are not stored yet; None if they are.
        readings: a list for the reading of the cloud's records that is to be made now.

    Returns:
        True if the run was moved.
    """
    verdict = classify(result)
    if verdict.outcome is Outcome.THROTTLED:
        rate.lower(run.project_id_in_cloud)
    if log is not None and verdict.outcome is Outcome.CONFLICT:
        retry_while_unavailable(log.store)  # another call follows, which may take long
    # Take the time before looking for the job that keeps the cluster busy.
    facts = _facts(verdict, result) | {"answered_at": answered_at or timezone.now()}
    holder = find_holder(run) if verdict.outcome is Outcome.CONFLICT else None
    if holder is not None:
        facts |= {"conflict_holder": holder.text, "conflict_run": holder.run}

    def apply() -> bool:
        ticked = facts["step_uptime"] = uptime.now()
        moved = _apply(run, verdict, result, facts, holder, actor, log)
        if readings is not None and run.run_state in FOLLOWED:
            readings[:] = readings_of([run], ticked)
        return moved

    return retry_while_unavailable(apply)


def _facts(verdict: Verdict, result: Answer | CssApiError) -> dict[str, Any]:
    facts: dict[str, Any] = {"outcome": verdict.outcome}
    if isinstance(result, Answer):
        facts |= {
            "http_status": result.status,
            "error_code": result.error_code,
            "message": result.message,
            "request_id": result.request_id,
        }
    else:
        status = getattr(result, "status", None)
        facts |= {
            "http_status": status,
            "error_code": "",
            "message": str(result)[:2000],
            "request_id": "",
        }
    return facts


def _apply(
    run: BackupRun,
    verdict: Verdict,
    result: Answer | CssApiError,
    facts: dict[str, Any],
    holder: Holder | None,
    actor: str,
    log: CollectLog | None,
) -> bool:
    # In one transaction with the transition; a late answer is stored as well.
    with transaction.atomic(savepoint=False):
        if log is not None:
            log.store()
        note_result(run, verdict, result, facts["answered_at"])
        if holder is not None and holder.is_own:
            verdict = Verdict(verdict.outcome, Next.SETTLE)
        return _move(run, verdict, facts, holder, actor)


def _move(
    run: BackupRun,
    verdict: Verdict,
    facts: dict[str, Any],
    holder: Holder | None,
    actor: str,
) -> bool:
    for expected in (RunState.SENDING, RunState.UNKNOWN):
        to, note, extra = _destination(run, verdict, holder, late=expected is RunState.UNKNOWN)
        if to is expected:  # a late "no answer" adds nothing to UNKNOWN
            return False
        if transition(run, to, actor=actor, note=note, expect=expected, **facts, **extra):
            return True
    logger.warning("run %s: the answer came too late, it is %s", run.pk, run.state)
    return False


def _destination(
    run: BackupRun, verdict: Verdict, holder: Holder | None, *, late: bool
) -> tuple[RunState, str, dict[str, Any]]:
    """Map a verdict to the next state, a sentence for the timeline, and further columns."""
    # Two seconds ahead: the task that sent the request reads first, the sweeper is its backup.
    now = timezone.now()
    check = {"next_check_at": now + timedelta(seconds=2), "checks": 0}
    if verdict.next is Next.FOLLOW:
        return RunState.ACCEPTED, "Accepted; waiting for the cloud's job", check
    if verdict.next is Next.SETTLE:
        note = "The cloud may have taken the request; its records are being checked"
        if holder is not None and holder.is_own:
            note = holder.text
        return RunState.UNKNOWN, note, check
    when, why = (None, "") if late else _next_attempt(run, verdict, now)
    if when is not None:
        # dispatched_at empty: the sweeper dispatches the run as soon as not_before has passed
        return RunState.QUEUED, why, {"not_before": when, "dispatched_at": None}
    if verdict.outcome is Outcome.SERVER_ERROR or _has_open_post(run):
        # A cloud that says it is unavailable may have started a job anyway.
        return RunState.UNKNOWN, f"{why} The cloud's records tell whether it has begun.", check
    return RunState.REJECTED, " ".join(filter(None, (holder.text if holder else "", why))), {}


def _has_open_post(run: BackupRun) -> bool:
    """Whether an attempt of a run may have been accepted although it was answered 503."""
    return run.posts.filter(result=Post.Result.OPEN, job_id="").exists()


def _next_attempt(run: BackupRun, verdict: Verdict, now: datetime) -> tuple[datetime | None, str]:
    """When to try again, None if the run is over, and a sentence with the reason."""
    if verdict.next is Next.WAIT_IF_ASKED:
        until = run.retry_conflict_until
        if until is None:
            return None, ""
        end = f"{until:%Y-%m-%d %H:%M:%S} UTC"
        pause = timedelta(seconds=jittered(settings.BACKUP_CONFLICT_RETRY))
        when = now + pause
        if when > until or pause > _conflict_wait_left(run, until):
            return None, f"It was to wait for a free cluster until {end}."
        return when, f"The cluster is held; tried again when it may be free, until {end}"
    if verdict.next is not Next.RETRY:
        return None, ""
    # Attempts that ended in a conflict do not count towards BACKUP_MAX_ATTEMPTS.
    failures = run.failed_attempts() + 1
    most = settings.BACKUP_MAX_ATTEMPTS
    if failures >= most:
        return None, f"Not tried again: that was attempt {failures} of {most}."
    delay = jittered(
        min(settings.BACKUP_RETRY_BASE * 2 ** (failures - 1), settings.BACKUP_RETRY_CAP)
    )
    if verdict.retry_after is not None:
        if verdict.retry_after > settings.BACKUP_RETRY_AFTER_CAP:
            return None, (
                "Not tried again: the cloud asks to wait for longer than the "
                f"{settings.BACKUP_RETRY_AFTER_CAP:.0f} s that are waited out."
            )
        # Never earlier than asked, and spread, because other runs were asked to wait as long.
        delay = max(delay, verdict.retry_after + random.uniform(0, delay))  # noqa: S311
    if verdict.outcome is Outcome.SERVER_ERROR:
        # The cloud may still start a job: wait until it can be distinguished from the next one.
        grace = settings.BACKUP_SETTLE_GRACE + settings.BACKUP_DATE_TOLERANCE
        delay = max(delay, grace + 3)  # seconds: both `Date`s are rounded, and must not be equal
    outcome = in_english(verdict.outcome.label)
    said = "" if verdict.outcome is Outcome.SERVER_ERROR else " nothing was started;"
    why = f"{outcome}:{said} tried again ({failures + 1} of {most})"
    return now + timedelta(seconds=delay), why


def _conflict_wait_left(run: BackupRun, until: datetime) -> timedelta:
    """How much longer to wait for the end of a conflict, by the product's own clock.

    If the wall clock is set back, `until` moves hours away, and the request would be sent long
    after its time. So the time actually waited since the first answer counts as well.

    Args:
        run: the run; its last answer is stored.
        until: its `retry_conflict_until`.
    """
    asked = until - run.requested_at
    first = run.posts.filter(answered_at__isnull=False).order_by("attempt").first()
    if first is None or first.answered_at is None:
        return asked
    # Both by the clock at the time of the first answer, unless it was set back before that.
    left = min(until - first.answered_at, asked)
    return left - timedelta(seconds=uptime.since(first.step_uptime))
