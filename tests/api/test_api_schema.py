"""The OpenAPI description: complete, committed, and the counterpart of every page."""

from __future__ import annotations

import json
import re
import time
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from backups.api.problems import EVERYWHERE
from backups.api.urls import description
from tests.access.access_matrix import MATRIX
from tests.access.test_access_matrix import ALL
from tests.api.conftest import cluster_in
from tests.instances import ROOT
from tests.tokens_made import Program

SCHEMA = ROOT / "docs" / "openapi.json"
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, operations in description()["paths"].items()
    for method, operation in operations.items()
}

# Page → the operation that does the same. Pages without one are in docs/api.md, with the reason.
SERVED = {
    "version": "get_version",
    "audit:events": "list_audit_events",
    "audit:event-detail": "get_audit_event",
    "audit:verify": "verify_audit_trail",
    "tokens:own": "list_tokens",
    "tokens:revoke": "revoke_own_token",
    "backups:clusters": "list_clusters",
    "backups:cluster-backup": "request_cluster_backup",
    "backups:cluster-detail": "get_cluster",
    "backups:cluster-check": "check_cluster",
    "backups:cluster-archive": "archive_cluster",
    "backups:cluster-restore": "restore_cluster",
    "backups:cluster-labels": "set_cluster_labels",
    "backups:cluster-objective": "set_cluster_objective",
    "backups:protection": "get_protection",
    "backups:project-objective": "set_project_objective",
    "backups:log-settings": "set_log_settings",
    "backups:cluster-register": "register_cluster",
    "backups:connections": "list_connections",
    "backups:connection-test": "test_connection",
    "backups:connection-connect": "connect",
    "backups:connection-disconnect": "disconnect",
    "backups:connection-sync": "sync_connection",
    "backups:connection-file-checks": "set_file_checks",
    "backups:retention": "get_retention",
    "backups:batches": "list_batches",
    "backups:batch": "get_batch",
    "backups:batch-cancel": "cancel_batch",
    "backups:batch-retry": "retry_batch",
    "backups:batch-json": "get_batch",
    "backups:schedules": "list_schedules",
    "backups:schedule-new": "put_schedule",
    "backups:schedule": "list_firings",
    "backups:schedule-edit": "set_schedule",
    "backups:schedule-run": "run_schedule",
    "backups:schedule-switch": "pause_schedule",
    "backups:schedule-delete": "delete_schedule",
    "backups:notifications": "list_channels",
    "backups:delivery-log": "list_deliveries",
    "backups:channel-add": "put_channel",
    "backups:channel": "set_channel",
    "backups:channel-test": "test_channel",
    "backups:channel-delete": "delete_channel",
    "backups:rule-add": "put_rule",
    "backups:rule-delete": "delete_rule",
    "backups:handle": "handle",
    "backups:handling-end": "end_handling",
    "backups:report": "get_report",
    "backups:report-csv": "get_report",
    "backups:history": "list_runs",
    "backups:exports": "export_runs",
    "backups:run-detail": "get_run",
    "backups:run-cancel": "cancel_run",
    "backups:run-settle": "settle_run",
    "backups:run-json": "get_run",
}


def test_the_committed_description_is_that_of_the_code() -> None:
    written = StringIO()
    call_command("openapi", stdout=written)
    assert written.getvalue() == SCHEMA.read_text(), "run: manage.py openapi docs/openapi.json"


def test_every_answer_and_every_error_has_a_schema() -> None:
    for name, (method, _path, operation) in OPERATIONS.items():
        answers = operation["responses"]
        assert {str(status) for status in EVERYWHERE} <= set(answers), name
        good = [each for status, each in answers.items() if status[0] == "2"]
        assert good, name
        assert all(media["schema"] for each in good for media in each["content"].values()), name
        assert ("304" in answers) is (method == "get"), name
    responses = description()["components"]["responses"]
    assert all("application/problem+json" in each["content"] for each in responses.values())


def test_operations_are_named_for_sdks() -> None:
    assert len(OPERATIONS) > 40
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in OPERATIONS)
    for name, (method, path, _operation) in OPERATIONS.items():
        if method == "get":
            assert name.startswith(("get_", "list_")), (name, path)


def test_every_object_has_an_example_that_it_allows() -> None:
    import jsonschema_rs

    components = description()["components"]
    for name, schema in components["schemas"].items():
        if schema.get("type") == "object":
            check = jsonschema_rs.validator_for({**schema, "components": components})
            for each in schema["examples"]:
                assert check.is_valid(each), (name, [e.message for e in check.iter_errors(each)])


