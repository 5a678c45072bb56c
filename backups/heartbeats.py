"""Heartbeats: every worker process reports to the database from a separate thread.

Process names are never reused, so a claim identifies its process, and a stale heartbeat its death.
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
# This process's last heartbeat on the monotonic clock; None: it does not report.
_last_beat: float | None = None
_steady_since = 0.0


def process_name() -> str:
    """Return this process's name, "host:pid:random"; a forked child has another one."""
    global _name, _name_pid
    with _lock:
        if _name_pid != os.getpid():
            _name_pid = os.getpid()
            _name = f"{socket.gethostname()[:80]}:{_name_pid}:{secrets.token_hex(4)}"
        return _name


def is_process(name: str) -> bool:
    """Return whether a name is a process name, not a person's."""
    return _PROCESS.fullmatch(name) is not None


class Reporter(threading.Thread):
    """Thread that writes this process's heartbeat until it is stopped.

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
        """End the thread and delete the heartbeat, so that the end is visible immediately."""
        self._stopped.set()
        self.join(timeout=5)
        try:
            Heartbeat.objects.filter(name=process_name()).delete()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("heartbeat not withdrawn: %s", str(error).partition("\n")[0])


def beat(kind: str) -> None:
    """Write this process's heartbeat, and delete those that are a day old."""
    now, ticked = timezone.now(), uptime.now()
    seen = {"kind": kind, "seen_at": now, "seen_uptime": ticked}
    Heartbeat.objects.update_or_create(
        name=process_name(), defaults=seen, create_defaults={**seen, "started_at": now}
    )
    day = timedelta(days=1)
    silent = Q(seen_uptime__lt=ticked - day.total_seconds())
    unstamped = Q(seen_uptime=None, seen_at__lt=now - day)  # written by an earlier version
    Heartbeat.objects.filter(silent | unstamped).delete()


def alive(name: str) -> Exists:
    """Condition: the process named in a column has a fresh heartbeat.

    Freshness is measured by the product's clock (`backups.uptime`), which is never stepped.

    Args:
        name: the column.
    """
    stale = uptime.stamp() - settings.HEARTBEAT_STALE_AFTER
    return Exists(Heartbeat.objects.filter(name=OuterRef(name), seen_uptime__gte=stale))


def _beaten() -> None:
    global _last_beat, _steady_since
    now = time.monotonic()
    # a database outage that is longer than this makes every heartbeat stale
    gap = settings.HEARTBEAT_STALE_AFTER - settings.HEARTBEAT_INTERVAL
    if _last_beat is None or now - _last_beat > gap:
        _steady_since = now
    _last_beat = now


def may_judge_silence() -> bool:
    """Return whether this process may treat a stale heartbeat as a dead process.

    After a database outage every heartbeat is stale, also those of live processes with an answer to
    store. A process that could not report itself, or has just started, therefore gives the others
    the time of two heartbeats first.
    """
    if _last_beat is None:
        return True
    now = time.monotonic()
    gap = settings.HEARTBEAT_STALE_AFTER - settings.HEARTBEAT_INTERVAL
    return now - _last_beat <= gap and now - _steady_since >= 2 * settings.HEARTBEAT_INTERVAL


class Watch:
    """Measures how long values have been unchanged, by this process's monotonic clock.

    Timestamps of other processes come from their wall clocks, which may be hours off or be stepped.
    A change of the value proves that its writer is alive.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[object, float]] = {}
        self._lock = threading.Lock()

    def unchanged(self, values: Mapping[str, tuple[object, datetime]]) -> dict[str, float]:
        """Return the seconds for which each value has been unchanged.

        Args:
            values: name to value and its timestamp. The timestamp is only used the first time that
                a name is seen.
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
    """A kind of work that no process has done for too long.

    Attributes:
        kind: "worker": no worker process reports; "scheduler": one reports, and none sweeps.
        seconds: since the work was last done; None: never.
    """

    kind: str
    seconds: float | None


def absences() -> list[Absence]:
    """Return the work that was not done for HEARTBEAT_ALARM_AFTER seconds, as seen from here."""
    limit = settings.HEARTBEAT_ALARM_AFTER
    silence = min(worker_silences(), default=None)
    if silence is None or silence >= limit:
        return [Absence("worker", silence)]
    # without a worker there is no sweep either; one banner is enough
    last = sweep_age()
    return [Absence("scheduler", last)] if last is None or last >= limit else []


def worker_silences() -> list[float]:
    """Return, for each worker process, the seconds since its last heartbeat, as seen from here."""
    written = Heartbeat.objects.values_list("name", "seen_at")
    silences = _heartbeats.unchanged({name: (seen_at, seen_at) for name, seen_at in written})
    return list(silences.values())


def sweep_age() -> float | None:
    """Return the seconds since the last sweep, as seen from here; None before the first."""
    row = Ticker.objects.filter(pk=1, ticked_at__isnull=False).first()
    if row is None or row.ticked_at is None:
        return None
    return _ticks.unchanged({"sweep": (row.ticks, row.ticked_at)})["sweep"]
