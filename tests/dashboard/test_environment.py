"""The reader of the environment: nothing that is written there is a traceback, or goes unsaid."""

from __future__ import annotations

import runpy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from django.conf import settings as live
from django.core.checks.messages import ERROR
from django.test import override_settings
from hypothesis import HealthCheck, example, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from kombu import Connection

from dashboard import environment
from dashboard.checks import check_everywhere
from dashboard.environment import Environment
from dashboard.service_urls import UNUSABLE_BROKER, broker_url, database_of
from dashboard.sign_in.checks import check_sign_in
from tests.docs.test_settings import documented

# Not what is compared: these name parts that a running test process cannot exchange.
FIXED = {"DATABASES", "CACHES", "INSTALLED_APPS", "LOGGING", "SECRET_KEY", "STORAGES", "DATA_DIR"}
TYPED = ["DATABASE_CONN_MAX_AGE", "TRUSTED_PROXY_COUNT", "SESSION_MAX_HOURS", "CHECK_INTERVAL"]
TYPED += ["HTTPS", "DEBUG", "LOG_LEVEL", "WEB_CONCURRENCY", "BACKUP_MAX_ATTEMPTS", "AUTO_CONNECT"]
LISTS = ["ALLOWED_HOSTS", "MFA_REQUIRED_ROLES", "OIDC_SCOPES", "OIDC_TRUSTED_FACTORS"]

Loaded = dict[str, Any]


def load(environ: Mapping[str, str]) -> Loaded:
    """The settings that an environment makes, read anew from their files."""
    reader = environment.env, environment.secret
    environment.env = Environment(environ)
    environment.secret = environment.env.secret
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it is loaded already: that is known
            return runpy.run_module("dashboard.settings")
    finally:
        environment.env, environment.secret = reader


def errors(loaded: Loaded) -> list[str]:
    """What the checks say of such settings, as each process prints it."""
    changed = {
        name: value
        for name, value in loaded.items()
        if name.isupper() and name not in FIXED and getattr(live, name, None) != value
    }
    with override_settings(**changed):
        found = [*check_everywhere(), *check_sign_in()]
    assert all(each.hint for each in found)
    return [f"({each.id}) {each.msg} {each.hint}" for each in found if each.level >= ERROR]


def errors_of(**environ: str) -> list[str]:
    return errors(load(environ))


@pytest.mark.parametrize("name", [*TYPED, *LISTS, "SECRET_KEY", "DATABASE_URL", "REDIS_URL"])
@pytest.mark.parametrize("empty", ["", "  ", '""', "' '", "\r\n"])
def test_an_empty_value_means_the_default(name: str, empty: str) -> None:
    loaded, default = load({name: empty}), load({})
    setting = {"DATABASE_CONN_MAX_AGE": "DATABASES"}.get(name, name)
    if setting != "SECRET_KEY":
        assert loaded[setting] == default[setting]
    assert errors(loaded) == []


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ALLOWED_HOSTS", "a.example.com, b.example.com", ["a.example.com", "b.example.com"]),
        ("ALLOWED_HOSTS", "a.example.com b.example.com,", ["a.example.com", "b.example.com"]),
        ("ALLOWED_HOSTS", '"a.example.com","b.example.com"', ["a.example.com", "b.example.com"]),
        ("ALLOWED_HOSTS", "'a.example.com, b.example.com'", ["a.example.com", "b.example.com"]),
        ("ALLOWED_HOSTS", "[::1]", ["[::1]"]),
        ("CSRF_TRUSTED_ORIGINS", " https://a.example.com/ ", ["https://a.example.com"]),
        ("MFA_REQUIRED_ROLES", "admin, operator", ["admin", "operator"]),
        ("OIDC_SCOPES", "openid profile groups", ["openid", "profile", "groups"]),
        ("OIDC_ROLE_MAP", "the ops=operator:all , a=auditor:all", 2),
        ("HTTPS", '"on"', True),
        ("CHECK_INTERVAL", " 60 ", 60.0),
        ("DEPLOYMENT", "'production'", "production"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("REDIS_URL", '"redis://127.0.0.1:6379/5" ', "redis://127.0.0.1:6379/5"),
        ("OIDC_CLIENT_SECRET", '"s3cret"', "s3cret"),
    ],
)
def test_blanks_and_quotes_are_no_part_of_a_value(name: str, text: str, value: object) -> None:
    found = load({name: text})[name]
    assert (len(found) if isinstance(value, int) and name.endswith("MAP") else found) == value


