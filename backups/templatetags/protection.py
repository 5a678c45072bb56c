"""How protection looks: the same words and looks on every page."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from heroicons.templatetags.heroicons import heroicon_mini

from backups.choices import Protection
from backups.views.presentation import Look

register = template.Library()

LOOKS: dict[Protection, Look] = {
    Protection.PROTECTED: Look("ok", "shield-check"),
    Protection.DUE: Look("warn", "clock"),
    Protection.OVERDUE: Look("bad", "shield-exclamation"),
    Protection.NEVER: Look("bad", "shield-exclamation"),
}


@register.simple_tag
def protection_badge(protection: str) -> SafeString:
    """A state of protection as icon, word and colour."""
    which = Protection(protection)
    look = LOOKS[which]
    return format_html(
        '<span class="badge {}">{}<span>{}</span></span>',
        look.tone,
        heroicon_mini(look.icon, size=16, aria_hidden="true"),
        which.label,
    )
