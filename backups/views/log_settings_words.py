"""What came of a change of log backup settings, in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.choices import Outcome
from backups.css_api.types import Answer
from backups.guide import explain
from backups.models import Cluster
from backups.rules.outcomes import outcome_of
from backups.services.log_settings.changing import Change, Ending, Result

from .presentation import Refused, Text, refused

# The guide speaks to somebody who asked for a backup; these are for other calls.
_NEXT_STEPS: dict[Outcome, Text] = {
    Outcome.PRECONDITION_FAILED: gettext_lazy(
        "Look at the settings that the cloud has now, then decide again."
    ),
    Outcome.MALFORMED: gettext_lazy(
        "Have the administrator of this dashboard check the endpoint, and any proxy before it."
    ),
    Outcome.SERVER_ERROR: gettext_lazy(
        "Try again later. If it repeats, give the cloud's support the request id."
    ),
}
_LATER = gettext_lazy("Wait a little, then try again.")
_FAILED_ITSELF = gettext_lazy("The cloud failed while it handled the request.")


def explained(answer: Answer) -> Refused:
    """Explain an answer that was no success, to a call that asked for no backup."""
    words = refused(answer)
    outcome = outcome_of(answer)
    if outcome is Outcome.SERVER_ERROR:
        words = replace(words, meaning=_FAILED_ITSELF)
    if outcome in _NEXT_STEPS:
        return replace(words, next_step=_NEXT_STEPS[outcome])
    if explain(outcome, answer.error_code).retryable:
        return replace(words, next_step=_LATER)
    return words


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a change was not made, or is not known to be.

    Attributes:
        text: what happened, and what the cloud has now.
        why: the network's reason, "" where the cloud answered.
        words: the cloud's answer explained, None when there was none.
        status: of our own answer.
    """

    text: str
    why: str = ""
    words: Refused | None = None
    status: int = 422


def done(change: Change, cluster: Cluster) -> str:
    """What is said of a change that was read back."""
    return str(_DONE[change]) % {"cluster": cluster.name}


def caution(result: Result) -> str:
    """What has to be said of a change that the cloud accepted, "" where all is as wanted."""
    if result.ending is Ending.ACCEPTED:
        if result.now is None:
            return _(
                "The cloud accepted the change, but its settings could not be read since. Read "
                "them in a moment."
            )
        return _(
            "The cloud accepted the change, but shows other settings than were asked for. Read "
            "them again in a moment."
        )
    return ""


def ended_policy(change: Change, result: Result) -> str:
    """That the daily backup went with another change, "" where it did not."""
    if change is Change.CHANGE and result.ended_policy:
        return _(
            "With this change the cloud has ended its daily backup. Switch it on again if it is "
            "still wanted."
        )
    return ""


def problem(result: Result) -> Problem:
    """What is said of a change that was refused, not sent, or of which nothing is known."""
    if result.ending is Ending.REFUSED and result.answer is not None:
        text = _("The cloud refused the change.") + " " + _state(result)
        return Problem(text, words=explained(result.answer), status=422)
    if result.ending is Ending.UNKNOWN:
        text = _(
            "Whether the cloud took the change is not known. It was not sent again. %(state)s"
        ) % {"state": _state(result)}
        return Problem(text, why=result.why, status=502)
    if result.ending is Ending.NOT_SENT:
        words = explained(result.answer) if result.answer is not None else None
        if result.before is None:
            text = _("Nothing was sent: the settings that the cloud has could not be read.")
        else:
            text = _("Nothing was changed: the cloud could not be asked.")
        return Problem(text, why="" if words else result.why, words=words, status=502)
    if result.ending is Ending.OCCUPIED:
        text = _(
            "Nothing was sent: another change of these settings is under way, or was cut off. It "
            "is over in three minutes at most; look then, and decide again."
        )
        return Problem(text, status=409)
    text = _(
        "Nothing was sent: the settings in the cloud are others than those that this page showed. "
        "Look at them, then decide again."
    )
    return Problem(text, status=409)


def _state(result: Result) -> str:
    if result.has_changed is None:
        return _("What it has now could not be read: read it again before you decide anew.")
    if result.has_changed:
        return _("Its settings are others than before: look at them before you decide anew.")
    return _("Its settings were read afterwards; they are as they were.")


_DONE: dict[Change, Text] = {
    Change.ENABLE: gettext_lazy(
        "Log backup of %(cluster)s is on. Back it up now, to see that it works."
    ),
    Change.CHANGE: gettext_lazy("Log backups of %(cluster)s go to the new place from now on."),
    Change.DISABLE: gettext_lazy("Log backup of %(cluster)s is off."),
    Change.SET_POLICY: gettext_lazy(
        "The cloud backs up the logs of %(cluster)s every day from now on."
    ),
    Change.STOP_POLICY: gettext_lazy(
        "The cloud no longer backs up the logs of %(cluster)s by itself."
    ),
}
