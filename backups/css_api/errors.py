"""What can go wrong with a call of the cloud's API; failures of the transport are its own."""

from __future__ import annotations

from typing import Self

from dashboard.http.errors import ExchangeError, NotSent, TransportError, TransportKind, Unanswered

from .types import Answer

# Any failure of this package, and of the transport below it.
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
    """The cloud is not in clouds.yaml, or its entry cannot be used. Nothing was sent."""


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
