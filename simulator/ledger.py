"""Every request received, in order: what a test holds the product's story against."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

CAPACITY = 50_000


@dataclass(slots=True)
class LedgerEntry:
    """One request.

    Attributes:
        seq: 1 for the first request received, one more for each next.
        time: Unix time of its arrival in seconds, on this machine's clock (not the cloud's).
        method: HTTP method.
        path: path without the query.
        query: the query as sent.
        endpoint: token, list, detail, collect, records, settings, …; "unknown" when no route fits.
        cluster_id: the cluster in the path, "" when there is none.
        token_ok: the token was accepted; None where none is needed.
        status: HTTP status answered; None when none was (yet).
        ending: in_progress, answered, reset, hang, truncated or client_gone.
        job_id: the log backup job that this request created, "" for none.
        effect_pending: it was answered, or given up, and will be processed all the same.
        faults: the scripted faults that struck.
        request_id: X-Request-Id of the answer.
        user_agent: User-Agent of the request.
    """

    seq: int
    time: float
    method: str
    path: str
    query: str
    endpoint: str
    cluster_id: str
    request_id: str
    user_agent: str
    token_ok: bool | None = None
    status: int | None = None
    ending: str = "in_progress"
    job_id: str = ""
    effect_pending: bool = False
    faults: tuple[str, ...] = ()

    @property
    def processed(self) -> bool:
        """The request had its effect: a log backup job exists because of it."""
        return bool(self.job_id)


class Ledger:
    """The requests received, the newest `CAPACITY` of them; thread-safe."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LedgerEntry] = deque(maxlen=capacity)
        self._seq = 0

    def open(self, **fields: Any) -> LedgerEntry:
        """Enter a request at its arrival; the handler fills in how it ends."""
        with self._lock:
            self._seq += 1
            entry = LedgerEntry(seq=self._seq, **fields)
            self._entries.append(entry)
            return entry

    def entries(
        self, *, endpoint: str = "", cluster_id: str = "", after: int = 0
    ) -> list[LedgerEntry]:
        """Entries in order of arrival.

        Args:
            endpoint: only this endpoint, "" for all.
            cluster_id: only this cluster, "" for all.
            after: only entries with a greater `seq`.
        """
        with self._lock:
            found: Iterable[LedgerEntry] = list(self._entries)
        return [
            entry
            for entry in found
            if entry.seq > after
            and endpoint in ("", entry.endpoint)
            and cluster_id in ("", entry.cluster_id)
        ]

    @property
    def dropped(self) -> int:
        """How many of the oldest entries were given up to bound memory."""
        with self._lock:
            return self._seq - len(self._entries)

    def clear(self) -> None:
        """Forget everything and count from 1 again."""
        with self._lock:
            self._entries.clear()
            self._seq = 0


def entry_json(entry: LedgerEntry) -> dict[str, Any]:
    """`entry` for the control API."""
    return {**asdict(entry), "processed": entry.processed}