CANNOT_WORK = [
    ("DEBUG", "release", "E017"),
    ("LOG_LEVEL", "verbose", "E017"),
    ("WEB_CONCURRENCY", "abc", "E017"),
    ("WEB_CONCURRENCY", "0", "E010"),
    ("CHECK_INTERVAL", "-5", "E010"),
    ("CHECK_INTERVAL", "30s", "E017"),
    ("CHECK_INTERVAL", "inf", "E017"),
    ("CHECK_INTERVAL", "1e300", "E010"),
    ("AUDIT_VERIFY_INTERVAL", "-1", "E010"),
    ("RETENTION_INTERVAL", "-0.5", "E010"),
    ("WORKER_SHUTDOWN_GRACE", "-1", "E010"),
    ("TRUSTED_PROXY_COUNT", "-1", "E010"),
    ("HSTS_SECONDS", "-1", "E010"),
    ("DATABASE_CONN_MAX_AGE", "-1", "E010"),
    ("API_TOKEN_MAX_DAYS", "99999999999", "E010"),
    ("SESSION_MAX_HOURS", "999999999", "E010"),
    ("SESSION_MAX_HOURS", "0", "E013"),
    ("TRUST_X_FORWARDED_PROTO", "https", "E017"),
    ("DEMO_CLOUD", "maybe", "E017"),
    ("AUTO_CONNECT", "2", "E017"),
    ("COOKIE_SUFFIX", "a;b", "E017"),
    ("OIDC_NAME", "\udcff", "E017"),
    ("SECRET_KEY_FILE", "/run/secrets/nope", "E018"),
    ("SECRET_KEY_FILE", "/tmp", "E018"),
    ("SECRET_KEY_FILE", "/dev/zero", "E018"),
    ("DATABASE_PASSWORD_FILE", "/run/secrets/nope", "E018"),
    ("REDIS_URL_FILE", "/run/secrets/nope", "E018"),
    ("OIDC_CLIENT_SECRET_FILE", "hidden-word", "E018"),
    ("AUDIT_SIGNING_KEY", "hidden-word", "E019"),
    ("NOTIFY_ALLOWED_NETWORKS", "10.0.0.0/8,nowhere", "E024"),
    ("PUBLIC_URL", "https://css.example.com/logs", "E024"),
    ("PING_URL", "hidden-word", "E024"),
    ("ALLOWED_HOSTS", "https://css.example.com", "E020"),
    ("ALLOWED_HOSTS", "css.example.com:8000", "E020"),
    ("ALLOWED_HOSTS", '["css.example.com"]', "E020"),
    ("CSRF_TRUSTED_ORIGINS", "css.example.com", "E020"),
    ("CSRF_TRUSTED_ORIGINS", "https://css.example.com/logs", "E020"),
    ("OIDC_CLIENT_ID", "dashboard", "E015"),
    ("REDIS_URL", "redis://:hidden[word@h:6379/0", "E007"),
    ("REDIS_URL", "redis://:hidden#word@h:6379/0", "E007"),
    ("REDIS_URL", "redis://:hidden/word@h:6379/0", "E007"),
    ("REDIS_URL", "redis://:7?hidden-word@h:6379/0", "E007"),
    ("REDIS_URL", "redis://:7#hidden-word@h:6379/0", "E007"),
    ("REDIS_URL", "redis://:hidden word@h:6379/0", "E007"),
    ("REDIS_URL", "redis://h:6379/hidden-word", "E007"),
    ("REDIS_URL", "redis://h:port/0", "E007"),
    ("REDIS_URL", "redis://h1:6379,h2:6379/0", "E007"),
    ("REDIS_URL", "redis://h1,h2/0", "E007"),
    ("REDIS_URL", "redis://h:6379/0?db=1", "E007"),
    ("REDIS_URL", "sentinel://h1:26379;sentinel://h2:26379", "E007"),
    ("REDIS_URL", "unix://:hidden-word@/run/redis.sock?db=3", "E007"),
    ("REDIS_URL", "hidden-word", "E007"),
    ("REDIS_URL", "rediss://h:6379/0?ssl_cert_reqs=maybe", "E007"),
    ("REDIS_URL", "rediss://h:6379/0?ssl_ca_certs=/no/such/file", "E007"),
    ("DATABASE_URL", "postgres://u:hidden#w/o@rd@h:5432/n", "E005"),
    ("DATABASE_URL", "postgres://u:7#hidden-word@h/n", "E005"),
    ("DATABASE_URL", "postgres://u:7/hidden-word@h/n", "E005"),
    ("DATABASE_URL", "postgres://u:7?hidden-word@h/n", "E005"),
    ("DATABASE_URL", "postgres://u:hidden-word@h1:5432,h2:5432/n", "E005"),
    ("DATABASE_URL", "postgres://u:hidden-word@h1,h2/n", "E005"),
    ("DATABASE_URL", "postgresql+psycopg://u:hidden-word@h/n", "E005"),
    ("DATABASE_URL", "postgres://u:hidden-word@h:5432", "E005"),
    ("DATABASE_URL", "postgres://u:hidden-word@h:5432/n?sslmode=on", "E005"),
    ("DATABASE_URL", "postgres://u:hidden-word@h:5432/n?foo=bar", "E005"),
    ("DATABASE_URL", "postgres://u:hidden-word@h:5432/n?sslrootcert=/no/such/file", "E005"),
    ("DATABASE_URL", "postgres://u:hidden-word@h:5432/n?connect_timeout=5s", "E005"),
    ("DATABASE_URL", "hidden-word", "E005"),
]


