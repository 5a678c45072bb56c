"""How to add a connection: the lines for each kind can be used, and nothing is written."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

import pytest
import yaml
from django.test import Client

from backups.css_api import config, session
from backups.rules.cloud_entries import KINDS
from dashboard.accounts.models import User
from dashboard.http.wire import Timeouts
from simulator.server import Simulator

pytestmark = pytest.mark.django_db
URL = "/settings/connections/add/"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


def lines_of(text: str) -> str:
    found = re.search(r'<pre id="lines"[^>]*>(.*?)</pre>', text, re.S)
    assert found, text
    return html.unescape(found[1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_make_an_entry_that_can_be_used(
    admin: Client, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = admin.get(URL, {"kind": kind})
    assert answer.status_code == 200
    lines = lines_of(answer.content.decode())
    path = tmp_path / "new-clouds.yaml"
    path.write_text(lines.replace("…", "A" * 20))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    [(cloud, region)] = config.list_clouds()
    assert session.connect(cloud, region, timeouts=Timeouts()).region == region
    assert "can be tested here" in answer.content.decode()
    assert "Test it" in admin.get(URL, {"kind": kind}).content.decode()


def test_what_is_filled_in_stands_in_the_lines_as_text(admin: Client) -> None:
    asked = {
        "kind": "otc-password",
        "fields": "otc-password",
        "name": "prod.de",
        "region": "eu-nl",
        "project": "0123",
        "username": "<b>anna: x</b>",
        "user_domain": "OTC-EU-NL-1",
    }
    text = admin.get(URL, asked).content.decode()
    assert "<b>anna" not in text
    assert 'password: "…"' in lines_of(text)
    entry = yaml.safe_load(lines_of(text))["clouds"]["prod.de"]
    assert entry["region_name"] == "eu-nl"
    assert entry["auth"] == {
        "auth_url": "https://iam.eu-nl.otc.t-systems.com/v3",
        "username": "<b>anna: x</b>",
        "password": "…",
        "user_domain_name": "OTC-EU-NL-1",
        "project_name": "0123",
    }


def test_what_was_filled_in_for_another_kind_does_not_count(admin: Client) -> None:
    asked = {"kind": "huawei-key", "fields": "otc-key", "region": "eu-de"}
    entry = yaml.safe_load(lines_of(admin.get(URL, asked).content.decode()))["clouds"]["huawei"]
    assert entry["region_name"] == "cn-north-4"


def test_a_name_that_no_entry_can_have_is_refused(admin: Client) -> None:
    answer = admin.get(URL, {"kind": "otc-key", "fields": "otc-key", "name": "a b"})
    assert answer.status_code == 422
    assert "Letters, digits and . _ - only." in answer.content.decode()
    assert admin.get(URL, {"kind": "another"}).status_code == 404


def test_no_secret_is_asked_for_and_nothing_is_written(admin: Client, simulator: Simulator) -> None:
    file = Path(os.environ["OS_CLIENT_CONFIG_FILE"])
    before = file.read_bytes()
    for kind in KINDS:
        text = admin.get(URL, {"kind": kind}).content.decode()
        fields = set(re.findall(r'<(?:input|select)[^>]* name="(\w+)"', text))
        assert fields <= {"kind", "fields", "csrfmiddlewaretoken", "q", *KINDS[kind].defaults}
    assert file.read_bytes() == before
