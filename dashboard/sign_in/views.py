"""Sign-in, with a password or through the provider, and the pages of one's own account."""

from __future__ import annotations

from typing import Any, cast

from allauth.account.adapter import get_adapter
from allauth.account.views import LoginView, PasswordChangeView, ReauthenticateView
from allauth.decorators import rate_limit
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import get_adapter as get_social_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dashboard.accounts.models import User
from dashboard.audit.trail import Action, Actor, record
from dashboard.members import links
from dashboard.members.account_forms import PasswordForm
from dashboard.members.recording import acting

from .forms import SignInForm
from .oidc import OidcAdapter, oidc_is_configured
from .sessions import active_sessions, end_other_sessions, end_session, is_current

OTHERS = "others"  # value of the form field that ends all other sessions


class SignIn(LoginView):
    """The sign-in page."""

    template_name = "account/sign_in.html"
    form_class = SignInForm

    def form_valid(self, form: SignInForm) -> HttpResponse:
        # against session fixation, before the second factor
        self.request.session.cycle_key()
        return cast(HttpResponse, super().form_valid(form))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        name = settings.OIDC_NAME if oidc_is_configured() else ""
        return {**super().get_context_data(**kwargs), "oidc_name": name}


@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """Show the sign-in settings and the active sessions of the user."""
    user = cast(User, request.user)
    factors = Authenticator.objects.filter(user=user)
    return render(
        request,
        "account/account.html",
        {
            "has_password": user.has_usable_password(),
            "has_second_factor": factors.exclude(type=Authenticator.Type.RECOVERY_CODES).exists(),
            "sessions": [(each, is_current(request, each)) for each in active_sessions(user)],
            "others": OTHERS,
        },
    )


@require_POST
def session_end(request: HttpRequest) -> HttpResponse:
    """End one session of the user, or all others."""
    user = cast(User, request.user)
    handle = request.POST.get("session", "")
    with transaction.atomic():
        if handle == OTHERS:
            ended = end_other_sessions(request, user)
            facts: dict[str, Any] = {"which": "all others", "sessions": ended}
        else:
            session = end_session(user, handle)
            ended = int(session is not None)
            facts = {"began": session.signed_in_at, "ip": session.ip} if session else {}
        if ended:
            record(Action.SESSION_REVOKED, actor=Actor.of(request), target=user, details=facts)
    messages.info(request, _("Sessions ended: %(count)d.") % {"count": ended})
    return redirect("account")


class PasswordChange(PasswordChangeView):
    """Change the password, and end all other sessions."""

    template_name = "account/password.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not cast(User, request.user).has_usable_password():
            messages.info(
                request, _("This account has no password. It signs in with the identity provider.")
            )
            return redirect("account")
        return cast(HttpResponse, super().dispatch(request, *args, **kwargs))

    def form_valid(self, form: Any) -> HttpResponse:
        with transaction.atomic():
            ended = end_other_sessions(self.request, cast(User, self.request.user))
            with acting(Actor.of(self.request), details={"sessions_ended": ended}):
                return cast(HttpResponse, super().form_valid(form))


class HasReauthenticationMethodMixin:
    """Redirects users who have no method to confirm their identity."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not get_adapter().get_reauthentication_methods(request.user):
            return redirect("account")
        return cast(HttpResponse, super().dispatch(request, *args, **kwargs))  # type: ignore[misc]


class ConfirmPassword(HasReauthenticationMethodMixin, ReauthenticateView):
    """Confirm the user's identity with the password."""

    template_name = "account/confirm_password.html"


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit(action="login")
def oidc_start(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider.

    With a page instead of a redirect: `form-action` of the Content-Security-Policy allows this site
    only, and browsers also apply it to redirects after a form.
    """
    if request.method != "POST" or request.user.is_authenticated or not oidc_is_configured():
        return redirect("login")
    provider = get_social_adapter().get_provider(request, settings.OIDC_ISSUER)
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
    """Handle the response of the provider."""
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


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit(action="login", limit_get=True)
def one_time_link(request: HttpRequest) -> HttpResponse:
    """Set a password with a one-time link, then sign in with it as usual.

    The key is part of the query, which no event and no log line contains, and opening the link does
    not use it up: programs that check mails open links.
    """
    key = (request.POST if request.method == "POST" else request.GET).get("key", "")
    try:
        user = links.find_user(key)
        form = PasswordForm(request.POST if request.method == "POST" else None, user=user)
        if form.is_valid():
            links.redeem(key, form.cleaned_data["password1"], Actor.of(request))
            messages.info(request, _("Password set. Sign in with it."))
            return redirect("login")
    except links.LinkInvalid:
        return render(request, "account/one_time_link.html", status=410 if key else 200)
    context = {"form": form, "key": key, "account": user}
    status = 422 if form.is_bound else 200
    return render(request, "account/one_time_link.html", context, status=status)
