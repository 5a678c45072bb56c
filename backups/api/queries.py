"""Query parameters of lists: filters of the pages, `limit`, `cursor`; others are rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet
from django.db.models.expressions import OrderBy
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from backups.serialize import Json
from dashboard.db import ordered
from dashboard.db.keyset import BadCursor
from dashboard.web.moments import MomentField

from .problems import Invalid, NoPageNumbers

USUAL_LIMIT = 50
MOST = 200

LIMIT: dict[str, Any] = {
    "name": "limit",
    "in": "query",
    "description": f"Maximum number of items, {USUAL_LIMIT} by default.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST},
}
CURSOR: dict[str, Any] = {
    "name": "cursor",
    "in": "query",
    "description": "The position after a page; `next` of a response contains it.",
    "schema": {"type": "string"},
}
PAGED = (LIMIT, CURSOR)


class LimitForm(forms.Form):
    """Validates `limit`."""

    limit = forms.IntegerField(min_value=1, max_value=MOST, required=False)


def refuse_unknown(request: HttpRequest, known: Iterable[str]) -> None:
    """Reject unknown and empty parameters: ignoring a misspelt filter would return too much.

    Raises:
        NoPageNumbers: a page number.
        Invalid: names each of them.
    """
    names = sorted(known)
    unknown = [name for name in request.GET if name not in names]
    if "page" in unknown and "limit" in names:
        raise NoPageNumbers
    text = _("unknown parameter; known are: %(names)s") % {"names": ", ".join(names) or "-"}
    wrong = [(name[:100], text) for name in unknown]
    wrong += [
        (name, _("Give a value, or leave the parameter out."))
        for name in names
        if "" in request.GET.getlist(name)
    ]
    if wrong:
        raise Invalid(wrong)


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


def page_of(
    request: HttpRequest,
    rows: QuerySet[Any, Any],
    order: Sequence[OrderBy],
    line: Callable[[Any], Json],
    *,
    kind: str,
    prepare: Callable[[QuerySet[Any, Any]], Iterable[Any]] = lambda rows: rows,
) -> Json:
    """A page of a list: its items, and the path of the next one.

    Args:
        request: with `limit` and `cursor`.
        rows: the list.
        order: as for `ordered.read`.
        line: a row as JSON.
        kind: name of the list and its order.
        prepare: the rows with what `line` needs.

    Raises:
        Invalid: `limit` or `cursor` cannot be used.
    """
    limit, cursor = limit_of(request.GET), request.GET.get("cursor", "")
    try:
        page = ordered.read(rows, order, limit, cursor, kind=kind)
    except BadCursor as error:
        text = _("Invalid position. Follow “next” of a response with the same filters and order.")
        raise Invalid([("cursor", text)]) from error
    found = {row.pk: row for row in prepare(rows.model._default_manager.filter(pk__in=page.pks))}
    return {
        "items": [line(found[pk]) for pk in page.pks if pk in found],
        "next": next_page(request, cursor=page.cursor) if page.cursor else None,
    }


def next_page(request: HttpRequest, **position: str) -> str:
    """The path of this list with the same filters at another position."""
    query = request.GET.copy()
    for name, value in position.items():
        query[name] = value
    return f"{request.path}?{query.urlencode()}"


def valid(found: django_filters.FilterSet | forms.Form) -> None:
    """Reject invalid filter values.

    Raises:
        Invalid: names each filter and its error.
    """
    if not found.is_valid():
        raise Invalid.by_form(found.form if isinstance(found, django_filters.FilterSet) else found)


def described(
    filters: type[django_filters.FilterSet | forms.Form], *, leave_out: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """OpenAPI parameters of a filter, which pages and API share."""
    left_out = set(leave_out)
    fields: Mapping[str, forms.Field]
    if issubclass(filters, django_filters.FilterSet):
        fields = {name: each.field for name, each in filters.base_filters.items()}
    else:
        fields = filters.base_fields
    return [_described(name, each) for name, each in fields.items() if name not in left_out]


def _described(name: str, field: forms.Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    if isinstance(field, forms.ModelChoiceField):
        schema = {"type": "integer"}
    elif isinstance(field, forms.ChoiceField):
        pairs: Any = field.choices
        schema = {"type": "string", "enum": [str(value) for value, _label in pairs if value]}
    elif isinstance(field, forms.IntegerField):
        schema = {"type": "integer", "minimum": field.min_value or 1}
    elif isinstance(field, (django_filters.fields.IsoDateTimeField, MomentField)):
        schema["format"] = "date-time"
    elif isinstance(field, forms.CharField) and field.max_length:
        schema["maxLength"] = field.max_length
    if isinstance(field, forms.MultipleChoiceField):
        schema = {"type": "array", "items": schema}
    text = str(field.label or name.capitalize())
    return {"name": name, "in": "query", "description": text, "schema": schema}
