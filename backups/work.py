"""Whether work flows: a message that is published is consumed, and what it does is stored.

A broker that answers PING may refuse every write, a worker that reports may consume nothing. So a
canary goes the whole way every few seconds, and the row that it leaves is looked at: here, for
`/health/work` and for the banner on every page.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import datetime

import redis
from celery import current_app
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import F, Min
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from backups import heartbeats, instance
from backups.models import Canary, Heartbeat
from dashboard.http.redact import one_line, redact
from dashboard.web.health import Missing

logger = logging.getLogger(__name__)

NOTE_EVERY = 3.0  # seconds between two notes of one process: each message counts, not each writes
LATE = 10.0  # seconds without a message after which a page has Redis asked what it says to a write
PROBE_EVERY = 5.0  # seconds between two such questions of one process
PROBE_KEY = "write-probe"
PROBE_SECONDS = 60  # the key's life, should its list be left behind
TIMEOUT = 1.5  # seconds for one step of the question

# What redis-py takes off the front of Redis' words, and makes a class of.
_CODES = {
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.NoPermissionError: "NOPERM",
}


# --- The worker's side ----------------------------------------------------------------------------

_noted_at = -NOTE_EVERY
_note_lock = threading.Lock()


def message_arrived() -> None:
    """Note that this process has consumed a message; the canary is only one that always comes.

    Of any message, because behind a thousand queued requests the canary comes late, although work
    flows. Costs one UPDATE in NOTE_EVERY seconds.
    """
    global _noted_at
    with _note_lock:
        now = time.monotonic()
        if now - _noted_at < NOTE_EVERY:
            return
        before, _noted_at = _noted_at, now
    try:
        values = {"arrived_at": timezone.now()}
        if not Canary.objects.filter(pk=1).update(number=F("number") + 1, **values):
            Canary.objects.get_or_create(pk=1, defaults=values)
    except (DatabaseError, InterfaceError) as error:
        _noted_at = before
        logger.warning("arrival of a message not noted: %s", str(error).partition("\n")[0])
        connection.close()


# --- The web's side -------------------------------------------------------------------------------


class Watch:
    """How long ago the last message arrived, whatever the clocks of this machine and others say.

    The row is dated by the worker's wall clock, which may be hours off or be stepped. That it
    changes is seen by this process's monotonic clock; its date counts only where it fits in between
    two looks, and on the first one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number: int | None = None
        self._since = self._looked_at = time.monotonic()
        self._first = True

    def age(self, row: tuple[int, datetime] | None) -> float | None:
        """Seconds since the last message; None while there has been none.

        Args:
            row: number and time of the last message.
        """
        with self._lock:
            now, looked_at = time.monotonic(), self._looked_at
            self._looked_at = now
            if row is None:
                self._number = None
                return None
            number, at = row
            if number != self._number:
                dated = max((timezone.now() - at).total_seconds(), 0.0)
                first, self._first = self._first, False
                self._number = number
                self._since = now - (dated if first or dated <= now - looked_at else 0.0)
            return now - self._since


_watch = Watch()


def last_message() -> float | None:
    """Seconds since a worker consumed a message, as `Watch.age`. Raises DatabaseError."""
    return _watch.age(Canary.objects.values_list("number", "arrived_at").filter(pk=1).first())


def refusal(error: BaseException) -> str:
    """Redis' own words where it answered and took nothing, fit for anybody's eyes, else "".

    Args:
        error: what redis-py raised, or kombu's error around it.
    """
    if isinstance(error, BrokerError) and error.__cause__ is not None:
        error = error.__cause__
    if not isinstance(error, redis.exceptions.ResponseError):
        return ""
    # redis-py puts the command before it, which holds the whole message
    words = str(error).rpartition("of pipeline caused error: ")[2]
    said = one_line(redact(f"{_CODES.get(type(error), '')} {words}"), 200)
    return f"Redis refuses writes: {said.rstrip('.')}"