@pytest.mark.parametrize(("name", "text", "number"), CANNOT_WORK)
def test_what_cannot_work_is_one_line_without_a_secret(name: str, text: str, number: str) -> None:
    found = errors_of(**{name: text})
    assert len(found) == 1, found
    assert found[0].startswith(f"(css.{number}) ")
    assert name in found[0]
    assert "\n" not in found[0]
    assert not any(word in found[0] for word in ("hidden", "word@", "o@rd"))


@pytest.mark.parametrize(
    "url", ["sentinel://h1:26379;sentinel://h2:26379", "http://h", "SENTINEL://:7#x@h"]
)
def test_a_broker_of_another_kind_is_not_taken_for_a_password_with_odd_characters(url: str) -> None:
    (found,) = errors_of(REDIS_URL=url)
    assert "it does not start with redis://, rediss:// or redis+socket://" in found


def _texts() -> st.SearchStrategy[str]:
    odd = st.sampled_from(["-1", "0", "nan", "1e999", "[", "::", "a=b", "%", "\udc80", "٣", "1_0"])
    return st.one_of(odd, st.text(st.characters(exclude_characters="\0"), max_size=20))


# PORT, HOST and the rest of `manage.py run` are tests/local_run's
NAMES = sorted(set(documented()) - {"DATA_DIR", "DJANGO_SETTINGS_MODULE", "STATIC_ROOT"})


@given(st.dictionaries(st.sampled_from(NAMES), _texts(), max_size=6))
@profile(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_environment_is_a_traceback(environ: dict[str, str]) -> None:
    assert all("\n" not in line for line in errors(load(environ)))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
@example("7#x")
@example("x@y/1?z")
@example("%41")
@example("a;b")
@profile(max_examples=300, deadline=None)
def test_a_password_is_read_as_it_is_written_or_the_url_is_refused(password: str) -> None:
    url, problem = broker_url(f"redis://:{password}@h:6379/0")
    if problem:
        assert url == UNUSABLE_BROKER
        assert len(password) < 4 or password not in problem
    else:
        assert (Connection(url).password or "") == unquote(password)
        assert Connection(url).hostname == "h"
    database, problem = database_of(f"postgres://u:{password}@h:5432/n", conn_max_age=0)
    if problem:
        assert "HOST" not in database
        assert len(password) < 4 or password not in problem
    else:
        assert (database["HOST"], database["PORT"], database["NAME"]) == ("h", 5432, "n")
        assert database["PASSWORD"] == unquote(password)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
@profile(max_examples=100, deadline=None)
def test_an_escaped_password_is_never_refused(password: str) -> None:
    escaped = quote(password, safe="")
    url, problem = broker_url(f"redis://:{escaped}@h:6379/0")
    assert problem == ""
    assert Connection(url).password == password
    database, problem = database_of(f"postgres://u:{escaped}@h:5432/n", conn_max_age=0)
    assert problem == ""
    assert database["PASSWORD"] == password


WORDS = st.text(st.characters(categories=["L", "N"], include_characters="-._*:/"), min_size=1)
AROUND = st.sampled_from(["", " ", "  ", "\t", "\r\n", "\ufeff"])


@given(st.lists(st.tuples(AROUND, st.sampled_from(["", '"', "'"]), WORDS, AROUND), min_size=1))
@profile(max_examples=200, deadline=None)
def test_a_list_holds_its_items_however_they_are_dressed(
    items: list[tuple[str, str, str, str]],
) -> None:
    text = ",".join(f"{before}{mark}{word}{mark}{after}" for before, mark, word, after in items)
    assert Environment({"A": text}).list("A", blanks=False) == [word for _, _, word, _ in items]


def test_a_file_goes_before_the_variable_and_loses_marks_and_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xef\xbb\xbf'quoted'\r\n")
    reader = Environment({"A": "no", "A_FILE": f'"{file}" '})
    assert reader.secret("A") == "'quoted'"
    assert reader.problems == ()


@pytest.mark.parametrize(
    ("environ", "off"),
    [
        ({}, False),
        ({"DATABASE_POOLER": "session"}, False),
        ({"DATABASE_CONN_MAX_AGE": "0"}, True),
        ({"DATABASE_POOLER": "Transaction"}, True),
    ],
)
def test_behind_a_pooler_no_cursor_outlives_a_statement(environ: dict[str, str], off: bool) -> None:
    loaded = load({"DATABASE_URL": "postgres://u@h/n", **environ})
    assert errors(loaded) == []
    database = loaded["DATABASES"]["default"]
    assert database["DISABLE_SERVER_SIDE_CURSORS"] is off
    assert database["OPTIONS"].get("prepare_threshold") is None
