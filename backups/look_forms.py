"""What a browser may send about how pages look in it."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from dashboard.web.display import COLUMNS, PAGE_SIZES, THEMES

_SIZES = [(str(size), str(size)) for size in PAGE_SIZES]
_PLACES = sorted({str(place) for places in COLUMNS.values() for place in places})


class DisplayForm(forms.Form):
    """Theme, shortcut keys and page size."""

    theme = forms.ChoiceField(label=_("Theme"), choices=list(THEMES.items()), required=False)
    keys = forms.BooleanField(label=_("Shortcut keys"), required=False)
    rows = forms.ChoiceField(label=_("Rows on a page"), choices=_SIZES)


class ListForm(forms.Form):
    """Page size and shown columns of a list."""

    list = forms.ChoiceField(label=_("List"), choices=[(name, name) for name in COLUMNS])
    rows = forms.ChoiceField(label=_("Rows on a page"), choices=_SIZES)
    column = forms.MultipleChoiceField(
        label=_("Columns"), choices=[(place, place) for place in _PLACES], required=False
    )
