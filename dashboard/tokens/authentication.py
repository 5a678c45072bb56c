"""Who sent a request with a token, or why that token does not count."""

from __future__ import annotations

import logging
from datetime import timedelta
from ipaddress import IPv6Network

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.db import DatabaseError
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.accounts.access import restrict_permissions
from dashboard.audit.trail import Action, Actor, record
from dashboard.sign_in.second_factor import account_lacks_second_factor
from dashboard.web.client_ip import client_ip

from .models import ApiToken, Scope, TokenText

logger = logging.getLogger(__name__)

FAILURE_WINDOW = 300  # seconds in which failures of one address are counted
RECORD_INTERVAL = 60  # seconds, for one address or token: a flood must not fill the audit trail
LAST_USED_INTERVAL = timedelta(minutes=1)  # using a token costs a write this often at most
_DUMMY_DIGEST = "0" * 64


class NotAuthenticated(Exception):
    """No token that counts came with the request; the text says why to whoever sent it."""

    def __init__(self, text: str, *, given: bool = True) -> None:
        self.given = given
        super().__init__(text)


class TooManyFailures(Exception):
    """This address has sent too many tokens that do not count."""

    retry_after = FAILURE_WINDOW


class SecondFactorMissing(Exception):
    """The account's role needs a second factor, and there is none."""


def authenticate(request: HttpRequest) -> ApiToken:
    """Find whose token came with a request, and make that account the request's user.

    From here on the user may do what both the account's roles and the token's scope allow. A
    session counts for nothing.

    Args:
        request: with `Authorization: Bearer TOKEN`.

    Returns:
        The token, with its user.

    Raises:
        NotAuthenticated: there is no token, or it does not count.
        TooManyFailures: the same, once too often from this address.
        SecondFactorMissing: the token is right, and its account has to set up a second factor.
    """
    request.user = AnonymousUser()
    scheme, _space, sent = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated(_("Send a token: Authorization: Bearer …"), given=False)
    text = TokenText.parse(sent.strip(" "))
    token = _find(text) if text else None
    if token is None:
        raise _failed(request, None, _("The token is not known."), "unknown")
    if token.revoked_at is not None:
        raise _failed(request, token, _("The token was revoked."), "revoked")
    if token.is_expired:
        raise _failed(request, token, _("The token has expired."), "expired")
    if not token.user.is_active:
        raise _failed(request, token, _("The token is not known."), "account switched off")
    if not token.second_factor_by_provider and account_lacks_second_factor(token.user):
        _record_refusal(request, token, "second factor missing")
        raise SecondFactorMissing
    restrict_permissions(token.user, Scope(token.scope).permissions)
    request.user = token.user
    request.token_label = token.label  # type: ignore[attr-defined]
    _update_last_used(token, client_ip(request))
    return token


def _find(text: TokenText) -> ApiToken | None:
    """The row of a token; whether the look-up or the secret was wrong takes the same steps."""
    found = ApiToken.objects.select_related("user").filter(lookup=text.lookup).first()
    matches = text.matches(found.digest if found is not None else _DUMMY_DIGEST)
    return found if matches else None


def _update_last_used(token: ApiToken, address: str | None) -> None:
    now = timezone.now()
    rarely = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_INTERVAL)
    if token.last_used_at is None or token.last_used_at <= now - LAST_USED_INTERVAL:
        ApiToken.objects.filter(rarely, pk=token.pk).update(last_used_at=now, last_used_ip=address)


def _failed(request: HttpRequest, token: ApiToken | None, text: str, why: str) -> Exception:
    """Count a failure of this address, and tell the trail of it.

    A token that counts is let in whatever its address did before: 256 bits are not guessed, and
    behind a proxy many programs have one address. What the limit saves is the log and the trail.
    """
    _record_refusal(request, token, why)
    key = f"token-failures:{_rate_limit_key(request)}"
    failures = (cache.get(key) or 0) + 1
    cache.set(key, failures, FAILURE_WINDOW)
    if failures > settings.API_TOKEN_FAILURES:
        return TooManyFailures()
    return NotAuthenticated(text)


def _rate_limit_key(request: HttpRequest) -> str:
    """The address that tries are counted under: of IPv6 its /64, which one host has whole."""
    address = client_ip(request) or "unknown"
    return str(IPv6Network((address, 64), strict=False)) if ":" in address else address


def _record_refusal(request: HttpRequest, token: ApiToken | None, why: str) -> None:
    whose = f"token-refused:{token.pk if token else _rate_limit_key(request)}"
    if not cache.add(whose, True, RECORD_INTERVAL):
        return
    details = {"why": why, "method": request.method, "path": request.path}
    if token is not None:
        details |= {"name": token.name, "lookup": token.lookup}
    try:
        target = token.user if token is not None else None
        record(Action.TOKEN_REFUSED, actor=Actor.of(request), target=target, details=details)
    except DatabaseError:
        # the refusal stands without its event
        logger.exception("a refused token could not be recorded: %s", request.path)
