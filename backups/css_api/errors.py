"""Errors of calls to the cloud's API, next to those of the transport."""

from __future__ import annotations

from typing import Self

from dashboard.http.errors import ExchangeError, NotSent, TransportError, TransportKind, Unanswered

from .types import Answer

# Base class of all errors of this package and of the transport.
CssApiError = ExchangeError

__all__ = [
    "ApiError",
    "CatalogError",
    "ConfigurationError",
    "CssApiError",
    "IdentityError",
    "MalformedAnswer",
    "NotSent",
    "SecondFactorError",
    "TransportError",
    "TransportKind",
    "Unanswered",
]


class ConfigurationError(CssApiError):
    """The cloud is not in clouds.yaml, or its entry is not usable. Nothing was sent."""


class IdentityError(CssApiError):
    """The identity service gave no token or endpoint, so nothing was sent to CSS.

    Attributes:
        status: HTTP status of the identity service, None if it was not reached.
        retryable: True if it was unreachable, throttled (429) or failing (5xx).
        kind: kind of the failure below HTTP, None for none.
        retry_after: seconds that it asked to wait, None for none.
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
        """A copy of the error, for another caller to raise."""
        return type(self)(
            self.detail,
            status=self.status,
            retryable=self.retryable,
            kind=self.kind,
            retry_after=self.retry_after,
        )


class SecondFactorError(IdentityError):
    """The account requires a second factor."""


class CatalogError(IdentityError):
    """Sign-in succeeded, but the token has no project or the catalog no CSS endpoint."""


class ApiError(CssApiError):
    """The response to a reading request is not a 2xx, or contains an error code."""

    def __init__(self, answer: Answer) -> None:
        code = f" {answer.error_code}" if answer.error_code else ""
        super().__init__(f"HTTP {answer.status}{code}: {answer.message}".rstrip(": "))
        self.answer = answer


class MalformedAnswer(ApiError):
    """A 2xx whose body is not as documented (HTML, not JSON, too large, wrong shape)."""

    def __init__(self, answer: Answer, problem: str) -> None:
        super().__init__(answer)
        self.problem = problem

    def __str__(self) -> str:
        return f"HTTP {self.answer.status} with an unusable answer: {self.problem}"
