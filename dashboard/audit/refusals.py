"""Recording of denied requests: the first one at once, later ones as a count for each minute.

A denied program may repeat its request a hundred times a second, and an event for each would let
anybody with an account flood the trail. Events in the chain cannot be changed, so the count is
kept in a separate row until the minute is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from dashboard.accounts.models import User
from dashboard.db.leases import expired

from .models import Action, AuditEvent, RefusalCount
from .trail import Actor, record
from .values import instant, line, storable

WINDOW = timedelta(minutes=1)
MAX_PLACES = 10  # listed in an event


def access_denied(
    request: HttpRequest, *, details: Mapping[str, Any] | None = None
) -> AuditEvent | None:
    """Record a denied request. Call it outside the transaction that is rolled back.

    Args:
        request: the denied request. Of its URL only the path is stored: a query can have secrets.
        details: more facts, such as the missing permission.

    Returns:
        The event; None if the request was counted for a later event.
    """
    refused = {"method": request.method, "path": request.path, **(details or {})}
    return record_refusal(Actor.of(request), refused)


def record_refusal(actor: Actor, details: Mapping[str, Any]) -> AuditEvent | None:
    """Record or count a denied request. Must not be called within a transaction.

    Args:
        actor: who was denied; counted by account, or by address without a sign-in.
        details: what was denied.

    Returns:
        The event; None if the request was counted for a later event.
    """
    key = f"account:{actor.user.pk}" if actor.user else f"address:{actor.ip or ''}"
    with transaction.atomic():
        now = timezone.now()
        # The row may be deleted before it is locked.
        while (counted := _locked(key)) is None:
            _row, made = RefusalCount.objects.get_or_create(key=key, defaults={"recorded_at": now})
            if made:
                return record(Action.ACCESS_DENIED, actor=actor, details=details)
        now = timezone.now()  # after waiting for the lock
        if counted.recorded_at <= now < counted.recorded_at + WINDOW:
            _count(counted, actor, details, now)
            return None
        more = _summary(counted)
        _reset(counted, now)
        return record(Action.ACCESS_DENIED, actor=actor, details={**details, **more})


def record_counted() -> int:
    """Record the counts whose minute is over, and return the number of events."""
    ended = RefusalCount.objects.filter(expired("recorded_at", WINDOW))
    return sum(_record_one(key) for key in list(ended.values_list("pk", flat=True)))


def _locked(key: str) -> RefusalCount | None:
    return RefusalCount.objects.select_for_update().filter(pk=key).first()


def _record_one(key: str) -> bool:
    with transaction.atomic():
        counted = _locked(key)
        now = timezone.now()
        if (
            counted is None or now - WINDOW < counted.recorded_at < now + WINDOW
        ):  # another process was first
            return False
        if not counted.count:
            counted.delete()
            return False
        more = _summary(counted)
        actor = Actor(
            name=counted.actor_name,
            user=User(pk=counted.actor_user_id) if counted.actor_user_id else None,
            ip=counted.ip or None,
            user_agent=counted.user_agent,
            token=counted.program,
        )
        _reset(counted, now)
        record(Action.ACCESS_DENIED, actor=actor, details=more)
        return True


def _count(counted: RefusalCount, actor: Actor, details: Mapping[str, Any], now: datetime) -> None:
    place = f"{details.get('method', '')} {details.get('path', '')}"
    counted.count += 1
    counted.first_at = counted.first_at or now
    counted.last_at = now
    if place not in counted.places and len(counted.places) < MAX_PLACES:
        counted.places = (storable({"places": [*counted.places, place]}) or {})["places"]
    counted.actor_name = line(actor.name, 255)
    counted.actor_user_id = actor.user.pk if actor.user else None
    counted.ip = line(actor.ip or "", 45)
    counted.user_agent = line(actor.user_agent, 300)
    counted.program = line(actor.token, 255)
    counted.save()


def _summary(counted: RefusalCount) -> dict[str, Any]:
    """Return the details about counted requests for the next event."""
    if not counted.count or counted.first_at is None or counted.last_at is None:
        return {}
    return {
        "refused_again": counted.count,
        "refused_again_from": instant(counted.first_at),
        "refused_again_until": instant(counted.last_at),
        "refused_again_at": counted.places,
    }


def _reset(counted: RefusalCount, now: datetime) -> None:
    """Start a new minute with a count of 0."""
    counted.recorded_at, counted.count, counted.places = now, 0, []
    counted.first_at = counted.last_at = counted.actor_user_id = None
    counted.actor_name = counted.ip = counted.user_agent = counted.program = ""
    counted.save()
