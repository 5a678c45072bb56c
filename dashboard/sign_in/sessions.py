"""Sessions: storage, time limits, listing and ending them, and audit events of sign-ins."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, cast

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model, logout
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

from dashboard.accounts.models import Session, User
from dashboard.audit.trail import Action, Actor, record
from dashboard.audit.values import line
from dashboard.web.client_ip import client_ip

GetResponse = Callable[[HttpRequest], HttpResponse]

LIVE_SUFFIX = "-live"  # URL names of requests that pages make by themselves
SEEN_INTERVAL = 60.0  # minimum number of seconds between writes of the last use
CLEANUP_BATCH = 500  # expired sessions of all users, deleted at each sign-in
SESSION_START = "started"  # session key of a `SessionStart`


class SessionStart(TypedDict):
    """When and where a session was started, and its last use. Times are seconds since the epoch."""

    handle: str
    at: float
    seen: float
    ip: str | None
    user_agent: str


class SessionStore(DatabaseStore):
    """Django's database store, which also fills the columns of `Session` on each save."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        session = cast(Session, super().create_model_instance(data))
        started: SessionStart | None = data.get(SESSION_START)
        if started is not None and SESSION_KEY in data:
            session.user_id = int(data[SESSION_KEY])
            session.handle = started["handle"]
            session.signed_in_at = datetime.fromtimestamp(started["at"], UTC)
            session.seen_at = datetime.fromtimestamp(started["seen"], UTC)
            session.ip = started["ip"]
            session.user_agent = started["user_agent"]
        return session


@receiver(user_logged_in)
def _begin_session(request: HttpRequest, user: Any, **kwargs: Any) -> None:
    """Store when, where and with which browser a session was started."""
    now = time.time()
    request.session[SESSION_START] = SessionStart(
        handle=secrets.token_urlsafe(12),
        at=now,
        seen=now,
        ip=client_ip(request),
        user_agent=line(request.headers.get("User-Agent", ""), 300),
    )
    expired = Session.objects.filter(expire_date__lt=timezone.now())
    Session.objects.filter(
        pk__in=list(expired.values_list("pk", flat=True)[:CLEANUP_BATCH])
    ).delete()


class SessionLimitsMiddleware:
    """Ends sessions that are too old, or idle for too long.

    Requests that a page makes by itself to stay up to date do not count as use.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if SESSION_KEY in request.session and (
            why := _end_reason(request.session.get(SESSION_START))
        ):
            request.sign_out_reason = why  # type: ignore[attr-defined]
            logout(request)
            messages.info(request, _end_message(why))
        elif SESSION_KEY in request.session and not request.user.is_authenticated:
            # Deactivated by SQL, or deleted: end the session for good.
            request.session.flush()
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *args: Any) -> None:
        """Update the last use of the session."""
        started: SessionStart | None = request.session.get(SESSION_START)
        asked = request.resolver_match
        if started is None or (asked is not None and (asked.url_name or "").endswith(LIVE_SUFFIX)):
            return
        now = time.time()
        # negative if the clock was set back; the session would otherwise stay idle for that long
        passed = now - started["seen"]
        if passed < 0 or passed >= min(SEEN_INTERVAL, settings.SESSION_IDLE_MINUTES * 60 / 10):
            request.session[SESSION_START] = SessionStart(**{**started, "seen": now})


def _end_reason(started: SessionStart | None) -> str:
    """Return why a session ends now; "" if it does not."""
    if started is None:
        return "unknown"
    now, idle = time.time(), settings.SESSION_IDLE_MINUTES * 60
    if now - started["at"] >= settings.SESSION_MAX_HOURS * 3600:
        return "age"
    return "idle" if idle and now - started["seen"] >= idle else ""


def _end_message(why: str) -> str:
    if why == "idle":
        return _("You were signed out after %(minutes)d minutes of inactivity.") % {
            "minutes": settings.SESSION_IDLE_MINUTES
        }
    if why == "age":
        return _("You were signed out: a session lasts at most %(hours)d hours.") % {
            "hours": settings.SESSION_MAX_HOURS
        }
    return _("You were signed out. Sign in again.")


def active_sessions(user: User) -> list[Session]:
    """Return the active sessions of an account, most recently used first."""
    now = timezone.now()
    found = Session.objects.filter(
        user=user,
        expire_date__gt=now,
        signed_in_at__gt=now - timedelta(hours=settings.SESSION_MAX_HOURS),
    ).order_by("-seen_at")
    if settings.SESSION_IDLE_MINUTES:
        found = found.filter(seen_at__gt=now - timedelta(minutes=settings.SESSION_IDLE_MINUTES))
    # a password change ends other sessions although their rows still exist
    right = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return [session for session in found if _has_auth_hash(session, right)]


def _has_auth_hash(session: Session, hashes: list[str]) -> bool:
    of = session.get_decoded().get(HASH_SESSION_KEY, "")
    return any(constant_time_compare(of, each) for each in hashes)


def end_session(user: User, handle: str) -> Session | None:
    """End one session of an account, and return it; None if there is no such session."""
    session = Session.objects.filter(user=user, handle=handle).exclude(handle="").first()
    if session is not None:
        Session.objects.filter(pk=session.pk).delete()
    return session


def end_other_sessions(request: HttpRequest, user: User) -> int:
    """End all sessions of an account except the one of the request; return their number."""
    others = Session.objects.filter(user=user).exclude(pk=request.session.session_key)
    return others.delete()[0]


def is_current(request: HttpRequest, session: Session) -> bool:
    """Return whether a session is the one of the request."""
    return session.pk == request.session.session_key


@receiver(user_logged_in)
def _record_sign_in(request: HttpRequest, user: Any, **kwargs: Any) -> None:
    actor = replace(Actor.of(request), name=user.get_username(), user=user)
    steps = [
        step.get("type") or step["method"] for step in get_authentication_records(request, user)
    ]
    record(Action.SIGN_IN, actor=actor, details={"by": steps} if steps else None)


@receiver(user_logged_out)
def _record_sign_out(request: HttpRequest, user: Any, **kwargs: Any) -> None:
    if user is None:  # nobody was signed in
        return
    actor = replace(Actor.of(request), name=user.get_username(), user=user)
    # set by SessionLimitsMiddleware
    why = getattr(request, "sign_out_reason", "")
    record(Action.SIGN_OUT, actor=actor, details={"why": why} if why else None)


@receiver(user_login_failed)
def _record_failed_sign_in(
    credentials: Mapping[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    """Record a failed sign-in. Unknown names are not stored: users type passwords there."""
    accounts = get_user_model()
    tried = str(credentials.get(accounts.USERNAME_FIELD) or "")[:255].replace("\x00", "")
    account = accounts._default_manager.filter(**{accounts.USERNAME_FIELD: tried}).first()
    actor = Actor.of(request) if request is not None else Actor.process("sign-in")
    actor = replace(actor, name=account.get_username() if account else "unknown account")
    active = account.is_active if account else None
    record(Action.SIGN_IN_FAILED, actor=actor, target=account, details={"account_active": active})
