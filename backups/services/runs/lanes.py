"""How many threads of this worker send requests for one project.

A project whose cloud hangs holds each thread for as long as an exchange may take. At most half of
the threads are for one project, so that a request for another finds one free. Batches get one
less, so that a single request for the same project does, too.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


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
