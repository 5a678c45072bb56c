"""Stored POSTs: their windows in the cloud's time, and which of them compete for a record.

The fence (call_log.py) creates a POST's row. `note_result`, `credit` and `release` update it with
its run, and `learn_date` closes the windows of unanswered POSTs. docs/run-states.md has the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from backups import uptime
from backups.choices import Evidence, Outcome, RunState
from backups.css_api.errors import CssApiError
from backups.css_api.types import Answer, LogRecord, LogRecords, RecordStatus
from backups.models import BackupRun, Cluster, Post
from backups.rules.matching import SECOND, Match, PostWindow, match, record_key, record_keys
from backups.rules.outcomes import Next, Verdict
from dashboard.db.prepared import Param, Prepared

LONGEST_KEY = 64
MOST = 100  # POSTs of a cluster compared with a reading; older ones were compared many times
OPEN = ("open", "accepted")
_LATELY = 5
UNLIMITED = datetime.max.replace(tzinfo=UTC)
MOST_KEYS = 50  # for which a prepared statement is kept, one for each number


def _at_place() -> Q:
    return Q(project_id_in_cloud=Param("project"), cluster_cloud_id=Param("cluster"))


# `earlier_posts` and `without_job` of one cluster
_EARLIER = Prepared(
    lambda: Post.objects.filter(
        _at_place(), Q(job_id="") | Q(result=Post.Result.OPEN), result__in=OPEN
    ).order_by("-id")[:MOST]
)
_WITHOUT_JOB = Prepared(
    lambda: Post.objects.filter(_at_place(), result__in=OPEN, job_id="").order_by("-id")[:MOST]
)
# the POST of an attempt, while its result is open; those that hold a cluster; any one
_UNDER_WAY = Prepared(
    lambda: Post.objects.filter(
        run=Param("run"), attempt=Param("attempt"), result=Post.Result.OPEN, job_id=""
    )
)
_HOLDING = Prepared(lambda: Post.objects.filter(run=Param("run"), active=True))
_POST = Prepared(lambda: Post.objects.filter(pk=Param("pk")))


def tolerance() -> timedelta:
    """Maximum difference between the clocks behind the cloud's `Date` and its jobs' times."""
    return timedelta(seconds=settings.BACKUP_DATE_TOLERANCE)


def skew() -> timedelta:
    """Maximum difference between the cloud's clock and ours."""
    return timedelta(seconds=settings.BACKUP_CLOCK_SKEW)


def stored_key(record: LogRecord) -> str:
    """A record's key as stored in `BackupRun.job_id`."""
    return record_key(record)[:LONGEST_KEY]


def stored_keys(records: Iterable[LogRecord]) -> set[str]:
    """Both ids of records, as stored in `BackupRun.job_id` and `record_id`."""
    return {key[:LONGEST_KEY] for record in records for key in record_keys(record)}


