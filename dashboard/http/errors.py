"""How an exchange fails, by one question: may the request have arrived?"""

from __future__ import annotations

from enum import StrEnum


class TransportKind(StrEnum):
    """How an exchange failed below HTTP."""

    DNS = "dns"
    REFUSED = "connection_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    PROXY = "proxy"
    CONNECT_FAILED = "connect_failed"
    READ_TIMEOUT = "read_timeout"
    RESET = "connection_reset"
    BROKEN_ANSWER = "broken_answer"


class ExchangeError(Exception):
    """Any failure to get an answer; `str(error)` is fit for a page: one line, no secret."""


class TransportError(ExchangeError):
    """No HTTP answer.

    Attributes:
        kind: how it failed.
        detail: one line, redacted, at most 500 characters.
        duration_ms: time spent, in milliseconds.
    """

    def __init__(self, kind: TransportKind, detail: str, duration_ms: int = 0) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.duration_ms = duration_ms


class NotSent(TransportError):
    """Not one byte of the request left this machine: it is safe to try again."""


class Unanswered(TransportError):
    """The request left (wholly or in part) but no whole answer came: the cloud may have it."""
