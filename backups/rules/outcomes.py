"""Classification of the cloud's responses. No I/O, no models.

``classify`` turns an answer or error into a Verdict: the outcome and the run's next step. An error
code in the body takes precedence over the HTTP status, because the documents disagree about it
(CSS.0011 is listed as 202 and seen as 409). Sources: docs/css-api.md sections 1c, 4 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backups.choices import Outcome
from backups.css_api.errors import (
    ConfigurationError,
    CssApiError,
    IdentityError,
    NotSent,
    Unanswered,
)
from backups.css_api.types import Answer, BodyKind
from backups.guide import CODES, code_family


class Next(Enum):
    """The run's next step after the request."""

    FOLLOW = "follow"  # accepted: follow the cloud's job
    END = "end"  # rejected: nothing started, the run ends
    RETRY = "retry"  # nothing started: try again later
    WAIT_IF_ASKED = "wait_if_asked"  # conflict: ends, unless the request asked to wait
    SETTLE = "settle"  # a backup may have started: the cloud's records decide


# Bodies whose error code, if they had one, could not be read.
UNREAD = frozenset({BodyKind.TRUNCATED, BodyKind.OVERSIZED, BodyKind.BINARY})
# Statuses with which the gateway refuses a request before the service sees it.
GATEWAY = frozenset({401, 407, 429})


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome and its consequence.

    Attributes:
        outcome: result of the request.
        next: the run's next step.
        retry_after: seconds that the cloud asked to wait, None for none.
    """

    outcome: Outcome
    next: Next
    retry_after: float | None = None


def classify(result: Answer | CssApiError) -> Verdict:
    """Classify the result of ``POST …/logs/collect``.

    Args:
        result: the cloud's answer, or the error without one.

    Returns:
        The verdict. Only a clean 200, 201, 202 or 204 is ACCEPTED.
    """
    if isinstance(result, Answer):
        return _classify_answer(result)
    if isinstance(result, NotSent):
        return Verdict(Outcome.UNREACHABLE, Next.RETRY)
    if isinstance(result, Unanswered):
        return Verdict(Outcome.UNANSWERED, Next.SETTLE)
    if isinstance(result, IdentityError):
        return _classify_identity(result)
    if isinstance(result, ConfigurationError):
        return Verdict(Outcome.UNAUTHENTICATED, Next.END)
    # An unknown error: assume nothing about what the cloud did.
    return Verdict(Outcome.UNANSWERED, Next.SETTLE)


def _classify_identity(error: IdentityError) -> Verdict:
    """Errors of the identity service; nothing was sent to CSS."""
    if error.status == 429:
        return Verdict(Outcome.THROTTLED, Next.RETRY, error.retry_after)
    if error.retryable:
        return Verdict(Outcome.UNREACHABLE, Next.RETRY, error.retry_after)
    if error.status == 403:
        return Verdict(Outcome.FORBIDDEN, Next.END)
    return Verdict(Outcome.UNAUTHENTICATED, Next.END)


def _classify_answer(answer: Answer) -> Verdict:
    if answer.error_code:
        outcome = outcome_of_code(answer.error_code)
        if outcome is not None:
            return Verdict(outcome, _next_for(outcome, answer), answer.retry_after)
    if 200 <= answer.status < 300:
        return _classify_2xx(answer)
    if 400 <= answer.status < 500 and answer.status not in GATEWAY and answer.body_kind in UNREAD:
        # The unread part may hold a code that changes the meaning: a 400 with CSS.0036 leaves open
        # whether a backup was started.
        return Verdict(Outcome.MALFORMED, Next.SETTLE)
    outcome = outcome_of_status(answer.status)
    return Verdict(outcome, _next_for(outcome, answer), answer.retry_after)


def _classify_2xx(answer: Answer) -> Verdict:
    """A 2xx means acceptance only with an empty body, as documented.

    With any other body (an unreadable error, a proxy's page) the result is uncertain, and the
    records decide.
    """
    clean_body = answer.body_kind is BodyKind.EMPTY or answer.excerpt.strip() == "{}"
    if answer.status in (200, 201, 202, 204) and clean_body and not answer.error_code:
        return Verdict(Outcome.ACCEPTED, Next.FOLLOW)
    return Verdict(Outcome.MALFORMED, Next.SETTLE)


def _next_for(outcome: Outcome, answer: Answer) -> Next:
    if outcome is Outcome.CONFLICT:
        return Next.WAIT_IF_ASKED
    if outcome is Outcome.THROTTLED or (outcome is Outcome.SERVER_ERROR and answer.status == 503):
        return Next.RETRY  # the gateway rejected it before it reached the service
    if outcome in (Outcome.SERVER_ERROR, Outcome.UNANSWERED):
        return Next.SETTLE  # the service may have started the job before it failed
    if outcome is Outcome.MALFORMED and not 300 <= answer.status < 400:
        return Next.SETTLE  # an undefined HTTP status says nothing about the request
    return Next.END


def outcome_of_code(code: str) -> Outcome | None:
    """The outcome of an error code, None for a code that is not in the guide."""
    entry = CODES.get(code_family(code))
    return entry.outcome if entry else None


def outcome_of(answer: Answer) -> Outcome:
    """The outcome of an answer that is not a clean 2xx, by code before status."""
    return outcome_of_code(answer.error_code) or outcome_of_status(answer.status)


def outcome_of_status(status: int) -> Outcome:
    """The outcome of an HTTP status outside 2xx, without a known code."""
    known = {
        400: Outcome.INVALID_REQUEST,
        401: Outcome.UNAUTHENTICATED,
        403: Outcome.FORBIDDEN,
        404: Outcome.NOT_FOUND,
        407: Outcome.UNAUTHENTICATED,
        408: Outcome.UNANSWERED,  # a gateway's timeout: the request may have reached the service
        409: Outcome.CONFLICT,
        410: Outcome.NOT_FOUND,
        412: Outcome.PRECONDITION_FAILED,
        429: Outcome.THROTTLED,
    }
    if status in known:
        return known[status]
    if 500 <= status < 600:
        return Outcome.SERVER_ERROR
    if 400 <= status < 500:
        return Outcome.INVALID_REQUEST
    # 1xx and 3xx are undocumented here; redirects are never followed with a token.
    return Outcome.MALFORMED
