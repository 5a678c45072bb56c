"""Authentication of API requests by token."""

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

FAILURE_WINDOW = 300  # seconds in which the failures of one address are counted
# seconds between events of one address or token, so that a flood cannot fill the audit trail
RECORD_INTERVAL = 60
LAST_USED_INTERVAL = timedelta(minutes=1)  # minimum time between writes of the last use
_DUMMY_DIGEST = "0" * 64


class NotAuthenticated(Exception):
    """The request has no valid token; the message tells the client why."""

    def __init__(self, text: str, *, given: bool = True) -> None:
        self.given = given
        super().__init__(text)


class TooManyFailures(Exception):
    """This address has sent too many invalid tokens."""

    retry_after = FAILURE_WINDOW


class SecondFactorMissing(Exception):
    """The role of the account requires a second factor, which is not set up."""


def authenticate(request: HttpRequest) -> ApiToken:
    """Authenticate a request by its token, and set `request.user` to the account of the token.

    The user then has the permissions that both the roles of the account and the scope of the token
    allow. A session is ignored.

    Args:
        request: with the header `Authorization: Bearer TOKEN`.

    Returns:
        The token, with its user.

    Raises:
        NotAuthenticated: there is no token, or it is invalid.
        TooManyFailures: the token is invalid, and this address has sent too many such tokens.
        SecondFactorMissing: the token is valid, but its account must set up a second factor.
    """
    request.user = AnonymousUser()
    scheme, _space, sent = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated(_("Send a token: Authorization: Bearer …"), given=False)
    text = TokenText.parse(sent.strip(" "))
    token = _find(text) if text else None
    if token is None:
        raise _failed(request, None, _("Unknown token."), "unknown")
    if token.revoked_at is not None:
        raise _failed(request, token, _("The token has been revoked."), "revoked")
    if token.is_expired:
        raise _failed(request, token, _("The token has expired."), "expired")
    if not token.user.is_active:
        raise _failed(request, token, _("Unknown token."), "account switched off")
    if not token.second_factor_by_provider and account_lacks_second_factor(token.user):
        _record_refusal(request, token, "second factor missing")
        raise SecondFactorMissing
    restrict_permissions(token.user, Scope(token.scope).permissions, token.project_ids)
    request.user = token.user
    request.token_label = token.label  # type: ignore[attr-defined]
    _update_last_used(token, client_ip(request))
    return token


def _find(text: TokenText) -> ApiToken | None:
    """Find the row of a token. A wrong lookup and a wrong secret take the same steps."""
    found = ApiToken.objects.select_related("user").filter(lookup=text.lookup).first()
    matches = text.matches(found.digest if found is not None else _DUMMY_DIGEST)
    return found if matches else None


def _update_last_used(token: ApiToken, address: str | None) -> None:
    now = timezone.now()
    rarely = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_INTERVAL)
    if token.last_used_at is None or token.last_used_at <= now - LAST_USED_INTERVAL:
        ApiToken.objects.filter(rarely, pk=token.pk).update(last_used_at=now, last_used_ip=address)


def _failed(request: HttpRequest, token: ApiToken | None, text: str, why: str) -> Exception:
    """Record and count a failure of this address; return the error to raise.

    A valid token is accepted whatever its address did before: 256 bits cannot be guessed, and
    behind a proxy many programs share an address. The limit protects the log and the audit trail.
    """
    _record_refusal(request, token, why)
    key = f"token-failures:{_rate_limit_key(request)}"
    failures = (cache.get(key) or 0) + 1
    cache.set(key, failures, FAILURE_WINDOW)
    if failures > settings.API_TOKEN_FAILURES:
        return TooManyFailures()
    return NotAuthenticated(text)


def _rate_limit_key(request: HttpRequest) -> str:
    """Return the address to count under; for IPv6 its /64, which one host can use entirely."""
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
        # the request is rejected even if its event cannot be stored
        logger.exception("could not record a rejected token: %s", request.path)
