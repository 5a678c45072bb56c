"""How django-allauth handles accounts, second factors and rate limits here."""

from __future__ import annotations

import base64
import logging
import secrets
import time
from typing import Any

import qrcode
from allauth.account import app_settings as account_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from qrcode.image.svg import SvgPathFillImage

from dashboard.audit.trail import Action, Actor, record
from dashboard.web.client_ip import client_ip

SILENT_MESSAGES = (
    "account/messages/logged_in.txt",
    "account/messages/logged_out.txt",
    "mfa/messages/recovery_codes_generated.txt",
)
REPLACEMENT_BYTES = 40


class AccountAdapter(DefaultAccountAdapter):
    """Nobody signs up, no mail is sent, redirects stay here, and tries are counted."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": gettext_lazy(
            "The user name or the password is not right. Upper and lower case count."
        ),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_ajax(self, request: HttpRequest) -> bool:
        return False

    def send_mail(self, *args: Any, **kwargs: Any) -> None:
        return None

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_ip(request) or "unknown"

    def is_safe_url(self, url: str) -> bool:
        request = context.request
        return url_has_allowed_host_and_scheme(
            url, {request.get_host()}, require_https=request.is_secure()
        )

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("account")

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if message_template not in SILENT_MESSAGES:
            super().add_message(request, level, message_template, *args, **kwargs)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count a try; also of a password that is asked for again.

        Raises:
            ImmediateHttpResponse: there were too many; the password is not looked at.
        """
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            raise ImmediateHttpResponse(too_many_requests(request)) from None

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """The account alone: django-allauth's own key has the Host header, which clients write."""
        return str(credentials.get("username", "")).lower()

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        """Whom the provider vouches for, and whose account was switched off here."""
        record(
            Action.SIGN_IN_FAILED,
            actor=Actor.of(request),
            target=user,
            details={"account_active": False},
        )
        messages.error(request, _("This account is switched off here. An admin can switch it on."))
        return redirect("login")

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Whoever has just signed in is not asked for the password a second time."""
        request = context.request
        records = get_authentication_records(request, request.user)
        if records and time.time() - records[-1]["at"] < account_settings.REAUTHENTICATION_TIMEOUT:
            return False
        return bool(super().is_reauthentication_required(app=app, **kwargs))


class SecondFactorAdapter(DefaultMFAAdapter):
    """Keeps the secrets of second factors encrypted with a key made of SECRET_KEY."""

    def encrypt(self, text: str) -> str:
        return _ciphers().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """The secret; where SECRET_KEY is another one now, a random one, which no code fits."""
        try:
            return _ciphers().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            return base64.b32encode(secrets.token_bytes(REPLACEMENT_BYTES)).decode()

    def build_totp_svg(self, url: str) -> str:
        """The QR code with a ground of its own: scanners want it dark on light, also at night."""
        image = qrcode.make(url, image_factory=SvgPathFillImage)
        return str(image.to_string(encoding="unicode"))

    def generate_authenticator_name(self, user: Any, type: str) -> str:
        known = Authenticator.objects.filter(user=user, type=type).count()
        return f"Key {known + 1}"

    def get_totp_label(self, user: Any) -> str:
        return str(user.get_username())

    def _get_site_name(self) -> str:
        return str(settings.MFA_TOTP_ISSUER)


def _ciphers() -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet([Fernet(_derive_key(str(key))) for key in keys])


def _derive_key(key: str) -> bytes:
    made = HKDF(SHA256(), 32, salt=None, info=b"second factors").derive(key.encode())
    return base64.urlsafe_b64encode(made)


logger = logging.getLogger(__name__)

RETRY_AFTER = 300  # seconds: the longest window in ACCOUNT_RATE_LIMITS
RECORD_INTERVAL = 60  # seconds, for one address: a flood must not fill the audit trail


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """Django-allauth's handler429: a page that says so, and an event each minute."""
    address = client_ip(request) or "unknown"
    try:
        if cache.add(f"limited:{address}", True, RECORD_INTERVAL):
            facts = {"method": request.method, "path": request.path}
            record(Action.SIGN_IN_LIMITED, actor=Actor.of(request), details=facts)
    except DatabaseError:
        # the refusal stands without its event
        logger.exception("a limit could not be recorded: %s", request.path)
    answer = render(request, "429.html", status=429)
    answer["Retry-After"] = str(RETRY_AFTER)
    return answer
