"""The first account, and the first admin who is not a superuser."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from dashboard.accounts.models import User
from tests.sign_in.conftest import PASSWORD, MakeClient, is_signed_in, sign_in

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.django_db
def test_createsuperuser_makes_an_admin_of_everything(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", username="chief", email="", interactive=False)
    assert sign_in(client, "chief").status_code == 302
    for path in (
        "/",
        "/settings/access/",
        "/audit/",
        "/settings/access/accounts/",
        "/settings/retention/",
    ):
        assert client.get(path).status_code == 200, path


def test_it_works_as_a_process_on_an_empty_database(tmp_path: Path) -> None:
    environment = {
        **{key: value for key, value in os.environ.items() if key != "DATABASE_URL"},
        "DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }
    for arguments in (
        ["migrate", "-v", "0"],
        ["createsuperuser", "--noinput", "--username", "chief", "--email", ""],
        ["grant", "chief", "admin"],
    ):
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
            timeout=120,
        )


def test_an_admin_by_grant_is_no_superuser(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    assert client.get("/settings/access/").status_code == 403
    call_command("grant", "anna", "admin")
    assert client.get("/settings/access/").status_code == 200
    assert client.get("/settings/retention/").status_code == 200
    boss = User.objects.create_superuser("boss")
    closed = client.post(f"/settings/access/accounts/{boss.pk}/", {"do": "rename", "name": "x"})
    assert closed.status_code == 409, "accounts of superusers stay closed"
    anna.refresh_from_db()
    assert (anna.is_superuser, anna.is_staff) == (False, False)
    with pytest.raises(CommandError):
        call_command("grant", "nobody", "admin")
    assert is_signed_in(client)
