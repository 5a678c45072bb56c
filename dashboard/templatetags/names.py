"""Names within a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def names(listed: Iterable[object]) -> SafeString:
    """Names with commas between them, each kept apart from the direction of the text around it."""
    return format_html_join(", ", "<bdi>{}</bdi>", ((each,) for each in listed))
