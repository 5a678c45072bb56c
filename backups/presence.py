"""Who is alive: every worker and beat process reports to the database from a thread of its own.

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
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Max
from django.utils import timezone

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
        from backups.models import Heartbeat

        self._stopped.set()
        self.join(timeout=5)
        try:
            Heartbeat.objects.filter(name=process_name()).delete()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("heartbeat not withdrawn: %s", str(error).partition("\n")[0])


def beat(kind: str) -> None:
    """Report this process as alive, and forget processes that have been silent for a day."""
    from backups.models import Heartbeat

    now = timezone.now()
    Heartbeat.objects.update_or_create(
        name=process_name(),
        defaults={"kind": kind, "seen_at": now},
        create_defaults={"kind": kind, "seen_at": now, "started_at": now},
    )
    Heartbeat.objects.filter(seen_at__lt=now - timedelta(days=1)).delete()


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


@dataclass(frozen=True, slots=True)
class Absence:
    """A kind of process that nobody has seen for too long.

    Attributes:
        kind: "worker" or "beat".
        last_seen: when one was, None when none ever was.
    """

    kind: str
    last_seen: datetime | None


def absences() -> list[Absence]:
    """The kinds of process of which none has been seen for HEARTBEAT_ALARM_AFTER seconds."""
    from backups.models import Heartbeat

    rows = Heartbeat.objects.values_list("kind").annotate(newest=Max("seen_at"))
    newest = dict(rows.order_by())
    oldest_good = timezone.now() - timedelta(seconds=settings.HEARTBEAT_ALARM_AFTER)
    return [
        Absence(kind, newest.get(kind))
        for kind in Heartbeat.Kind.values
        if kind not in newest or newest[kind] < oldest_good
    ]
