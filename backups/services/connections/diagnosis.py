"""Connection test: configuration, sign-in, catalog, permission to list; and faults by error."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from backups.choices import ConnectionFault, Outcome
from backups.css_api import session
from backups.css_api.client import CssClient, Exchange, ShownRequest
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
from backups.css_api.session import CloudConnection
from backups.css_api.types import Answer
from backups.rules.outcomes import outcome_of
from backups.services.cloud import INTERACTIVE

# Seconds after which no further page of a long list is read: the first proves the permission.
LIST_BUDGET = 10.0


class StepState(StrEnum):
    """Result of a step."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not_tried"


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step of the test.

    Attributes:
        label: what is tested.
        state: the result.
        text: details, or the error.
        fault: the kind of error, explained by the guide.
    """

    label: str | Promise
    state: StepState
    text: str = ""
    fault: ConnectionFault = ConnectionFault.NONE


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of a test.

    Attributes:
        steps: all steps in order.
        clock: seconds by which this machine's clock is ahead of the cloud's, which is known to a
            second; None if the cloud told no time.
    """

    steps: tuple[StepResult, ...]
    clock: float | None = None

    @property
    def passed(self) -> bool:
        return all(step.state is StepState.PASSED for step in self.steps)


LABELS = (
    gettext_lazy("Entry in clouds.yaml"),
    gettext_lazy("Sign-in at the identity service"),
    gettext_lazy("Cloud Search Service in the catalog"),
    gettext_lazy("Permission to list the clusters"),
)


def diagnose(cloud: str, region: str) -> Diagnosis:
    """Test a clouds.yaml entry.

    It runs while the user waits for the page. Getting a token and each request time out after
    INTERACTIVE.total seconds (15), and after LIST_BUDGET (10) no further page is requested: 40
    seconds at most, or a minute where the service rejects the first token.

    Args:
        cloud: name of the entry.
        region: one of its regions, "" where it names none.

    Returns:
        All steps in order; after a failed step the others are not tried.
    """
    passed: list[str] = []
    budget = _Budget()
    try:
        connection = session.connect(cloud, region, timeouts=INTERACTIVE)
        passed.append(_usable(connection))
        identity = connection.sign_in()
        passed.append(
            (
                _("Signed in to project %(project)s.")
                if connection.asks_identity
                else _("Not needed: the entry names endpoint and project %(project)s itself.")
            )
            % {"project": identity.project_name or identity.project_id}
        )
        passed.append(_("Endpoint: %(url)s.") % {"url": identity.endpoint})
        passed.append(_list(connection, budget))
    except (CatalogError, ConfigurationError) as error:
        if passed:  # the entry is valid, so the endpoint is not
            passed.append(_("Signed in."))
        return _diagnosis(passed, error)
    except IdentityError as error:
        return _diagnosis(passed[:1], error)
    except CssApiError as error:
        return replace(_diagnosis(passed, error), clock=budget.clock)
    return replace(_diagnosis(passed), clock=budget.clock)


def _usable(connection: CloudConnection) -> str:
    if connection.key is None:
        return _("The entry can be used.")
    text = _("The entry can be used. Requests are signed with the access key %(key)s.")
    return text % {"key": connection.key}


def _diagnosis(passed: list[str], error: CssApiError | None = None) -> Diagnosis:
    steps = [
        StepResult(label, StepState.PASSED, text)
        for label, text in zip(LABELS, passed, strict=False)
    ]
    if error is not None:
        failed = StepResult(LABELS[len(steps)], StepState.FAILED, str(error), fault_of(error))
        steps.append(failed)
    steps += [StepResult(label, StepState.NOT_TRIED) for label in LABELS[len(steps) :]]
    return Diagnosis(tuple(steps))


def _list(connection: CloudConnection, budget: _Budget) -> str:
    """Test the permission to list. Raises CssApiError."""
    try:
        count = len(CssClient(connection, budget).list_clusters())
    except _Spent:
        return _("Clusters can be listed; there are too many to count now.")
    if not count:
        return _(
            "Clusters can be listed, and the list is empty. If you expected clusters, check "
            "project and region of the entry: each project has its own list."
        )
    text = ngettext("%(count)d cluster can be listed.", "%(count)d clusters can be listed.", count)
    return text % {"count": count}


class _Spent(Exception):
    """The list takes longer than LIST_BUDGET."""


class _Budget:
    """Stops reading a list, between two pages, when its time is over; compares the clocks."""

    def __init__(self) -> None:
        self.clock: float | None = None
        self._end = time.monotonic() + LIST_BUDGET
        self._answered = False

    def before_send(self, request: ShownRequest) -> None:
        """Called before each request. Raises _Spent."""
        if self._answered and time.monotonic() > self._end:
            raise _Spent

    def after(self, exchange: Exchange) -> None:
        """Called after each request."""
        if exchange.answer and exchange.answer.date:
            self.clock = (datetime.now(UTC) - exchange.answer.date).total_seconds()
        self._answered = self._answered or bool(exchange.answer and exchange.answer.ok)


_TRANSPORT: dict[TransportKind, ConnectionFault] = {
    TransportKind.DNS: ConnectionFault.DNS,
    TransportKind.TLS: ConnectionFault.TLS,
    TransportKind.PROXY: ConnectionFault.PROXY,
    TransportKind.READ_TIMEOUT: ConnectionFault.UNANSWERED,
    TransportKind.RESET: ConnectionFault.UNANSWERED,
    TransportKind.BROKEN_ANSWER: ConnectionFault.UNANSWERED,
}


def fault_of(error: CssApiError) -> ConnectionFault:
    """The fault for an error of a sign-in, a list or a detail.

    Args:
        error: raised by the client.
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
    # before the error code: 403 with CSS.0015 means “not found or denied”, and a list always exists
    if answer.status in (401, 403):
        return ConnectionFault.FORBIDDEN
    outcome = outcome_of(answer)
    return {
        Outcome.NOT_FOUND: ConnectionFault.NOT_FOUND,
        Outcome.THROTTLED: ConnectionFault.THROTTLED,
        Outcome.MALFORMED: ConnectionFault.MALFORMED,
    }.get(outcome, ConnectionFault.SERVER_ERROR)
