"""Requesting and cancelling through the API: as the button does, each once."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from backups.choices import Readiness, RunState, Trigger
from backups.forms import IDEMPOTENCY_KEY, BackupForm
from backups.models import BackupRun, Cluster, RequestKey, RunEvent
from backups.serialize import run_document
from backups.services.runs.transitions import transition
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.tokens.models import ApiToken
from tests.audit_guards import guards_lifted
from tests.tokens_made import Program, token_of


def backups_of(cluster: Cluster) -> str:
    return f"clusters/{cluster.pk}/backups"


def end(run: BackupRun) -> None:
    run.refresh_from_db()
    assert transition(run, RunState.CANCELLED, actor="a test", note="")


def test_a_request_makes_a_run_that_says_by_what_it_was_caused(
    program: Program, cluster: Cluster
) -> None:
    answer = program.post(
        backups_of(cluster), {"reason": "before the upgrade"}, **{"User-Agent": "nightly/1"}
    )
    assert answer.status == 202
    run = BackupRun.objects.get()
    assert answer.headers["Location"] == f"/api/v1/runs/{run.pk}"
    assert (run.trigger, run.requested_by_name, run.reason) == (
        Trigger.API,
        "anna",
        "before the upgrade",
    )
    assert (run.source_ip, run.retry_conflict_until) == ("127.0.0.1", None)
    assert answer.body["run_id"] == run.pk
    assert answer.body["trigger"] == "api"
    event = AuditEvent.objects.get(action="run_requested")
    token = ApiToken.objects.get()
    assert event.details["program"] == f"nightly ({token.lookup})"
    assert event.details["trigger"] == "api"
    assert (event.actor_name, event.user_agent, event.ip) == ("anna", "nightly/1", "127.0.0.1")
    assert event.request_id == answer.headers["X-Request-Id"]
    assert event.reason == "before the upgrade"


def test_a_body_may_be_left_out(program: Program, cluster: Cluster) -> None:
    for body in (None, {}, "null"):
        answer = program.post(backups_of(cluster), body)
        assert answer.status in (200, 202)
    assert BackupRun.objects.count() == 1


def test_a_request_joins_the_run_that_is_under_way(program: Program, cluster: Cluster) -> None:
    first = program.post(backups_of(cluster))
    second = program.post(backups_of(cluster), {"reason": "another"})
    assert (first.status, second.status) == (202, 200)
    assert second.body["run_id"] == first.body["run_id"]
    assert second.headers["Location"] == first.headers["Location"]
    notes = RunEvent.objects.values_list("note", flat=True)
    assert "Asked for again (API); joined this run" in notes
    assert AuditEvent.objects.get(action="run_joined").details["program"].startswith("nightly (")


def test_a_key_gives_the_same_run_even_after_it_has_ended(
    program: Program, cluster: Cluster
) -> None:
    first = program.post(backups_of(cluster), {"idempotency_key": "night-2030-01-31"})
    end(BackupRun.objects.get())
    again = program.post(backups_of(cluster), **{"Idempotency-Key": "night-2030-01-31"})
    assert (first.status, again.status) == (202, 200)
    assert again.body["run_id"] == first.body["run_id"]
    assert again.body["state"] == "cancelled"
    other = program.post(backups_of(cluster), {"idempotency_key": "night-2030-02-01"})
    assert other.status == 202
    assert other.body["run_id"] != first.body["run_id"]


@pytest.mark.parametrize("other", [{"reason": "another"}, {"wait_minutes": 5}])
@pytest.mark.parametrize("ended", [False, True])
def test_a_key_with_another_body_is_refused(
    program: Program, cluster: Cluster, other: dict[str, Any], ended: bool
) -> None:
    body = {"reason": "before the upgrade", "idempotency_key": "night-2030-01-31"}
    first = program.post(backups_of(cluster), body)
    if ended:
        end(BackupRun.objects.get())
    stored = (BackupRun.objects.count(), RunEvent.objects.count(), AuditEvent.objects.count())
    again = program.post(backups_of(cluster), {**body, **other})
    assert (again.status, again.kind) == (422, "idempotency-key-reused")
    assert again.body["run_id"] == first.body["run_id"]
    now = (BackupRun.objects.count(), RunEvent.objects.count(), AuditEvent.objects.count())
    assert now == stored, "nothing was stored"
    same = program.post(backups_of(cluster), {**body, "anyway": True})
    assert (same.status, same.body["run_id"]) == (200, first.body["run_id"])


def test_a_key_whose_request_joined_a_run_gives_that_run_ever_after(
    program: Program, cluster: Cluster
) -> None:
    first = program.post(backups_of(cluster), {"reason": "of somebody else"})
    body = {"reason": "mine", "idempotency_key": "night-2030-01-31"}
    joined = program.post(backups_of(cluster), body)
    assert (joined.status, joined.body["run_id"]) == (200, first.body["run_id"])
    events = RunEvent.objects.count()
    program.post(backups_of(cluster), body)
    assert RunEvent.objects.count() == events, "the same request is no second joining"
    end(BackupRun.objects.get())
    again = program.post(backups_of(cluster), body)
    assert (again.status, again.body["run_id"]) == (200, first.body["run_id"])
    assert program.post(backups_of(cluster), {**body, "reason": "other"}).status == 422
    assert BackupRun.objects.count() == 1


def test_a_key_goes_with_its_run_and_says_nothing_about_anybody(
    program: Program, cluster: Cluster
) -> None:
    body = {"reason": "asked for by anna", "idempotency_key": "night-2030-01-31"}
    program.post(backups_of(cluster), body)
    (row,) = RequestKey.objects.values()
    assert not {"anna", "night-2030-01-31"} & {str(value) for value in row.values()}
    assert all(re.fullmatch(r"[0-9a-f]{64}", row[name]) for name in ("key", "body"))
    with guards_lifted():
        BackupRun.objects.all().delete()
    assert not RequestKey.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("joining", [False, True])
def test_of_two_bodies_with_one_key_at_once_one_is_taken(
    program: Program, cluster: Cluster, joining: bool
) -> None:
    if joining:
        program.post(backups_of(cluster))
    barrier, found = threading.Barrier(6), []

    def ask(number: int) -> None:
        body = {"idempotency_key": "night-2030-01-31", "reason": f"reason {number}"}
        barrier.wait(10)
        try:
            found.append(Program(program.token).post(backups_of(cluster), body).status)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200 if joining else 202, *[422] * 5]
    assert BackupRun.objects.count() == RequestKey.objects.count() == 1


def test_a_key_of_the_header_and_one_of_the_body_are_the_same_key(
    program: Program, cluster: Cluster
) -> None:
    key = {"idempotency_key": "night-2030-01-31"}
    assert (
        program.post(backups_of(cluster), key, **{"Idempotency-Key": "another-key"}).status == 400
    )
    same = program.post(backups_of(cluster), key, **{"Idempotency-Key": key["idempotency_key"]})
    assert same.status == 202


@pytest.mark.django_db(transaction=True)
def test_two_requests_at_once_with_one_key_make_one_run(program: Program, cluster: Cluster) -> None:
    at_once, found, wrong = 6, [], []
    barrier = threading.Barrier(at_once)

    def ask() -> None:
        try:
            barrier.wait(10)
            answer = Program(program.token).post(
                backups_of(cluster), {"idempotency_key": "night-2030-01-31"}
            )
            found.append((answer.status, answer.body["run_id"]))
        except Exception as error:
            wrong.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert sorted(status for status, _pk in found) == [200] * (at_once - 1) + [202]
    assert len({pk for _status, pk in found}) == 1
    assert BackupRun.objects.count() == 1
    assert connection.vendor in ("sqlite", "postgresql")


def test_it_may_wait_for_a_busy_cluster(program: Program, cluster: Cluster) -> None:
    before = timezone.now()
    assert program.post(backups_of(cluster), {"wait_minutes": 30}).status == 202
    until = BackupRun.objects.get().retry_conflict_until
    assert until is not None
    assert timedelta(minutes=30) <= until - before < timedelta(minutes=31)


def test_a_reason_is_asked_for_where_it_is_mandatory(
    program: Program, cluster: Cluster, settings: Any
) -> None:
    settings.BACKUP_REASON_REQUIRED = True
    for body in (None, {}, {"reason": ""}, {"reason": "  "}):
        answer = program.post(backups_of(cluster), body)
        assert (answer.status, answer.kind) == (400, "invalid-request")
        assert answer.body["errors"] == [
            {"field": "reason", "problem": "A reason is required for every backup."}
        ]
    assert program.post(backups_of(cluster), {"reason": "an audit"}).status == 202


def test_what_the_cloud_would_refuse_is_said_and_not_stored(
    program: Program, cluster: Cluster
) -> None:
    Cluster.objects.update(
        readiness=Readiness.BACKUP_OFF, readiness_detail="It is off.", checked_at=timezone.now()
    )
    answer = program.post(backups_of(cluster))
    assert (answer.status, answer.kind) == (409, "would-be-refused")
    assert answer.body["readiness"] == "backup_off"
    assert "It is off." in answer.body["detail"]
    assert not BackupRun.objects.exists()
    assert program.post(backups_of(cluster), {"anyway": True}).status == 202


@pytest.mark.parametrize("column", ["gone_at", "archived_at"])
def test_a_cluster_that_has_gone_or_is_archived_is_not_backed_up(
    column: str, program: Program, cluster: Cluster
) -> None:
    Cluster.objects.update(**{column: timezone.now()})
    answer = program.post(backups_of(cluster), {"anyway": True})
    assert (answer.status, answer.kind) == (409, "cannot-back-up")
    assert not BackupRun.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reasons": "x"}, "reasons"),
        ({"reason": "x", "cluster": 5}, "cluster"),
        ({"reason": 5}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ('{"reason": "\\ud800"}', "reason"),
        ({"wait_minutes": "5"}, "wait_minutes"),
        ({"wait_minutes": -1}, "wait_minutes"),
        ({"wait_minutes": 1441}, "wait_minutes"),
        ({"wait_minutes": 1.5}, "wait_minutes"),
        ({"wait_minutes": True}, "wait_minutes"),
        ({"anyway": "yes"}, "anyway"),
        ({"anyway": 1}, "anyway"),
        ({"idempotency_key": "short"}, "idempotency_key"),
        ({"idempotency_key": "x" * 65}, "idempotency_key"),
        ({"idempotency_key": "a key with blanks"}, "idempotency_key"),
        ({"idempotency_key": "a-key-and-a-line-end\n"}, "idempotency_key"),
    ],
)
def test_what_cannot_be_used_is_named(
    body: Any, field: str, program: Program, cluster: Cluster
) -> None:
    answer = program.post(backups_of(cluster), body)
    assert (answer.status, answer.kind) == (400, "invalid-request")
    assert [error["field"] for error in answer.body["errors"]] == [field]
    assert field in answer.body["detail"]
    assert not BackupRun.objects.exists()


@pytest.mark.parametrize(
    "body",
    ["{", "[]", '"text"', "5", "true", "[{}]", "{'a': 1}", "[" * 8000, '{"a":' * 2000],
)
def test_a_body_that_is_no_object_is_refused(body: str, program: Program, cluster: Cluster) -> None:
    answer = program.post(backups_of(cluster), body)
    assert (answer.status, answer.kind) == (400, "invalid-request")
    assert not BackupRun.objects.exists()


def test_a_key_in_the_header_is_checked_like_one_in_the_body(
    program: Program, cluster: Cluster
) -> None:
    answer = program.post(backups_of(cluster), **{"Idempotency-Key": "no/key"})
    assert [error["field"] for error in answer.body["errors"]] == ["idempotency_key"]


def test_other_kinds_of_bodies_are_refused(program: Program, cluster: Cluster) -> None:
    headers = {"Authorization": f"Bearer {program.token}"}
    url = f"/api/v1/{backups_of(cluster)}"
    for kind in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
    ):
        answer = program.client.generic("POST", url, "reason=x", kind, headers=headers)
        assert answer.status_code == 415
    assert not BackupRun.objects.exists()


def test_a_large_body_is_not_read(program: Program, cluster: Cluster) -> None:
    answer = program.post(backups_of(cluster), {"reason": "x" * 20_000})
    assert (answer.status, answer.kind) == (413, "too-large")
    for length in ("99999999999999999999", "-5", "x"):
        headers = {"Authorization": f"Bearer {program.token}"}
        refused = program.client.post(
            f"/api/v1/{backups_of(cluster)}", headers=headers, CONTENT_LENGTH=length
        )
        assert refused.status_code == 413


def test_a_body_without_a_length_is_not_overlooked(program: Program, cluster: Cluster) -> None:
    answer = program.post(backups_of(cluster), None, **{"Transfer-Encoding": "chunked"})
    assert (answer.status, answer.kind) == (411, "length-required")
    assert not BackupRun.objects.exists()


def test_the_body_allows_what_the_buttons_form_allows() -> None:
    from backups.api.clusters import BackupBody

    assert set(BackupBody.model_fields) == set(BackupForm.base_fields)
    pattern = BackupBody.model_json_schema()["properties"]["idempotency_key"]["pattern"]
    assert pattern.removesuffix("|^$").removesuffix("$") == IDEMPOTENCY_KEY.removesuffix(r"\Z")


# --- cancelling


def test_a_queued_run_is_cancelled_once(program: Program, cluster: Cluster) -> None:
    run = program.post(backups_of(cluster)).body["run_id"]
    cancelled = program.post(f"runs/{run}/cancel")
    assert (cancelled.status, cancelled.body["state"]) == (200, "cancelled")
    event = AuditEvent.objects.get(action="run_cancelled")
    assert (event.actor_name, event.details["program"][:7]) == ("anna", "nightly")
    again = program.post(f"runs/{run}/cancel")
    assert (again.status, again.kind) == (409, "cannot-cancel")
    assert "already ended" in again.body["detail"]


def test_cancelling_takes_no_fields(program: Program, cluster: Cluster) -> None:
    run = program.post(backups_of(cluster)).body["run_id"]
    answer = program.post(f"runs/{run}/cancel", {"reason": "x"})
    assert [error["field"] for error in answer.body["errors"]] == ["reason"]
    assert BackupRun.objects.get().run_state is RunState.QUEUED
    assert program.post(f"runs/{run}/cancel", {}).status == 200


def test_a_run_that_was_sent_is_not_cancelled(program: Program, cluster: Cluster) -> None:
    run = program.post(backups_of(cluster)).body["run_id"]
    BackupRun.objects.update(state=RunState.SENDING, sent_at=timezone.now())
    answer = program.post(f"runs/{run}/cancel")
    assert (answer.status, answer.kind) == (409, "cannot-cancel")


# --- a run


def test_a_run_is_what_its_pages_download_is(
    program: Program, anna: User, cluster: Cluster
) -> None:
    run = program.post(backups_of(cluster)).body["run_id"]
    answer = program.get(f"runs/{run}")
    program.client.force_login(anna)
    assert answer.body == program.client.get(f"/runs/{run}.json").json()
    stored = BackupRun.objects.get()
    assert set(answer.body) == set(run_document(stored))
    assert answer.body["audit_events"] is None, "an operator reads no audit trail"


def test_an_auditors_token_reads_the_runs_audit_events(program: Program, cluster: Cluster) -> None:
    run = program.post(backups_of(cluster)).body["run_id"]
    root = Program(token_of(User.objects.create_superuser("root")))
    events = root.get(f"runs/{run}").body["audit_events"]
    assert [event["action"] for event in events] == ["run_requested"]
    assert events[0]["details"]["program"].startswith("nightly (")


def test_nothing_of_another_project_is_there(
    program: Program, cluster: Cluster, hidden: Cluster
) -> None:
    root = Program(token_of(User.objects.create_superuser("root")))
    run = root.post(backups_of(hidden)).body["run_id"]
    for answer in (
        program.get(f"clusters/{hidden.pk}"),
        program.post(backups_of(hidden)),
        program.get(f"runs/{run}"),
        program.post(f"runs/{run}/cancel"),
        program.get("clusters/999999999999999999999999"),
        program.get("runs/999999999999999999999999"),
        program.get("runs/x"),
        program.get("no-such-thing"),
        program.get("/api/"),
        program.get("/api/v2/clusters"),
    ):
        assert (answer.status, answer.kind) == (404, "not-found")
        assert answer.body["request_id"]
        assert "accounts" not in str(answer.body)


def test_a_retry_with_its_key_is_answered_by_its_run_whatever_the_cluster_is_by_then(
    program: Program, cluster: Cluster
) -> None:
    body = {"idempotency_key": "nightly-0001"}
    made = program.post(backups_of(cluster), body)
    end(BackupRun.objects.get())
    Cluster.objects.filter(pk=cluster.pk).update(
        readiness=Readiness.BACKUP_OFF, checked_at=timezone.now()
    )
    again = program.post(backups_of(cluster), body)
    assert (again.status, again.body["run_id"]) == (200, made.body["run_id"])
    assert program.post(backups_of(cluster), {}).status == 409
    Cluster.objects.filter(pk=cluster.pk).update(archived_at=timezone.now())
    assert program.post(backups_of(cluster), body).status == 200
