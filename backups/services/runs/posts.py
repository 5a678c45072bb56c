"""POSTs as rows: their windows in the cloud's time, and which of them compete for a record.

A POST's row is made with the fence (services.calls). `close` and `credit` keep it in step with its
run; `learn_date` closes the windows of unanswered POSTs. docs/run-states.md has the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

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

LONGEST_KEY = 64
MOST = 100  # POSTs of a cluster that are held against a reading; older ones have been, many times
OPEN = ("open", "accepted")
_LATELY = 5
UNLIMITED = datetime.max.replace(tzinfo=UTC)
# The gateway turned it away, or the service did before it began: nothing happens after the answer.
_PROMPT = frozenset({429, 503})


def tolerance() -> timedelta:
    """How far the clocks behind the cloud's `Date` and its jobs' times may differ."""
    return timedelta(seconds=settings.BACKUP_DATE_TOLERANCE)


def skew() -> timedelta:
    """How far the cloud's clock may be off from ours."""
    return timedelta(seconds=settings.BACKUP_CLOCK_SKEW)


def stored_key(record: LogRecord) -> str:
    """A record's key as `BackupRun.job_id` holds it."""
    return record_key(record)[:LONGEST_KEY]


def stored_keys(records: Iterable[LogRecord]) -> set[str]:
    """Both ids of records, as `BackupRun.job_id` and `record_id` hold them."""
    return {key[:LONGEST_KEY] for record in records for key in record_keys(record)}


def window_of(post: Post) -> PostWindow:
    """When, in the cloud's time, the job of a POST can have been created."""
    limit, waited = tolerance(), post.answered_at or post.sent_at + longest_exchange()
    accepted = _is_accepted(post)
    took = max(waited - post.sent_at, timedelta(0))
    late = timedelta(0)
    if not accepted and not _is_prompt(post):  # what the window is widened by is part of it
        late = max(timedelta(seconds=settings.BACKUP_SETTLE_GRACE) - SECOND - limit, late)
    if post.date_before is not None:
        earliest = post.date_before - limit
        if post.date_after is not None and post.date_after - took < post.date_before:
            earliest = post.date_after - took - limit
    elif post.date_after is not None and post.answered_at is not None and post.status is not None:
        earliest = post.date_after - took - limit
    else:
        earliest = post.sent_at - skew()
        if post.date_after is not None:  # by it the cloud may be off by more
            earliest = min(earliest, post.date_after - took - limit)
    certain = post.date_after + SECOND + late + limit if post.date_after is not None else None
    if certain is not None and post.date_before is not None:
        certain = max(certain, post.date_before + took + SECOND + late + limit)
    elif certain is not None and post.status is None:
        # how long ago it ended is not known well (_waited): our own clock of then has its say
        certain = min(certain, waited + skew() + late + limit)
    if late and post.date_closed is None and post.date_after is not None:
        # Until a reading has come the grace time later, by our own clock: the cloud's may be set.
        latest = UNLIMITED
    elif post.date_after is not None:
        latest = post.date_after + SECOND + late + limit
        if post.date_before is not None and post.date_after < post.date_before:
            latest = max(latest, post.date_before + took + SECOND + late + limit)
        if post.date_closed is not None and late:
            latest = max(latest, post.date_closed + SECOND)
    elif post.date_closed is not None:
        latest = post.date_closed  # by our own clock: no reading had a Date
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
    """How long a request can have been under way whose sender died."""
    return timedelta(seconds=settings.CSS_CONNECT_TIMEOUT + settings.CSS_TOTAL_TIMEOUT)


def same_cluster(subject: BackupRun | Cluster | Post) -> Q:
    """The condition for rows of one cluster of the cloud, through whichever entry."""
    if isinstance(subject, Cluster):
        return Q(
            project_id_in_cloud=subject.project.project_id, cluster_cloud_id=subject.cluster_id
        )
    return Q(
        project_id_in_cloud=subject.project_id_in_cloud, cluster_cloud_id=subject.cluster_cloud_id
    )


def taken_by(run: BackupRun) -> int | None:
    """The run whose POST keeps a run's cluster, through another entry; None: it is free."""
    active = Post.objects.filter(same_cluster(run), active=True).exclude(run=run)
    return active.values_list("run_id", flat=True).first()


def without_job(subject: BackupRun | Cluster) -> list[Post]:
    """All POSTs to a cluster that may have made a job which is not known yet, newest first."""
    posts = Post.objects.filter(same_cluster(subject), result__in=OPEN, job_id="")
    return list(posts.select_related("run").order_by("-id")[:MOST])


