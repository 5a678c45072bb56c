"""Badges: the colour, icon and word of each state, the same on every page."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from heroicons.templatetags.heroicons import heroicon_mini

from backups.choices import DeliveryState, Protection, Readiness, RunState


@dataclass(frozen=True, slots=True)
class Badge:
    """How a state is shown.

    Attributes:
        tone: its colour token: ok, busy, warn, bad or muted.
        icon: its heroicon.
        label: its word.
    """

    tone: str
    icon: str
    label: str | Promise

    def render(self, text: str = "", css_class: str = "") -> SafeString:
        """The badge as HTML.

        Args:
            text: words in place of the label.
            css_class: a class beside the tone.
        """
        return format_html(
            '<span class="badge {}">{}<span>{}</span></span>',
            f"{self.tone} {css_class}".rstrip(),
            heroicon_mini(self.icon, size=16, aria_hidden="true"),
            text or self.label,
        )


# by the stored value
RUN_STATES: dict[str, Badge] = {
    state.value: Badge(tone, icon, state.label)
    for state, tone, icon in (
        (RunState.QUEUED, "busy", "clock"),
        (RunState.SENDING, "busy", "paper-airplane"),
        (RunState.ACCEPTED, "busy", "arrow-path"),
        (RunState.UNKNOWN, "warn", "question-mark-circle"),
        (RunState.SUCCEEDED, "ok", "check-badge"),
        (RunState.FAILED, "bad", "x-circle"),
        (RunState.UNVERIFIED, "warn", "exclamation-circle"),
        (RunState.REJECTED, "bad", "no-symbol"),
        (RunState.NOT_STARTED, "warn", "minus-circle"),
        (RunState.CANCELLED, "muted", "stop-circle"),
    )
}
READINESS: dict[str, Badge] = {
    state.value: Badge(tone, icon, state.label)
    for state, tone, icon in (
        (Readiness.READY, "ok", "check-circle"),
        (Readiness.BACKUP_OFF, "bad", "power"),
        (Readiness.STORAGE_MISSING, "bad", "archive-box-x-mark"),
        (Readiness.BUSY, "busy", "arrow-path"),
        (Readiness.UNAVAILABLE, "bad", "no-symbol"),
        (Readiness.UNKNOWN, "warn", "question-mark-circle"),
    )
}
PROTECTION: dict[str, Badge] = {
    state.value: Badge(tone, icon, state.label)
    for state, tone, icon in (
        (Protection.PROTECTED, "ok", "shield-check"),
        (Protection.DUE, "warn", "clock"),
        (Protection.OVERDUE, "bad", "shield-exclamation"),
        (Protection.NEVER, "bad", "shield-exclamation"),
    )
}
DELIVERIES: dict[str, Badge] = {
    state.value: Badge(tone, icon, state.label)
    for state, tone, icon in (
        (DeliveryState.WAITING, "busy", "clock"),
        (DeliveryState.SENDING, "busy", "paper-airplane"),
        (DeliveryState.SENT, "ok", "check-circle"),
        (DeliveryState.FAILED, "bad", "x-circle"),
        (DeliveryState.CANCELLED, "muted", "stop-circle"),
    )
}
# of an alert, which is no state
TONE_ICONS = {
    "ok": "check-circle",
    "busy": "information-circle",
    "warn": "exclamation-triangle",
    "bad": "exclamation-circle",
    "muted": "minus-circle",
}