def window_of(post: Post) -> PostWindow:
    """The time, on the cloud's clock, in which the job of a POST can have been created."""
    limit, waited = tolerance(), post.answered_at or post.sent_at + longest_exchange()
    accepted = _is_accepted(post)
    took = max(waited - post.sent_at, timedelta(0))
    late = timedelta(0)
    if not accepted:  # without SECOND and limit, which are added below
        late = max(timedelta(seconds=settings.BACKUP_SETTLE_GRACE) - SECOND - limit, late)
    if post.date_before is not None:
        earliest = post.date_before - limit
        if post.date_after is not None and post.date_after - took < post.date_before:
            earliest = post.date_after - took - limit
    elif post.date_after is not None and post.answered_at is not None and post.status is not None:
        earliest = post.date_after - took - limit
    else:
        earliest = post.sent_at - skew()
        if post.date_after is not None:  # it may show a larger difference of the clocks
            earliest = min(earliest, post.date_after - took - limit)
    certain = post.date_after + SECOND + late + limit if post.date_after is not None else None
    if certain is not None and post.date_before is not None:
        certain = max(certain, post.date_before + took + SECOND + late + limit)
    elif certain is not None and post.status is None:
        # The time since the request ended is uncertain (`_waited`), so our own clock at that time
        # is a limit as well.
        certain = min(certain, waited + skew() + late + limit)
    if late and post.date_closed is None and post.date_after is not None:
        # Open until a reading comes the grace time later by our own clock: the cloud's may be set.
        latest = UNLIMITED
    elif post.date_after is not None:
        latest = post.date_after + SECOND + late + limit
        if post.date_before is not None and post.date_after < post.date_before:
            latest = max(latest, post.date_before + took + SECOND + late + limit)
        if post.date_closed is not None and late:
            latest = max(latest, post.date_closed + SECOND)
    elif post.date_closed is not None:
        latest = post.date_closed  # on our own clock, because no reading had a Date
    elif post.status is None and not accepted:
        latest = UNLIMITED  # no reading has come after it
    else:  # an answer without a Date
        latest = waited + late + skew()
    return PostWindow(
        earliest=earliest,
        latest=latest,
        certain=certain if late else None,
        accepted=accepted,
        answered=post.date_after if accepted and post.status is not None else None,
        tolerance=limit,
        skew=skew(),
        dated=is_dated(post),
        baseline=None if post.baseline is None else frozenset(post.baseline),
    )


def longest_exchange() -> timedelta:
    """Maximum time that a request can have been under way if its sender died."""
    return timedelta(seconds=settings.CSS_CONNECT_TIMEOUT + settings.CSS_TOTAL_TIMEOUT)


def same_cluster(subject: BackupRun | Cluster | Post) -> Q:
    """The condition for rows of one cluster of the cloud, through any entry of clouds.yaml."""
    project, cluster = _place(subject)
    return Q(project_id_in_cloud=project, cluster_cloud_id=cluster)


def taken_by(run: BackupRun) -> int | None:
    """The run whose active POST holds the same cluster through another entry; None if free."""
    active = Post.objects.filter(same_cluster(run), active=True).exclude(run=run)
    return active.values_list("run_id", flat=True).first()


def without_job(subject: BackupRun | Cluster) -> list[Post]:
    """The POSTs to a cluster that may have created a job that is not known yet, newest first."""
    project, cluster = _place(subject)
    if not _WITHOUT_JOB.fetch(project=project, cluster=cluster):
        return []  # the usual answer, without their runs
    posts = Post.objects.filter(same_cluster(subject), result__in=OPEN, job_id="")
    return list(posts.select_related("run").order_by("-id")[:MOST])


def lately_open(run: BackupRun) -> list[Post]:
    """The cluster's latest POSTs with an open result, with or without a job, newest first.

    An inferred job may be somebody else's, and the POST's own job may still be created.
    """
    posts = Post.objects.filter(same_cluster(run), result=Post.Result.OPEN)
    return list(posts.select_related("run").order_by("-id")[:_LATELY])


def earlier_posts(run: BackupRun) -> tuple[list[Post], list[Post]]:
    """`lately_open` and `without_job` of a run's cluster, in one query."""
    found = _EARLIER.fetch(project=run.project_id_in_cloud, cluster=run.cluster_cloud_id)
    if len(found) == MOST:  # there may be more of either
        return lately_open(run), without_job(run)
    lately = [post for post in found if post.result == Post.Result.OPEN][:_LATELY]
    return lately, [post for post in found if not post.job_id]


def without_job_each(runs: Sequence[BackupRun]) -> dict[int, list[Post]]:
    """`without_job` of several runs' clusters, by the run's primary key, in one query."""
    if not runs:  # no condition would select every cluster
        return {}
    # Without their runs, which are wide rows, and wanted only of the POSTs of dead workers.
    if len(places := {_place(run) for run in runs}) == 1:
        ((project, cluster),) = places
        same = _WITHOUT_JOB.fetch(project=project, cluster=cluster)
        return {run.pk: same for run in runs}
    posts = Post.objects.filter(_same_clusters(runs), result__in=OPEN, job_id="")
    found: dict[tuple[str, str], list[Post]] = {}
    for post in posts.order_by("-id"):
        found.setdefault(_place(post), []).append(post)
    return {run.pk: found.get(_place(run), [])[:MOST] for run in runs}


