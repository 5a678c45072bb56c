"""Rows of the history: what their template shows of a run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django import template
from django.db.models import TextChoices
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from backups.choices import Evidence, Outcome, Trigger
from backups.models import BackupRun
from backups.views import presentation
from backups.views.row_pattern import RowPattern, Value

from . import runs as look

register = template.Library()

LONGEST_MESSAGE = 160
_LONGEST_SAID = 80


@register.simple_tag
def history_rows(runs: Iterable[BackupRun]) -> SafeString:
    """Rows of the history's table, for runs that `listed_runs` has read."""
    writer = _Writer()
    return SafeString("\n".join([writer.row(run) for run in runs]))


@register.simple_tag
def changed_history_rows(runs: Iterable[BackupRun]) -> SafeString:
    """The same rows, each to take the place of the one on a page that is open."""
    writer = _Writer(live=True)
    return SafeString("\n".join([f"<template>{writer.row(run)}</template>" for run in runs]))


class _Writer:
    """Writes rows for one page: what many of them have in common is worked out once."""

    def __init__(self, *, live: bool = False) -> None:
        self.live = live
        self.pattern = RowPattern("backups/history_row.html")
        self.clock = look.Clock()
        self.labels: dict[tuple[type[TextChoices], str], str] = {}
        self.badges: dict[tuple[str, str], SafeString] = {}
        self.durations: dict[timedelta | None, str] = {}

    def row(self, run: BackupRun) -> SafeString:
        """The row of a run."""
        answer = presentation.answer(run)
        message = run.failed_start or run.message_start  # type: ignore[attr-defined]
        values: dict[str, Value] = {
            "pk": run.pk,
            "url": run.get_absolute_url(),
            "cluster_url": run.cluster_url,
            "cluster": run.cluster_name,
            "project": run.project_name or run.project_id_in_cloud,
            "region": run.region,
            "requested": self.clock.when(run.requested_at),
            "requested_at": self.clock.at(run.requested_at),
            "requester": run.requester_label,
            "trigger": self._label(Trigger, run.trigger),
            "state": self._badge(run),
            "evidence": self._label(Evidence, run.evidence) if run.evidence else "",
            "outcome": self._label(Outcome, run.outcome),
            "answer": answer,
            "message": look.shortened(message, LONGEST_MESSAGE),
            "duration": self._lasting(run.duration),
        }
        optional = ("region", "outcome", "answer", "message", "evidence")
        shape = {name for name in optional if values[name]}
        if run.is_active:
            shape.add("active")
            context = {"run": run, "server_now": self.clock.now}
            values["waiting"] = SafeString(render_to_string("components/waiting.html", context))
        if self.live:
            shape.add("live")
        if self.live or run.is_active:
            shape.add("watched")
            values["version"] = run.version
            name = look.shortened(run.cluster_name, _LONGEST_SAID)
            values["said"] = f"{name}: {look.headline(run)}"
        return self.pattern.fill(frozenset(shape), values)

    def _badge(self, run: BackupRun) -> SafeString:
        text = run.state_label
        key = (run.state, text)
        if key not in self.badges:
            self.badges[key] = look.state_badge(run.state, text)
        return self.badges[key]

    def _label(self, choices: type[TextChoices], value: str) -> str:
        key = (choices, value)
        if key not in self.labels:
            self.labels[key] = look.label(choices, value)
        return self.labels[key]

    def _lasting(self, duration: timedelta | None) -> str:
        if duration not in self.durations:
            self.durations[duration] = look.lasting(duration)
        return self.durations[duration]
