"""How many threads of this worker send requests for one project, and which runs they send.

A project whose cloud hangs holds each thread for as long as an exchange may take. At most half of
the threads are for one project, so that a request for another finds one free. Batches get one
less, so that a single request for the same project does, too.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db.models import Case, F, When
from django.utils import timezone

from backups.choices import RunState
from backups.models import BackupRun
from backups.services import rate
from backups.services.jitter import jittered

from .requests import IN_BATCHES

LANE_PAUSE = 1.0  # seconds until a run without a lane is tried again, spread

# The runs that this process is sending, counted because a message may be delivered twice.
_sending: Counter[int] = Counter()
_sending_lock = threading.Lock()


class Lanes:
    """Counts the threads that send, by project.

    Args:
        threads: of this worker; None: they are not limited, as in commands and tests.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._lock = threading.Lock()
        self._busy: Counter[int] = Counter()
        self.threads = threads

    def limit(self, *, batch: bool) -> int | None:
        """The most threads for one project; None without a limit."""
        if self.threads is None:
            return None
        half = max(self.threads // 2, 1)
        return max(half - 1, 1) if batch else half

    @contextmanager
    def enter(self, project_id: int, *, batch: bool) -> Iterator[bool]:
        """Take a lane while the block runs.

        Args:
            project_id: primary key.
            batch: the request belongs to a batch.

        Yields:
            False if all lanes of the project are taken: send nothing.
        """
        limit = self.limit(batch=batch)
        with self._lock:
            free = limit is None or self._busy[project_id] < limit
            self._busy[project_id] += int(free)
        try:
            yield free
        finally:
            with self._lock:
                self._busy[project_id] -= int(free)
                if not self._busy[project_id]:
                    del self._busy[project_id]


LANES = Lanes()


@contextmanager
def lane_for(run_id: int) -> Iterator[bool]:
    """Take one of the threads that may send for the run's project (lanes.py), and its token.

    A run that gets none waits a second, without an attempt. The first attempt of a batch's run has
    had its token since before the run was created.

    Args:
        run_id: primary key.

    Yields:
        Whether the run may be sent.
    """
    columns = ("project_id", "project_id_in_cloud", "trigger", "attempt")
    row = BackupRun.objects.filter(pk=run_id, state=RunState.QUEUED).values_list(*columns).first()
    if row is None:  # somebody else sends it: the claim fails
        yield True
        return
    project, project_id_in_cloud, trigger, attempt = row
    batch = trigger in IN_BATCHES
    with LANES.enter(project, batch=batch) as free:
        if not free:
            _wait_for_lane(run_id)
        elif attempt or not batch:
            rate.note_request(project_id_in_cloud)
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
