"""Who is alive: every worker process reports to the database from a thread of its own.

The names are never used twice, so a claim tells which process made it, and silence that it died.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from backups import uptime
from backups.models import Heartbeat, Ticker

logger = logging.getLogger(__name__)

_PROCESS = re.compile(r"[^\s]{1,80}:\d{1,10}:[0-9a-f]{8}")

_lock = threading.Lock()
_name = ""
_name_pid = 0
# Of this process's own heartbeat, on the monotonic clock; None: it does not report.
_last_beat: float | None = None
_steady_since = 0.0


def process_name() -> str:
    """This process's name, "host:pid:random"; a forked child gets one of its own."""
    global _name, _name_pid
    with _lock:
        if _name_pid != os.getpid():
            _name_pid = os.getpid()
            _name = f"{socket.gethostname()[:80]}:{_name_pid}:{secrets.token_hex(4)}"
        return _name


def is_process(name: str) -> bool:
    """Whether a name is a process's, as `process_name` makes it, and no person's."""
    return _PROCESS.fullmatch(name) is not None


class Reporter(threading.Thread):
    """Writes this process's heartbeat until it is stopped.

    Args:
        kind: a value of Heartbeat.Kind.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(name=f"heartbeat-{kind}", daemon=True)
        self.kind = kind
        self._stopped = threading.Event()

    def run(self) -> None:
        while True:
            try:
                beat(self.kind)
                _beaten()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("heartbeat not written: %s", str(error).partition("\n")[0])
                connection.close()
            if self._stopped.wait(settings.HEARTBEAT_INTERVAL):
                break
        connection.close()

    def stop(self) -> None:
        """End the thread and withdraw the heartbeat: a clean end is known at once."""
        self._stopped.set()
        self.join(timeout=5)
        try:
            Heartbeat.objects.filter(name=process_name()).delete()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("heartbeat not withdrawn: %s", str(error).partition("\n")[0])


def beat(kind: str) -> None:
    """Report this process as alive, and forget processes that have been silent for a day."""
    now, ticked = timezone.now(), uptime.now()
    seen = {"kind": kind, "seen_at": now, "seen_uptime": ticked}
    Heartbeat.objects.update_or_create(
        name=process_name(), defaults=seen, create_defaults={**seen, "started_at": now}
    )
    day = timedelta(days=1)
    silent = Q(seen_uptime__lt=ticked - day.total_seconds())
    unstamped = Q(seen_uptime=None, seen_at__lt=now - day)  # of an earlier version
    Heartbeat.objects.filter(silent | unstamped).delete()


def alive(name: str) -> Exists:
    """The condition that the process a column names has reported lately.

    It is judged by the product's own clock (`backups.uptime`), which does not jump.

    Args:
        name: the column.
    """
    stale = uptime.stamp() - settings.HEARTBEAT_STALE_AFTER
    return Exists(Heartbeat.objects.filter(name=OuterRef(name), seen_uptime__gte=stale))


def _beaten() -> None:
    global _last_beat, _steady_since
    now = time.monotonic()
    # While a database is away for longer than this, everybody falls silent.
    gap = settings.HEARTBEAT_STALE_AFTER - settings.HEARTBEAT_INTERVAL
    if _last_beat is None or now - _last_beat > gap:
        _steady_since = now
    _last_beat = now


def may_judge_silence() -> bool:
    """Whether this process may take another's silence for its death.

    After the database was away every heartbeat is stale, also of those that live and hold an answer
    in their hands. So whoever was kept from reporting itself gives the others the time of two
    heartbeats first, as one does that has just begun.
    """
    if _last_beat is None:
        return True
    now = time.monotonic()
    gap = settings.HEARTBEAT_STALE_AFTER - settings.HEARTBEAT_INTERVAL
    return now - _last_beat <= gap and now - _steady_since >= 2 * settings.HEARTBEAT_INTERVAL


class Watch:
    """For how long values have stood still, by this process's own monotonic clock.

    What another process writes is dated by that one's wall clock, which may be hours off or be
    stepped at any moment. That it writes at all shows in the value's changing.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[object, float]] = {}
        self._lock = threading.Lock()

    def unchanged(self, values: Mapping[str, tuple[object, datetime]]) -> dict[str, float]:
        """Seconds for which each value has been what it is.

        Args:
            values: all of a kind, as name to value and when it was written. The time counts only
                for a name that is seen first: nothing else is known of it.
        """
        monotonic, wall = time.monotonic(), timezone.now()
        with self._lock:
            before, self._seen = self._seen, {}
            for name, (value, written_at) in values.items():
                known = before.get(name)
                if known is None:
                    age = max((wall - written_at).total_seconds(), 0.0)
                    self._seen[name] = (value, monotonic - age)
                else:
                    self._seen[name] = known if known[0] == value else (value, monotonic)
            return {name: monotonic - since for name, (_value, since) in self._seen.items()}


_heartbeats, _ticks = Watch(), Watch()


@dataclass(frozen=True, slots=True)
class Absence:
    """Nobody does some kind of work, and has not for too long.

    Attributes:
        kind: "worker": no worker process reports; "scheduler": none sweeps, although one reports.
        seconds: since somebody last did; None when nobody ever did.
    """

    kind: str
    seconds: float | None


def absences() -> list[Absence]:
    """What nobody has done for HEARTBEAT_ALARM_AFTER seconds, as far as this process has seen."""
    limit = settings.HEARTBEAT_ALARM_AFTER
    written = Heartbeat.objects.values_list("name", "seen_at")
    silences = _heartbeats.unchanged({name: (seen_at, seen_at) for name, seen_at in written})
    silence = min(silences.values(), default=None)
    if silence is None or silence >= limit:
        return [Absence("worker", silence)]
    # without a worker there is no sweep either, and one banner says so
    row = Ticker.objects.filter(pk=1, ticked_at__isnull=False).first()
    if row is None or row.ticked_at is None:
        return [Absence("scheduler", None)]
    last = _ticks.unchanged({"sweep": (row.ticks, row.ticked_at)})["sweep"]
    return [Absence("scheduler", last)] if last >= limit else []
