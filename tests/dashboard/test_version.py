"""One place for the version; everything else that tells it agrees."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.test import Client

from dashboard.accounts.models import User
from dashboard.version import VERSION
from tests.instances import ROOT, clean_environment


@pytest.mark.parametrize("word", ["--version", "version"])
def test_the_command_line_tells_the_products_version_and_not_djangos(
    tmp_path: Path, word: str
) -> None:
    answer = subprocess.run(
        [sys.executable, "manage.py", word],
        cwd=ROOT,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == f"{VERSION}\n"


@pytest.mark.django_db
def test_only_who_is_signed_in_is_told(client: Client) -> None:
    refused = client.get("/version")
    assert (refused.status_code, refused["Location"]) == (302, "/sign-in/?next=/version")
    sign_in = client.get("/sign-in/").content.decode()
    assert f"Version {VERSION}" not in sign_in
    client.force_login(User.objects.create_user("anna"))
    answer = client.get("/version")
    assert (answer.status_code, answer.json()) == (200, {"version": VERSION})
    assert answer["Cache-Control"] == "no-store"
    assert f"Version {VERSION}." in client.get("/").content.decode()


def test_it_is_written_down_nowhere_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "dashboard.version.VERSION"
    }
    # a label takes no value from a file, so the image has a copy
    assert re.findall(r"^ARG VERSION=(.*)$", (ROOT / "Dockerfile").read_text(), re.M) == [VERSION]


def test_the_changelog_begins_with_it_and_goes_by_versions() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0].startswith(f"{VERSION} (")
    for heading in headings:
        assert re.fullmatch(r"\d+\.\d+\.\d+ \((\d{4}-\d\d-\d\d|not released yet)\)", heading)


def test_a_tag_at_this_commit_says_the_same() -> None:
    tags = subprocess.run(
        ["git", "tag", "--points-at", "HEAD", "v[0-9]*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,  # an archive without .git has no tags
    ).stdout.split()
    assert tags in ([], [f"v{VERSION}"])
