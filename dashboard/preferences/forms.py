"""The form of one's own preferences."""

from __future__ import annotations

from functools import cache
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.web.moments import zone_names

Choices = list[tuple[str, Any]]
# Names outside these areas, such as "US/Pacific", are aliases.
AREAS = (
    *("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe"),
    *("Indian", "Pacific"),
)


def _languages() -> Choices:
    return [("", _("Browser default")), *settings.LANGUAGES]


def _zones() -> Choices:
    return [("", _("Browser default")), ("UTC", "UTC"), *_zones_by_area()]


@cache
def _zones_by_area() -> Choices:
    names = sorted(zone_names())
    return [
        (area, [(name, name.replace("_", " ")) for name in names if name.startswith(f"{area}/")])
        for area in AREAS
    ]


class PreferencesForm(forms.Form):
    """Language and time zone; empty means the browser default."""

    language = forms.ChoiceField(choices=_languages, required=False, label=gettext_lazy("Language"))
    time_zone = forms.ChoiceField(choices=_zones, required=False, label=gettext_lazy("Time zone"))
