"""Query parameters of lists: the filters of the pages and `limit`; others are rejected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import django_filters
from django import forms
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from .problems import Invalid

USUAL_LIMIT = 50
MOST = 200

LIMIT: dict[str, Any] = {
    "name": "limit",
    "in": "query",
    "description": f"Maximum number of items, {USUAL_LIMIT} by default.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST},
}


class LimitForm(forms.Form):
    """Validates `limit`."""

    limit = forms.IntegerField(min_value=1, max_value=MOST, required=False)


def refuse_unknown(request: HttpRequest, known: Iterable[str]) -> None:
    """Reject unknown parameters: ignoring a misspelt filter would return too much.

    Raises:
        Invalid: names each of them.
    """
    names = sorted(known)
    unknown = [name for name in request.GET if name not in names]
    if unknown:
        text = _("unknown parameter; known are: %(names)s") % {"names": ", ".join(names) or "-"}
        raise Invalid((name[:100], text) for name in unknown)


def limit_of(query: QueryDict) -> int:
    """The requested number of items.

    Raises:
        Invalid: it is not a number, or out of range.
    """
    form = LimitForm(query)
    if not form.is_valid():
        raise Invalid.by_form(form)
    limit: int | None = form.cleaned_data["limit"]
    return limit or USUAL_LIMIT


def valid(found: django_filters.FilterSet) -> None:
    """Reject invalid filter values.

    Raises:
        Invalid: names each filter and its error.
    """
    if not found.is_valid():
        raise Invalid.by_form(found.form)


def described(
    filters: type[django_filters.FilterSet], *, leave_out: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """OpenAPI parameters of a filter set, which pages and API share."""
    left_out = set(leave_out)
    return [
        _described(name, one) for name, one in filters.base_filters.items() if name not in left_out
    ]


def _described(name: str, one: django_filters.Filter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    choices = [str(value) for value, _label in one.extra.get("choices", ()) if value]
    if choices:
        schema["enum"] = choices
    if isinstance(one, django_filters.ModelChoiceFilter) or name in ("page", "batch"):
        schema = {"type": "integer"}
    elif isinstance(one, django_filters.IsoDateTimeFilter):
        schema["format"] = "date-time"
    if isinstance(one, django_filters.MultipleChoiceFilter):
        schema = {"type": "array", "items": schema}
    return {"name": name, "in": "query", "description": str(one.label or name), "schema": schema}
