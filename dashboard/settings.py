"""Settings, read from environment variables with typed readers and safe defaults.

`docs/settings.md` explains every variable; a test fails if one is missing there.
A variable that ends in `_FILE` names a file that contains the value (Docker and Kubernetes
secrets).
"""

from __future__ import annotations

import csv
import logging
import re
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import quote

from .environment import env, secret
from .generated import data_dir, generated_secret
from .local_run.redis import redis_socket
from .logs import FORMAT as LOG_FORMAT
from .preferences.languages import available
from .service_urls import broker_url, database_of
from .sign_in.role_map import ROLE_MAP_HINT, split_role_map

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = data_dir()

# --- Deployment --------------------------------------------------------------------------------
# "local": the default, on one machine with plain HTTP on loopback.
# "production": the checks in dashboard/checks.py reject unsafe values.
DEPLOYMENT = env.str("DEPLOYMENT", "local").lower()
PRODUCTION = DEPLOYMENT == "production"
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = secret("SECRET_KEY")
SECRET_KEY_GIVEN = bool(SECRET_KEY)
if not SECRET_KEY_GIVEN:
    # In production, a check refuses the start. A process that skips it gets a key of its own.
    SECRET_KEY = token_urlsafe(48)
    if not PRODUCTION:
        with suppress(OSError):  # a check reports a folder that is not writable
            SECRET_KEY = generated_secret(DATA_DIR / "secret_key")
# previous values of SECRET_KEY, accepted when reading but never used for writing
SECRET_KEY_FALLBACKS = re.findall(r"[^,\s]+", secret("SECRET_KEY_FALLBACKS"))
ALLOWED_HOSTS_GIVEN = bool(env.list("ALLOWED_HOSTS"))
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
# Path under which a proxy serves the dashboard, such as /css-logs; "" for the root of the host.
URL_PREFIX = env.str("URL_PREFIX", "").strip("/")
URL_PREFIX = f"/{URL_PREFIX}" if URL_PREFIX else ""
FORCE_SCRIPT_NAME = URL_PREFIX or None  # never taken from a proxy's headers
# the Origin header of browsers has no trailing slash
CSRF_TRUSTED_ORIGINS = [each.rstrip("/") for each in env.list("CSRF_TRUSTED_ORIGINS", [])]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "heroicons",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "dashboard",
    "dashboard.accounts",
    "dashboard.members",
    "dashboard.sign_in",
    "dashboard.audit",
    "dashboard.tokens",
    "backups",
]

MIDDLEWARE = [
    "dashboard.web.health.HealthMiddleware",
    "dashboard.web.middleware.RequestIdMiddleware",
    "dashboard.web.middleware.CookiePathMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "dashboard.web.middleware.CompressedPagesMiddleware",
    "dashboard.web.middleware.SecurityHeadersMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "dashboard.web.middleware.RequestTextMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dashboard.preferences.middleware.PreferencesMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "dashboard.sign_in.sessions.SessionLimitsMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "dashboard.sign_in.second_factor.SecondFactorMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

# Checks of `/health/work`, by name: functions that raise `dashboard.web.health.Missing`.
HEALTH_WORK_CHECKS = {
    "broker": "backups.work.check_broker",
    "processes": "backups.work.check_processes",
    "messages": "backups.work.check_messages",
    "instance": "backups.work.check_instance",
}
# Functions that compare records with their seals: dashboard/audit/verification.py
AUDIT_RECORD_CHECKS = [
    "backups.services.runs.seal_check.check",
    "backups.services.runs.file_proof.check",
]
# Model for which roles are granted, with the fields cloud, region, project_id and name.
PROJECT_MODEL = "backups.Project"
# Function that lists the configured clouds; `manage.py run` starts the demo if there are none.
CONFIGURED_CLOUDS = "backups.css_api.config.list_clouds"

ROOT_URLCONF = "dashboard.urls"
WSGI_APPLICATION = "dashboard.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "dashboard.web.template_loader.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "backups.views.layout.frame",
                "backups.views.layout.alerts",
            ],
            "builtins": ["dashboard.templatetags.icons"],
        },
    }
]

# --- Database ------------------------------------------------------------------------------------
DATABASE_URL = secret("DATABASE_URL")
DATABASE_URL_GIVEN = bool(DATABASE_URL)
# Mode of the connection pooler. With "transaction", PgBouncer assigns each transaction any of its
# connections.
DATABASE_POOLER = env.choice("DATABASE_POOLER", "none", ("none", "session", "transaction"))
_database, DATABASE_URL_PROBLEM = database_of(
    DATABASE_URL or f"sqlite:///{quote(str(DATA_DIR / 'db.sqlite3'))}",
    conn_max_age=env.int("DATABASE_CONN_MAX_AGE", 60),
    by_transaction=DATABASE_POOLER == "transaction",
)
# With a separate password, DATABASE_URL contains no secret.
if _password := secret("DATABASE_PASSWORD"):
    _database["PASSWORD"] = _password
