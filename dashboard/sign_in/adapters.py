"""How django-allauth handles accounts, second factors and rate limits here."""

from __future__ import annotations

import base64
import logging
import secrets
import time
from datetime import timedelta
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
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from qrcode.image.svg import SvgPathFillImage

from dashboard.audit.trail import Action, Actor, record
from dashboard.web.client_ip import client_ip

logger = logging.getLogger(__name__)

RETRY_AFTER = 300  # seconds: the longest window in ACCOUNT_RATE_LIMITS
# seconds between events of one address, so that a flood cannot fill the audit trail
RECORD_INTERVAL = 60
CLOCK_SKEW = 5  # seconds that the clocks of several machines may differ
SILENT_MESSAGES = (
    "account/messages/logged_in.txt",
    "account/messages/logged_out.txt",
    "mfa/messages/recovery_codes_generated.txt",
)
REPLACEMENT_BYTES = 40


class AccountAdapter(DefaultAccountAdapter):
    """No sign-up, no mail, redirects within this site only, and limited attempts."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": gettext_lazy(
            "The user name or password is incorrect. Both are case-sensitive."
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
        """Count an attempt, also when a password is confirmed.

        Raises:
            ImmediateHttpResponse: too many attempts; the password is not checked.
        """
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            raise ImmediateHttpResponse(too_many_requests(request)) from None

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count by account only: django-allauth's own key contains the client's Host header."""
        return str(credentials.get("username", "")).lower()

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        """Refuse a user of the provider whose account is deactivated here."""
        record(
            Action.SIGN_IN_FAILED,
            actor=Actor.of(request),
            target=user,
            details={"account_active": False},
        )
        messages.error(request, _("This account is deactivated. An admin can activate it."))
        return redirect("login")

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Do not ask for the password again shortly after a sign-in."""
        request = context.request
        records = get_authentication_records(request, request.user)
        if records and time.time() - records[-1]["at"] < account_settings.REAUTHENTICATION_TIMEOUT:
            return False
        return bool(super().is_reauthentication_required(app=app, **kwargs))


class SecondFactorAdapter(DefaultMFAAdapter):
    """Encrypts the secrets of second factors with a key derived from SECRET_KEY."""

    def encrypt(self, text: str) -> str:
        return _ciphers().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Decrypt a secret. If SECRET_KEY has changed, return a random one that no code matches."""
        try:
            return _ciphers().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            return base64.b32encode(secrets.token_bytes(REPLACEMENT_BYTES)).decode()

    def build_totp_svg(self, url: str) -> str:
        """Draw the QR code on its own background: scanners need dark on light in dark mode too."""
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


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """django-allauth's handler429: an error page, and at most one event a minute."""
    address = client_ip(request) or "unknown"
    try:
        _delete_future_attempts()
        if cache.add(f"limited:{address}", True, RECORD_INTERVAL):
            facts = {"method": request.method, "path": request.path}
            record(Action.SIGN_IN_LIMITED, actor=Actor.of(request), details=facts)
    except DatabaseError:
        # the request is rejected even if its event cannot be stored
        logger.exception("could not record a rate limit: %s", request.path)
    answer = render(request, "429.html", status=429)
    answer["Retry-After"] = str(RETRY_AFTER)
    return answer


def _delete_future_attempts() -> None:
    """Delete attempts that expire later than any window allows: the clock was set back since.

    They would otherwise block sign-ins for as long as the clock was set back.
    """
    ahead = timezone.now() + timedelta(seconds=RETRY_AFTER + CLOCK_SKEW)
    attempts = "FROM shared_cache WHERE expires > %s AND cache_key LIKE %s"
    params = [connection.ops.adapt_datetimefield_value(ahead), cache.make_key("allauth:rl:%")]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 {attempts} LIMIT 1", params)
        if cursor.fetchone() is not None:  # an empty DELETE would also wait for SQLite's lock
            cursor.execute(f"DELETE {attempts}", params)
