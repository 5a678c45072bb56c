"""URLs of sign-in and of one's own account. django-allauth uses the names account_* and mfa_*."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path
from django.views.decorators.http import require_http_methods, require_safe

from . import second_factor_views as factors
from . import views

page = require_http_methods(["GET", "HEAD", "POST"])
sign_in = page(views.SignIn.as_view())
FACTORS = "account/second-factor/"

urlpatterns = [
    path("sign-in/", sign_in, name="login"),
    path("sign-in/", sign_in, name="account_login"),
    path("sign-in/code/", page(factors.SecondFactorStep.as_view()), name="mfa_authenticate"),
    path("sign-in/link/", views.one_time_link, name="sign-in-link"),
    path("sign-in/provider/", views.oidc_start, name="oidc-start"),
    path("sign-in/provider/callback/", views.oidc_callback, name="oidc-callback"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
    path("account/", views.account, name="account"),
    path("account/sessions/end/", views.session_end, name="session-end"),
    path("account/password/", page(views.PasswordChange.as_view()), name="account_change_password"),
    path("account/confirm/", page(views.ConfirmPassword.as_view()), name="account_reauthenticate"),
    path(
        "account/confirm/code/",
        page(factors.ConfirmCode.as_view()),
        name="mfa_reauthenticate",
    ),
    path(
        "account/confirm/key/",
        page(factors.ConfirmKey.as_view()),
        name="mfa_reauthenticate_webauthn",
    ),
    path(FACTORS, require_safe(factors.Overview.as_view()), name="mfa_index"),
    path(f"{FACTORS}app/", page(factors.TotpSetup.as_view()), name="mfa_activate_totp"),
    path(
        f"{FACTORS}app/remove/",
        page(factors.TotpRemoval.as_view()),
        name="mfa_deactivate_totp",
    ),
    path(f"{FACTORS}keys/add/", page(factors.SecurityKeySetup.as_view()), name="mfa_add_webauthn"),
    path(
        f"{FACTORS}keys/<int:pk>/remove/",
        page(factors.SecurityKeyRemoval.as_view()),
        name="mfa_remove_webauthn",
    ),
    path(
        f"{FACTORS}codes/",
        page(factors.RecoveryCodes.as_view()),
        name="mfa_view_recovery_codes",
    ),
    path(
        f"{FACTORS}codes/new/",
        page(factors.NewRecoveryCodes.as_view()),
        name="mfa_generate_recovery_codes",
    ),
]
