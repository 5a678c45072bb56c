"""Wrong ways to decide, which the timelines must find out: what tests nothing is worth nothing.

The one place that knows how the services decide, besides the tasks that `driver` runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

from django.conf import settings

from backups.choices import Evidence
from backups.css_api.types import JobType, LogRecord, LogRecords
from backups.models import BackupRun, Post
from backups.rules.matching import Match, record_key, record_keys
from backups.services.runs import correcting, following, importing, posts, sending
from backups.services.runs.call_log import Baseline

_MODULES = (posts, sending, following, correcting, importing)


@contextmanager
def _replaced(name: str, value: Callable[..., Any]) -> Iterator[None]:
    """Put another function in the place of one, wherever it was imported."""
    with ExitStack() as stack:
        for module in _MODULES:
            if hasattr(module, name):
                stack.enter_context(mock.patch.object(module, name, value))
        yield


@contextmanager
def the_earliest_in_the_window() -> Iterator[None]:
    """How it was decided before: clocks give or take the skew, and the newest of the baseline."""

    def match_post(
        post: Post, reading: LogRecords, _posts: Iterable[Post], taken: set[str], **_kept: Any
    ) -> Match:
        found = [
            record
            for record in reading.rows
            if record.job_type is JobType.MANUAL
            and not record_keys(record) & taken
            and _in_the_old_window(record, post, reading)
        ]
        if not found:
            return Match()
        first = min(found, key=lambda record: record.created_at or post.sent_at)
        return Match(first, Evidence.INFERRED, (first,))

    with _replaced("match_post", match_post):
        yield


def _in_the_old_window(record: LogRecord, post: Post, reading: LogRecords) -> bool:
    skew = timedelta(seconds=300)
    created = record.created_at
    if created is None:
        return False
    known = [r for r in reading.rows if record_keys(r) & set(post.baseline or ())]
    newest = max((r.created_at for r in known if r.created_at), default=None)
    if newest is not None:
        keys = {record_key(r) for r in known if r.created_at == newest}
        if record_key(record) in keys or created < newest:
            return False
    answered = post.answered_at or post.sent_at + timedelta(seconds=65)
    return post.sent_at - skew <= created <= answered + skew


@contextmanager
def a_baseline_of_the_newest_alone() -> Iterator[None]:
    """Of the records that are listed before the POST only the newest is remembered."""
    whole = sending.baseline_of

    def baseline_of(reading: LogRecords | None) -> Baseline:
        if reading is None or not reading.rows:
            return whole(reading)
        return whole(LogRecords(reading.rows[:1], reading.date))

    with _replaced("baseline_of", baseline_of):
        yield


@contextmanager
def no_rivals() -> Iterator[None]:
    """Windows of other POSTs are ignored."""
    match_post = posts.match_post

    def alone(
        post: Post, reading: LogRecords, _posts: Iterable[Post], taken: set[str], **kept: Any
    ) -> Match:
        return match_post(post, reading, (), taken, **kept)

    with _replaced("match_post", alone):
        yield


@contextmanager
def not_started_at_once() -> Iterator[None]:
    """A request is called not started while its window is still open."""
    waited = following._waited

    def _waited(run: BackupRun, ticked: float) -> float:
        return waited(run, ticked) + settings.BACKUP_SETTLE_GRACE

    with (
        _replaced("is_closed", lambda *_args: True),
        mock.patch.object(following, "_waited", _waited),
    ):
        yield


MUTANTS = (
    the_earliest_in_the_window,
    a_baseline_of_the_newest_alone,
    no_rivals,
    not_started_at_once,
)
