"""Which accounts need a second factor, and the middleware that requires it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from dashboard.accounts.models import User

from .sessions import LIVE_SUFFIX

GetResponse = Callable[[HttpRequest], HttpResponse]

# session key: the user whose second factor the provider verified
BY_PROVIDER = "second_factor_by_provider"
# Pages that stay open, with those of second factors, whose names begin with "mfa_".
EXEMPT_URL_NAMES = {
    "login",
    "account_login",
    "logout",
    "account_reauthenticate",
    "oidc-start",
    "oidc-callback",
    "sign-in-link",
}


class SecondFactorMiddleware:
    """Redirects users who need a second factor and have none to its setup."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *args: Any) -> HttpResponse | None:
        name = (request.resolver_match.url_name if request.resolver_match else None) or ""
        if name in EXEMPT_URL_NAMES or name.startswith("mfa_") or _uses_token(request):
            return None
        if not lacks_second_factor(request):
            return None
        if _expects_no_page(request, name):
            text = _("Your role requires a second factor. Set one up at %(page)s.")
            page = request.build_absolute_uri(redirect("mfa_index").url)
            return HttpResponse(text % {"page": page}, status=403, content_type="text/plain")
        if request.method == "POST":
            messages.warning(request, _("Nothing was changed. Your role requires a second factor."))
        return redirect("mfa_index")


def lacks_second_factor(request: HttpRequest) -> bool:
    """Return whether the user of a request must set up a second factor first."""
    if not settings.MFA_REQUIRED_ROLES or not request.user.is_authenticated:
        return False
    return not provider_verified_second_factor(request) and account_lacks_second_factor(
        request.user
    )


def provider_verified_second_factor(request: HttpRequest) -> bool:
    """Return whether the identity provider verified a second factor for this session."""
    return bool(request.session.get(BY_PROVIDER) == request.user.pk)


def account_lacks_second_factor(user: User) -> bool:
    """Return whether an account has a role that requires a second factor, but none is set up."""
    required = settings.MFA_REQUIRED_ROLES
    if not required:
        return False
    own = Authenticator.objects.filter(user=user)
    if own.exclude(type=Authenticator.Type.RECOVERY_CODES).exists():
        return False
    return user.has_role(required)


def _uses_token(request: HttpRequest) -> bool:
    """Return whether a request is for the API, which ignores sessions and checks tokens itself."""
    return request.resolver_match is not None and request.resolver_match.namespace == "api"


def _expects_no_page(request: HttpRequest, name: str) -> bool:
    """Return whether a script made the request, so that a redirect to a page would not help."""
    return (
        "HX-Request" in request.headers
        or name.endswith(LIVE_SUFFIX)
        or request.path.endswith(".json")
        or "application/json" in request.headers.get("Accept", "")
    )
