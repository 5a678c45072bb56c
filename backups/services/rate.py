"""How many requests for backups may be sent to a project each second.

A token bucket in Redis, on Redis' own clock, shared by all workers. An item of a batch takes its
token before it becomes a run. A click, a request of a program and a retry are sent at once; their
tokens are taken as well, so that a batch waits for them.

The bucket is advice and no truth. If Redis is emptied, buckets are full again and a lowered rate is
forgotten: at most `BURST` seconds' worth of requests leave at once, and the next 429 lowers it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import DatabaseError
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from backups import instance

logger = logging.getLogger(__name__)

BURST = 2.0  # seconds' worth of tokens that a bucket holds, and at least one token
LOWEST = 0.05  # share of the rate that no number of 429s takes away
RECOVERY = 120.0  # seconds in which a rate that was lowered to nothing is raised again
CALM = 2.0  # seconds in which several 429s count as one
PAUSE = 1.0  # seconds without an attempt after Redis did not answer

# Arguments: the rate, tokens wanted, 1 to take them although there are none, 1 after a 429.
# Returns the tokens that were taken, the rate in force, and 1 if it has just been lowered.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local full, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local burst, lowest = math.max(tonumber(ARGV[5]) * full, 1), tonumber(ARGV[6]) * full
local row = redis.call('HMGET', KEYS[1], 'tokens', 'at', 'low', 'low_at')
local tokens, at = tonumber(row[1]) or burst, tonumber(row[2]) or now
local low, low_at = tonumber(row[3]) or full, tonumber(row[4]) or 0
local rate = math.min(full, low + math.max(now - low_at, 0) * full / tonumber(ARGV[7]))
tokens = math.min(burst, tokens + math.max(now - at, 0) * rate)
local lowered = 0
if ARGV[4] == '1' and (rate >= full or math.abs(now - low_at) > tonumber(ARGV[8])) then
  rate = math.max(rate / 2, lowest)
  low, low_at, tokens, lowered = rate, now, math.min(tokens, 0), 1
end
local taken = wanted
if ARGV[3] ~= '1' then taken = math.max(math.min(wanted, math.floor(tokens)), 0) end
tokens = math.max(tokens - taken, -burst)
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.6f', now),
  'low', tostring(low), 'low_at', string.format('%.6f', low_at))
redis.call('EXPIRE', KEYS[1], 3600)
return {taken, tostring(rate), lowered}
"""


class _Bucket:
    """Runs the script, over one connection for the process; one caller at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._broker: Any = None
        self._again_at = 0.0

    def run(self, project_id: str, *arguments: float) -> tuple[int, float, bool] | None:
        """The script's result; None where Redis or the instance's id cannot be reached."""
        with self._lock:
            if time.monotonic() < self._again_at:
                return None
            try:
                # kombu prefixes the keys of the commands that it uses itself, and EVAL is none
                key = f"{instance.key_prefix()}rate:{project_id}"
                constants = (BURST, LOWEST, RECOVERY, CALM)
                answer = self._client().eval(_SCRIPT, 1, key, *arguments, *constants)
            except (RedisError, BrokerError, OSError, DatabaseError) as error:
                logger.warning("the rate of project %s is not known: %s", project_id, error)
                self._broker = None
                self._again_at = time.monotonic() + PAUSE
                return None
        return int(answer[0]), float(answer[1]), bool(answer[2])

    def _client(self) -> Any:
        if self._broker is None:
            self._broker = current_app.connection_for_write()
        return self._broker.default_channel.client

    def close(self) -> None:
        """Drop the connection."""
        with self._lock:
            if self._broker is not None:
                self._broker.release()
            self._broker, self._again_at = None, 0.0


_bucket = _Bucket()


def take(project_id: str, most: int) -> int:
    """Take tokens for requests that can wait.

    Args:
        project_id: the cloud's id of the project.
        most: maximum number of tokens; may be negative.

    Returns:
        How many were taken; 0 where Redis is away, without which nothing can be sent anyway.
    """
    if most <= 0:
        return 0
    result = _bucket.run(project_id, settings.BACKUP_BATCH_RATE, most, 0, 0)
    return result[0] if result else 0


def note_request(project_id: str) -> None:
    """Take a token for a request that does not wait; the bucket may owe it.

    Args:
        project_id: the cloud's id of the project.
    """
    _bucket.run(project_id, settings.BACKUP_BATCH_RATE, 1, 1, 0)


def lower(project_id: str) -> None:
    """Halve the rate, because the cloud answered 429; it rises again by itself.

    Args:
        project_id: the cloud's id of the project.
    """
    result = _bucket.run(project_id, settings.BACKUP_BATCH_RATE, 0, 0, 1)
    if result is not None and result[2]:
        logger.warning("429: batches send %.1f requests/s to project %s", result[1], project_id)


def current(project_id: str) -> float | None:
    """The rate in force, in requests per second; None where Redis is away.

    Args:
        project_id: the cloud's id of the project.
    """
    result = _bucket.run(project_id, settings.BACKUP_BATCH_RATE, 0, 0, 0)
    return result[1] if result else None


def close() -> None:
    """Close the connection to Redis, at the end of a process or a test."""
    _bucket.close()