def test_every_page_has_an_operation_or_a_reason_why_not() -> None:
    page = (ROOT / "docs" / "api.md").read_text().partition("## What only pages do")[2]
    rows = re.findall(r"^\| (`.*`) \| (.+) \|$", page, re.M)
    left_out = [
        path for cell, why in rows if why.strip() for path in re.findall(r"`/([^`]*)`", cell)
    ]
    assert set(SERVED) <= set(MATRIX)
    assert set(SERVED.values()) <= set(OPERATIONS)

    def is_left_out(route: str) -> bool:
        route = re.sub(r"<int:\w+>", "ID", route)
        return any(
            route == each or (each.endswith("…") and route.startswith(each[:-1]))
            for each in left_out
        )

    unknown = [
        f"{name}: /{ALL[name]}"
        for name in MATRIX
        if name not in SERVED and not is_left_out(ALL[name])
    ]
    assert not unknown, "no operation, and not in docs/api.md:\n" + "\n".join(unknown)


# --- what all answers have


def test_an_answer_that_has_not_changed_is_not_sent_again(reader: Program, cluster: Any) -> None:
    for path in ("clusters", f"clusters/{cluster.pk}", "runs", "protection", "version", "projects"):
        first = reader.get(path)
        tag = first.headers["ETag"]
        again = reader.get(path, **{"If-None-Match": tag})
        assert (again.status, again.body, again.headers["ETag"]) == (304, None, tag), path
        other = reader.get(path, **{"If-None-Match": 'W/"other"'})
        assert (other.status, other.body.keys()) == (200, first.body.keys()), path
    cluster.name = "renamed"
    cluster.save()
    changed = reader.get(f"clusters/{cluster.pk}", **{"If-None-Match": tag})
    assert (changed.status, changed.body["cluster"]) == (200, "renamed")


def test_other_conditions_than_that_of_the_tag_are_ignored(reader: Program) -> None:
    tag = reader.get("version").headers["ETag"]
    for name, value in (
        ("If-Match", tag),
        ("If-Unmodified-Since", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ):
        assert reader.get("version", **{name: value}).status == 200, name
    for known in ("*", tag.removeprefix("W/"), f'"other", {tag}'):
        assert reader.get("version", **{"If-None-Match": known}).status == 304, known


def test_a_page_with_a_next_one_has_the_same_tag_later(
    reader: Program, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        cluster_in(project, f"c{number}")
    first = reader.get("clusters?limit=2")
    assert first.body["next"]
    later = time.time() + 100
    monkeypatch.setattr("django.core.signing.time.time", lambda: later)
    again = reader.get("clusters?limit=2", **{"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    assert reader.get(first.body["next"]).status == 200


def test_lists_are_compressed_for_who_asks(reader: Program, cluster: Any) -> None:
    for number in range(5):
        cluster.pk, cluster.cluster_id = None, f"c-{number}"
        cluster.save(force_insert=True)
    headers = {"Authorization": f"Bearer {reader.token}"}
    plain = reader.client.get("/api/v1/clusters", headers=headers)
    packed = reader.client.get("/api/v1/clusters", headers={**headers, "Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.content) * 3 < len(plain.content)
    assert packed.headers["ETag"] == plain.headers["ETag"]


def test_a_client_that_takes_no_json_is_told(program: Program, cluster: Any) -> None:
    answer = program.get("clusters", Accept="text/html")
    assert (answer.status, answer.kind) == (406, "not-acceptable")
    for kind in ("*/*", "application/json", "application/*;q=0.5", "application/problem+json"):
        assert program.get("clusters", Accept=kind).status == 200
    assert program.post("runs/export", Accept="text/csv").status == 200
    assert program.post("runs/export", Accept="image/png").status == 406
    assert json.loads(json.dumps(answer.body))["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("status", [404, 405, 411, 413, 415])
def test_every_refusal_is_a_problem_document(status: int, reader: Program, redis_url: str) -> None:
    made = {
        404: lambda: reader.get("clusters/999999"),
        405: lambda: reader.ask("DELETE", "clusters"),
        411: lambda: reader.ask("POST", "batches", "", **{"Transfer-Encoding": "chunked"}),
        413: lambda: reader.ask("POST", "batches", "x" * 20_000),
        415: lambda: reader.ask("POST", "batches", "x", **{"Content-Type": "text/plain"}),
    }[status]()
    assert made.status == status
    assert made.headers["Content-Type"] == "application/problem+json"
    assert made.body["status"] == status
