"""Exceptions for failed HTTP exchanges, split by whether the request can have arrived."""

from __future__ import annotations

from enum import StrEnum


class TransportKind(StrEnum):
    """Cause of a failure below HTTP."""

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
    """Base class for failed exchanges.

    `str(error)` is safe to show on a page: one line, without secrets.
    """


class TransportError(ExchangeError):
    """No HTTP answer.

    Attributes:
        kind: cause of the failure.
        detail: one redacted line of at most 500 characters.
        duration_ms: time spent, in milliseconds.
    """

    def __init__(self, kind: TransportKind, detail: str, duration_ms: int = 0) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.duration_ms = duration_ms


class NotSent(TransportError):
    """No byte of the request was sent, so it is safe to retry."""


class Unanswered(TransportError):
    """The request was sent, in full or in part, without a complete answer.

    The cloud might have received it.
    """
