"""A cluster's log backup settings; the request waits for the cloud, as the page does."""

from __future__ import annotations

from typing import Any

from django.http import Http404, JsonResponse
from django.utils.translation import gettext as _

from backups.forms import LogPolicyForm, LogStorageForm
from backups.models import Cluster, LogSettings
from backups.serialize import Json, log_settings_document
from backups.services.log_settings import (
    Change,
    ChangeOutcome,
    ChangeResult,
    Decision,
    bring_about,
    read_again,
    storage_of,
)
from dashboard.accounts.access import Permission
from dashboard.audit.trail import Actor

from . import answers
from .bodies import LogPolicyBody, LogSettingsBody, NoFields
from .clusters import cluster_for
from .declare import Resource, answer
from .problems import CloudFailed, Invalid, NotNow
from .token import MANAGE, ApiRequest

router = Resource("log settings")

_REFUSALS = {
    409: "The cloud refused the change, or another change is in progress.",
    502: "The cloud could not be reached, or it is not known what it did.",
}
_CHANGED: dict[str, Any] = {
    "schemas": {200: answers.LogSettings, 202: answers.LogSettings},
    "auth": MANAGE,
    "refusals": _REFUSALS,
}
_UNSEEN = "0" * 32  # the forms' fingerprint of what a page showed


def _document(cluster: Cluster) -> Json:
    settings = LogSettings.objects.filter(cluster=cluster).first()
    if settings is None:
        raise Http404
    return log_settings_document(settings)


@router.read(
    "/{int:pk}/log-settings",
    answers.LogSettings,
    name="log-settings",
    summary="Get log backup settings",
)
def get_log_settings(request: ApiRequest, pk: int) -> Json:
    """The settings as last read; 404 if they were never read."""
    return _document(cluster_for(request, pk, Permission.SEE))


@router.act(
    "/{int:pk}/log-settings/read",
    {200: answers.LogSettings},
    name="log-settings-read",
    summary="Read log backup settings again",
    auth=MANAGE,
    refusals={502: _REFUSALS[502]},
)
def read_log_settings(request: ApiRequest, pk: int, body: NoFields | None = None) -> Json:
    """Read the settings from the cloud now."""
    cluster = cluster_for(request, pk, Permission.CONFIGURE)
    if why := read_again(cluster):
        raise CloudFailed("cloud-unreachable", why)
    return _document(cluster)


@router.act(
    "/{int:pk}/log-settings",
    method="PUT",
    name="log-settings",
    summary="Set log backup settings",
    **_CHANGED,
)
def set_log_settings(request: ApiRequest, pk: int, body: LogSettingsBody) -> JsonResponse:
    """Switch log backup on with a place, change the place, or switch it off."""
    cluster = cluster_for(request, pk, Permission.CONFIGURE)
    if not body.enabled:
        return _bring_about(request, cluster, Decision(Change.DISABLE, reason=body.reason))
    form = LogStorageForm({**body.model_dump(), "seen": _UNSEEN})
    if not form.is_valid():
        raise Invalid.by_form(form)
    storage = storage_of(form.cleaned_data)
    return _bring_about(request, cluster, Decision(Change.ENABLE, storage, reason=body.reason))


@router.act(
    "/{int:pk}/log-policy",
    method="PUT",
    name="log-policy",
    summary="Set the cloud's daily log backup",
    **_CHANGED,
)
def set_log_policy(request: ApiRequest, pk: int, body: LogPolicyBody) -> JsonResponse:
    """Have the cloud back up every day at an hour, or no longer."""
    cluster = cluster_for(request, pk, Permission.CONFIGURE)
    if not body.enabled:
        return _bring_about(request, cluster, Decision(Change.STOP_POLICY, reason=body.reason))
    form = LogPolicyForm({**body.model_dump(), "seen": _UNSEEN})
    if not form.is_valid():
        raise Invalid.by_form(form)
    period = form.cleaned_data["period"]
    decision = Decision(Change.SET_POLICY, period=period, reason=body.reason)
    return _bring_about(request, cluster, decision)


def _bring_about(request: ApiRequest, cluster: Cluster, decision: Decision) -> JsonResponse:
    result = bring_about(cluster, decision, Actor.of(request))
    if result.ending in (ChangeOutcome.DONE, ChangeOutcome.ALREADY):
        return answer(_document(cluster))
    if result.ending is ChangeOutcome.ACCEPTED:
        return answer(_document(cluster), 202)
    raise _refused(result)


def _refused(result: ChangeResult) -> NotNow:
    facts = {}
    if result.answer is not None:
        said = result.answer
        facts = {"http_status": said.status, "error_code": said.error_code}
    match result.ending:
        case ChangeOutcome.REFUSED:
            return NotNow("refused-by-cloud", result.why, **facts)
        case ChangeOutcome.UNKNOWN:
            text = _("It is not known whether the cloud made the change. It was not sent again.")
            return CloudFailed("change-unknown", f"{text} {result.why}", **facts)
        case ChangeOutcome.NOT_SENT:
            return CloudFailed("cloud-unreachable", result.why, **facts)
    text = _("Nothing was sent: another change of these settings is in progress, or was just made.")
    return NotNow("settings-changed", text)
