"""Celery tasks of the audit trail."""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from . import refusals, trail, verification
from .models import AuditEvent, EmittedHead, Verification
from .values import instant

logger = logging.getLogger(__name__)


@shared_task(ignore_result=True)
def emit_head() -> None:
    """Log number and hash of the newest event, so that they can be stored elsewhere."""
    head = trail.head()
    newest = AuditEvent.objects.filter(sequence=head.sequence).first()
    if newest is not None:
        logger.info("audit head %d:%s %s", head.sequence, head.hash, instant(newest.at))
        values = {"at": timezone.now(), "sequence": head.sequence}
        EmittedHead.objects.update_or_create(pk=1, defaults=values)


@shared_task(ignore_result=True)
def emit_head_when_due() -> None:
    """Log the head, unless that was done within the last AUDIT_HEAD_INTERVAL seconds.

    The last time is in the database, so neither restarts nor other workers move it.
    """
    now, wide = timezone.now(), timedelta(seconds=settings.AUDIT_HEAD_INTERVAL)
    # one that lies further ahead was dated by a wrong clock
    if not EmittedHead.objects.filter(at__range=(now - wide, now + wide)).exists():
        emit_head()


@shared_task(ignore_result=True)
def verify(*, complete: bool = True) -> None:
    """Run the waiting verification, or a new one.

    Args:
        complete: as for `verification.run_verification`.
    """
    requested = verification.request_verification()
    if not verification.run_verification(requested, complete=complete):
        return
    if requested.pending:
        logger.warning("%d ended runs have been unsealed for over a minute", requested.pending)
    if requested.broken_at is not None:
        logger.error("audit trail broken at event %d: %s", requested.broken_at, requested.problem)
    elif requested.result == "broken":
        logger.error("sealed records differ from the audit trail: %s", requested.problem)


def verify_soon() -> tuple[Verification, bool]:
    """Queue a verification of the whole chain, unless one is waiting.

    Returns:
        It, and whether the broker took it: otherwise it runs with the next scheduled one.
    """
    requested = verification.request_verification()
    try:
        verify.delay()
    except (BrokerError, OSError) as error:
        logger.warning("broker unreachable, the verification stays queued: %s", error)
        return requested, False
    return requested, True


@shared_task(ignore_result=True)
def verify_when_due() -> None:
    """Verify what is new, unless a verification ended within AUDIT_VERIFY_INTERVAL seconds."""
    if verification.is_due(settings.AUDIT_VERIFY_INTERVAL):
        # all of it, if somebody has asked for that
        waiting = Verification.objects.filter(result=Verification.Result.WAITING).exists()
        verify(complete=waiting)


@shared_task(ignore_result=True)
def record_counted_refusals() -> None:
    """Record the counts of denied requests whose minute is over."""
    refusals.record_counted()
