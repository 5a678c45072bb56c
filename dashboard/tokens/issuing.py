"""Issuing and revoking tokens, each with its event in the audit trail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from allauth.core import context
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.accounts.models import User
from dashboard.audit.trail import Action, Actor, record
from dashboard.db.concurrency import advisory_lock

from .models import ApiToken, Scope, TokenText

MAX_ACTIVE = 50  # for each account: one page shows them all
PASSWORD_CHANGED = "password"  # noqa: S105 - a value of revoked_why


class TokenNotCreated(Exception):
    """The token was not created; the message says why."""


def create_token(
    user: User,
    name: str,
    scope: Scope,
    days: int,
    actor: Actor,
    *,
    projects: Sequence[Model] | None = None,
    second_factor_by_provider: bool = False,
) -> tuple[ApiToken, TokenText]:
    """Create a token.

    Args:
        user: the owner.
        name: what it is for; unique among the owner's tokens that were not revoked.
        scope: what it allows.
        days: lifetime.
        actor: who creates it.
        projects: the projects that it is limited to; None: all of its owner, those to come too.
        second_factor_by_provider: the identity provider verified a second factor.

    Returns:
        The row, and the token itself, which cannot be read again later.

    Raises:
        TokenNotCreated: the name is taken, or the account has too many tokens.
    """
    text, now = TokenText.make(), timezone.now()
    with transaction.atomic():
        advisory_lock(f"make a token of {user.pk}")
        if ApiToken.objects.of(user).active(now).count() >= MAX_ACTIVE:
            raise TokenNotCreated(
                _("An account can have at most %(most)d tokens. Revoke one that is not needed.")
                % {"most": MAX_ACTIVE}
            )
        # the names of expired tokens can be used again
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
                    project_ids=None if projects is None else [each.pk for each in projects],
                    lookup=text.lookup,
                    digest=text.digest,
                    second_factor_by_provider=second_factor_by_provider,
                    created_at=now,
                    created_ip=actor.ip,
                    expires_at=now + timedelta(days=days),
                )
        except IntegrityError as error:
            raise TokenNotCreated(
                _("You already have a token of this name. Choose another name.")
            ) from error
        limits = {} if projects is None else {"projects": [str(each) for each in projects]}
        facts = {"scope": str(scope), "expires_at": token.expires_at, **limits}
        _record(Action.TOKEN_CREATED, token, actor, **facts)
    return token, text


def revoke_token(token: ApiToken, actor: Actor) -> bool:
    """Revoke a token, from the next request on.

    Args:
        token: with its user.
        actor: who revokes it. The caller checks whether they may.

    Returns:
        False if it was already revoked.
    """
    with transaction.atomic():
        return bool(_revoke([token], actor))


def revoke_all_tokens(user: User, actor: Actor, why: str) -> int:
    """Revoke all active tokens of an account, and return their number.

    Args:
        user: the owner.
        actor: who caused it.
        why: a value of `ApiToken.revoked_why`.
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
    """Record an event. Its target is the owner, whose name can be masked; the token's cannot."""
    details = {"name": token.name, "lookup": token.lookup, **more}
    record(action, actor=actor, target=token.user, details=details)


class RevokeTokensOnPasswordChange:
    """A password validator that accepts every password, and revokes the tokens after a change.

    Django calls it for changes by pages, commands and its admin, but not when it rehashes an
    unchanged password.
    """

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Accept any password."""

    def password_changed(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Revoke the tokens, in the transaction of the caller if there is one."""
        if isinstance(user, User) and user.pk is not None:
            request = context.request
            actor = Actor.of(request) if request is not None else Actor.process("password")
            revoke_all_tokens(user, actor, PASSWORD_CHANGED)

    def get_help_text(self) -> str:
        """Return the text that is shown next to the new password."""
        return _("A password change revokes all API tokens of the account.")
