"""Ledger of all received requests, which tests compare with the product's records."""

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
        seq: sequence number, starting at 1.
        time: time of arrival in Unix seconds, on this machine's clock (not the cloud's).
        method: HTTP method.
        path: path without the query.
        query: query string as sent.
        endpoint: token, list, detail, collect, records, settings, …; "unknown" if no route matches.
        cluster_id: id of the cluster in the path; "" if there is none.
        token_ok: whether the token was accepted; None if none is needed.
        status: HTTP status of the answer; None if there is no answer (yet).
        ending: in_progress, answered, reset, hang, truncated or client_gone.
        job_id: id of the log backup job that this request created; "" if none.
        effect_pending: whether the request will still be processed after its answer or its abort.
        faults: kinds of the scripted faults that applied.
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
        """True if the request took effect, that is, created a log backup job."""
        return bool(self.job_id)


class Ledger:
    """The newest `capacity` requests received; thread-safe."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LedgerEntry] = deque(maxlen=capacity)
        self._seq = 0

    def open(self, **fields: Any) -> LedgerEntry:
        """Record a request at its arrival; the handler adds its result."""
        with self._lock:
            self._seq += 1
            entry = LedgerEntry(seq=self._seq, **fields)
            self._entries.append(entry)
            return entry

    def entries(
        self, *, endpoint: str = "", cluster_id: str = "", after: int = 0
    ) -> list[LedgerEntry]:
        """Return entries in order of arrival.

        Args:
            endpoint: limit to this endpoint; "" for all.
            cluster_id: limit to this cluster; "" for all.
            after: limit to entries with a greater `seq`.
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
        """Number of oldest entries that were dropped to limit memory."""
        with self._lock:
            return self._seq - len(self._entries)

    def clear(self) -> None:
        """Remove all entries and restart the numbering at 1."""
        with self._lock:
            self._entries.clear()
            self._seq = 0


def entry_json(entry: LedgerEntry) -> dict[str, Any]:
    """Return the JSON of `entry` for the control API."""
    return {**asdict(entry), "processed": entry.processed}
