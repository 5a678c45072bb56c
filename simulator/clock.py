"""The cloud's clock, which need not agree with this machine's."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Tells the cloud's time (`now`) apart from how much time has passed (`elapsed`).

    Shifting the clock changes what the cloud writes into its answers; it does not make a running
    job end sooner or later.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        """Unix time in seconds on the cloud's clock."""
        return time.time() + self.offset

    def now_ms(self) -> int:
        """Unix time in milliseconds on the cloud's clock."""
        return int(self.now() * 1000)

    @staticmethod
    def elapsed() -> float:
        """Seconds on a clock that nobody can shift."""
        return time.monotonic()

    @staticmethod
    def iso(timestamp: float) -> str:
        """`timestamp` as identity writes times: UTC with microseconds and a Z."""
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
