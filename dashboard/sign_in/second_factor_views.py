"""Pages of second factors: django-allauth's views, with audit events and rate limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from allauth.account.decorators import reauthentication_required
from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.base.views import AuthenticateView, IndexView, ReauthenticateView
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.views import (
    AddWebAuthnView,
    ReauthenticateWebAuthnView,
    RemoveWebAuthnView,
)
from django.contrib import messages
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.generic.base import ContextMixin

from dashboard.accounts.models import User
from dashboard.audit.trail import Action, Actor, record

from .adapters import too_many_requests
from .forms import mark_code_used
from .second_factor import lacks_second_factor
from .views import HasReauthenticationMethodMixin

Type = Authenticator.Type
RATE_LIMIT_CODES = {"too_many_login_attempts", "rate_limited"}


def _is_rate_limited(form: Form) -> bool:
    found = (error.code for errors in form.errors.as_data().values() for error in errors)
    return not RATE_LIMIT_CODES.isdisjoint(code or "" for code in found)


def _has_factor(user: User, *types: str) -> bool:
    return bool(Authenticator.objects.filter(user=user, type__in=types).exists())


def _record(action: Action, request: HttpRequest, kind: str, name: str = "") -> None:
    details = {"kind": kind, **({"name": name} if name else {})}
    record(action, actor=Actor.of(request), target=cast(User, request.user), details=details)


class RateLimitedCodeMixin:
    """Answers too many wrong codes with 429, and records each wrong code."""

    request: HttpRequest
    step = "second factor"

    def owner(self) -> User:
        """Return the account that the code is for."""
        return cast(User, self.request.user)

    def form_invalid(self, form: Form) -> HttpResponse:
        if _is_rate_limited(form):
            return too_many_requests(self.request)
        owner = self.owner()
        actor = replace(Actor.of(self.request), name=owner.get_username())
        record(Action.SIGN_IN_FAILED, actor=actor, target=owner, details={"step": self.step})
        return self.refused(form)

    def refused(self, form: Form) -> HttpResponse:
        """Show the form again with its errors."""
        return cast(HttpResponse, super().form_invalid(form))  # type: ignore[misc]


class SecondFactorStep(RateLimitedCodeMixin, AuthenticateView):
    """The second factor at sign-in."""

    def owner(self) -> User:
        return cast(User, self.stage.login.user)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        has_key = _has_factor(self.owner(), Type.WEBAUTHN)
        return {**super().get_context_data(**kwargs), "has_key": has_key}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "cancel" in request.POST:
            return cast(HttpResponse, self.stage.abort())
        return cast(HttpResponse, super().post(request, *args, **kwargs))


class ConfirmCode(HasReauthenticationMethodMixin, RateLimitedCodeMixin, ReauthenticateView):
    """Confirm the user's identity with a code."""

    step = "confirmation"


class ConfirmKey(HasReauthenticationMethodMixin, RateLimitedCodeMixin, ReauthenticateWebAuthnView):
    """Confirm the user's identity with a security key."""

    step = "confirmation"

    def refused(self, form: Form) -> HttpResponse:
        messages.error(self.request, _("The security key was not recognised."))
        return redirect(self.request.get_full_path())


class Overview(IndexView):
    """The second factors of the user."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        missing = lacks_second_factor(self.request)
        return {**super().get_context_data(**kwargs), "missing": missing}


class TotpSetup(ActivateTOTPView):
    """Set up an authenticator app."""

    def form_invalid(self, form: Form) -> HttpResponse:
        if _is_rate_limited(form):
            return too_many_requests(self.request)
        return cast(HttpResponse, super().form_invalid(form))

    def form_valid(self, form: Form) -> HttpResponse:
        with transaction.atomic():
            answer = cast(HttpResponse, super().form_valid(form))
            app = Authenticator.objects.get(user=cast(User, self.request.user), type=Type.TOTP)
            mark_code_used(app, form.cleaned_data["code"])  # it cannot be used to sign in
            _record(Action.SECOND_FACTOR_ADDED, self.request, Type.TOTP)
            if self.did_generate_recovery_codes:
                _record(Action.RECOVERY_CODES_MADE, self.request, Type.RECOVERY_CODES)
        return answer


class TotpRemoval(DeactivateTOTPView):
    """Remove the authenticator app."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not _has_factor(cast(User, request.user), Type.TOTP):
            return redirect("mfa_index")
        return cast(HttpResponse, super().dispatch(request, *args, **kwargs))

    def form_valid(self, form: Form) -> HttpResponse:
        with transaction.atomic():
            answer = cast(HttpResponse, super().form_valid(form))
            _record(Action.SECOND_FACTOR_REMOVED, self.request, Type.TOTP)
        return answer


class SecurityKeySetup(AddWebAuthnView):
    """Add a security key."""

    def form_valid(self, form: Form) -> HttpResponse:
        with transaction.atomic():
            answer = cast(HttpResponse, super().form_valid(form))
            name = form.cleaned_data["name"]
            _record(Action.SECOND_FACTOR_ADDED, self.request, Type.WEBAUTHN, name)
            if self.did_generate_recovery_codes:
                _record(Action.RECOVERY_CODES_MADE, self.request, Type.RECOVERY_CODES)
        return answer


class SecurityKeyRemoval(RemoveWebAuthnView):
    """Remove a security key."""

    success_url = reverse_lazy("mfa_index")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # before the password is asked for: 404 for keys of other users
        get_object_or_404(self.get_queryset(), pk=kwargs["pk"])
        return cast(HttpResponse, super().dispatch(request, *args, **kwargs))

    def form_valid(self, form: Form) -> HttpResponse:
        name = self.object.wrap().name
        with transaction.atomic():
            answer = cast(HttpResponse, super().form_valid(form))
            _record(Action.SECOND_FACTOR_REMOVED, self.request, Type.WEBAUTHN, name)
        return answer


@method_decorator(reauthentication_required(app="allauth.mfa"), name="get")
class RecoveryCodes(ViewRecoveryCodesView):
    """The recovery codes. They are shown once, by a POST, so that a GET does not use that up."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not _has_factor(cast(User, request.user), Type.RECOVERY_CODES):
            return redirect("mfa_index")
        return cast(HttpResponse, super().dispatch(request, *args, **kwargs))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the codes if they have not been shown yet."""
        return cast(HttpResponse, self.render_to_response(super().get_context_data(**kwargs)))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = cast(User, self.request.user)
        codes = Authenticator.objects.get(user=user, type=Type.RECOVERY_CODES).wrap()
        return {
            **ContextMixin.get_context_data(self, **kwargs),
            "unseen": not codes.did_view,
            "left": len(codes.get_unused_codes()),
            "total": mfa_settings.RECOVERY_CODE_COUNT,
        }


class NewRecoveryCodes(GenerateRecoveryCodesView):
    """Replace the recovery codes with new ones."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not _has_factor(cast(User, request.user), Type.TOTP, Type.WEBAUTHN):
            return redirect("mfa_index")
        return cast(HttpResponse, super().dispatch(request, *args, **kwargs))

    def form_valid(self, form: Form) -> HttpResponse:
        with transaction.atomic():
            answer = cast(HttpResponse, super().form_valid(form))
            _record(Action.RECOVERY_CODES_MADE, self.request, Type.RECOVERY_CODES)
        return answer
