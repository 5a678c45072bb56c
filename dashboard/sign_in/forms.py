"""What a browser may send to sign in."""

from __future__ import annotations

import re
import struct
from typing import Any

from allauth.account.forms import LoginForm
from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from django import forms
from django.core.cache import cache


class SignInForm(LoginForm):
    """User name and password, under the names that browsers and scripts know."""

    def add_prefix(self, field_name: str) -> str:
        return "username" if field_name == "login" else str(super().add_prefix(field_name))


def mark_code_used(authenticator: Authenticator, code: str) -> bool:
    """Note that a code of an authenticator app was used, for as long as it would be taken.

    Django-allauth remembers a used code for one step of thirty seconds, but takes those of
    MFA_TOTP_TOLERANCE steps before and after, and does not remember the one that set the app up.

    Args:
        authenticator: the app.
        code: a right one, as it was typed.

    Returns:
        False where it was used before.
    """
    key = f"totp:{authenticator.pk}:{re.sub(r'[^0-9]', '', code)}"
    steps = 2 * mfa_settings.TOTP_TOLERANCE + 1
    return bool(cache.add(key, True, steps * mfa_settings.TOTP_PERIOD))


class SingleUseCodeMixin:
    """A code of an authenticator app counts once."""

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        authenticator: Authenticator = self.authenticator  # type: ignore[attr-defined]
        if authenticator.type == Authenticator.Type.TOTP and not mark_code_used(
            authenticator, code
        ):
            raise get_adapter().validation_error("incorrect_code")
        return code


class CodeForm(SingleUseCodeMixin, AuthenticateForm):
    """The code at the sign-in."""


class ConfirmCodeForm(SingleUseCodeMixin, ReauthenticateForm):
    """The code before something that matters."""


MAX_RESPONSE_LENGTH = 20_000  # characters; those with an attestation have some 2,000
# what fido2, its CBOR and cryptography raise for bytes that are no answer of a key
DECODE_ERRORS = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError),
    *(InvalidSignature, UnsupportedAlgorithm, NotImplementedError, RecursionError, struct.error),
)


class WebAuthnResponseField(forms.JSONField):
    """What a security key answered, as security-key.js sends it: an object of texts."""

    def to_python(self, value: Any) -> Any:
        # Its texts are base64url, so none needs an escape; PostgreSQL stores no \u0000 and no half
        # of a surrogate pair.
        if isinstance(value, str) and (len(value) > MAX_RESPONSE_LENGTH or "\\u" in value):
            raise get_adapter().validation_error("incorrect_code")
        try:
            found = super().to_python(value)
        except RecursionError:
            found = []
        if found is None:
            return None
        if not isinstance(found, dict) or not _has_only_texts(found.get("response")):
            raise get_adapter().validation_error("incorrect_code")
        extensions = found.pop("clientExtensionResults", None)
        response = found.pop("response")
        if not _has_only_texts(found):
            raise get_adapter().validation_error("incorrect_code")
        return {
            **found,
            "response": response,
            "clientExtensionResults": _known_extensions(extensions),
        }


def _has_only_texts(found: object) -> bool:
    """Whether this is an object whose values are texts or nothing.

    fido2 hands a number to bytes(), which then takes as much memory as the number says.
    """
    return isinstance(found, dict) and all(
        each is None or isinstance(each, str) for each in found.values()
    )


def _known_extensions(extensions: object) -> dict[str, Any]:
    """Of what extensions said, the one thing that is asked for: is the key's credential on it."""
    properties = extensions.get("credProps") if isinstance(extensions, dict) else None
    on_it = properties.get("rk") if isinstance(properties, dict) else None
    return {"credProps": {"rk": on_it}} if isinstance(on_it, bool) else {}


class MalformedResponseMixin:
    """An answer that cannot be read is a wrong one, and no error of ours."""

    def clean(self) -> Any:
        return self._guarded(super().clean)  # type: ignore[misc]

    def _guarded(self, step: Any) -> Any:
        try:
            return step()
        except DECODE_ERRORS:
            raise get_adapter().validation_error("incorrect_code") from None


class AddKeyForm(MalformedResponseMixin, AddWebAuthnForm):
    """A security key to add."""

    credential = WebAuthnResponseField(widget=forms.HiddenInput)


class KeyForm(MalformedResponseMixin, AuthenticateWebAuthnForm):
    """A security key at the sign-in."""

    credential = WebAuthnResponseField(widget=forms.HiddenInput)

    def clean_credential(self) -> Authenticator:
        return self._guarded(super().clean_credential)


class ConfirmKeyForm(MalformedResponseMixin, ReauthenticateWebAuthnForm):
    """A security key before something that matters."""

    credential = WebAuthnResponseField(widget=forms.HiddenInput)

    def clean_credential(self) -> Authenticator:
        return self._guarded(super().clean_credential)
