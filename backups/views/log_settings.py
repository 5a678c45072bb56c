"""View and change a cluster's log backup settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from backups.choices import Outcome, Readiness, Trigger
from backups.css_api.errors import ApiError, CssApiError
from backups.css_api.types import Answer
from backups.forms import LogBackupOffForm, LogPolicyForm, LogStorageForm, SettingsFormBase
from backups.guide import explain
from backups.models import Cluster, LogSettings
from backups.rules.log_settings import OFFSETS, split_period
from backups.rules.outcomes import outcome_of
from backups.services.clusters.preflight import blocked_reason
from backups.services.log_settings import (
    Change,
    ChangeOutcome,
    ChangeResult,
    Decision,
    decide,
    fingerprint,
    read_settings,
    storage_of,
)
from backups.services.runs.requests import reason_required
from dashboard.accounts.access import Permission, grantors, may, require
from dashboard.audit.trail import Actor

from . import log_settings as words
from .common import PageRequest, bad_request, new_key
from .presentation import Rejection, Text, rejection

# Each form with the part of the page that it stands in; ids begin with that.
_FORMS: dict[Change, tuple[str, type[SettingsFormBase]]] = {
    Change.ENABLE: ("storage", LogStorageForm),
    Change.CHANGE: ("storage", LogStorageForm),
    Change.DISABLE: ("off", LogBackupOffForm),
    Change.SET_POLICY: ("policy", LogPolicyForm),
    Change.STOP_POLICY: ("policy", SettingsFormBase),
}


@require_http_methods(["GET", "HEAD", "POST"])
def log_settings(request: PageRequest, pk: int) -> HttpResponse:
    """GET: the settings as last read. POST: read them again, or decide to change them.

    The cloud is asked while the page waits; `services.cloud.INTERACTIVE` bounds each exchange.
    """
    cluster = _cluster(request, pk)
    if request.method != "POST":
        return _page(request, cluster)
    require(request.user, Permission.CONFIGURE, cluster.project)
    if request.POST.get("do") == "read":
        return _read_again(request, cluster)
    try:
        change = Change(request.POST.get("do", ""))
    except ValueError:
        return bad_request(request, [_("The form does not name an action.")])
    part, form_class = _FORMS[change]
    form = form_class(request.POST, auto_id=f"{part}-%s")
    if not form.is_valid():
        unseen = words.Problem(str(form.errors["seen"][0])) if "seen" in form.errors else None
        return _page(request, cluster, change, form, unseen)
    result = decide(cluster, _decision(change, form), Actor.of(request))
    return _answer(request, cluster, change, form, result)


def _cluster(request: PageRequest, pk: int) -> Cluster:
    visible = Cluster.objects.visible_to(request.user).select_related("project", "log_settings")
    return get_object_or_404(visible, pk=pk)


def _decision(change: Change, form: SettingsFormBase) -> Decision:
    cleaned = form.cleaned_data
    storage = None
    if change in (Change.ENABLE, Change.CHANGE):
        storage = storage_of(cleaned)
    return Decision(
        change,
        storage=storage,
        period=cleaned.get("period", ""),
        seen=cleaned["seen"],
        reason=cleaned["reason"],
    )


def _read_again(request: PageRequest, cluster: Cluster) -> HttpResponse:
    try:
        read_settings(cluster)
    except CssApiError as error:
        text = _("The settings cannot be read: %(why)s") % {"why": error}
        if isinstance(error, ApiError):
            said = words.explained(error.answer)
            text = f"{text} {said.meaning} {said.next_step}"
        messages.error(request, text)
    else:
        messages.info(request, _("The settings were read from the cloud just now."))
    return redirect("backups:log-settings", cluster.pk)


def _answer(
    request: PageRequest,
    cluster: Cluster,
    change: Change,
    form: SettingsFormBase,
    result: ChangeResult,
) -> HttpResponse:
    if result.ending not in (ChangeOutcome.DONE, ChangeOutcome.ACCEPTED):
        # What was typed stays in its form, which now speaks of the settings read just now.
        fresh = _cluster(request, cluster.pk)
        return _page(request, fresh, change, form, words.problem(result))
    if result.ending is ChangeOutcome.DONE:
        messages.success(request, words.done(change, cluster))
    for text in (words.caution(result), words.ended_policy(change, result)):
        if text:
            messages.warning(request, text)
    return redirect("backups:log-settings", cluster.pk)


def _page(
    request: PageRequest,
    cluster: Cluster,
    change: Change | None = None,
    form: SettingsFormBase | None = None,
    problem: words.Problem | None = None,
) -> HttpResponse:
    settings: LogSettings | None = getattr(cluster, "log_settings", None)
    forms = _blank_forms(settings)
    if change is not None and type(form) is not SettingsFormBase:
        forms[f"{_FORMS[change][0]}_form"] = form
    may_configure = may(request.user, Permission.CONFIGURE, cluster.project)
    status = 200
    if problem is not None:
        status = problem.status
    elif form is not None:
        status = 422
    return render(
        request,
        "backups/log_settings.html",
        {
            "cluster": cluster,
            "settings": settings,
            "seen": fingerprint(settings) if settings else "",
            **forms,
            "confirm": request.GET.get("confirm") == "disable" or change is Change.DISABLE,
            "problem": problem,
            "may_configure": may_configure,
            "grantors": [] if may_configure else grantors(cluster.project),
            "may_back_up": may(request.user, Permission.RUN, cluster.project)
            and not blocked_reason(cluster),
            "knows_better": _knows_better(cluster, settings),
            "key": new_key(),
            "reason_required": reason_required(Trigger.BUTTON),
            "here": reverse("backups:log-settings", args=[cluster.pk]),
        },
        status=status,
    )


def _blank_forms(settings: LogSettings | None) -> dict[str, Any]:
    found = split_period(settings.period) if settings else None
    if found is None or found[1] not in OFFSETS:
        here = f"{timezone.localtime():%z}"
        zone = f"{here[:3]}:{here[3:5]}"
        found = (0, zone if zone in OFFSETS else "+00:00")
    storage = {
        "bucket": settings.bucket if settings else "",
        "base_path": (settings and settings.base_path) or "css/log",
        "agency": settings.agency if settings else "",
    }
    return {
        "storage_form": LogStorageForm(initial=storage, auto_id="storage-%s"),
        "policy_form": LogPolicyForm(
            initial={"hour": found[0], "offset": found[1]}, auto_id="policy-%s"
        ),
        "off_form": LogBackupOffForm(auto_id="off-%s"),
    }


def _knows_better(cluster: Cluster, settings: LogSettings | None) -> bool:
    """Whether the settings are newer than the check that reported log backup as not set up.

    Who has just switched it on is not asked whether they want to back up in spite of it being off.
    """
    if settings is None or cluster.checked_at is None:
        return False
    about_settings = cluster.readiness in (Readiness.BACKUP_OFF, Readiness.STORAGE_MISSING)
    return about_settings and settings.enabled and settings.read_at > cluster.checked_at


# The guide speaks to somebody who asked for a backup; these are for other calls.
_NEXT_STEPS: dict[Outcome, Text] = {
    Outcome.PRECONDITION_FAILED: gettext_lazy(
        "Check the current settings in the cloud, then decide again."
    ),
    Outcome.MALFORMED: gettext_lazy(
        "Have the administrator of this dashboard check the endpoint, and any proxy before it."
    ),
    Outcome.SERVER_ERROR: gettext_lazy(
        "Try again later. If it repeats, give the cloud's support the request id."
    ),
}
_LATER = gettext_lazy("Wait a moment, then try again.")
_FAILED_ITSELF = gettext_lazy("The cloud failed while it handled the request.")


def explained(answer: Answer) -> Rejection:
    """Explain an unsuccessful answer to a call other than a backup request."""
    words = rejection(answer)
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
    """Why a change was not made, or may not have been made.

    Attributes:
        text: what happened, and what the cloud has now.
        why: the network's reason, "" where the cloud answered.
        words: the cloud's answer explained, None when there was none.
        status: of our own answer.
    """

    text: str
    why: str = ""
    words: Rejection | None = None
    status: int = 422


def done(change: Change, cluster: Cluster) -> str:
    """Message for a change that has been read back."""
    return str(_DONE[change]) % {"cluster": cluster.name}


def caution(result: ChangeResult) -> str:
    """Warning for a change that the cloud accepted but does not show; "" if there is none."""
    if result.ending is ChangeOutcome.ACCEPTED:
        if result.now is None:
            return _(
                "The cloud accepted the change, but its settings could not be read since. Read "
                "them in a moment."
            )
        return _(
            "The cloud accepted the change, but shows other settings than requested. Read "
            "them again in a moment."
        )
    return ""


def ended_policy(change: Change, result: ChangeResult) -> str:
    """Warning that a change has ended the daily backup; "" if it has not."""
    if change is Change.CHANGE and result.ended_policy:
        return _(
            "With this change the cloud has ended its daily backup. Switch it on again if you "
            "still need it."
        )
    return ""


def problem(result: ChangeResult) -> Problem:
    """Describe a change that was refused or not sent, or whose result is unknown."""
    if result.ending is ChangeOutcome.REFUSED and result.answer is not None:
        text = _("The cloud rejected the change.") + " " + _state(result)
        return Problem(text, words=explained(result.answer), status=422)
    if result.ending is ChangeOutcome.UNKNOWN:
        text = _(
            "It is not known whether the cloud made the change. It was not sent again. %(state)s"
        ) % {"state": _state(result)}
        return Problem(text, why=result.why, status=502)
    if result.ending is ChangeOutcome.NOT_SENT:
        words = explained(result.answer) if result.answer is not None else None
        if result.before is None:
            text = _("Nothing was sent: the current settings could not be read from the cloud.")
        else:
            text = _("Nothing was changed: the cloud could not be reached.")
        return Problem(text, why="" if words else result.why, words=words, status=502)
    if result.ending is ChangeOutcome.OCCUPIED:
        text = _(
            "Nothing was sent: another change of these settings is in progress or was "
            "interrupted. It ends within three minutes; check the settings then, and decide "
            "again."
        )
        return Problem(text, status=409)
    text = _(
        "Nothing was sent: the settings in the cloud differ from those that this page showed. "
        "Check them, then decide again."
    )
    return Problem(text, status=409)


def _state(result: ChangeResult) -> str:
    if result.has_changed is None:
        return _("Its current settings could not be read: read them again before you decide.")
    if result.has_changed:
        return _("Its settings have changed: check them before you decide.")
    return _("Its settings were read afterwards; they are unchanged.")


_DONE: dict[Change, Text] = {
    Change.ENABLE: gettext_lazy(
        "Log backup of %(cluster)s is on. Back it up now to check that it works."
    ),
    Change.CHANGE: gettext_lazy("Log backups of %(cluster)s now go to the new place."),
    Change.DISABLE: gettext_lazy("Log backup of %(cluster)s is off."),
    Change.SET_POLICY: gettext_lazy("The cloud now backs up the logs of %(cluster)s every day."),
    Change.STOP_POLICY: gettext_lazy(
        "The cloud no longer backs up the logs of %(cluster)s automatically."
    ),
}