def lately_open(run: BackupRun) -> list[Post]:
    """The cluster's latest POSTs that were not refused, with or without a job, newest first.

    A job that was inferred may be an outsider's, and the POST's own one be created yet.
    """
    posts = Post.objects.filter(same_cluster(run), result=Post.Result.OPEN)
    return list(posts.select_related("run").order_by("-id")[:_LATELY])


def earlier_posts(run: BackupRun) -> tuple[list[Post], list[Post]]:
    """`lately_open` and `without_job` of a run's cluster, in one query."""
    posts = Post.objects.filter(same_cluster(run), result__in=OPEN).select_related("run")
    found = list(posts.filter(Q(job_id="") | Q(result=Post.Result.OPEN)).order_by("-id")[:MOST])
    if len(found) == MOST:  # either may have more
        return lately_open(run), without_job(run)
    lately = [post for post in found if post.result == Post.Result.OPEN][:_LATELY]
    return lately, [post for post in found if not post.job_id]


def without_job_each(runs: Sequence[BackupRun]) -> dict[int, list[Post]]:
    """`without_job` of several runs' clusters, by the run's primary key, in one query."""
    posts = Post.objects.filter(_same_clusters(runs), result__in=OPEN, job_id="")
    found: dict[tuple[str, str], list[Post]] = {}
    for post in posts.select_related("run").order_by("-id"):
        found.setdefault(_place(post), []).append(post)
    return {run.pk: found.get(_place(run), [])[:MOST] for run in runs}


def _place(subject: BackupRun | Post) -> tuple[str, str]:
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
    """Ids of records that rows of the history have already, whichever entry they came through."""
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
    """`taken_keys` for several runs that look for their jobs, each but for its own, in one query.

    Args:
        read: runs, and the records of their clusters.
    """
    keys = {key for run, records in read if run.job_id is None for key in stored_keys(records)}
    found: list[tuple[int, tuple[str, str], set[str]]] = []
    if keys:
        rows = BackupRun.objects.filter(_same_clusters([run for run, _ in read])).filter(
            Q(job_id__in=keys) | Q(record_id__in=keys)
        )
        columns = ("pk", "project_id_in_cloud", "cluster_cloud_id", "job_id", "record_id")
        for pk, project, cluster, *ids in rows.values_list(*columns):
            found.append((pk, (project, cluster), {key for key in ids if key}))
    return {
        run.pk: _with_both_ids(
            {key for pk, at, ids in found if pk != run.pk and at == _place(run) for key in ids},
            records,
        )
        for run, records in read
    }


def _with_both_ids(found: set[str], records: Iterable[LogRecord]) -> set[str]:
    """With either id of a record both are taken."""
    return {key for r in records if stored_keys([r]) & found for key in record_keys(r)} | found


def match_post(
    post: Post,
    reading: LogRecords,
    posts: Iterable[Post],
    taken: set[str],
) -> Match:
    """The record of a POST's job; see `matching.match`.

    Args:
        post: the POST.
        reading: its cluster's records.
        posts: `without_job` of its cluster.
        taken: `taken_keys` of the reading.
    """
    others = [other for other in posts if other.pk != post.pk]
    found = match(reading, window_of(post), [window_of(other) for other in others], taken)
    if found.record is None and _is_accepted(post) and post.baseline is not None:
        # It runs although this POST was accepted, so none that was answered before has made it.
        later = [o for o in others if o.pk > post.pk or not (_is_accepted(o) or _is_prompt(o))]
        running = match(reading, window_of(post), [window_of(other) for other in later], taken)
        if running.record is not None and running.record.status is RecordStatus.RUNNING:
            return replace(running, evidence=Evidence.INFERRED)
    return found


def _is_accepted(post: Post) -> bool:
    return post.result == Post.Result.ACCEPTED


def _is_prompt(post: Post) -> bool:
    return post.status in _PROMPT


