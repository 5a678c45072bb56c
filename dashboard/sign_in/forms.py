"""Forms of sign-in and second factors."""

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
    """User name and password, under the field names that browsers and scripts expect."""

    def add_prefix(self, field_name: str) -> str:
        return "username" if field_name == "login" else str(super().add_prefix(field_name))


def mark_code_used(authenticator: Authenticator, code: str) -> bool:
    """Mark a code of an authenticator app as used while it is valid.

    django-allauth remembers a used code for one step of 30 seconds, but accepts codes of
    MFA_TOTP_TOLERANCE steps before and after, and does not remember the code of the setup.

    Args:
        authenticator: the app.
        code: a correct code, as entered.

    Returns:
        False if it was already used.
    """
    key = f"totp:{authenticator.pk}:{re.sub(r'[^0-9]', '', code)}"
    steps = 2 * mfa_settings.TOTP_TOLERANCE + 1
    return bool(cache.add(key, True, steps * mfa_settings.TOTP_PERIOD))


class SingleUseCodeMixin:
    """Accepts each code of an authenticator app once."""

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        authenticator: Authenticator = self.authenticator  # type: ignore[attr-defined]
        if authenticator.type == Authenticator.Type.TOTP and not mark_code_used(
            authenticator, code
        ):
            raise get_adapter().validation_error("incorrect_code")
        return code


class CodeForm(SingleUseCodeMixin, AuthenticateForm):
    """The code at sign-in."""


class ConfirmCodeForm(SingleUseCodeMixin, ReauthenticateForm):
    """The code that confirms the user's identity."""


MAX_RESPONSE_LENGTH = 20_000  # characters; a response with an attestation has about 2,000
# what fido2, its CBOR decoder and cryptography raise for malformed responses
DECODE_ERRORS = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError),
    *(InvalidSignature, UnsupportedAlgorithm, NotImplementedError, RecursionError, struct.error),
)


class WebAuthnResponseField(forms.JSONField):
    """The response of a security key, as security-key.js sends it: an object of strings."""

    def to_python(self, value: Any) -> Any:
        # The strings are base64url and need no escapes. PostgreSQL cannot store \u0000 or lone
        # surrogates.
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
    """Return whether this is an object whose values are strings or null.

    fido2 passes a number to bytes(), which would allocate that many bytes.
    """
    return isinstance(found, dict) and all(
        each is None or isinstance(each, str) for each in found.values()
    )


def _known_extensions(extensions: object) -> dict[str, Any]:
    """Return the one extension result that is used: whether the key stores the credential."""
    properties = extensions.get("credProps") if isinstance(extensions, dict) else None
    resident = properties.get("rk") if isinstance(properties, dict) else None
    return {"credProps": {"rk": resident}} if isinstance(resident, bool) else {}


class MalformedResponseMixin:
    """Treats a malformed response as a wrong one instead of a server error."""

    def clean(self) -> Any:
        return self._guarded(super().clean)  # type: ignore[misc]

    def _guarded(self, step: Any) -> Any:
        try:
            return step()
        except DECODE_ERRORS:
            raise get_adapter().validation_error("incorrect_code") from None


class AddKeyForm(MalformedResponseMixin, AddWebAuthnForm):
    """A security key to register."""

    credential = WebAuthnResponseField(widget=forms.HiddenInput)


class KeyForm(MalformedResponseMixin, AuthenticateWebAuthnForm):
    """A security key at sign-in."""

    credential = WebAuthnResponseField(widget=forms.HiddenInput)

    def clean_credential(self) -> Authenticator:
        return self._guarded(super().clean_credential)


class ConfirmKeyForm(MalformedResponseMixin, ReauthenticateWebAuthnForm):
    """A security key that confirms the user's identity."""

    credential = WebAuthnResponseField(widget=forms.HiddenInput)

    def clean_credential(self) -> Authenticator:
        return self._guarded(super().clean_credential)
