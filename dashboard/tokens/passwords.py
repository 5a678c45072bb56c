"""A new password ends the account's tokens, whoever sets it and wherever."""

from __future__ import annotations

from allauth.core import context
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils.translation import gettext as _

from dashboard.accounts.models import User
from dashboard.audit.trail import Actor

from .issuing import BY_PASSWORD, end_tokens


class TokensEnd:
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
            end_tokens(user, actor, BY_PASSWORD)

    def get_help_text(self) -> str:
        """Shown where a new password is typed."""
        return _("The API tokens of the account end with a new password.")
