"""The way to the provider and back."""

from __future__ import annotations

from typing import cast

from allauth.decorators import rate_limit
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from .configured import oidc_is_configured
from .oidc import OidcAdapter


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit(action="login")
def oidc_start(request: HttpRequest) -> HttpResponse:
    """Lead to the provider.

    By a page and not by a redirect: the Content-Security-Policy lets a form lead to this site only,
    and browsers hold that against every redirect that follows it.
    """
    if request.method != "POST" or request.user.is_authenticated or not oidc_is_configured():
        return redirect("login")
    provider = get_adapter().get_provider(request, settings.OIDC_ISSUER)
    try:
        answer = provider.redirect_from_request(request)
    except OAuth2Error as error:
        return _failed(request, provider, error)
    if answer.status_code != 302:
        return cast(HttpResponse, answer)
    return render(
        request,
        "account/to_provider.html",
        {"address": answer["Location"], "oidc_name": settings.OIDC_NAME},
    )


@login_not_required
@require_safe
def oidc_callback(request: HttpRequest) -> HttpResponse:
    """Take the provider's answer."""
    if request.user.is_authenticated or not oidc_is_configured():
        return redirect("login")
    adapter = OidcAdapter(request, settings.OIDC_ISSUER)
    try:
        return cast(HttpResponse, OAuth2CallbackView.adapter_view(adapter)(request))
    except OAuth2Error as error:
        return _failed(request, adapter.get_provider(), error)


def _failed(request: HttpRequest, provider: object, error: OAuth2Error) -> HttpResponse:
    answer = render_authentication_error(
        request, provider, exception=error, extra_context={"state": {}}
    )
    return cast(HttpResponse, answer)
