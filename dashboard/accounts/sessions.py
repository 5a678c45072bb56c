"""Where sessions are kept: Django's database store, with columns that say whose each one is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypedDict, cast

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from .models import Session

STARTED = "started"  # what a session holds about its own beginning


class Started(TypedDict):
    """How a session began, and when it was last used. Times are seconds since the epoch."""

    handle: str
    at: float
    seen: float
    ip: str | None
    user_agent: str


class SessionStore(DatabaseStore):
    """Keeps the columns of `Session` as the data says, at each saving."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        session = cast(Session, super().create_model_instance(data))
        started: Started | None = data.get(STARTED)
        if started is not None and SESSION_KEY in data:
            session.user_id = int(data[SESSION_KEY])
            session.handle = started["handle"]
            session.signed_in_at = datetime.fromtimestamp(started["at"], UTC)
            session.seen_at = datetime.fromtimestamp(started["seen"], UTC)
            session.ip = started["ip"]
            session.user_agent = started["user_agent"]
        return session
