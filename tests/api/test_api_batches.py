"""Batches for programs: request, list, details, cancel, retry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from backups.models import BackupRun, Batch, Cluster, Project
from backups.services import rate
from backups.services.batches.starting import advance
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.tokens.models import Scope
from tests.api.conftest import cluster_in
from tests.grants import give
from tests.tokens_made import Program, token_of

URL = "/api/v1/batches"
KEY = "k" * 16


@pytest.fixture(autouse=True)
def broker(redis_url: str) -> Iterator[None]:
    rate.close()
    yield
    rate.close()


@pytest.fixture
def admin_program(db: None) -> Program:
    ada = give(User.objects.create_user("ada"), Role.ADMIN)
    return Program(token_of(ada, Scope.MANAGE, "terraform"))


def test_a_filter_becomes_a_batch_that_can_be_followed(
    program: Program, cluster: Cluster, hidden: Cluster
) -> None:
    sent = {"filter": "q=o&engine=opensearch", "reason": "patch day"}
    made = program.post(URL, sent)
    assert made.status == 202
    number = made.body["batch_id"]
    assert made.headers["Location"] == f"{URL}/{number}"
    assert (made.body["clusters"], made.body["waiting"], made.body["done"]) == (1, 1, 0)
    batch = Batch.objects.get()
    assert (batch.trigger, batch.reason) == ("api", "patch day")
    assert batch.token.startswith("nightly")
    advance()
    runs = program.get(f"/api/v1/runs?batch={number}&window=all").body["items"]
    assert [(run["cluster"], run["reason"]) for run in runs] == [("orders", "patch day")]
    now = timezone.now()
    BackupRun.objects.update(state="rejected", outcome="conflict", sent_at=now, finished_at=now)
    advance()
    found = program.get(f"{URL}/{number}").body
    assert found["finished_at"]
    assert found["runs"] == {"rejected": 1}
    assert found["refusals"][0]["next_step"]
    again = program.post(f"{URL}/{number}/retry", {"idempotency_key": KEY})
    assert (again.status, again.body["retry_of"]) == (202, number)
    assert program.post(f"{URL}/{number}/retry", {"idempotency_key": KEY}).status == 200


def test_named_clusters_are_one_batch_for_a_key(
    program: Program, project: Project, cluster: Cluster, hidden: Cluster
) -> None:
    other = cluster_in(project, "billing")
    sent = {"clusters": [cluster.pk, other.pk, hidden.pk], "idempotency_key": KEY}
    made = program.post(URL, sent)
    assert (made.status, made.body["clusters"]) == (202, 2)
    assert program.post(URL, sent).body["batch_id"] == made.body["batch_id"]
    refused = program.post(URL, {**sent, "reason": "another"})
    assert (refused.status, refused.kind) == (422, "idempotency-key-reused")
    assert refused.body["batch_id"] == made.body["batch_id"]
    assert Batch.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"clusters": [1], "reason": "a\0b"}, "reason"),
        ({}, "filter"),
        ({"filter": "q=o", "clusters": [1]}, "filter"),
        ({"filter": "engine=steam"}, "engine"),
        # what selects all clusters without saying so
        ({"filter": "&"}, "filter"),
        ({"filter": "?"}, "filter"),
        ({"filter": " "}, "filter"),
        ({"filter": "q="}, "filter"),
        ({"filter": "q=%20"}, "filter"),
        ({"filter": "show="}, "filter"),
        ({"filter": "engine=opensearch&q="}, "filter"),
        # an objective, labels or settings that would be a request for backups
        ({"filter": "q=o", "hours": 12}, "hours"),
        ({"filter": "q=o", "labels": {"team": "shop"}}, "labels"),
        ({"filter": "q=o", "work": "check", "bucket": "logs"}, "bucket"),
        ({"filter": "qq=o"}, "filter"),
        ({"clusters": [0]}, "clusters"),
        ({"clusters": ["1"]}, "clusters"),
        ({"filters": "q=o"}, "filters"),
        ({"filter": "q=o", "idempotency_key": "short"}, "idempotency_key"),
    ],
)
def test_what_cannot_be_read_names_its_field(
    program: Program, cluster: Cluster, body: dict[str, Any], field: str
) -> None:
    answer = program.post(URL, body)
    assert answer.status == 400
    assert answer.body["errors"][0]["field"].startswith(field)
    assert not Batch.objects.exists()


def test_nothing_to_back_up_is_refused_with_the_causes(program: Program, cluster: Cluster) -> None:
    Cluster.objects.update(readiness="backup_off", checked_at=timezone.now())
    refused = program.post(URL, {"filter": "q=o"})
    assert (refused.status, refused.kind) == (409, "nothing-to-back-up")
    assert refused.body["backup_off"] == "1"
    assert program.post(URL, {"filter": "q=o", "anyway": True}).status == 202
    assert program.post(URL, {"filter": "q=nothing-like-that"}).status == 409


def test_what_waits_is_cancelled_once(program: Program, cluster: Cluster) -> None:
    number = program.post(URL, {"filter": "q=o"}).body["batch_id"]
    cancelled = program.post(f"{URL}/{number}/cancel")
    assert (cancelled.status, cancelled.body["cancelled_waiting"]) == (200, 1)
    assert cancelled.body["cancelled_by"] == "anna"
    assert program.post(f"{URL}/{number}/cancel").status == 409


def test_the_list_is_paged(program: Program, reader: Program, cluster: Cluster) -> None:
    numbers = [program.post(URL, {"filter": "q=o"}).body["batch_id"] for _ in range(3)]
    first = reader.get(f"{URL}?limit=2").body
    assert [item["batch_id"] for item in first["items"]] == numbers[:0:-1]
    assert [item["batch_id"] for item in reader.get(first["next"]).body["items"]] == numbers[:1]
    assert reader.get(f"{URL}?cursor=x").status == 400


def test_a_reader_requests_nothing_and_a_stranger_sees_nothing(
    program: Program, reader: Program, cluster: Cluster, other_project: Project
) -> None:
    number = program.post(URL, {"filter": "q=o"}).body["batch_id"]
    assert reader.post(URL, {"filter": "q=o"}).status == 403
    assert reader.post(f"{URL}/{number}/cancel").status == 403
    ben = give(User.objects.create_user("ben"), Role.OPERATOR, project=other_project)
    stranger = Program(token_of(ben, Scope.RUN, "other"))
    assert stranger.get(f"{URL}/{number}").status == 404
    assert stranger.get(URL).body["items"] == []
    assert stranger.post(f"{URL}/{number}/retry").status == 404


def test_an_objective_is_reset_only_by_null(admin_program: Program, cluster: Cluster) -> None:
    Cluster.objects.update(objective_hours=12)
    sent = {"filter": "q=o", "work": "objective"}
    refused = admin_program.post(URL, sent)
    assert (refused.status, refused.body["errors"][0]["field"]) == (400, "hours")
    assert not Batch.objects.exists()
    assert admin_program.post(URL, {**sent, "hours": None}).status == 202
    advance()
    cluster.refresh_from_db()
    assert cluster.objective_hours is None


def test_a_label_is_not_both_set_and_removed(admin_program: Program, cluster: Cluster) -> None:
    sent = {"filter": "q=o", "work": "label", "labels": {"team": "shop"}, "remove": ["team"]}
    refused = admin_program.post(URL, sent)
    assert refused.status == 400
    assert "team" in refused.body["errors"][0]["problem"]
    assert not Batch.objects.exists()
    assert admin_program.post(URL, {**sent, "remove": ["tier"]}).status == 202