DATABASES = {"default": _database}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["ENGINE"] = "dashboard.db.sqlite3"  # waits for locks outside SQLite
    # IMMEDIATE acquires the write lock at BEGIN, where SQLite waits for it. Otherwise a transaction
    # fails when it upgrades a read lock. WAL allows reads while a worker writes.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- HTTP hardening, enabled with HTTPS ----------------------------------------------------------
HTTPS = env.bool("HTTPS", PRODUCTION)
SECURE_SSL_REDIRECT = env.bool("SSL_REDIRECT", True) and HTTPS
# probes come from inside the network, without TLS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^health/work$"]
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000) * HTTPS
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("HSTS_INCLUDE_SUBDOMAINS", True) and HTTPS
# browsers' preload lists accept a host only including its subdomains
SECURE_HSTS_PRELOAD = env.bool("HSTS_PRELOAD", True) and SECURE_HSTS_INCLUDE_SUBDOMAINS
# Django warns if either is off, but the variables above make that an explicit choice.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# Two instances on one host (two ports) must not sign out each other's users. Browsers also send
# cookies set by other applications for the root of the host, and of two cookies with the same name
# only one is used.
_COOKIE_SUFFIX = env.str(
    "COOKIE_SUFFIX", "", pattern=re.compile(r"[\w.-]{1,64}", re.ASCII)
) or URL_PREFIX.replace("/", "_")
SESSION_COOKIE_NAME = f"sessionid{_COOKIE_SUFFIX}"
CSRF_COOKIE_NAME = f"csrftoken{_COOKIE_SUFFIX}"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if env.bool("TRUST_X_FORWARDED_PROTO", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", 0, at_most=100)
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

# --- Static files --------------------------------------------------------------------------------
STATIC_URL = f"{URL_PREFIX}/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = Path(env.str("STATIC_ROOT", str(DATA_DIR / "static")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG

# --- Language and time ---------------------------------------------------------------------------
# English, and the languages with a catalogue in locale/. The user's preference or the browser
# selects one.
LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGES = available(LOCALE_PATHS[0])
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- Celery --------------------------------------------------------------------------------------
# `manage.py run` starts a private Redis on this socket; REDIS_URL replaces it.
REDIS_SOCKET = env.str("REDIS_SOCKET", "") or str(redis_socket(DATA_DIR))
_redis_url = secret("REDIS_URL")
REDIS_URL_GIVEN = bool(_redis_url)
REDIS_URL, REDIS_URL_PROBLEM = broker_url(_redis_url or f"redis+socket://{quote(REDIS_SOCKET)}")
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_TASK_DEFAULT_QUEUE = "css-log-backup"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Function that returns the prefix of all Redis keys, called for each connection.
BROKER_KEY_PREFIX = "backups.instance.key_prefix"
CELERY_WORKER_CONSUMER = "dashboard.worker:QuickConsumer"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# wait for a Redis that rejects writes as for an unreachable one; otherwise the worker would exit
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 900,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    # otherwise kombu would retry forever and block the web request
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}
# A web request must not wait for an unreachable broker: after one short attempt, the sweeper sends
# the message.
CELERY_TASK_PUBLISH_RETRY = False
# Tasks that the ticker's worker publishes (backups/ticker.py), with their intervals in seconds of
# its monotonic clock, starting when it takes over. Each task checks for itself whether it is due.
PERIODIC_TASKS = {
    # proves that messages are delivered: backups/work.py
    "canary": ("backups.tasks.canary", 5.0),
    "retention": ("backups.tasks.run_retention", 3600.0),  # RETENTION_INTERVAL decides
    # retention runs requested on the page, or left unfinished by a worker that died
    "retention-open": ("backups.tasks.continue_retention", 60.0),
    # refusals that were counted instead of being recorded one by one
    "refusals": ("dashboard.audit.tasks.record_counted_refusals", 60.0),
}

# --- Accounts and sign-in; docs/sign-in.md -------------------------------------------------------
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
AUTH_PASSWORD_VALIDATORS.append({"NAME": "dashboard.tokens.issuing.RevokeTokensOnPasswordChange"})

# --- Sessions ------------------------------------------------------------------------------------
SESSION_ENGINE = "dashboard.sign_in.sessions"
SESSION_IDLE_MINUTES = env.int("SESSION_IDLE_MINUTES", 60, at_most=5_256_000)  # 0: no limit
SESSION_MAX_HOURS = env.int("SESSION_MAX_HOURS", 12, at_most=87_600)
SESSION_COOKIE_AGE = SESSION_MAX_HOURS * 3600

