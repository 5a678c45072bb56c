"""The examples of docs/api.md, run against a real server, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from backups.api.queries import MOST, USUAL_LIMIT
from backups.api.urls import LARGEST_BODY, urlpatterns
from backups.forms import LONGEST_REASON, MAX_WAIT_MINUTES, BackupForm
from backups.lists.clusters import ClusterFilter
from backups.lists.history import HistoryFilter
from dashboard.audit.forms import EventFilter
from dashboard.tokens.models import Scope
from tests.instances import ROOT, Instance
from tests.tokens_made import make_by_page
from tests.visitor import Visitor

PAGE = (ROOT / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    started = Instance(tmp_path_factory.mktemp("examples"), DEMO_CLOUD="1")
    try:
        started.wait_ready()
        started.wait_for_text("clusters registered")
        yield started.wait_for_worker()
    finally:
        started.stop()


def objects(text: str) -> list[dict[str, object]]:
    """The JSON objects that were printed one after another."""
    found, place, decoder = [], 0, json.JSONDecoder()
    while place < len(text):
        found_here, place = decoder.raw_decode(text, place)
        found.append(found_here)
    return found


@pytest.mark.e2e
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_examples_do_what_the_page_says(instance: Instance, tmp_path: Path) -> None:
    admin = Visitor(instance.url).sign_in("admin", instance.password)
    token = make_by_page(admin, "examples", Scope.MANAGE)
    settings = EXAMPLES[0]
    settings = settings.replace("http://127.0.0.1:8000", instance.url).replace("csslb_…", token)
    script = "set -eu\n" + settings + "\n".join(EXAMPLES[1:])
    answer = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    printed = objects(answer.stdout)
    assert len(printed) == 9
    token_itself, clusters, run, overdue, failed, protection, batch, its_runs, cancel = printed
    assert (token_itself["name"], token_itself["scope"]) == ("examples", "manage")
    assert [each["cluster"] for each in clusters["items"]] == ["orders-prod"]  # type: ignore[attr-defined]
    assert (run["trigger"], run["reason"]) == ("api", "before the upgrade")
    assert run["state"] == "succeeded"
    assert set(overdue) == {"items", "count", "next"}
    assert (failed["window"], failed["items"]) == ("7d", [])
    assert protection["total"] > 0  # type: ignore[operator]
    assert (batch["filter"], batch["reason"]) == ("show=present", "weekly")
    assert batch["clusters"] > 10  # type: ignore[operator]
    assert {each["trigger"] for each in its_runs["items"]} <= {"bulk"}  # type: ignore[attr-defined]
    assert cancel["type"] == "urn:css-log-backup:cannot-cancel"
    put_again(settings, token, instance, tmp_path)


def put_again(settings: str, token: str, instance: Instance, folder: Path) -> None:
    """What the page puts is there, and putting it again changes nothing and records nothing."""
    managing = next(each for each in EXAMPLES if each.startswith("put()"))
    cluster = next(each for each in EXAMPLES if "CLUSTER=$(" in each).partition("# the request")[0]

    def items(path: str) -> list[dict[str, Any]]:
        found = requests.get(
            f"{instance.url}/api/v1/{path}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        found.raise_for_status()
        listed: list[dict[str, Any]] = found.json()["items"]
        return listed

    def events() -> list[str]:
        return [each["action"] for each in items("audit?actor=admin&limit=200")]

    def rows() -> list[list[dict[str, Any]]]:
        return [items(path) for path in ("schedules", "channels", "rules", "projects")]

    def tags() -> list[Any]:
        return [each["tags"] for each in items("clusters?label=team=shop")]

    before, rows_before, tags_before = events(), rows(), tags()
    assert [len(each) for each in (*rows_before[:3], tags_before)] == [1, 1, 1, 1]
    for action in (
        *("cluster_labelled", "log_policy_changed", "objective_changed"),
        *("schedule_created", "channel_added", "notification_rule_added"),
    ):
        assert before.count(action) == 1, action
    for _again in range(2):
        subprocess.run(
            ["sh", "-c", "set -eu\n" + settings + cluster + managing],
            cwd=folder,
            env={**os.environ, "NO_PROXY": "*"},
            capture_output=True,
            timeout=150,
            check=True,
        )
    assert (events(), rows(), tags()) == (before, rows_before, tags_before)


# --- the rest of the page


def test_every_address_is_on_the_page() -> None:
    listed = {
        line.split("`")[1].split(" ")[1].lstrip("/").replace("ID", "<int:pk>")
        for line in PAGE.splitlines()
        if re.match(r"\| `(GET|POST|PUT|DELETE) ", line)
    }
    served = {str(each.pattern).removeprefix("v1/") for each in urlpatterns}
    assert listed == served - {""}


def test_every_filter_and_field_is_on_the_page() -> None:
    names = {*ClusterFilter.base_filters, *HistoryFilter.base_filters, *BackupForm.base_fields}
    names = names - {"page"} | set(EventFilter.base_fields) - {"older", "newer"}
    assert len(names) > 20
    assert not [name for name in names if f"`{name}`" not in PAGE]


def test_every_kind_of_problem_is_on_the_page() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "backups" / "api").glob("*.py"))
    kinds = set(re.findall(r'\b\d{3},\s+"([a-z-]+)",', sources))
    kinds |= set(re.findall(r'(?:NotNow|CloudFailed)\(\s*"([a-z-]+)"', sources))
    assert len(kinds) > 12
    assert not [kind for kind in kinds if f"`{kind}`" not in PAGE]


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    for text in (
        f"at most {LONGEST_REASON} characters",
        f"0 to {MAX_WAIT_MINUTES}",
        f"`limit` is 1 to {MOST}, default {USUAL_LIMIT}.",
        f"at most {LARGEST_BODY:,} bytes",
    ):
        assert text in PAGE
