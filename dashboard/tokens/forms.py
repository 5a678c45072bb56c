"""The form that creates a token."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.accounts.access import Permission, projects_with
from dashboard.accounts.models import User

from .models import Scope

DEFAULT_DAYS = 90


class TokenForm(forms.Form):
    """A new token.

    Args:
        user: its owner, who can limit it to projects that they see.
    """

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)
    scope = forms.ChoiceField(label=gettext_lazy("Scope"), choices=Scope)
    projects: forms.ModelMultipleChoiceField[Any] = forms.ModelMultipleChoiceField(
        label=gettext_lazy("Projects"), queryset=None, required=False
    )
    days = forms.IntegerField(label=gettext_lazy("Expires after (days)"), min_value=1)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        projects = cast("forms.ModelMultipleChoiceField[Any]", self.fields["projects"])
        projects.queryset = projects_with(user, Permission.SEE)
        self.longest = settings.API_TOKEN_MAX_DAYS
        self.fields["days"].initial = min(DEFAULT_DAYS, self.longest)

    def clean_name(self) -> str:
        """Require one printable line, for tables and events."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise ValidationError(_("Use a single line without control characters."))
        return name

    def clean_days(self) -> int:
        """Limit the lifetime to API_TOKEN_MAX_DAYS."""
        days: int = self.cleaned_data["days"]
        if days > self.longest:
            raise ValidationError(
                _("A token can be valid for at most %(longest)d days.") % {"longest": self.longest}
            )
        return days
