"""The form that creates a token."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .models import Scope

DEFAULT_DAYS = 90


class TokenForm(forms.Form):
    """A new token."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)
    scope = forms.ChoiceField(label=gettext_lazy("Scope"), choices=Scope)
    days = forms.IntegerField(label=gettext_lazy("Expires after (days)"), min_value=1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
