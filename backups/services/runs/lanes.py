"""How many threads of this worker send requests for one project, and which runs they send.

A project whose cloud hangs holds each thread for as long as an exchange may take. So at first at
most half of the threads are for one project, and a request for another finds one free. Batches get
one less, so that a single request for the same project does, too. A project that answers quickly
gets one more with each request that ended within SLOW seconds, up to four fifths of the threads,
until a request takes longer or none is under way.

A thread that finds no lane waits for one, because putting the run off costs as much as sending it.
At most a quarter of the threads wait.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models import Case, F, When
from django.utils import timezone

from backups.choices import RunState
from backups.models import BackupRun
from backups.services import rate
from backups.services.jitter import jittered

from .requests import IN_BATCHES

LANE_PAUSE = 1.0  # seconds for which a thread waits for a lane, and then its run, spread

SLOW = 2.0  # seconds; a project with a request under way for longer gets no more than half

# The runs that this process is sending, counted because a message may be delivered twice.
_sending: Counter[int] = Counter()
_sending_lock = threading.Lock()


@dataclass(slots=True)
class _Project:
    """Requests under way for a project.

    Attributes:
        began: when each of them took its lane, on the monotonic clock, oldest first.
        extra: lanes that it has earned beyond half of the threads.
    """

    began: dict[object, float] = field(default_factory=dict)
    extra: int = 0


class Lanes:
    """Counts the threads that send, by project.

    Args:
        threads: of this worker; None: they are not limited, as in commands and tests.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._changed = threading.Condition()
        self._projects: dict[int, _Project] = {}
        self._waiting = 0
        self.threads = threads

    @contextmanager
    def enter(self, project_id: int, *, batch: bool, patience: float = 0.0) -> Iterator[bool]:
        """Take a lane while the block runs.

        Args:
            project_id: primary key.
            batch: the request belongs to a batch.
            patience: seconds to wait for a lane, if not too many threads wait already.

        Yields:
            False if all lanes of the project are taken: send nothing.
        """
        mark = object()
        with self._changed:
            free = self._is_free(project_id, batch=batch)
            if not free and patience and self._waiting < max((self.threads or 0) // 4, 1):
                self._waiting += 1
                try:
                    free = self._changed.wait_for(
                        lambda: self._is_free(project_id, batch=batch), patience
                    )
                finally:
                    self._waiting -= 1
            if free:
                self._projects.setdefault(project_id, _Project()).began[mark] = time.monotonic()
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._leave(project_id, mark)

    def _is_free(self, project_id: int, *, batch: bool) -> bool:
        if self.threads is None:
            return True
        half = max(self.threads // 2, 1)
        if (project := self._projects.get(project_id)) is None:
            return True
        oldest = next(iter(project.began.values()))
        if time.monotonic() - oldest > SLOW:
            project.extra = 0
        busy = len(project.began)
        if busy < max(half - 1 if batch else half, 1):
            return True
        limit = min(half + project.extra, self.threads * 4 // 5)
        in_all = sum(len(each.began) for each in self._projects.values())
        return busy < limit - int(batch) and in_all < self.threads * 4 // 5

    def _leave(self, project_id: int, mark: object) -> None:
        project = self._projects[project_id]
        took = time.monotonic() - project.began.pop(mark)
        project.extra = project.extra + 1 if took <= SLOW else 0
        project.extra = min(project.extra, self.threads or 0)
        if not project.began:
            del self._projects[project_id]
        self._changed.notify_all()


LANES = Lanes()


@contextmanager
def lane_for(run: BackupRun) -> Iterator[bool]:
    """Take one of the threads that may send for the run's project , and its token.

    A run that gets none waits a second, without an attempt. The first attempt of a batch's run has
    had its token since before the run was created.

    Args:
        run: the queued run.

    Yields:
        Whether the run may be sent.
    """
    batch = run.trigger in IN_BATCHES
    with LANES.enter(run.project_id, batch=batch, patience=LANE_PAUSE) as free:
        if not free:
            _wait_for_lane(run.pk)
        elif run.attempt or not batch:
            rate.note_request(run.project_id_in_cloud)
        yield free


def _wait_for_lane(run_id: int) -> None:
    note = "Waits: the worker has no more threads for this project"
    BackupRun.objects.filter(pk=run_id, state=RunState.QUEUED).update(
        not_before=timezone.now() + timedelta(seconds=jittered(LANE_PAUSE)),
        dispatched_at=None,
        note=note,
        version=Case(When(note=note, then=F("version")), default=F("version") + 1),
    )


@contextmanager
def sending_here(run_id: int) -> Iterator[None]:
    """Mark a run as being sent by this process; enter it before the claim becomes visible.

    Args:
        run_id: primary key; a run can be marked more than once.
    """
    with _sending_lock:
        _sending[run_id] += 1
    try:
        yield
    finally:
        with _sending_lock:
            _sending[run_id] -= 1
            if not _sending[run_id]:
                del _sending[run_id]


def is_sending_here(run_id: int) -> bool:
    """Whether a thread of this process is sending a run now."""
    with _sending_lock:
        return run_id in _sending
