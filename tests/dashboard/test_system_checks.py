"""Misconfiguration is named, with what to set; production does not start on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instances import ROOT, clean_environment

OTHER_USER = 10001
KEY = "k3y-" * 16
PRODUCTION = {
    "DEPLOYMENT": "production",
    "SECRET_KEY": KEY + "aZ09_",
    "AUDIT_SIGNING_KEY": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=",
    "CHANNEL_KEY": KEY + "channels",
    "ALLOWED_HOSTS": "css-logs.example.com",
    "TRUST_X_FORWARDED_PROTO": "1",
    "DATABASE_URL": "postgres://dashboard:hidden-word@127.0.0.1:1/dashboard",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


def _check(folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`manage.py check --deploy` as CI calls it."""
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=clean_environment(folder, **environ),
        capture_output=True,
        text=True,
        check=False,
    )


def test_good_production_settings_have_no_warning(tmp_path: Path) -> None:
    answer = _check(tmp_path, PRODUCTION)
    assert answer.returncode == 0, answer.stderr


YEAR = "max-age=31536000"


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({}, f"{YEAR}; includeSubDomains; preload"),
        ({"HSTS_PRELOAD": "0"}, f"{YEAR}; includeSubDomains"),
        ({"HSTS_INCLUDE_SUBDOMAINS": "off"}, YEAR),
        (
            {"HSTS_INCLUDE_SUBDOMAINS": "off", "HSTS_PRELOAD": "on", "HSTS_SECONDS": "300"},
            "max-age=300",
        ),
        ({"DEPLOYMENT": "local"}, "None"),
    ],
)
def test_each_part_of_hsts_has_a_switch_and_none_is_a_warning(
    tmp_path: Path, changes: dict[str, str], header: str
) -> None:
    environ = PRODUCTION | changes
    if "DEPLOYMENT" not in changes:
        answer = _check(tmp_path, environ)
        assert answer.returncode == 0, answer.stderr
    ask = """
from django.test import Client
client = Client(headers={"Host": "css-logs.example.com", "X-Forwarded-Proto": "https"})
answer = client.get("/nowhere/")
print(answer.headers.get("Strict-Transport-Security"))
"""
    shown = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "-c", ask],
        cwd=ROOT,
        env=clean_environment(tmp_path, **environ | {"DATABASE_URL": "sqlite:///:memory:"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout.strip() == header, shown.stderr


@pytest.mark.parametrize("prefix", ["/css-logs", "css-logs/", "/tools/css.logs", "/"])
def test_a_path_to_be_served_below_is_no_warning(tmp_path: Path, prefix: str) -> None:
    answer = _check(tmp_path, {**PRODUCTION, "URL_PREFIX": prefix})
    assert answer.returncode == 0, answer.stderr


def test_an_instance_on_one_machine_has_no_error(tmp_path: Path) -> None:
    answer = _check(tmp_path, {})
    assert "css." not in answer.stderr


@pytest.mark.parametrize(
    ("changes", "number", "named"),
    [
        ({"DEPLOYMENT": "prod"}, "E001", "Set DEPLOYMENT to"),
        ({"SECRET_KEY": ""}, "E002", "Set SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "E002", "fewer than 50"),
        ({"DEBUG": "1"}, "E003", "Set DEBUG=0"),
        ({"ALLOWED_HOSTS": "*"}, "E004", "any host name"),
        ({"ALLOWED_HOSTS": ""}, "E004", "Set ALLOWED_HOSTS"),
        ({"DATABASE_URL": "oracle-ish://u:hidden-word@h/n"}, "E005", "Set DATABASE_URL"),
        ({"DATABASE_URL": "mysql://u:hidden-word@h/n"}, "E005", "not supported"),
        ({"DATABASE_URL": ""}, "E006", "Set DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:////srv/db.sqlite3"}, "W001", "Set DATABASE_URL"),
        ({"REDIS_URL": "http://h:6379"}, "E007", "Set REDIS_URL"),
        ({"REDIS_URL": ""}, "E008", "Set REDIS_URL"),
        ({"URL_PREFIX": "/css logs"}, "E030", "URL_PREFIX contains characters"),
        ({"URL_PREFIX": "/../x"}, "E030", "URL_PREFIX contains characters"),
        ({"URL_PREFIX": "/a//b"}, "E030", "URL_PREFIX contains characters"),
        ({"URL_PREFIX": "/runs"}, "E030", "URL_PREFIX starts with the name of a page"),
        ({"URL_PREFIX": "history/x/"}, "E030", "URL_PREFIX starts with the name of a page"),
        ({"URL_PREFIX": "/audit"}, "E030", "URL_PREFIX starts with the name of a page"),
        ({"URL_PREFIX": "/static"}, "E030", "URL_PREFIX starts with the name of a page"),
        ({"HTTPS": "0"}, "E009", "TRUST_X_FORWARDED_PROTO=1"),
        ({"CSS_READ_TIMEOUT": "0"}, "E010", "CSS_READ_TIMEOUT"),
        ({"BACKUP_MAX_ATTEMPTS": "-1"}, "E010", "BACKUP_MAX_ATTEMPTS"),
        ({"OS_CLIENT_CONFIG_FILE": "/nowhere/clouds.yaml"}, "E011", "/nowhere/clouds.yaml"),
        ({"HEARTBEAT_STALE_AFTER": "1"}, "E012", "HEARTBEAT_STALE_AFTER"),
    ],
)
def test_a_bad_value_has_an_id_and_says_what_to_set(
    tmp_path: Path, changes: dict[str, str], number: str, named: str
) -> None:
    answer = _check(tmp_path, {**PRODUCTION, **changes})
    assert answer.returncode == 1
    assert f"(css.{number})" in answer.stderr
    assert answer.stderr.count("(css.") == 1, answer.stderr
    assert named in answer.stderr
    assert "hidden-word" not in answer.stderr


AS_ANOTHER_USER = f"""
import os, django
django.setup()
from dashboard.checks import problems
problems()  # imports what it needs: the other user may not read this interpreter's files
os.setgroups([]), os.setgid({OTHER_USER}), os.setuid({OTHER_USER})
print(problems())
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that every user may look into; pytest's folders are their owner's alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("closed", ["clouds.yaml", "secure.yaml", "."])
def test_a_clouds_file_of_another_user_is_named(tmp_path: Path, home: Path, closed: str) -> None:
    """As in a container, whose user is not the one that wrote the file on the host."""
    if os.getuid():
        pytest.skip("only root can become another user")
    folder = home / ".config" / "openstack"
    folder.mkdir(parents=True)
    (folder / "clouds.yaml").write_text("clouds: {}\n")
    (folder / "secure.yaml").write_text("clouds: {}\n")

    def found() -> str:
        environ = {**PRODUCTION, "DJANGO_SETTINGS_MODULE": "dashboard.settings"}
        return subprocess.run(
            [sys.executable, "-c", AS_ANOTHER_USER],
            cwd=ROOT,
            env={**clean_environment(tmp_path, **environ), "HOME": str(home)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert found() == "[]\n"
    (folder / closed).chmod(0o600)
    unreadable = f"{(folder / closed).resolve()} cannot be read by this user (uid {OTHER_USER})"
    assert f"(css.E011) {unreadable}" in found()


def test_a_secret_in_a_file_is_as_good(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(PRODUCTION["SECRET_KEY"] + "\n")
    (tmp_path / "password").write_text("hidden-word\n")
    environ = {**PRODUCTION, "SECRET_KEY_FILE": str(tmp_path / "key"), "SECRET_KEY": ""}
    assert _check(tmp_path, environ).returncode == 0
    url = "postgres://dashboard@127.0.0.1:1/dashboard"
    environ |= {"DATABASE_URL": url, "DATABASE_PASSWORD_FILE": str(tmp_path / "password")}
    shown = subprocess.run(
        [sys.executable, "-c", "from dashboard.settings import DATABASES; print(DATABASES)"],
        cwd=ROOT,
        env=clean_environment(tmp_path, **environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'PASSWORD': 'hidden-word'" in shown.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["gunicorn", "-c", "python:dashboard.gunicorn", "--bind", "127.0.0.1:0"],
        ["celery", "-A", "dashboard", "worker", "--pool", "threads", "-c", "1"],
    ],
    ids=["web", "worker"],
)
def test_no_process_of_production_starts_on_an_error(tmp_path: Path, command: list[str]) -> None:
    environ = clean_environment(tmp_path, **{**PRODUCTION, "DEBUG": "1"})
    (tmp_path / "data").mkdir()
    answer = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode != 0
    assert "(css.E003) DEBUG is on" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "data" / "secret_key").exists()


@pytest.mark.parametrize("value", ["abc", "-1"])
def test_the_web_server_names_a_number_of_processes_that_is_none(
    tmp_path: Path, value: str
) -> None:
    """gunicorn itself would end with a traceback before it reads our configuration."""
    answer = subprocess.run(
        [sys.executable, "-m", "dashboard.gunicorn", "--bind", "127.0.0.1:0"],
        cwd=ROOT,
        env=clean_environment(tmp_path, WEB_CONCURRENCY=value),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert f"WEB_CONCURRENCY={value}".replace("abc", "'abc'") in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    "url", ["redis://:hidden#word@127.0.0.1:1/0", "redis://:7#hidden-word@127.0.0.1:1/0"]
)
def test_a_worker_writes_no_part_of_a_password_that_is_not_escaped(
    tmp_path: Path, url: str
) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "dashboard", "worker", "--pool", "threads"],
        cwd=ROOT,
        env=clean_environment(tmp_path, REDIS_URL=url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode != 0
    assert "(css.E007) REDIS_URL" in answer.stderr
    written = answer.stdout + answer.stderr
    assert "hidden" not in written
    assert "word@" not in written
    assert "Traceback" not in written, written