def _place(subject: BackupRun | Cluster | Post) -> tuple[str, str]:
    if isinstance(subject, Cluster):
        return subject.project.project_id, subject.cluster_id
    return subject.project_id_in_cloud, subject.cluster_cloud_id


def _same_clusters(runs: Iterable[BackupRun]) -> Q:
    """`same_cluster` for several runs."""
    condition = Q()
    for project, places in _by_project(runs).items():
        condition |= Q(project_id_in_cloud=project, cluster_cloud_id__in=sorted(places))
    return condition


def _by_project(runs: Iterable[BackupRun]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for run in runs:
        found.setdefault(run.project_id_in_cloud, set()).add(run.cluster_cloud_id)
    return found


def taken_keys(
    subject: BackupRun | Cluster, records: Iterable[LogRecord], but: BackupRun | None = None
) -> set[str]:
    """Ids of records that the history already has, through any entry of clouds.yaml."""
    keys = stored_keys(records)
    rows = BackupRun.objects.filter(same_cluster(subject)).filter(
        Q(job_id__in=keys) | Q(record_id__in=keys)
    )
    if but is not None:
        rows = rows.exclude(pk=but.pk)
    found = {key for row in rows.values_list("job_id", "record_id") for key in row if key}
    return _with_both_ids(found, records)


def taken_keys_each(
    read: Sequence[tuple[BackupRun, Sequence[LogRecord]]],
) -> dict[int, set[str]]:
    """`taken_keys` for several runs, each without the keys of its own row, in one query.

    Args:
        read: runs that look for their jobs, and the records of their clusters.
    """
    keys = {key for run, records in read if run.job_id is None for key in stored_keys(records)}
    found: list[tuple[int, tuple[str, str], set[str]]] = []
    if keys:
        for pk, project, cluster, *ids in _rows_with_keys([run for run, _ in read], keys):
            found.append((pk, (project, cluster), {key for key in ids if key}))
    return {
        run.pk: _with_both_ids(
            {key for pk, at, ids in found if pk != run.pk and at == _place(run) for key in ids},
            records,
        )
        for run, records in read
    }


_KEYED = ("pk", "project_id_in_cloud", "cluster_cloud_id", "job_id", "record_id")


def _rows_with_keys(runs: Sequence[BackupRun], keys: set[str]) -> Iterable[tuple[Any, ...]]:
    """The columns _KEYED of the clusters' runs that have one of the keys."""
    if len({_place(run) for run in runs}) == 1 and len(keys) <= MOST_KEYS:
        given = {f"key{number}": key for number, key in enumerate(keys)}
        project, cluster = _place(runs[0])
        return _with_keys(len(keys)).fetch(project=project, cluster=cluster, **given)
    rows = BackupRun.objects.filter(_same_clusters(runs))
    return rows.filter(Q(job_id__in=keys) | Q(record_id__in=keys)).values_list(*_KEYED)


@cache
def _with_keys(number: int) -> Prepared[BackupRun]:
    keys = [Param(f"key{each}") for each in range(number)]
    known = Q(job_id__in=keys) | Q(record_id__in=keys)
    return Prepared(lambda: BackupRun.objects.filter(_at_place(), known).values_list(*_KEYED))


def _with_both_ids(found: set[str], records: Iterable[LogRecord]) -> set[str]:
    """Add both ids of each record that has one of them in `found`."""
    return {key for r in records if stored_keys([r]) & found for key in record_keys(r)} | found


def match_post(
    post: Post,
    reading: LogRecords,
    posts: Iterable[Post],
    taken: set[str],
) -> Match:
    """Find the record of a POST's job; see `matching.match`.

    Args:
        post: the POST.
        reading: its cluster's records.
        posts: `without_job` of its cluster.
        taken: `taken_keys` of the reading.
    """
    others = [other for other in posts if other.pk != post.pk]
    found = match(reading, window_of(post), [window_of(other) for other in others], taken)
    if found.record is None and _is_accepted(post) and post.baseline is not None:
        # The cloud runs one log backup of a cluster at a time. If the job of an earlier POST were
        # still running, this POST would have been refused.
        later = [o for o in others if o.pk > post.pk or not _was_over(o, post)]
        running = match(reading, window_of(post), [window_of(other) for other in later], taken)
        if running.record is not None and running.record.status is RecordStatus.RUNNING:
            return replace(running, evidence=Evidence.INFERRED)
    return found


def _is_accepted(post: Post) -> bool:
    return post.result == Post.Result.ACCEPTED


def _was_over(earlier: Post, post: Post) -> bool:
    """Whether the job of an earlier POST, if any, had been created when a POST was sent.

    Both clocks must say that the grace time had passed, because the wall clock may be set.
    """
    if _is_accepted(earlier):
        return True
    if earlier.answered_at is None:
        return False
    grace = settings.BACKUP_SETTLE_GRACE
    passed = (post.sent_at - earlier.answered_at).total_seconds()
    return min(passed, uptime.since(earlier.step_uptime, post.step_uptime)) >= grace


def learn_date(posts: Iterable[Post], date: datetime | None) -> None:
    """Close the windows of unanswered POSTs with the `Date` of a reading that came after them.

    The first reading that comes the grace time later closes them a second time, because the
    cloud's clock may have been set in between.

    Args:
        posts: POSTs without a job, loaded before the reading began; a request that is still under
            way is skipped.
        date: `Date` of the reading; None if its answer had none, and our own clock is used.
    """
    waiting = [p for p in posts if p.result == Post.Result.OPEN and p.date_closed is None]
    if not waiting:
        return
    now, ticked = timezone.now(), uptime.now()
    for post in waiting:
        under_way = post.answered_at is None and post.run.run_state is RunState.SENDING
        if under_way and post.attempt == post.run.attempt:
            continue
        grace = timedelta(seconds=settings.BACKUP_SETTLE_GRACE)
        ended = post.answered_at or post.sent_at + longest_exchange()
        waited = _waited(post, now, date, ticked)
        changes = {}
        if date is None:
            if post.date_after is None and post.status is None:
                changes["date_closed"] = ended + grace + skew()
        else:
            if post.date_after is None and post.status is None:
                # A negative time means that the request may still be under way for so long.
                changes["date_after"] = date - waited
            if waited >= grace:
                changes["date_closed"] = date - (waited - grace)
            elif waited < timedelta(0) and post.date_after and date - post.date_after >= grace:
                # Our own clock was set back, so use the cloud's.
                changes["date_closed"] = post.date_after + grace
        if changes and Post.objects.filter(pk=post.pk, result=post.result).update(**changes):
            for name, value in changes.items():
                setattr(post, name, value)


def _waited(post: Post, now: datetime, date: datetime | None, ticked: float) -> timedelta:
    """Time since a request was answered, or else since its timeouts passed; may be negative.

    Our wall clock may have been set in between. The product's own clock gives a lower bound,
    because it stands still while no worker sweeps. The cloud's clock gives an upper bound, unless
    it was set back itself. Without the cloud's clock the lower bound is used: a window that is too
    long leaves a run unverified, but one that is too short calls it not started.

    Args:
        post: the POST.
        now: our wall clock.
        date: the cloud's time, None if not known.
        ticked: `uptime.now()`.
    """
    exchange = post.answered_at - post.sent_at if post.answered_at else longest_exchange()
    waited = now - post.sent_at - exchange
    if post.step_uptime is None:  # stored by an earlier version
        return waited
    least = timedelta(seconds=uptime.since(post.step_uptime, ticked))
    if post.answered_at is None:
        least -= longest_exchange()
    if date is None or post.date_before is None:
        return least
    longest = min(max(exchange, timedelta(0)), longest_exchange())
    most = date - post.date_before - longest + 2 * SECOND
    return max(min(waited, most), least)


def open_for(posts: Iterable[Post], date: datetime | None) -> timedelta:
    """How long the windows of earlier POSTs may still overlap that of a POST that is sent now.

    Args:
        posts: the earlier POSTs.
        date: the cloud's time, None if not known: then windows cannot be compared, and the result
            covers the POSTs that may still be processed.
    """
    limit = tolerance()
    longest = timedelta(0)
    if not (posts := list(posts)):
        return longest
    now, ticked = timezone.now(), uptime.now()
    grace = timedelta(seconds=settings.BACKUP_SETTLE_GRACE)
    for post in posts:
        if date is None:
            if post.result == Post.Result.OPEN:
                longest = max(longest, grace - _waited(post, now, date, ticked) + SECOND)
            continue
        if post.date_after is None:
            continue
        latest = window_of(post).latest
        if latest == UNLIMITED:
            waited = _waited(post, now, date, ticked)
            longest = max(longest, grace - waited + SECOND)
        else:
            longest = max(longest, latest - (date - limit) + SECOND)
    # A `Date` that is far ahead is wrong, so do not wait for it.
    return longest if longest <= longest_late() else timedelta(0)


def longest_late() -> timedelta:
    """Maximum time from the reading that closed a POST's window to the end of that window."""
    late = timedelta(seconds=settings.BACKUP_SETTLE_GRACE)
    return late + longest_exchange() + 2 * tolerance() + 3 * SECOND


def is_closed(post: Post, date: datetime | None, read_at: datetime, ticked: float) -> bool:
    """Whether a reading came after everything that a POST can have started.

    Args:
        post: the POST.
        date: the reading's `Date`; None if it had none, and our own clock is used.
        read_at: when the reading began, on our clock.
        ticked: `uptime.now()` at the same time.
    """
    # It is not known how long the request of a dead worker was under way. Its window stays open
    # longer than its run waits, and the run is corrected if its job is listed later.
    if post.answered_at is None and post.status is None:
        return True
    if date is None:
        grace = timedelta(seconds=settings.BACKUP_SETTLE_GRACE)
        return _waited(post, read_at, None, ticked) >= grace
    if post.date_closed is not None and date >= post.date_closed:
        return True  # this reading or an earlier one came the grace time after the request
    return date > window_of(post).latest


def note_result(
    run: BackupRun, verdict: Verdict, result: Answer | CssApiError, at: datetime
) -> None:
    """Store the result of a request in its POST's row, in the transaction that moves its run.

    Args:
        run: the run, at the attempt of the POST.
        verdict: the classified result.
        result: the answer, or the error if there is none.
        at: when it came, on our clock.
    """
    answer = result if isinstance(result, Answer) else None
    if verdict.outcome is Outcome.ACCEPTED:
        kind = Post.Result.ACCEPTED
    elif verdict.next is Next.SETTLE or (answer is not None and answer.status == 503):
        kind = Post.Result.OPEN
    else:
        kind = Post.Result.REFUSED
    changes: dict[str, object] = {"result": kind, "answered_at": at}
    changes["step_uptime"] = uptime.stamp()
    if answer is not None:
        changes |= {"status": answer.status, "date_after": answer.date}
    if kind is Post.Result.REFUSED:
        changes["active"] = False
    _UNDER_WAY.update(changes, run=run.pk, attempt=run.attempt)


def release(run: BackupRun) -> None:
    """Allow other POSTs to the cluster, because the run no longer waits for one of its own."""
    _HOLDING.update({"active": False}, run=run.pk)


def credit(post: Post, key: str, evidence: Evidence) -> None:
    """Store a POST's job, so that the POST competes for no other record from now on.

    If no `Date` bounds its window, an inferred job may be somebody else's, and the POST's own job
    may still be listed. Then the POST continues to compete.

    Args:
        post: the POST.
        key: key of the job.
        evidence: how certain it is that the POST created the job.
    """
    changes: dict[str, object] = {"active": False}
    if evidence is Evidence.PROVEN or is_dated(post):
        changes["job_id"] = key
    _POST.update(changes, pk=post.pk)


def is_dated(post: Post) -> bool:
    """Whether a `Date` of the cloud bounds a POST's window."""
    return post.date_before is not None or post.date_after is not None
