"""docs/metrics.md and docs/logs.md name what the code has; rules and dashboard use nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dashboard import logs
from dashboard.metrics import endpoint

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "metrics.md"
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "css-log-backup.json"
OF_PROMETHEUS = ("_bucket", "_sum", "_count", "_total")


def cells(page: Path, columns: int) -> list[list[str]]:
    """The rows of a page's tables whose first cell is code."""
    rows = [line.split("|")[1:-1] for line in page.read_text().splitlines()]
    found = [[cell.strip() for cell in row] for row in rows if len(row) == columns]
    return [row for row in found if row[0].startswith("`")]


def in_code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@pytest.mark.django_db
def test_the_table_of_metrics_is_the_codes() -> None:
    listed = {in_code(row[0])[0]: (row[1], row[3]) for row in cells(PAGE, 4)}
    found = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            family.documentation,
        )
        for family in endpoint.families()
    }
    assert listed == found


def test_the_labels_in_the_table_are_the_codes() -> None:
    listed = {in_code(row[0])[0]: in_code(row[2]) for row in cells(PAGE, 4)}
    counted = {
        each._name + ("_total" if each._type == "counter" else ""): list(each._labelnames)
        for each in endpoint.REGISTRY._collector_to_names
    }
    assert {name: listed[name] for name in counted} == counted


def test_rules_and_dashboard_use_metrics_that_exist() -> None:
    listed = {in_code(row[0])[0] for row in cells(PAGE, 4)}
    text = RULES.read_text() + DASHBOARD.read_text()
    used = set(re.findall(r"css_backup_\w+", text))
    assert len(used) > 20
    left = {
        name
        for name in used - listed
        if not any(name.removesuffix(end) in listed for end in OF_PROMETHEUS)
    }
    assert not left


def test_the_table_of_alerts_is_the_rules() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    alerts = [rule["alert"] for rule in group["rules"]]
    assert [in_code(row[0])[0] for row in cells(PAGE, 3)] == alerts
    tested = RULES.with_name("alerts.test.yml").read_text()
    assert all(f"alertname: {alert}\n        exp_alerts:\n" in tested for alert in alerts)


def test_the_table_of_fields_is_the_codes() -> None:
    listed = [name for row in cells(ROOT / "docs" / "logs.md", 2) for name in in_code(row[0])]
    assert sorted(listed) == sorted(logs.FIELDS)


def test_the_rules_pass_promtool() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (apt install prometheus)")
    for arguments in (["check", "rules", RULES.name], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run(
            ["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_has_a_query_in_each_panel() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    assert all(target["expr"] for panel in panels for target in panel["targets"])
