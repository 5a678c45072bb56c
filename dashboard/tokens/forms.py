"""What a browser may send to make a token."""

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
    scope = forms.ChoiceField(label=gettext_lazy("May"), choices=Scope)
    days = forms.IntegerField(label=gettext_lazy("Days until it ends"), min_value=1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.longest = settings.API_TOKEN_MAX_DAYS
        self.fields["days"].initial = min(DEFAULT_DAYS, self.longest)

    def clean_name(self) -> str:
        """One line: it stands in tables and events."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise ValidationError(_("A name is one line of letters, digits and signs."))
        return name

    def clean_days(self) -> int:
        """As long as a token may work here."""
        days: int = self.cleaned_data["days"]
        if days > self.longest:
            raise ValidationError(
                _("A token works for %(longest)d days at most here.") % {"longest": self.longest}
            )
        return days
