"""Reports by schedule: made with the owner's permissions of that time, and queued once a firing."""

from __future__ import annotations

from django.conf import settings
from django.http import QueryDict
from django.urls import reverse

from backups.choices import NoticeKind
from backups.lists.report import Range, Span
from backups.models import Firing, Project
from backups.services.notifications.queueing import Attachment, queue_message
from backups.services.report import make_report
from backups.services.report_csv import csv_report
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User


def queue_report(firing: Firing, user: User) -> str:
    """Queue the report of a stored firing, in the caller's transaction.

    Its range is the last month or week as seen from the firing's slot, also if that is caught up
    later. The message is identified by the firing, so it is never queued twice.

    Args:
        firing: whose schedule has a channel, a span and perhaps a project.
        user: whose permissions apply.

    Returns:
        Why nothing was queued, in English; "" if it was.
    """
    schedule, channel = firing.schedule, firing.schedule.report_channel
    if channel is None:
        return "Its channel was deleted."
    if not may(user, Permission.CONFIGURE):
        return f"{user} may no longer use notification channels."
    project = None
    if wanted := QueryDict(schedule.query).get("project"):
        project = Project.objects.visible_to(user).filter(pk=wanted).first()
        if project is None:
            return "Its project does not exist any more."
    days = Range.of(Span(schedule.report_span), schedule.zone, firing.slot)
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
    queue_message(
        channel,
        NoticeKind.REPORT,
        f"Report {days.first} to {days.last}: {share}",
        "\n".join(filter(None, lines)),
        attachment=Attachment(f"report-{days.first}-{days.last}.csv", content, "text/csv"),
        key=f"firing-{firing.pk}",
    )
    return ""
