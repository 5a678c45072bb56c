"""Hostile values in every field, parameter and header of the API: an answer, never our error."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups.api.urls import urlpatterns
from backups.lists.clusters import ClusterFilter
from backups.lists.history import HistoryFilter
from backups.models import Cluster
from dashboard.accounts.models import User
from tests.access.test_hostile_input import NASTY
from tests.tokens_made import Program, token_of

BOUNDED = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = sorted(
    {*HistoryFilter.base_filters, *ClusterFilter.base_filters, "limit", "older", "newer", "before"}
)
TEXTS = st.sampled_from(NASTY) | st.text(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["reason", "wait_minutes", "idempotency_key", "anyway", "x", ""])
READS = ["batches", "clusters", "runs", "protection", "token", "openapi.json"]


@pytest.fixture
def root(db: None, redis_url: str) -> Program:
    return Program(token_of(User.objects.create_superuser("root")))


def ask(program: Program, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """The answer, which is JSON of a known shape; whatever was changed is taken back."""
    with transaction.atomic():
        answer = program.ask(method, path, body, **headers)
        transaction.set_rollback(True)
    assert answer.status < 500, f"{method} {path} {body!r}"
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
    assert answer.status in (200, 400)


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
    for path in ("batches", "clusters", "runs", "protection"):
        for name in NAMES:
            ask(root, "GET", f"{path}?{urlencode({name: value}, errors='surrogatepass')}")


def test_the_walk_knows_every_address() -> None:
    names = {each.name for each in urlpatterns}
    assert names == {
        "openapi",
        "batches",
        "batch",
        "batch-cancel",
        "batch-retry",
        "clusters",
        "cluster",
        "cluster-backups",
        "runs",
        "run",
        "run-cancel",
        "runs-export",
        "protection",
        "token",
        "unknown",
    }


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
