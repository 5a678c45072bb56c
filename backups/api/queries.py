"""A list's query: the filters of the pages, the page's length, and nothing else."""

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
    "description": f"How many at most; {USUAL_LIMIT} without it.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST},
}


class LimitForm(forms.Form):
    """How many things an answer has at most."""

    limit = forms.IntegerField(min_value=1, max_value=MOST, required=False)


def refuse_unknown(request: HttpRequest, known: Iterable[str]) -> None:
    """Refuse parameters that mean nothing here: a misspelt filter would show too much.

    Raises:
        Invalid: with the name of each.
    """
    names = sorted(known)
    unknown = [name for name in request.GET if name not in names]
    if unknown:
        text = _("not known here; there are: %(names)s") % {"names": ", ".join(names) or "-"}
        raise Invalid((name[:100], text) for name in unknown)


def limit_of(query: QueryDict) -> int:
    """How many things are asked for.

    Raises:
        Invalid: the limit is no number, or out of range.
    """
    form = LimitForm(query)
    if not form.is_valid():
        raise Invalid.by_form(form)
    limit: int | None = form.cleaned_data["limit"]
    return limit or USUAL_LIMIT


def valid(found: django_filters.FilterSet) -> None:
    """Refuse values that a filter cannot read.

    Raises:
        Invalid: with each filter and what is wrong with it.
    """
    if not found.is_valid():
        raise Invalid.by_form(found.form)


def described(
    filters: type[django_filters.FilterSet], *, leave_out: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """The filters as parameters of OpenAPI: they are defined in one place, for pages and API."""
    left_out = set(leave_out)
    return [
        _described(name, one) for name, one in filters.base_filters.items() if name not in left_out
    ]


def _described(name: str, one: django_filters.Filter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    choices = [str(value) for value, _label in one.extra.get("choices", ()) if value]
    if choices:
        schema["enum"] = choices
    if isinstance(one, django_filters.ModelChoiceFilter) or name == "page":
        schema = {"type": "integer"}
    elif isinstance(one, django_filters.IsoDateTimeFilter):
        schema["format"] = "date-time"
    if isinstance(one, django_filters.MultipleChoiceFilter):
        schema = {"type": "array", "items": schema}
    return {"name": name, "in": "query", "description": str(one.label or name), "schema": schema}
