"""The form that handles a cluster or a cause: what, why and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, cast

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups.choices import AttentionCause
from backups.models import Project
from dashboard.accounts.access import Permission, permitted_q
from dashboard.accounts.models import User
from dashboard.web.moments import MomentField

from . import LONGEST_REASON

LONGEST_DAYS = 366


class HandledScopeForm(forms.Form):
    """What is handled: a cluster, or a cause in a project; without one in all that the user may."""

    cause = forms.ChoiceField(label=_("Cause"), choices=AttentionCause.choices)
    cluster = forms.IntegerField(label=_("Cluster"), required=False, min_value=1, max_value=2**62)
    project = forms.ModelChoiceField(
        label=_("Project"), queryset=Project.objects.none(), required=False
    )

    def __init__(self, data: Any, *, user: User) -> None:
        super().__init__(data)
        seen = Project.objects.visible_to(user)
        cast("forms.ModelChoiceField[Project]", self.fields["project"]).queryset = seen
        self.permitted = seen.filter(permitted_q(user, Permission.RUN, ""))


class HandleForm(HandledScopeForm):
    """Why it needs no attention for some time, and for how long."""

    LASTS: ClassVar = (
        ("", _("Until the cause changes")),
        ("4", _("4 hours")),
        ("24", _("1 day")),
        ("72", _("3 days")),
        ("168", _("1 week")),
        ("720", _("30 days")),
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=LONGEST_REASON,
        error_messages={"required": _("Enter a reason. It is kept in the audit trail.")},
    )
    lasts = forms.ChoiceField(label=_("For how long"), choices=LASTS, required=False)
    until = MomentField(label=_("Until"), required=False)

    def clean(self) -> dict[str, Any]:
        """Add `ends`: the end, None for "until the cause changes"."""
        cleaned, now = self.cleaned_data, timezone.now()
        hours, ends = cleaned.get("lasts"), cleaned.get("until")
        if ends is None and hours:
            ends = now + timedelta(hours=int(hours))
        if ends is not None and not now < ends <= now + timedelta(days=LONGEST_DAYS):
            raise forms.ValidationError(_("The end must be in the future, within a year."))
        if ends is None and not cleaned.get("cluster") and not self.errors:
            raise forms.ValidationError(_("A cause with all its clusters needs an end."))
        return {**cleaned, "ends": ends}
