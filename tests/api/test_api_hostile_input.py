"""Hostile values in every field, parameter and header of the API: an answer, never our error."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups.api.urls import description, urlpatterns
from backups.lists.clusters import ClusterFilter
from backups.lists.history import HistoryFilter
from backups.models import Cluster
from dashboard.accounts.models import User
from dashboard.audit.forms import EventFilter
from dashboard.tokens.models import Scope
from tests.access.test_hostile_input import NASTY
from tests.tokens_made import Program, token_of

BOUNDED = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = sorted(
    {
        *(*HistoryFilter.base_filters, *ClusterFilter.base_filters, *EventFilter.base_fields),
        *("limit", "older", "newer", "cursor"),
    }
)
TEXTS = st.sampled_from(NASTY) | st.text(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["reason", "wait_minutes", "idempotency_key", "anyway", "x", ""])
READS = [
    *("audit", "audit/verifications", "batches", "clusters", "connections", "exports", "me"),
    *("projects", "protection", "retention", "runs", "token", "tokens", "version", "openapi.json"),
    *("channels", "deliveries", "handlings", "report", "rules", "schedules"),
]
LISTS = ("audit", "batches", "clusters", "exports", "projects", "protection", "runs", "tokens")


@pytest.fixture
def root(db: None, redis_url: str) -> Program:
    return Program(token_of(User.objects.create_superuser("root"), Scope.MANAGE))


def ask(program: Program, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """The answer, which is JSON of a known shape; whatever was changed is taken back."""
    with transaction.atomic():
        answer = program.ask(method, path, body, **headers)
        transaction.set_rollback(True)
    # 502: there is no cloud
    assert answer.status < 500 or answer.status == 502, f"{method} {path} {body!r}"
    if answer.status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "request_id"} <= set(answer.body)
        assert answer.body["status"] == answer.status
    return answer


@BOUNDED
@given(
    path=st.sampled_from(READS), query=st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=4)
)
def test_no_parameter_is_an_error_of_ours(
    root: Program, cluster: Cluster, path: str, query: dict[str, str]
) -> None:
    answer = ask(root, "GET", f"{path}?{urlencode(query, errors='surrogatepass')}")
    assert answer.status in (200, 400, 422)


@BOUNDED
@given(fields=st.dictionaries(FIELDS, JSON, max_size=4))
def test_no_field_of_a_body_is_an_error_of_ours(
    root: Program, cluster: Cluster, fields: dict[str, Any]
) -> None:
    answer = ask(root, "POST", f"clusters/{cluster.pk}/backups", json.dumps(fields))
    assert answer.status in (200, 202, 400, 413)


@BOUNDED
@given(
    fields=st.dictionaries(
        FIELDS | st.sampled_from(["filter", "clusters"]), JSON | st.just([2**63]), max_size=4
    )
)
def test_no_batch_is_an_error_of_ours(
    root: Program, cluster: Cluster, fields: dict[str, Any]
) -> None:
    answer = ask(root, "POST", "batches", json.dumps(fields))
    assert answer.status in (200, 202, 400, 409, 413)


@BOUNDED
@given(
    query=st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=2),
    fields=st.dictionaries(st.sampled_from(["format", "time_zone", "zone"]), JSON | TEXTS),
)
def test_no_export_is_an_error_of_ours(
    root: Program, cluster: Cluster, query: dict[str, str], fields: dict[str, Any]
) -> None:
    path = f"runs/export?{urlencode(query, errors='surrogatepass')}"
    assert ask(root, "POST", path, json.dumps(fields)).status in (200, 400, 413)


@BOUNDED
@given(body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_is_an_error_of_ours(root: Program, cluster: Cluster, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {root.token}"}
    url = f"/api/v1/clusters/{cluster.pk}/backups"
    with transaction.atomic():
        answer = Client().generic("POST", url, body, "application/json", headers=headers)
        transaction.set_rollback(True)
    assert answer.status_code in (200, 202, 400, 413)


@BOUNDED
@given(text=st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n")))
def test_no_header_is_an_error_of_ours(root: Program, cluster: Cluster, text: str) -> None:
    url = f"clusters/{cluster.pk}/backups"
    assert ask(root, "POST", url, {}, **{"Idempotency-Key": text}).status in (202, 400)
    assert ask(root, "GET", "token", Authorization=f"Bearer {text}").status in (401, 429)
    assert ask(root, "GET", "token", Authorization=text).status in (401, 429)
    assert ask(root, "GET", "token", **{"User-Agent": text}).status == 200


@BOUNDED
@given(path=st.text(max_size=40))
def test_no_path_is_an_error_of_ours(root: Program, path: str) -> None:
    from urllib.parse import quote

    ask(root, "GET", f"/api/{quote(path, errors='surrogatepass')}")


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
def test_each_nasty_value_in_every_parameter(root: Program, cluster: Cluster, value: str) -> None:
    for path in LISTS:
        for name in NAMES:
            ask(root, "GET", f"{path}?{urlencode({name: value}, errors='surrogatepass')}")


CHANGES = [
    (method.upper(), path.removeprefix("/api/v1/"), operation)
    for path, operations in description()["paths"].items()
    for method, operation in operations.items()
    if method != "get"
]


def fields_of(operation: dict[str, Any]) -> list[str]:
    """The names of the fields of its body; none for an operation that has no body."""
    if "requestBody" not in operation:
        return []
    schema = json.dumps(operation["requestBody"]["content"]["application/json"]["schema"])
    name = re.search(r"schemas/(\w+)", schema)
    assert name, schema
    return sorted(description()["components"]["schemas"][name[1]].get("properties", {}))


@pytest.mark.parametrize(
    ("method", "path", "operation"), CHANGES, ids=[each[2]["operationId"] for each in CHANGES]
)
def test_no_field_of_any_operation_is_an_error_of_ours(
    root: Program,
    cluster: Cluster,
    method: str,
    path: str,
    operation: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    names = [*fields_of(operation), "x", ""]
    usual = {"enabled": True, "reason": "x", "ruling": "started", "cloud": "c", "labels": {}}
    numbers = [cluster.pk, 2**63 - 1, 10**30] if "{id}" in path else [0]
    for value in [*NASTY[:12], None, True, -1, 2**63, 10**30, 1.5, ["\x00"], {"a": "\x00"}]:
        for name in names:
            fields = {key: known for key, known in usual.items() if key in names} | {name: value}
            ask(root, method, path.replace("{id}", str(numbers[0])), json.dumps(fields))
    for number in numbers:
        for body in (None, "[]", "null", '"x"', "{", json.dumps(usual)):
            ask(root, method, path.replace("{id}", str(number)), body)


def test_the_walk_knows_every_address() -> None:
    served = {
        str(each.pattern).removeprefix("v1/").replace("<int:pk>", "{id}") for each in urlpatterns
    }
    reads = {path for path in served if path in READS}
    assert reads == set(READS)
    changed = {path for _method, path, _operation in CHANGES}
    details = {"clusters/{id}", "runs/{id}", "batches/{id}", "exports/{id}", "connections/{id}"}
    details |= {"audit/{id}", "schedules/{id}/firings"}
    assert served - {""} == reads | changed | details


@pytest.mark.parametrize("path", ["clusters", "runs", "batches", "exports", "connections", "audit"])
@pytest.mark.parametrize("key", ["0", "9" * 18, "9" * 40, "-1", "x", "%00", "1/2"])
def test_no_number_in_a_path_is_an_error_of_ours(root: Program, path: str, key: str) -> None:
    assert ask(root, "GET", f"{path}/{key}").status == 404


def test_an_error_of_our_own_says_its_id_and_no_details(
    root: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("a-detail-of-the-inside")

    monkeypatch.setattr("backups.api.clusters.page_of", broken)
    program = Program(root.token, Client(raise_request_exception=False))
    answer = program.get("clusters")
    assert (answer.status, answer.kind) == (500, "internal-error")
    assert "a-detail-of-the-inside" not in str(answer.body)
    assert answer.body["request_id"] == answer.headers["X-Request-Id"]
    assert "a-detail-of-the-inside" in caplog.text, "the log has it"
    assert root.token not in caplog.text