# --- Counters shared by all processes ------------------------------------------------------------
# Sign-in attempts and used codes. In the database, which every sign-in needs anyway; Redis can be
# unavailable or emptied at any time.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "shared_cache",
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    },
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

# --- Password ------------------------------------------------------------------------------------
SIGN_IN_TRIES = env.int("SIGN_IN_TRIES", 30)  # per minute and address
SIGN_IN_FAILURES = env.int("SIGN_IN_FAILURES", 5)  # per five minutes and account
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
MFA_ALLOW_UNVERIFIED_EMAIL = True  # no mail is sent, so addresses cannot be verified
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
MFA_TOTP_TOLERANCE = 1  # steps of 30 s before and after, for clock skew and typing

# --- API tokens ----------------------------------------------------------------------------------
API_TOKEN_MAX_DAYS = env.int("API_TOKEN_MAX_DAYS", 365, at_least=1, at_most=36_500)
# per five minutes and address
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
OIDC_ROLE_MAP: list[str] = []  # no roles if the value cannot be parsed
try:
    OIDC_ROLE_MAP = split_role_map(secret("OIDC_ROLE_MAP"))
except (ValueError, csv.Error) as _error:
    env.note("OIDC_ROLE_MAP", f"OIDC_ROLE_MAP: {_error}.", ROLE_MAP_HINT, "css.E016")
OIDC_CREATE_ACCOUNTS = env.bool("OIDC_CREATE_ACCOUNTS", False)
OIDC_TRUSTED_FACTORS = env.list("OIDC_TRUSTED_FACTORS", [])
SOCIALACCOUNT_ADAPTER = "dashboard.sign_in.oidc_accounts.OidcAccountAdapter"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {"provider_class": "dashboard.sign_in.oidc.OidcProvider"}
}
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_STORE_TOKENS = False

# --- Audit trail; docs/audit.md ------------------------------------------------------------------
AUDIT_HEAD_INTERVAL = env.float("AUDIT_HEAD_INTERVAL", 3600.0)  # seconds; 0: never
AUDIT_VERIFY_INTERVAL = env.float("AUDIT_VERIFY_INTERVAL", 86_400.0)  # seconds; 0: never
AUDIT_SIGNING_KEY = secret("AUDIT_SIGNING_KEY")  # default: generated in DATA_DIR
if AUDIT_HEAD_INTERVAL > 0:
    # looks more often than it is due: the last time is in the database
    _look = min(AUDIT_HEAD_INTERVAL, 60.0)
    PERIODIC_TASKS["audit-head"] = ("dashboard.audit.tasks.emit_head_when_due", _look)
if AUDIT_VERIFY_INTERVAL > 0:
    _look = min(AUDIT_VERIFY_INTERVAL, 3600.0)
    PERIODIC_TASKS["audit-verify"] = ("dashboard.audit.tasks.verify_when_due", _look)

# --- Notifications; docs/automation.md -----------------------------------------------------------
CHANNEL_KEY = secret("CHANNEL_KEY")  # default: generated in DATA_DIR
# previous values, accepted when reading but never used for writing
CHANNEL_KEY_FALLBACKS = re.findall(r"[^,\s]+", secret("CHANNEL_KEY_FALLBACKS"))
# scheme and host for links in messages, which are not answers to a request
PUBLIC_URL = env.str("PUBLIC_URL", "").rstrip("/")
NOTIFY_GROUP_SECONDS = env.float("NOTIFY_GROUP_SECONDS", 30.0)
NOTIFY_MAX_ATTEMPTS = env.int("NOTIFY_MAX_ATTEMPTS", 10, at_least=1, at_most=100)
NOTIFY_RETRY_BASE = env.float("NOTIFY_RETRY_BASE", 10.0, above_zero=True)
NOTIFY_TIMEOUT = env.float("NOTIFY_TIMEOUT", 20.0, above_zero=True, at_most=300.0)
# networks that messages may go to although they are not public
NOTIFY_ALLOWED_NETWORKS = env.list("NOTIFY_ALLOWED_NETWORKS", [])
NOTIFY_KEEP_DAYS = env.int("NOTIFY_KEEP_DAYS", 30, at_least=1, at_most=3650)
# dead man's switch of the instance: requested while work flows
PING_URL = secret("PING_URL")
PING_INTERVAL = env.float("PING_INTERVAL", 60.0, above_zero=True)

