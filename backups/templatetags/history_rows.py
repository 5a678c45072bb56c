"""Rows of the history's table.

Their template only prints: each value is a finished string in a dict, because fifty rows of model
attributes and filters would take most of the page's time.
"""

from __future__ import annotations

from collections.abc import Iterable

from django import template
from django.db.models import TextChoices
from django.urls import reverse
from django.utils.translation import gettext as _

from backups.choices import Evidence, Outcome, Trigger
from backups.models import BackupRun, BatchItem
from backups.views import presentation

from . import runs as tags

register = template.Library()

LONGEST_MESSAGE = 160
_LONGEST_SAID = 80


@register.inclusion_tag("backups/history_rows.html")
def history_rows(runs: Iterable[BackupRun], *, live: bool = False) -> dict[str, object]:
    """Rows for runs that `listed_runs` has read.

    Args:
        runs: the runs, in the order of the rows.
        live: each row replaces the one on a page that is open.
    """
    runs = list(runs)
    clock, schedules = tags.Clock(), _schedules(runs)
    triggers, outcomes, evidence = _labels(Trigger), _labels(Outcome), _labels(Evidence)
    name = _("Run %(number)d")
    cluster_urls: dict[int, str] = {}  # reverse() takes as long as half a row

    def row(run: BackupRun) -> dict[str, object]:
        if run.cluster_id not in cluster_urls:
            url = reverse("backups:cluster-detail", args=[run.cluster_id])
            cluster_urls[run.cluster_id] = url
        message = run.failed_start or run.message_start  # type: ignore[attr-defined]
        place = (run.project_name or run.project_id_in_cloud, run.region)
        values: dict[str, object] = {
            "pk": str(run.pk),
            "url": run.get_absolute_url(),
            "name": name % {"number": run.pk},
            "cluster_url": cluster_urls[run.cluster_id],
            "cluster": run.cluster_name,
            "place": " · ".join(filter(None, place)),
            "requested": clock.when(run.requested_at),
            "requested_at": clock.at(run.requested_at),
            "requester": run.requester_label,
            "trigger": triggers.get(run.trigger, run.trigger),
            "state": tags.state_badge(run.state, run.state_label),
            "evidence": evidence[run.evidence] if run.evidence else "",
            "outcome": outcomes.get(run.outcome, run.outcome),
            "answer": presentation.answer(run),
            "message": tags.shortened(message, LONGEST_MESSAGE),
            "duration": tags.lasting(run.duration),
        }
        if run.pk in schedules:
            values["schedule"], values["schedule_url"] = schedules[run.pk]
        if run.is_active:
            values["active"] = run
        if live or run.is_active:
            values["version"] = str(run.version)
            cluster = tags.shortened(run.cluster_name, _LONGEST_SAID)
            values["summary"] = f"{cluster}: {presentation.headline(run)}"
        return values

    return {"rows": [row(run) for run in runs], "live": live, "server_now": clock.now}


def _schedules(runs: list[BackupRun]) -> dict[int, tuple[str, str]]:
    """Name and address of the schedule of each run that one requested; no query without any."""
    scheduled = [run.pk for run in runs if run.trigger == Trigger.SCHEDULE]
    if not scheduled:
        return {}
    items = BatchItem.objects.filter(run__in=scheduled, batch__firing__isnull=False)
    named = items.values_list("run", "batch__firing__schedule", "batch__firing__schedule__name")
    return {
        run: (name, reverse("backups:schedule", args=[schedule])) for run, schedule, name in named
    }


def _labels(choices: type[TextChoices]) -> dict[str, str]:
    return {value.value: str(value.label) for value in choices}