def ask_redis() -> str:
    """Write to Redis as publishing does; returns why it could not be done, "" where it could.

    Of LPUSH, because a server or its access list may allow other writes than that.
    """
    options = {
        **settings.CELERY_BROKER_TRANSPORT_OPTIONS,
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
    }
    try:
        with current_app.connection_for_write(transport_options=options) as broker:
            client = broker.default_channel.client  # type: ignore[attr-defined]
            client.lpush(PROBE_KEY, "1")
            client.pexpire(PROBE_KEY, 1000 * PROBE_SECONDS)
            client.rpop(PROBE_KEY)
    except (redis.exceptions.RedisError, BrokerError, OSError) as error:
        return refusal(error) or f"Redis is unreachable ({type(error).__name__})"
    return ""


class Probe:
    """Asks Redis in a thread of its own, so that no page waits for one that hangs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words = ""
        self._asked_at = -PROBE_EVERY
        self._asking = False

    def latest(self) -> str:
        """What came of the last question, "" at first; asks again where that is a while ago."""
        with self._lock:
            now = time.monotonic()
            if not self._asking and now - self._asked_at >= PROBE_EVERY:
                self._asking, self._asked_at = True, now
                threading.Thread(target=self._ask, name="redis-probe", daemon=True).start()
            return self._words

    def _ask(self) -> None:
        try:
            self._words = ask_redis()
        finally:
            connection.close()
            self._asking = False


_probe = Probe()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why work does not flow.

    Attributes:
        kind: "worker": none reports; "scheduler": none sweeps; "broker": Redis takes nothing;
            "instance": the database came from elsewhere, and nothing may be sent; "flow": nothing
            arrives, and nobody knows why.
        absence: of a worker or a scheduler, where it is that.
        words: what Redis said, or why nothing may be sent.
        seconds: since the last message arrived; None where none ever has.
    """

    kind: str
    absence: heartbeats.Absence | None = None
    words: str = ""
    seconds: float | None = None


def troubles() -> list[Trouble]:
    """Why work does not flow, as pages tell it; empty where it does, as far as can be seen.

    Redis itself is asked in the background, and only where messages are late: what is not known
    yet is told by the next page.
    """
    if missing := heartbeats.absences():
        return [Trouble(absence.kind, absence) for absence in missing]
    if why := instance.problem():
        return [Trouble("instance", words=why)]
    seconds = last_message()
    waited = _working_for() if seconds is None else seconds
    if waited < LATE:
        return []
    if words := _probe.latest():
        return [Trouble("broker", words=words, seconds=seconds)]
    if waited < settings.HEARTBEAT_ALARM_AFTER:
        return []
    return [Trouble("flow", seconds=seconds)]


def _working_for() -> float:
    """Seconds for which a worker has been there that could have consumed a message."""
    started = Heartbeat.objects.aggregate(first=Min("started_at"))["first"]
    return (timezone.now() - started).total_seconds() if started else 0.0


# --- /health/work: one of HEALTH_WORK_CHECKS each -------------------------------------------------


def check_broker() -> None:
    """Raises Missing where Redis takes no write."""
    if words := ask_redis():
        raise Missing(words)


def check_processes() -> None:
    """Raises Missing where no worker, or none that sweeps, reports; DatabaseError."""
    if missing := heartbeats.absences():
        raise Missing(" and ".join(f"no {absence.kind} is running" for absence in missing))


def check_messages() -> None:
    """Raises Missing where no message was consumed for HEARTBEAT_ALARM_AFTER; DatabaseError."""
    seconds = last_message()
    if seconds is None:
        raise Missing("none has come through yet")
    if seconds >= settings.HEARTBEAT_ALARM_AFTER:
        raise Missing(f"none is consumed, the last one was {seconds:.0f} s ago")


def check_instance() -> None:
    """Raises Missing where the database came from elsewhere and is not adopted; DatabaseError."""
    if why := instance.problem():
        raise Missing(why)


FRESH = 2.0  # seconds that a token may be old: two hundred pages ask for it each second
_token = ("", -FRESH)


def token(found: list[Trouble] | None = None) -> str:
    """Which troubles there are, in short: pages compare it to see that it has changed.

    Args:
        found: what `troubles` just found; None asks, at most once in FRESH seconds.
    """
    global _token
    text, read_at = _token
    now = time.monotonic()
    if found is None:
        if now - read_at < FRESH:
            return text
        found = troubles()
    text = ".".join(trouble.kind for trouble in found) or "all"
    _token = (text, now)
    return text