def learn_date(posts: Iterable[Post], date: datetime | None) -> None:
    """Close the windows of unanswered POSTs by the `Date` of a reading that came after them.

    A second time by the first reading that came the grace time later: the cloud's clock may have
    been set meanwhile.

    Args:
        posts: those without a job, loaded before the reading began: a request that is still under
            way is left alone.
        date: of the reading; None where its answer had none, and our clock has to do.
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
                # less than 0: it may be under way for so long
                changes["date_after"] = date - waited
            if waited >= grace:
                changes["date_closed"] = date - (waited - grace)
            elif waited < timedelta(0) and post.date_after and date - post.date_after >= grace:
                # our own clock was set back: the cloud's has to do
                changes["date_closed"] = post.date_after + grace
        if changes and Post.objects.filter(pk=post.pk, result=post.result).update(**changes):
            for name, value in changes.items():
                setattr(post, name, value)


def _waited(post: Post, now: datetime, date: datetime | None, ticked: float) -> timedelta:
    """The time since a request was answered, or has ended for all that is known; may be negative.

    Our wall clock may have been set meanwhile. What the product has ticked is the least that has
    passed, since it stands still while nobody sweeps; what the cloud's clock says is the most,
    unless that was set back itself. Where the cloud's clock does not tell, the least counts: a
    window that is too long leaves a run unverified, one that is too short calls it not started.

    Args:
        post: the POST.
        now: our wall clock.
        date: the cloud's, None where it is not known.
        ticked: `uptime.now()`.
    """
    exchange = post.answered_at - post.sent_at if post.answered_at else longest_exchange()
    waited = now - post.sent_at - exchange
    if post.step_uptime is None:  # of an earlier version
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
    """How long windows of earlier POSTs may still grow into that of a POST that is sent now.

    Args:
        posts: the earlier ones.
        date: the cloud's time, None where it is not known: then there is nothing to compare, and
            those wait that may still be processed.
    """
    limit = tolerance()
    longest = timedelta(0)
    if not (posts := list(posts)):
        return longest
    now, ticked = timezone.now(), uptime.now()
    grace = timedelta(seconds=settings.BACKUP_SETTLE_GRACE)
    for post in posts:
        if date is None:
            if post.result == Post.Result.OPEN and not _is_prompt(post):
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
    # a `Date` that is far ahead is wrong, and not worth waiting for
    return longest if longest <= longest_late() else timedelta(0)


def longest_late() -> timedelta:
    """How far the end of a POST's window can lie after the reading that closed it."""
    late = timedelta(seconds=settings.BACKUP_SETTLE_GRACE)
    return late + longest_exchange() + 2 * tolerance() + 3 * SECOND


def is_closed(post: Post, date: datetime | None, read_at: datetime, ticked: float) -> bool:
    """Whether a reading came after all that a POST can have started.

    Args:
        post: the POST.
        date: the reading's `Date`; None where it had none, and our own clock has to do.
        read_at: when the reading began, our clock.
        ticked: `uptime.now()` of the same moment.
    """
    # Of a worker that died nobody knows for how long its request was under way: the window stays
    # open longer than its run waits, which is corrected where its job is listed after all.
    if post.answered_at is None and post.status is None:
        return True
    if date is None:
        grace = timedelta(seconds=settings.BACKUP_SETTLE_GRACE)
        return _waited(post, read_at, None, ticked) >= grace
    if post.date_closed is not None and date >= post.date_closed:
        return True  # this reading, or one before it, came the grace time after the request
    return date > window_of(post).latest


def note_result(
    run: BackupRun, verdict: Verdict, result: Answer | CssApiError, at: datetime
) -> None:
    """Store in the POST's row what its request came to; in the transaction that moves its run.

    Args:
        run: the run, at the attempt that was made.
        verdict: what the result means.
        result: the answer, or the error that stands in its place.
        at: when it came, our clock.
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
    Post.objects.filter(run=run, attempt=run.attempt, result=Post.Result.OPEN, job_id="").update(
        **changes
    )


def release(run: BackupRun) -> None:
    """Let other POSTs to the cluster be sent: the run waits for none of its own any more."""
    Post.objects.filter(run=run, active=True).update(active=False)


def credit(post: Post, key: str, evidence: Evidence) -> None:
    """Note a POST's job: it competes for no other record from here on.

    Where no `Date` tells windows apart, a job that was inferred may be an outsider's, and the
    POST's own one be listed yet: it goes on competing.

    Args:
        post: the POST.
        key: its job's.
        evidence: how well that is known.
    """
    changes: dict[str, object] = {"active": False}
    if evidence is Evidence.PROVEN or is_dated(post):
        changes["job_id"] = key
    Post.objects.filter(pk=post.pk).update(**changes)


def is_dated(post: Post) -> bool:
    """Whether a `Date` of the cloud bounds a POST's window."""
    return post.date_before is not None or post.date_after is not None
