"""Whether work flows: published messages are consumed, and their effect is stored.

A broker that answers PING may refuse every write, and a worker with a heartbeat may consume
nothing. So a canary message is sent every few seconds, and its effect in the database is checked
for `/health/work` and for the banner on every page.
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

NOTE_EVERY = 3.0  # seconds between two writes of one process: any message counts
LATE = 10.0  # seconds without a message after which pages probe Redis with a write
PROBE_EVERY = 5.0  # seconds between two probes of one process
PROBE_KEY = "write-probe"
PROBE_SECONDS = 60  # the key's lifetime, in case it is left behind
TIMEOUT = 1.5  # seconds for one step of a probe

# Error codes that redis-py strips from Redis' message and turns into a class.
_CODES = {
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.NoPermissionError: "NOPERM",
}


# --- The worker's side ----------------------------------------------------------------------------

_noted_at = -NOTE_EVERY
_note_lock = threading.Lock()


def message_arrived() -> None:
    """Record that this process has consumed a message of any kind.

    Not only canaries count: behind a thousand queued requests they are late although work flows.
    Costs one UPDATE per NOTE_EVERY seconds.
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
    """Measures how long ago the last message arrived, independent of wall clocks.

    The row's timestamp comes from the worker's wall clock, which may be hours off or be stepped. So
    this process times the row's changes by its monotonic clock. The timestamp only counts at the
    first reading, and where it lies between two readings.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number: int | None = None
        self._since = self._looked_at = time.monotonic()
        self._first = True

    def age(self, row: tuple[int, datetime] | None) -> float | None:
        """Return the seconds since the last message; None before the first one.

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
    """Return the seconds since a worker consumed a message, or None. Raises DatabaseError."""
    return _watch.age(Canary.objects.values_list("number", "arrived_at").filter(pk=1).first())


def refusal(error: BaseException) -> str:
    """Return Redis' own message, redacted, where it refused a write, else "".

    Args:
        error: the error of redis-py, or kombu's error around it.
    """
    if isinstance(error, BrokerError) and error.__cause__ is not None:
        error = error.__cause__
    if not isinstance(error, redis.exceptions.ResponseError):
        return ""
    # redis-py puts the command in front, which contains the whole message
    words = str(error).rpartition("of pipeline caused error: ")[2]
    said = one_line(redact(f"{_CODES.get(type(error), '')} {words}"), 200)
    return f"Redis refuses writes: {said.rstrip('.')}"


def ask_redis() -> str:
    """Write to Redis as publishing does; return why that failed, or "".

    The probe uses LPUSH, because a server or its access list may allow other writes only.
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
        return refusal(error) or _unreachable(error)
    return ""


def _unreachable(error: Exception) -> str:
    """Why Redis cannot be used, with its own message if it gave one. kombu wraps the error."""
    cause = error.__cause__ if isinstance(error, BrokerError) and error.__cause__ else error
    if isinstance(cause, redis.exceptions.AuthenticationError):
        return f"Redis refuses the sign-in: {one_line(redact(str(cause)), 200).rstrip('.')}"
    return f"Redis is unreachable ({type(cause).__name__})"


class Probe:
    """Probes Redis in a separate thread, so that no page waits for a server that hangs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words = ""
        self._asked_at = -PROBE_EVERY
        self._asking = False

    def latest(self) -> str:
        """Return the result of the last probe, "" at first; start a new one when it is due."""
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
        kind: "worker": none reports; "scheduler": none sweeps; "broker": Redis takes no writes;
            "instance": the database has to be adopted, and nothing may be sent; "flow": no message
            arrives, for an unknown reason.
        absence: for "worker" and "scheduler".
        words: Redis' message, or why nothing may be sent.
        seconds: since the last message arrived; None: never.
    """

    kind: str
    absence: heartbeats.Absence | None = None
    words: str = ""
    seconds: float | None = None


def troubles() -> list[Trouble]:
    """Return why work does not flow, for the banners of pages; empty where it does.

    Redis is only probed when messages are late, and in the background: the result is shown by the
    next page.
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
    """Return the seconds for which a worker has been running that could consume messages."""
    started = Heartbeat.objects.aggregate(first=Min("started_at"))["first"]
    return (timezone.now() - started).total_seconds() if started else 0.0


# --- /health/work: the checks in HEALTH_WORK_CHECKS ----------------------------------------------


def check_broker() -> None:
    """Raise Missing if Redis takes no writes."""
    if words := ask_redis():
        raise Missing(words)


def check_processes() -> None:
    """Raise Missing if no worker reports or none sweeps. Raises DatabaseError."""
    if missing := heartbeats.absences():
        raise Missing(" and ".join(f"no {absence.kind} is running" for absence in missing))


def check_messages() -> None:
    """Raise Missing if no message came for HEARTBEAT_ALARM_AFTER. Raises DatabaseError."""
    seconds = last_message()
    if seconds is None:
        raise Missing("none has come through yet")
    if seconds >= settings.HEARTBEAT_ALARM_AFTER:
        raise Missing(f"none is consumed, the last one was {seconds:.0f} s ago")


def check_instance() -> None:
    """Raise Missing if the database has to be adopted. Raises DatabaseError."""
    if why := instance.problem():
        raise Missing(why)


FRESH = 2.0  # seconds for which a token is cached: two hundred pages ask for it each second
_token = ("", -FRESH)


def token(found: list[Trouble] | None = None) -> str:
    """Return a short text for the current troubles, by which pages notice a change.

    Args:
        found: the result of `troubles`; None calls it, at most once in FRESH seconds.
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