# --- The cloud's API -----------------------------------------------------------------------------
CSS_CONNECT_TIMEOUT = env.float("CSS_CONNECT_TIMEOUT", 5.0, above_zero=True)  # seconds
CSS_READ_TIMEOUT = env.float("CSS_READ_TIMEOUT", 30.0, above_zero=True)  # seconds between two bytes
# seconds for a complete answer
CSS_TOTAL_TIMEOUT = env.float("CSS_TOTAL_TIMEOUT", 60.0, above_zero=True)
DEMO_CLOUD = env.bool("DEMO_CLOUD", False)  # set by `manage.py run`: show "simulated cloud"

# --- Run rules, in seconds unless the name indicates otherwise; see docs/run-states.md -----------
# seconds between two firings of a schedule, at least
SCHEDULE_MIN_INTERVAL = env.int("SCHEDULE_MIN_INTERVAL", 300, at_least=1, at_most=86_400)
BACKUP_MAX_ATTEMPTS = env.int("BACKUP_MAX_ATTEMPTS", 5, at_least=1)
BACKUP_RETRY_BASE = env.float("BACKUP_RETRY_BASE", 2.0, above_zero=True)
BACKUP_RETRY_CAP = env.float("BACKUP_RETRY_CAP", 300.0, above_zero=True)
BACKUP_REDISPATCH_AFTER = env.float("BACKUP_REDISPATCH_AFTER", 8.0, above_zero=True)
BACKUP_RETRY_AFTER_CAP = env.float("BACKUP_RETRY_AFTER_CAP", 3600.0)
BACKUP_CONFLICT_RETRY = env.float("BACKUP_CONFLICT_RETRY", 15.0)
BACKUP_RECORD_GRACE = env.float("BACKUP_RECORD_GRACE", 120.0, above_zero=True)
BACKUP_SETTLE_GRACE = env.float("BACKUP_SETTLE_GRACE", 25.0)
BACKUP_UNREADABLE_LIMIT = env.float("BACKUP_UNREADABLE_LIMIT", 900.0, above_zero=True)
BACKUP_FOLLOW_LIMIT = env.float("BACKUP_FOLLOW_LIMIT", 21_600.0, above_zero=True)
BACKUP_CLOCK_SKEW = env.float("BACKUP_CLOCK_SKEW", 300.0)
BACKUP_DATE_TOLERANCE = env.float("BACKUP_DATE_TOLERANCE", 2.0)
# batches: requests per second and project
BACKUP_BATCH_RATE = env.float("BACKUP_BATCH_RATE", 20.0, above_zero=True, at_most=100.0)
BACKUP_REASON_REQUIRED = env.bool("BACKUP_REASON_REQUIRED", False)  # schedules need none
AUTO_CONNECT = env.bool("AUTO_CONNECT", True)  # every entry and region of clouds.yaml
# interval for each connection's list of clusters
SYNC_INTERVAL = env.float("SYNC_INTERVAL", 300.0, above_zero=True)
# look for the files of verified backups in the bucket; also a switch of each connection
FILE_CHECKS = env.bool("FILE_CHECKS", True)
FILE_CHECK_DELAY = env.float("FILE_CHECK_DELAY", 20.0)
# interval for each cluster's readiness
CHECK_INTERVAL = env.float("CHECK_INTERVAL", 300.0, above_zero=True)
CHECK_PARALLEL = env.int("CHECK_PARALLEL", 10, at_least=1)
RETENTION_INTERVAL = env.float("RETENTION_INTERVAL", 86_400.0)  # 0: only on request
HEARTBEAT_INTERVAL = env.float("HEARTBEAT_INTERVAL", 3.0, above_zero=True)
HEARTBEAT_STALE_AFTER = env.float("HEARTBEAT_STALE_AFTER", 12.0, above_zero=True)
HEARTBEAT_ALARM_AFTER = env.float("HEARTBEAT_ALARM_AFTER", 30.0, above_zero=True)
WORKER_SHUTDOWN_GRACE = env.float("WORKER_SHUTDOWN_GRACE", 15.0)

# --- Logging: one line per event, to standard error ----------------------------------------------
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", logging.getLevelNamesMapping())
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "dashboard.logs.LineFormatter",
            "format": LOG_FORMAT,
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "celery": {"level": "INFO"},
        "celery.app.trace": {"level": "WARNING"},  # one line per task is noise; our events say more
        "celery.worker.strategy": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        "keystoneauth": {"level": "WARNING"},  # at DEBUG it logs requests
        "openstack": {"level": "WARNING"},
    },
}

# Also read by dashboard/gunicorn.py; reading it here makes the checks report an invalid value.
WEB_CONCURRENCY = env.int("WEB_CONCURRENCY", 2, at_least=1, at_most=1000)
# Problems with the variables read above.
ENVIRONMENT_PROBLEMS = env.problems
