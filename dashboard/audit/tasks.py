"""Celery tasks of the audit trail."""

from __future__ import annotations

import logging

from celery import shared_task
from django.conf import settings

from . import refusals, trail, verification
from .models import AuditEvent
from .values import instant

logger = logging.getLogger(__name__)


@shared_task(ignore_result=True)
def emit_head() -> None:
    """Log number and hash of the newest event, so that they can be stored elsewhere."""
    head = trail.head()
    newest = AuditEvent.objects.filter(sequence=head.sequence).first()
    if newest is not None:
        logger.info("audit head %d:%s %s", head.sequence, head.hash, instant(newest.at))


@shared_task(ignore_result=True)
def verify() -> None:
    """Run the waiting verification, or a new one."""
    requested = verification.request_verification()
    if verification.run_verification(requested) and requested.result == "broken":
        logger.error("audit trail broken at event %d: %s", requested.broken_at, requested.problem)


@shared_task(ignore_result=True)
def verify_when_due() -> None:
    """Verify, unless a verification ended within the last AUDIT_VERIFY_INTERVAL seconds."""
    if verification.is_due(settings.AUDIT_VERIFY_INTERVAL):
        verify()


@shared_task(ignore_result=True)
def record_counted_refusals() -> None:
    """Record the counts of denied requests whose minute is over."""
    refusals.record_counted()
