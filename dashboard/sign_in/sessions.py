"""How long a session lasts, which ones an account has, and how they are ended."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, logout
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

from dashboard.accounts.models import Session, User
from dashboard.accounts.sessions import STARTED, Started
from dashboard.audit.values import line
from dashboard.web.client_ip import client_ip

GetResponse = Callable[[HttpRequest], HttpResponse]

LIVE = "-live"  # how the names of URLs end that pages ask by themselves
SEEN_EVERY = 60.0  # seconds: looking costs a write this often at most
CLEARED_AT_ONCE = 500  # expired sessions, of anybody, with each sign-in


@receiver(user_logged_in)
def _begin(request: HttpRequest, user: Any, **kwargs: Any) -> None:
    """Note in a session when, where and with what it began."""
    now = time.time()
    request.session[STARTED] = Started(
        handle=secrets.token_urlsafe(12),
        at=now,
        seen=now,
        ip=client_ip(request),
        user_agent=line(request.headers.get("User-Agent", ""), 300),
    )
    expired = Session.objects.filter(expire_date__lt=timezone.now())
    Session.objects.filter(
        pk__in=list(expired.values_list("pk", flat=True)[:CLEARED_AT_ONCE])
    ).delete()


class SessionLimitsMiddleware:
    """End sessions that are too old, or that nobody has used for too long.

    What a page asks by itself to keep up to date is no use.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if SESSION_KEY in request.session and (why := _over(request.session.get(STARTED))):
            request.sign_out_reason = why  # type: ignore[attr-defined]
            logout(request)
            messages.info(request, _text(why))
        elif SESSION_KEY in request.session and not request.user.is_authenticated:
            # Switched off by SQL, or gone: if it comes back, this session does not.
            request.session.flush()
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *args: Any) -> None:
        """Note that somebody used the session."""
        started: Started | None = request.session.get(STARTED)
        asked = request.resolver_match
        if started is None or (asked is not None and (asked.url_name or "").endswith(LIVE)):
            return
        now = time.time()
        # ahead of now: the clock was set back, and the session would be idle for that much longer
        passed = now - started["seen"]
        if passed < 0 or passed >= min(SEEN_EVERY, settings.SESSION_IDLE_MINUTES * 60 / 10):
            request.session[STARTED] = Started(**{**started, "seen": now})


def _over(started: Started | None) -> str:
    """Why a session ends now; "" if it does not."""
    if started is None:
        return "unknown"
    now, idle = time.time(), settings.SESSION_IDLE_MINUTES * 60
    if now - started["at"] >= settings.SESSION_MAX_HOURS * 3600:
        return "age"
    return "idle" if idle and now - started["seen"] >= idle else ""


def _text(why: str) -> str:
    if why == "idle":
        return _("You were signed out after %(minutes)d minutes without a click.") % {
            "minutes": settings.SESSION_IDLE_MINUTES
        }
    if why == "age":
        return _("You were signed out: a session lasts %(hours)d hours at most.") % {
            "hours": settings.SESSION_MAX_HOURS
        }
    return _("You were signed out: sign in again.")


def living_sessions(user: User) -> list[Session]:
    """The sessions of an account that can still be used, the last used first."""
    now = timezone.now()
    found = Session.objects.filter(
        user=user,
        expire_date__gt=now,
        signed_in_at__gt=now - timedelta(hours=settings.SESSION_MAX_HOURS),
    ).order_by("-seen_at")
    if settings.SESSION_IDLE_MINUTES:
        found = found.filter(seen_at__gt=now - timedelta(minutes=settings.SESSION_IDLE_MINUTES))
    # a password that was changed elsewhere has ended the others, though their rows are still there
    right = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return [session for session in found if _is_of(session, right)]


def _is_of(session: Session, hashes: list[str]) -> bool:
    of = session.get_decoded().get(HASH_SESSION_KEY, "")
    return any(constant_time_compare(of, each) for each in hashes)


def end_session(user: User, handle: str) -> Session | None:
    """End one session of an account.

    Args:
        user: whose.
        handle: which one.

    Returns:
        What was ended, None where there is none.
    """
    session = Session.objects.filter(user=user, handle=handle).exclude(handle="").first()
    if session is not None:
        Session.objects.filter(pk=session.pk).delete()
    return session


def end_other_sessions(request: HttpRequest, user: User) -> int:
    """End all sessions of an account but the one that asks; returns how many there were."""
    others = Session.objects.filter(user=user).exclude(pk=request.session.session_key)
    return others.delete()[0]


def is_current(request: HttpRequest, session: Session) -> bool:
    """Whether a session is the one that asks."""
    return session.pk == request.session.session_key
