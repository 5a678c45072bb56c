"""Issuing and revoking tokens, each with its event in the audit trail."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from allauth.core import context
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.accounts.models import User
from dashboard.audit.trail import Action, Actor, record
from dashboard.db.concurrency import one_at_a_time

from .models import ApiToken, Scope, TokenText

MAX_ACTIVE = 50  # of an account: a page shows them all
PASSWORD_CHANGED = "password"  # noqa: S105 - why a token was revoked


class TokenNotCreated(Exception):
    """No token was made; the text says why."""


def create_token(
    user: User,
    name: str,
    scope: Scope,
    days: int,
    actor: Actor,
    *,
    second_factor_by_provider: bool = False,
) -> tuple[ApiToken, TokenText]:
    """Make a token.

    Args:
        user: whose it is.
        name: what it is for; no other token of the account that was not revoked has it.
        scope: what it may be used for.
        days: how long it works.
        actor: who makes it.
        second_factor_by_provider: the identity provider vouched for a second factor.

    Returns:
        The row, and the token itself: to be shown now, since nobody can tell it later.

    Raises:
        TokenNotCreated: the name is taken, or there are too many.
    """
    text, now = TokenText.make(), timezone.now()
    with transaction.atomic():
        one_at_a_time(f"make a token of {user.pk}")
        if ApiToken.objects.of(user).active(now).count() >= MAX_ACTIVE:
            raise TokenNotCreated(
                _("An account has %(most)d tokens at most: revoke one that is not needed.")
                % {"most": MAX_ACTIVE}
            )
        # the name of one that has expired is free again
        expired = ApiToken.objects.of(user).filter(
            name=name, revoked_at__isnull=True, expires_at__lte=now
        )
        expired.update(revoked_at=now, revoked_by_name=actor.name[:255], revoked_why="expired")
        try:
            with transaction.atomic():
                token = ApiToken.objects.create(
                    user=user,
                    name=name,
                    scope=scope,
                    lookup=text.lookup,
                    digest=text.digest,
                    second_factor_by_provider=second_factor_by_provider,
                    created_at=now,
                    created_ip=actor.ip,
                    expires_at=now + timedelta(days=days),
                )
        except IntegrityError as error:
            raise TokenNotCreated(
                _("You have a token of this name: choose another one.")
            ) from error
        _record(Action.TOKEN_CREATED, token, actor, scope=str(scope), expires_at=token.expires_at)
    return token, text


def revoke_token(token: ApiToken, actor: Actor) -> bool:
    """Revoke a token: it does nothing from the next request on.

    Args:
        token: with its user.
        actor: who revokes it. Whether they may is for the caller to ask.

    Returns:
        Whether it was not revoked before.
    """
    with transaction.atomic():
        return bool(_revoke([token], actor))


def revoke_all_tokens(user: User, actor: Actor, why: str) -> int:
    """Revoke all tokens of an account that still work; returns how many they were.

    Args:
        user: whose.
        actor: who caused it.
        why: in a word, as in PASSWORD_CHANGED.
    """
    with transaction.atomic():
        return _revoke(ApiToken.objects.of(user).active().select_related("user"), actor, why)


def _revoke(tokens: Iterable[ApiToken], actor: Actor, why: str = "") -> int:
    now = timezone.now()
    revoked = [
        token
        for token in tokens
        if ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(
            revoked_at=now, revoked_by_name=actor.name[:255], revoked_why=why
        )
    ]
    for token in revoked:
        _record(Action.TOKEN_REVOKED, token, actor, **({"why": why} if why else {}))
    return len(revoked)


def _record(action: Action, token: ApiToken, actor: Actor, **more: Any) -> None:
    """Its owner is the target: a name that can be masked, unlike the token's."""
    details = {"name": token.name, "lookup": token.lookup, **more}
    record(action, actor=actor, target=token.user, details=details)


class RevokeTokensOnPasswordChange:
    """Takes every password; Django tells it of each new one, also of commands and of its admin.

    It is not told when a password that stays the same is hashed anew.
    """

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Any password will do."""

    def password_changed(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """End the tokens, in the caller's transaction where there is one."""
        if isinstance(user, User) and user.pk is not None:
            request = context.request
            actor = Actor.of(request) if request is not None else Actor.process("password")
            revoke_all_tokens(user, actor, PASSWORD_CHANGED)

    def get_help_text(self) -> str:
        """Shown where a new password is typed."""
        return _("The API tokens of the account end with a new password.")
