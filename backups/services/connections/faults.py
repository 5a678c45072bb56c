"""Why a cloud could not be used, in one word: pure, no I/O."""

from __future__ import annotations

from backups.choices import ConnectionFault, Outcome
from backups.css_api.errors import (
    ApiError,
    CatalogError,
    ConfigurationError,
    CssApiError,
    IdentityError,
    MalformedAnswer,
    SecondFactorError,
    TransportError,
    TransportKind,
    Unanswered,
)
from backups.css_api.types import Answer
from backups.rules.outcomes import outcome_of

_TRANSPORT: dict[TransportKind, ConnectionFault] = {
    TransportKind.DNS: ConnectionFault.DNS,
    TransportKind.TLS: ConnectionFault.TLS,
    TransportKind.PROXY: ConnectionFault.PROXY,
    TransportKind.READ_TIMEOUT: ConnectionFault.UNANSWERED,
    TransportKind.RESET: ConnectionFault.UNANSWERED,
    TransportKind.BROKEN_ANSWER: ConnectionFault.UNANSWERED,
}


def fault_of(error: CssApiError) -> ConnectionFault:
    """The fault that an error of a sign-in, a list or a detail stands for.

    Args:
        error: what the client raised.
    """
    if isinstance(error, ConfigurationError):
        return ConnectionFault.CONFIGURATION
    if isinstance(error, IdentityError):
        return _of_identity(error)
    if isinstance(error, MalformedAnswer):
        return ConnectionFault.MALFORMED
    if isinstance(error, ApiError):
        return _of_answer(error.answer)
    if isinstance(error, Unanswered):
        return ConnectionFault.UNANSWERED
    if isinstance(error, TransportError):
        return _TRANSPORT.get(error.kind, ConnectionFault.UNREACHABLE)
    return ConnectionFault.INTERNAL


def _of_identity(error: IdentityError) -> ConnectionFault:
    if isinstance(error, CatalogError):
        return ConnectionFault.CATALOG
    if isinstance(error, SecondFactorError):
        return ConnectionFault.SECOND_FACTOR
    if error.kind is not None:
        return _TRANSPORT.get(error.kind, ConnectionFault.UNREACHABLE)
    if error.status in (401, 403):
        return ConnectionFault.REFUSED
    if error.status == 429:
        return ConnectionFault.THROTTLED
    if error.retryable:
        return ConnectionFault.SERVER_ERROR if error.status else ConnectionFault.MALFORMED
    return ConnectionFault.ADDRESS


def _of_answer(answer: Answer) -> ConnectionFault:
    # before the code: 403 with CSS.0015 is “not found or denied”, and a list cannot be missing
    if answer.status in (401, 403):
        return ConnectionFault.FORBIDDEN
    outcome = outcome_of(answer)
    return {
        Outcome.NOT_FOUND: ConnectionFault.NOT_FOUND,
        Outcome.THROTTLED: ConnectionFault.THROTTLED,
        Outcome.MALFORMED: ConnectionFault.MALFORMED,
    }.get(outcome, ConnectionFault.SERVER_ERROR)
