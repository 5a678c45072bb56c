"""What the pages of sign-in need."""

from __future__ import annotations

import json

from django import template

register = template.Library()


@register.filter
def as_json(value: object) -> str:
    """A value as JSON, for an attribute that a script reads; the template escapes it."""
    return json.dumps(value)
