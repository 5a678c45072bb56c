"""Pages of API tokens: one's own, and for admins those of all accounts."""

from __future__ import annotations

from urllib.parse import urlencode

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import get_script_prefix
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dashboard.accounts.access import AuthenticatedHttpRequest, Permission, may, require
from dashboard.audit.trail import Actor
from dashboard.sign_in.second_factor import (
    account_lacks_second_factor,
    provider_verified_second_factor,
)
from dashboard.web.numbered_pages import NumberedPaginator

from .forms import TokenForm
from .issuing import TokenNotCreated, create_token, revoke_token
from .models import ApiToken, ApiTokenQuerySet, Scope

MAX_OWN = 100  # of one's own tokens; active ones come first
PAGE_SIZE = 100
MAX_SEARCH_LENGTH = 150


def _active_first(tokens: ApiTokenQuerySet) -> list[ApiToken]:
    newest = list(tokens.select_related("user")[:MAX_OWN])
    return sorted(newest, key=lambda token: not token.is_usable)


def _own_page(request: AuthenticatedHttpRequest, status: int = 200, **more: object) -> HttpResponse:
    user = request.user
    return render(
        request,
        "tokens/own.html",
        {
            "tokens": _active_first(ApiToken.objects.of(user)),
            "unusable": not provider_verified_second_factor(request)
            and account_lacks_second_factor(user),
            **more,
        },
        status=status,
    )


@require_safe
def own(request: AuthenticatedHttpRequest) -> HttpResponse:
    """List one's own tokens."""
    return _own_page(request)


@require_http_methods(["GET", "HEAD", "POST"])
@reauthentication_required(app="tokens")
def create(request: AuthenticatedHttpRequest) -> HttpResponse:
    """Create a token, and show it once."""
    form = TokenForm(request.POST if request.method == "POST" else None, user=request.user)
    if form.is_valid():
        wanted = form.cleaned_data
        try:
            token, text = create_token(
                request.user,
                wanted["name"],
                Scope(wanted["scope"]),
                wanted["days"],
                Actor.of(request),
                projects=list(wanted["projects"]) or None,
                second_factor_by_provider=provider_verified_second_factor(request),
            )
        except TokenNotCreated as problem:
            form.add_error("name", str(problem))
        else:
            shown = {
                "token": token,
                "secret": text.text,
                "api": request.build_absolute_uri(f"{get_script_prefix()}api/v1/"),
            }
            return render(request, "tokens/created.html", shown)
    scopes = [(scope, scope.text) for scope in Scope]
    context = {"form": form, "scopes": scopes, "chosen": form["scope"].value() or Scope.READ.value}
    return render(request, "tokens/new.html", context, status=422 if form.is_bound else 200)


@require_POST
def revoke(request: AuthenticatedHttpRequest, pk: int) -> HttpResponse:
    """Revoke one of one's own tokens after confirmation."""
    token = get_object_or_404(ApiToken.objects.of(request.user).select_related("user"), pk=pk)
    if request.POST.get("confirmed") != "1":
        return _own_page(request, 422, asked=token)
    _revoke(request, token)
    return redirect("tokens:own")


def _all_tokens_page(
    request: AuthenticatedHttpRequest, status: int = 200, **more: object
) -> HttpResponse:
    query = request.GET.get("q", "").strip().replace("\x00", "")[:MAX_SEARCH_LENGTH]
    found = ApiToken.objects.active().select_related("user").order_by("user__username", "-pk")
    if query:
        found = found.filter(user__username__icontains=query)
    page = NumberedPaginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "q": query,
        "query": urlencode({"q": query} if query else {}),
        "read_only": not may(request.user, Permission.MEMBERS),
        **more,
    }
    return render(request, "tokens/all.html", context, status=status)


@require_safe
def all_tokens(request: AuthenticatedHttpRequest) -> HttpResponse:
    """List the active tokens of all accounts. A token is valid in every project of its account."""
    require(request.user, Permission.AUDIT)
    return _all_tokens_page(request)


@require_POST
def revoke_any(request: AuthenticatedHttpRequest, pk: int) -> HttpResponse:
    """Revoke a token of any account after confirmation."""
    require(request.user, Permission.MEMBERS)
    token = get_object_or_404(ApiToken.objects.select_related("user"), pk=pk)
    if request.POST.get("confirmed") != "1":
        return _all_tokens_page(request, 422, asked=token)
    _revoke(request, token)
    return redirect("tokens:all")


def _revoke(request: AuthenticatedHttpRequest, token: ApiToken) -> None:
    if revoke_token(token, Actor.of(request)):
        text = _("Revoked: %(name)s.")
    else:
        text = _("Already revoked: %(name)s.")
    messages.info(request, text % {"name": token.name})
