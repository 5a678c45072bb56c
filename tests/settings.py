"""Settings of the test process: the product's own, in an environment that no machine changes.

DATABASE_URL and REDIS_URL are honoured: with them the suite runs on PostgreSQL and on that Redis,
whose databases from the given number on are emptied. Without them it runs on the embedded default.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests.places import redis_url_of_this_worker

KEPT = ("DATABASE_URL", "REDIS_URL")
CHANGING = (
    *("ALLOWED_HOSTS", "COOKIE_SUFFIX", "CSRF_TRUSTED_ORIGINS", "DATABASE_PASSWORD", "DEBUG"),
    *("DEMO_CLOUD", "DEPLOYMENT", "HOST", "HTTPS", "LOG_LEVEL", "PORT", "REDIS_SOCKET"),
    *(
        "SECRET_KEY",
        "SECRET_KEY_FALLBACKS",
        "SECRET_KEY_FILE",
        "STATIC_ROOT",
        "TRUST_X_FORWARDED_PROTO",
        "CHANNEL_KEY",
        "CHANNEL_KEY_FALLBACKS",
        "CHANNEL_KEY_FILE",
        "PUBLIC_URL",
        "PING_URL",
    ),
)
CHANGING_PREFIXES = (
    *("OS_", "CSS_", "BACKUP_", "CHECK_", "HEARTBEAT_", "AUDIT_"),
    *("API_", "FILE_", "MFA_", "NOTIFY_", "OIDC_", "SESSION_", "SIGN_IN_"),
)

for _name in list(os.environ):
    if _name in CHANGING or _name.startswith(CHANGING_PREFIXES):
        del os.environ[_name]

_data_dir = Path(tempfile.mkdtemp(prefix="css-log-backup-test-")).resolve()
_owner = os.getpid()
os.environ["DATA_DIR"] = str(_data_dir)
if _url := redis_url_of_this_worker():
    os.environ["REDIS_URL"] = _url


def _remove() -> None:
    if os.getpid() == _owner:  # and not in a child that was forked
        shutil.rmtree(_data_dir, ignore_errors=True)


atexit.register(_remove)

from dashboard.settings import *  # noqa: E402, F403
from dashboard.settings import CACHES, DATABASES, STATIC_ROOT, STORAGES  # noqa: E402

# No test's database outlives a power failure, so no commit waits for the disk.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file: a database in memory belongs to one connection, and so to one thread.
    DATABASES["default"]["TEST"] = {"NAME": str(_data_dir / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"]["OPTIONS"]["options"] = "-c synchronous_commit=off"
# Emptied between tests, which the table is not; test_sign_in_limits.py uses the table.
CACHES = {
    **CACHES,
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "x"},
    # counts are computed anew each time, whoever asked before
    "process": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}
FILE_CHECKS = False  # tests of the bucket switch it on
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT.mkdir()
