"""The settings of sign-in, a part of dashboard.settings; docs/sign-in.md explains them."""

from __future__ import annotations

import csv

from dashboard.environment import env, secret

from .role_entries import ROLE_MAP_HINT, entries_of

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "backups:home"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTH_PASSWORD_VALIDATORS.append({"NAME": "dashboard.tokens.passwords.TokensEnd"})

# --- Sessions ------------------------------------------------------------------------------------
SESSION_ENGINE = "dashboard.accounts.sessions"
SESSION_IDLE_MINUTES = env.int("SESSION_IDLE_MINUTES", 60, at_most=5_256_000)  # 0: no limit
SESSION_MAX_HOURS = env.int("SESSION_MAX_HOURS", 12, at_most=87_600)
SESSION_COOKIE_AGE = SESSION_MAX_HOURS * 3600

# --- What all processes must count together ------------------------------------------------------
# Tries to sign in and codes that were used: in the database, which is there whenever somebody can
# sign in at all. Redis may be away or be emptied at any time.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "shared_cache",
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    },
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

# --- Password ------------------------------------------------------------------------------------
SIGN_IN_TRIES = env.int("SIGN_IN_TRIES", 30)  # a minute, from one address
SIGN_IN_FAILURES = env.int("SIGN_IN_FAILURES", 5)  # in five minutes, of one account
ACCOUNT_ADAPTER = "dashboard.sign_in.adapters.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_RATE_LIMITS = {
    "login": f"{SIGN_IN_TRIES}/m/ip",
    "login_failed": f"{2 * SIGN_IN_FAILURES}/m/ip,{SIGN_IN_FAILURES}/300s/key",
}

# --- Second factors ------------------------------------------------------------------------------
MFA_REQUIRED_ROLES = env.list("MFA_REQUIRED_ROLES", [])
MFA_ADAPTER = "dashboard.sign_in.adapters.SecondFactorAdapter"
MFA_ALLOW_UNVERIFIED_EMAIL = True  # no mail is sent, so no address is ever verified
MFA_FORMS = {
    "authenticate": "dashboard.sign_in.forms.CodeForm",
    "reauthenticate": "dashboard.sign_in.forms.ConfirmCodeForm",
    "add_webauthn": "dashboard.sign_in.forms.AddKeyForm",
    "authenticate_webauthn": "dashboard.sign_in.forms.KeyForm",
    "reauthenticate_webauthn": "dashboard.sign_in.forms.ConfirmKeyForm",
}
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "CSS Log Backup"
MFA_TOTP_TOLERANCE = 1  # steps of 30 s before and after: clocks differ, and people type

# --- API tokens ----------------------------------------------------------------------------------
API_TOKEN_MAX_DAYS = env.int("API_TOKEN_MAX_DAYS", 365, at_least=1, at_most=36_500)
# in five minutes, from one address
API_TOKEN_FAILURES = env.int("API_TOKEN_FAILURES", 30, at_least=1)

# --- OpenID Connect ------------------------------------------------------------------------------
OIDC_ISSUER = env.str("OIDC_ISSUER", "")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", "")
OIDC_CLIENT_SECRET = secret("OIDC_CLIENT_SECRET")
OIDC_CA_FILE = env.str("OIDC_CA_FILE", "")
OIDC_NAME = env.str("OIDC_NAME", "single sign-on")
OIDC_SCOPES = env.list("OIDC_SCOPES", ["openid", "profile"])
OIDC_USERNAME_CLAIM = env.str("OIDC_USERNAME_CLAIM", "preferred_username")
OIDC_GROUPS_CLAIM = env.str("OIDC_GROUPS_CLAIM", "groups")
OIDC_ROLE_MAP: list[str] = []  # nobody gets a role by a text that cannot be read
try:
    OIDC_ROLE_MAP = entries_of(secret("OIDC_ROLE_MAP"))
except (ValueError, csv.Error) as _error:
    env.note("OIDC_ROLE_MAP", f"OIDC_ROLE_MAP: {_error}.", ROLE_MAP_HINT, "css.E016")
OIDC_CREATE_ACCOUNTS = env.bool("OIDC_CREATE_ACCOUNTS", False)
OIDC_TRUSTED_FACTORS = env.list("OIDC_TRUSTED_FACTORS", [])
SOCIALACCOUNT_ADAPTER = "dashboard.sign_in.provider_adapter.ProviderAdapter"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {"provider_class": "dashboard.sign_in.oidc.OidcProvider"}
}
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_STORE_TOKENS = False
