"""Reports by schedule: made with the owner's permissions of that time, and queued once a firing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.http import QueryDict
from django.urls import reverse

from backups.choices import NoticeKind
from backups.lists.report import Range, Span
from backups.models import Firing, Project, Schedule
from backups.services.notifications.queueing import Attachment, queue_message
from backups.services.report import make_report
from backups.services.report_csv import csv_report
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User


@dataclass(frozen=True, slots=True)
class ReadyReport:
    """A report as a message.

    Attributes:
        made_from: all that decides what is in it.
        title, body, attachment: of the message.
    """

    made_from: tuple[object, ...]
    title: str
    body: str
    attachment: Attachment


def prepare_report(schedule: Schedule, user: User, slot: datetime) -> ReadyReport | str:
    """Make the report of a slot, or say in English why there is none.

    It can take seconds, so call it before the transaction of the firing: on SQLite all other
    writers wait for that.

    Args:
        schedule: with a channel, a span and perhaps a project.
        user: whose permissions apply.
        slot: the range is the last month or week as seen from it, also if it is caught up later.
    """
    if why := _refusal(schedule, user):
        return why
    project = None
    if wanted := QueryDict(schedule.query).get("project"):
        project = Project.objects.visible_to(user).filter(pk=wanted).first()
        if project is None:
            return "Its project does not exist any more."
    days = Range.of(Span(schedule.report_span), schedule.zone, slot)
    report = make_report(user, days, project)
    content = csv_report(report, user)
    query = f"first={days.first}&last={days.last}&zone={days.zone}"
    if project:
        query += f"&project={project.pk}"
    share = f"{report.time.share} % protected" if report.time.share else "no time to judge"
    lines = [
        f"{project or 'All projects'}, {days.first} to {days.last} ({days.zone}).",
        f"{len(report.counted)} clusters: {share}.",
        *(f"{group.label}: {report.runs[group]}" for group in report.runs),
        f"{settings.PUBLIC_URL}{reverse('backups:report')}?{query}" if settings.PUBLIC_URL else "",
    ]
    return ReadyReport(
        _made_from(schedule, user, slot),
        title=f"Report {days.first} to {days.last}: {share}",
        body="\n".join(filter(None, lines)),
        attachment=Attachment(f"report-{days.first}-{days.last}.csv", content, "text/csv"),
    )


def queue_report(firing: Firing, user: User, ready: ReadyReport | str | None) -> str:
    """Queue the report of a stored firing, in the caller's transaction.

    The message is identified by the firing, so it is never queued twice.

    Args:
        firing: whose schedule sends reports.
        user: whose permissions apply.
        ready: of `prepare_report`. If the schedule was changed since, it is made again.

    Returns:
        Why nothing was queued, in English; "" if it was.
    """
    schedule, channel = firing.schedule, firing.schedule.report_channel
    if why := _refusal(schedule, user):
        return why
    wanted = _made_from(schedule, user, firing.slot)
    if not isinstance(ready, ReadyReport) or ready.made_from != wanted:
        ready = prepare_report(schedule, user, firing.slot)
    if isinstance(ready, str):
        return ready
    assert channel is not None  # noqa: S101 - _refusal
    queue_message(
        channel,
        NoticeKind.REPORT,
        ready.title,
        ready.body,
        attachment=ready.attachment,
        key=f"firing-{firing.pk}",
    )
    return ""


def _refusal(schedule: Schedule, user: User) -> str:
    """Why a report must not be sent. Without names of people, which nothing could mask there."""
    if schedule.report_channel is None:
        return "Its channel was deleted."
    if not may(user, Permission.CONFIGURE):
        return "Sending reports to channels requires the role Admin for all projects."
    return ""


def _made_from(schedule: Schedule, user: User, slot: datetime) -> tuple[object, ...]:
    return schedule.query, schedule.report_span, schedule.zone, user.pk, slot
