"""Parts of the history's filter form that are the same for everyone, or long."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from django.forms import Form
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from backups.lists.history.filters import HistoryFilter
from backups.lists.history.windows import Window
from backups.models import Project

_BOXES = ("state", "outcome", "trigger")


def choice_boxes(form: Form) -> list[SafeString]:
    """A box of check marks for each filter that has several values; the form must be valid."""
    language = get_language()
    return [_boxes(language, name, frozenset(form.cleaned_data[name] or ())) for name in _BOXES]


@lru_cache(maxsize=512)
def _boxes(language: str | None, name: str, chosen: frozenset[str]) -> SafeString:
    """In the language, which is the present one."""
    field = HistoryFilter.base_filters[name]
    context = {
        "name": name,
        "label": field.label,
        "choices": field.extra["choices"],
        "chosen": chosen,
    }
    return SafeString(render_to_string("backups/history_boxes.html", context))


def window_options(chosen: Window | None) -> SafeString:
    """The windows of time to choose from; None is a range that was typed."""
    return _windows(get_language(), chosen)


@lru_cache(maxsize=512)
def _windows(language: str | None, chosen: Window | None) -> SafeString:
    context = {"windows": Window.choices, "chosen": chosen}
    return SafeString(render_to_string("backups/history_windows.html", context))


def project_options(projects: Iterable[Project], chosen: Project | None) -> SafeString:
    """Projects to choose from. There may be hundreds, so no template goes over them."""
    key = chosen.pk if chosen else None
    lines = [
        f'<option value="{project.pk}"{" selected" if project.pk == key else ""}>'
        f"{escape(project)}</option>"
        for project in projects
    ]
    return SafeString("".join(lines))
