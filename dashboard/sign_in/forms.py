"""What a browser may send to sign in."""

from __future__ import annotations

import re

from allauth.account.forms import LoginForm
from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from django.core.cache import cache


class SignInForm(LoginForm):
    """User name and password, under the names that browsers and scripts know."""

    def add_prefix(self, field_name: str) -> str:
        return "username" if field_name == "login" else str(super().add_prefix(field_name))


class OnceOnly:
    """A code of an authenticator app counts once, for as long as it would be taken.

    Django-allauth remembers a used code for one step of thirty seconds, but takes those of
    MFA_TOTP_TOLERANCE steps before and after.
    """

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        authenticator: Authenticator = self.authenticator  # type: ignore[attr-defined]
        if authenticator.type == Authenticator.Type.TOTP:
            key = f"totp:{authenticator.pk}:{re.sub(r'[^0-9]', '', code)}"
            steps = 2 * mfa_settings.TOTP_TOLERANCE + 1
            if not cache.add(key, True, steps * mfa_settings.TOTP_PERIOD):
                raise get_adapter().validation_error("incorrect_code")
        return code


class CodeForm(OnceOnly, AuthenticateForm):
    """The code at the sign-in."""


class ConfirmCodeForm(OnceOnly, ReauthenticateForm):
    """The code before something that matters."""
