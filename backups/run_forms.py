"""What a browser may send to ask for a backup, or about a run, validated."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from backups.choices import Ruling
from backups.models.run_log import LONGEST_RULING

MAX_WAIT_MINUTES = 1440
MOST_SELECTED = 100  # a page of clusters
LONGEST_REASON = 500
IDEMPOTENCY_KEY = r"^[A-Za-z0-9_-]{8,64}\Z"


class BackupForm(forms.Form):
    """The button "Back up logs" and its options."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=LONGEST_REASON,
        required=False,
        error_messages={"required": _("A reason is required for every backup.")},
    )
    wait_minutes = forms.IntegerField(
        label=_("Minutes to wait"), min_value=0, max_value=MAX_WAIT_MINUTES, required=False
    )
    # random per page: a form that is sent twice is one request
    idempotency_key = forms.RegexField(IDEMPOTENCY_KEY, label=_("Idempotency key"), required=False)
    # the explanation of why it would be refused has been read
    anyway = forms.BooleanField(label=_("Back up anyway"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = settings.BACKUP_REASON_REQUIRED


class ClustersField(forms.MultipleChoiceField):
    """Keys of clusters, as the boxes of a list send them; cleans to a list of numbers."""

    def validate(self, value: list[str]) -> None:
        if self.required and not value:
            raise forms.ValidationError(self.error_messages["required"], code="required")
        if len(value) > MOST_SELECTED:
            raise forms.ValidationError(
                _("At most %(most)d clusters can be backed up at once."),
                params={"most": MOST_SELECTED},
            )
        if not all(each.isascii() and each.isdigit() and len(each) < 19 for each in value):
            raise forms.ValidationError(_("One of the selected clusters cannot be read."))

    def clean(self, value: Any) -> list[int]:
        return list(dict.fromkeys(map(int, super().clean(value))))


class BulkBackupForm(BackupForm):
    """One request for each of several clusters."""

    cluster = ClustersField(
        label=_("Clusters"), error_messages={"required": _("No cluster was selected.")}
    )


class SettleForm(forms.Form):
    """What somebody found out about a run that the cloud's records cannot settle."""

    ruling = forms.ChoiceField(
        label=_("What happened"),
        choices=Ruling.choices,
        error_messages={"required": _("Choose one.")},
    )
    reason = forms.CharField(
        label=_("How you know"),
        max_length=LONGEST_RULING,
        error_messages={"required": _("Say where you looked: it is kept with the run.")},
    )
