"""Forms of channels and rules."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.choices import RULE_KINDS
from backups.models import Channel, Project
from backups.models.cluster import parse_labels
from backups.services.notifications.senders import url_problem
from dashboard.db.keyset import BadCursor, Cursor


class ChannelForm(forms.Form):
    """A channel. The address holds secrets, so a stored one is never shown: empty keeps it."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    url = forms.CharField(label=gettext_lazy("Address"), max_length=2000, required=False)
    enabled = forms.BooleanField(label=gettext_lazy("Enabled"), required=False)
    renew_secret = forms.BooleanField(label=gettext_lazy("New signing secret"), required=False)

    def __init__(self, data: Any, channel: Channel | None) -> None:
        """Args: data: what was sent, or None; channel: the one that is changed, None for a new."""
        super().__init__(data)
        self._channel = channel

    def clean_name(self) -> str:
        """Require one printable line that no other channel has."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise ValidationError(_("Use a single line without control characters."))
        others = Channel.objects.filter(name=name)
        if self._channel is not None:
            others = others.exclude(pk=self._channel.pk)
        if others.exists():
            raise ValidationError(_("Another channel has this name."))
        return name

    def clean_url(self) -> str:
        """Check the address; none connects to it yet."""
        url: str = self.cleaned_data["url"]
        if not url and self._channel is None:
            raise ValidationError(_("Enter the address."))
        if url and (problem := url_problem(url)):
            raise ValidationError(problem)
        return url


class RuleForm(forms.Form):
    """A rule."""

    channel = forms.ModelChoiceField(Channel.objects.all(), label=gettext_lazy("Channel"))
    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("Kinds"),
        choices=[(kind.value, kind.label) for kind in RULE_KINDS],
        error_messages={"required": gettext_lazy("Choose at least one kind.")},
    )
    project = forms.ModelChoiceField(
        Project.objects.all(), label=gettext_lazy("Project"), required=False
    )
    label = forms.CharField(label=gettext_lazy("Label"), max_length=200, required=False)

    def clean_label(self) -> str:
        """Require one label, `key` or `key=value`."""
        labels = parse_labels(self.cleaned_data["label"])
        if len(labels) > 1 or (self.cleaned_data["label"] and not labels):
            raise ValidationError(_("Give one label; add a rule for each further one."))
        return "".join(f"{key}={value}" if value else key for key, value in labels.items())


class LogForm(forms.Form):
    """What the delivery log shows."""

    channel = forms.ModelChoiceField(Channel.objects.all(), required=False)
    older = forms.CharField(max_length=60, required=False)
    newer = forms.CharField(max_length=60, required=False)

    def _cursor(self, name: str) -> Cursor | None:
        text = self.cleaned_data[name]
        try:
            return Cursor.decode(text) if text else None
        except BadCursor:
            raise ValidationError(_("The page number is not valid.")) from None

    def clean_older(self) -> Cursor | None:
        return self._cursor("older")

    def clean_newer(self) -> Cursor | None:
        return self._cursor("newer")
