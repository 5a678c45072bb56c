"""What can go wrong on the way to the cloud, by one question: may the request have arrived?"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from .types import Answer


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


class CssApiError(Exception):
    """Any failure of this package; `str(error)` is fit for a page: one line, no secret."""


class ConfigurationError(CssApiError):
    """The cloud is not in clouds.yaml, or its entry cannot be used. Nothing was sent."""


class TransportError(CssApiError):
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


class IdentityError(CssApiError):
    """No token or endpoint could be had from the identity service, so nothing was sent to CSS.

    Attributes:
        status: HTTP status of the identity service, None when it was not reached.
        retryable: True when identity was unreachable, throttled (429) or failing (5xx).
        kind: how the exchange with it failed below HTTP, None when it did not.
        retry_after: seconds that it asked to wait, None when it did not ask.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        kind: TransportKind | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.retryable = retryable
        self.kind = kind
        self.retry_after = retry_after

    def again(self) -> Self:
        """The same error for another caller: each raises one of its own."""
        return type(self)(
            self.detail,
            status=self.status,
            retryable=self.retryable,
            kind=self.kind,
            retry_after=self.retry_after,
        )


class SecondFactorError(IdentityError):
    """The credentials are right as far as they go: the account wants a second factor."""


class CatalogError(IdentityError):
    """The sign-in went well, but the token's catalog or project leads to no CSS endpoint."""


class ApiError(CssApiError):
    """A GET was answered with something other than a clean 2xx."""

    def __init__(self, answer: Answer) -> None:
        code = f" {answer.error_code}" if answer.error_code else ""
        super().__init__(f"HTTP {answer.status}{code}: {answer.message}".rstrip(": "))
        self.answer = answer


class MalformedAnswer(ApiError):
    """A 2xx whose body is not promised (HTML, not JSON, too large, wrong shape)."""

    def __init__(self, answer: Answer, problem: str) -> None:
        super().__init__(answer)
        self.problem = problem

    def __str__(self) -> str:
        return f"HTTP {self.answer.status} with an answer that cannot be used: {self.problem}"
