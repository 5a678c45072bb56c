"""The filter of the audit trail, as in its URL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import Q, TextChoices
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dashboard.web.moments import MomentField

from .models import Action, AuditEventQuerySet


class EventWindow(TextChoices):
    """A preset time range that ends now."""

    DAY = "24h", _("Last 24 hours")
    MONTH = "30d", _("Last 30 days")
    YEAR = "365d", _("Last 365 days")
    ALL = "all", _("All time")


_LENGTHS = {
    EventWindow.DAY: timedelta(hours=24),
    EventWindow.MONTH: timedelta(days=30),
    EventWindow.YEAR: timedelta(days=365),
}


# Actions are declared by subject; each group ends where the next begins.
_GROUPS = {
    Action.SIGN_IN: _("Sign-in and sessions"),
    Action.RUN_REQUESTED: _("Log backups, batches and schedules"),
    Action.LOG_CHANGE_REQUESTED: _("Log backup settings"),
    Action.CONNECTION_ADDED: _("Connections"),
    Action.CLUSTER_REGISTERED: _("Clusters"),
    Action.ACCOUNT_CREATED: _("Accounts and groups"),
    Action.GRANT_ADDED: _("Roles and API tokens"),
    Action.CHANNEL_ADDED: _("Notifications"),
    Action.INSTANCE_ADOPTED: _("Database and retention"),
}


def action_groups() -> list[tuple[str, list[tuple[str, str]]]]:
    """Every action as (value, label), in labelled groups."""
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    for action in Action:
        if action in _GROUPS:
            groups.append((str(_GROUPS[action]), []))
        groups[-1][1].append((action.value, str(action.label)))
    return groups


class EventFilter(forms.Form):
    """The filter and the page. All conditions must match."""

    window = forms.ChoiceField(choices=EventWindow.choices, required=False)
    since = MomentField(required=False)
    until = MomentField(required=False, latest=True)
    action = forms.MultipleChoiceField(choices=Action.choices, required=False)
    actor = forms.CharField(max_length=255, required=False)
    object = forms.CharField(max_length=255, required=False)
    # one object by its type and id, as links use it
    about = forms.RegexField(r"^[a-z_]+\.[a-z_]+:.{1,64}$", required=False)
    older = forms.IntegerField(min_value=1, max_value=2**62, required=False)
    newer = forms.IntegerField(min_value=1, max_value=2**62, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since >= until:
            self.add_error("until", _("The end must be after the start."))
        if cleaned.get("older") and cleaned.get("newer"):
            self.add_error(None, _("Use either older or newer, not both."))
        return cleaned

    @property
    def effective_window(self) -> EventWindow:
        """The preset that applies; a given range or object replaces the default."""
        cleaned = self.cleaned_data
        if cleaned["window"]:
            return EventWindow(cleaned["window"])
        named = cleaned["since"] or cleaned["until"] or cleaned["about"]
        return EventWindow.ALL if named else EventWindow.MONTH

    def narrow(self, found: AuditEventQuerySet) -> AuditEventQuerySet:
        """Return the events that match. The form must be valid."""
        cleaned = self.cleaned_data
        if self.effective_window in _LENGTHS:
            found = found.filter(at__gte=timezone.now() - _LENGTHS[self.effective_window])
        if cleaned["since"]:
            found = found.filter(at__gte=cleaned["since"])
        if cleaned["until"]:
            found = found.filter(at__lt=cleaned["until"])
        if cleaned["action"]:
            found = found.filter(action__in=cleaned["action"])
        if cleaned["actor"]:
            found = found.filter(actor_name=cleaned["actor"])
        if cleaned["about"]:
            kind, _colon, key = cleaned["about"].partition(":")
            found = found.filter(target_type=kind, target_id=key)
        if text := cleaned["object"]:
            found = found.filter(
                Q(target_id=text)
                | Q(target_label__icontains=text)
                | Q(project_label__icontains=text)
            )
        return found
