"""Sign-in, failed sign-in and sign-out, from Django's own signals.

An event that cannot be stored fails the sign-in: who comes in unrecorded does not come in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from allauth.account.authentication import get_authentication_records
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from .actions import Action
from .trail import Actor, record


@receiver(user_logged_in)
def _signed_in(request: HttpRequest, user: Any, **kwargs: Any) -> None:
    actor = replace(Actor.of(request), name=user.get_username(), user=user)
    steps = [
        step.get("type") or step["method"] for step in get_authentication_records(request, user)
    ]
    record(Action.SIGN_IN, actor=actor, details={"by": steps} if steps else None)


@receiver(user_logged_out)
def _signed_out(request: HttpRequest, user: Any, **kwargs: Any) -> None:
    if user is None:  # nobody was signed in
        return
    actor = replace(Actor.of(request), name=user.get_username(), user=user)
    # set where a limit ended the session
    why = getattr(request, "sign_out_reason", "")
    record(Action.SIGN_OUT, actor=actor, details={"why": why} if why else None)


@receiver(user_login_failed)
def _failed(
    credentials: Mapping[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    """The name is kept only if it is an account's: people type passwords into that field."""
    accounts = get_user_model()
    tried = str(credentials.get(accounts.USERNAME_FIELD) or "")[:255].replace("\x00", "")
    account = accounts._default_manager.filter(**{accounts.USERNAME_FIELD: tried}).first()
    actor = Actor.of(request) if request is not None else Actor.process("sign-in")
    actor = replace(actor, name=account.get_username() if account else "unknown account")
    active = account.is_active if account else None
    record(Action.SIGN_IN_FAILED, actor=actor, target=account, details={"account_active": active})
