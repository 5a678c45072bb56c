"""Schedules, channels, rules and handlings by program, each put twice; and the report."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.core import serializers
from django.utils import timezone

from backups.models import Batch, Channel, Cluster, Firing, Handling, Project, Rule, Schedule
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from dashboard.tokens.issuing import create_token
from dashboard.tokens.models import Scope
from tests.api.conftest import cluster_in
from tests.grants import give
from tests.tokens_made import Program, token_of

NIGHTLY = {"name": "nightly", "cron": "30 2 * * *", "filter": "q=orders"}
PING = {**NIGHTLY, "ping_url": "https://hooks.example.com/ping/s3cret"}
HOOK = {"name": "on-call", "url": "https://hooks.example.com/x?key=s3cret"}


@pytest.fixture
def admin(db: None) -> User:
    return give(User.objects.create_user("ada"), Role.ADMIN)


@pytest.fixture
def terraform(admin: User, redis_url: str) -> Program:
    """With a token of an admin of all projects that may manage."""
    return Program(token_of(admin, Scope.MANAGE, "terraform"))


@pytest.fixture
def limited(admin: User, project: Project, redis_url: str) -> Program:
    """The same, limited to one project."""
    _row, text = create_token(admin, "limited", Scope.MANAGE, 30, Actor("ada"), projects=[project])
    return Program(text.text)


def stored() -> str:
    """Every row that such requests can change, secrets included, and the audit trail's length."""
    kinds = (Schedule, Firing, Channel, Rule, Handling, Cluster, Batch)
    rows = [row for kind in kinds for row in kind.objects.order_by("pk")]
    return serializers.serialize("json", rows) + f" {AuditEvent.objects.count()} events"


# --- put twice


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("schedules", NIGHTLY),
        ("schedules", PING),
        ("schedules", {"name": "n", "minutes": 90, "filter": "show=present", "jitter": 60}),
        ("channels", HOOK),
        ("channels", {**HOOK, "enabled": False}),
        ("channels", {"name": "mail", "url": "mailto://me:s3cret@mail.example.com"}),
    ],
)
def test_what_is_put_again_by_its_name_changes_nothing(
    terraform: Program, cluster: Cluster, path: str, body: dict[str, Any]
) -> None:
    made = terraform.ask("PUT", path, body)
    assert made.status == 201
    assert made.headers["Location"] == f"/api/v1/{path}/{made.body['id']}"
    assert "s3cret" not in str(made.body)
    before = stored()
    again = terraform.ask("PUT", path, body)
    assert (again.status, again.body["id"]) == (200, made.body["id"])
    assert not again.body.get("signing_secret")
    assert stored() == before
    by_number = terraform.ask("PUT", f"{path}/{made.body['id']}", body)
    assert (by_number.status, stored()) == (200, before)


def test_a_changed_field_is_one_change(terraform: Program, cluster: Cluster) -> None:
    number = terraform.ask("PUT", "schedules", PING).body["id"]
    before = AuditEvent.objects.count()
    changed = terraform.ask("PUT", "schedules", {**NIGHTLY, "cron": "0 4 * * *"})
    assert (changed.status, changed.body["id"], changed.body["cron"]) == (200, number, "0 4 * * *")
    assert changed.body["ping"] is True, "what is left out stays"
    gone = terraform.ask("PUT", "schedules", {**NIGHTLY, "cron": "0 4 * * *", "ping_url": ""})
    assert gone.body["ping"] is False
    assert AuditEvent.objects.count() == before + 2


def test_a_name_that_two_schedules_have_is_refused(terraform: Program, cluster: Cluster) -> None:
    terraform.ask("PUT", "schedules", NIGHTLY)
    other = terraform.ask("PUT", "schedules", {**NIGHTLY, "name": "other"}).body["id"]
    assert terraform.ask("PUT", f"schedules/{other}", NIGHTLY).status == 200
    refused = terraform.ask("PUT", "schedules", NIGHTLY)
    assert (refused.status, refused.kind) == (409, "ambiguous-name")


def test_a_rule_is_there_once(terraform: Program, project: Project) -> None:
    channel = terraform.ask("PUT", "channels", HOOK).body["id"]
    rule = {"channel": channel, "kinds": ["run_rejected", "run_failed"], "project": project.pk}
    made = terraform.ask("PUT", "rules", rule)
    assert made.status == 201
    before = stored()
    again = terraform.ask("PUT", "rules", {**rule, "kinds": rule["kinds"][::-1]})
    assert (again.status, again.body, stored()) == (200, made.body, before)
    assert terraform.ask("PUT", "rules", {**rule, "project": None}).status == 201
    assert len(terraform.get("rules").body["items"]) == 2
    assert terraform.ask("DELETE", f"rules/{made.body['id']}").body == made.body
    assert terraform.ask("DELETE", f"rules/{made.body['id']}").status == 404


# --- schedules


def test_a_schedule_is_paused_run_and_deleted(terraform: Program, cluster: Cluster) -> None:
    number = terraform.ask("PUT", "schedules", NIGHTLY).body["id"]
    url = f"schedules/{number}"
    assert terraform.get(url).body["next_at"]
    for verb, on in (("pause", False), ("resume", True)):
        assert terraform.post(f"{url}/{verb}").body["on"] is on
        before = stored()
        assert terraform.post(f"{url}/{verb}").body["on"] is on
        assert stored() == before
    fired = terraform.post(f"{url}/run")
    assert (fired.status, fired.body["result"], fired.body["by"]) == (202, "fired", "ada")
    batch = Batch.objects.get(pk=fired.body["batch_id"])
    assert batch.trigger == "schedule"
    assert batch.token.startswith("terraform")
    refused = terraform.post(f"{url}/run")
    assert (refused.status, refused.kind) == (409, "nothing-to-back-up")
    assert "still open" in refused.body["detail"]
    firings = terraform.get(f"{url}/firings?limit=1").body
    assert firings["items"][0]["result"] == "skipped"
    assert terraform.get(firings["next"]).body["items"] == [fired.body]
    assert terraform.ask("DELETE", url).body["deleted_at"]
    assert terraform.ask("DELETE", url).status == 404
    assert terraform.get(url).body["deleted_at"], "it explains its firings"
    assert terraform.get("schedules").body["items"] == []
    assert terraform.ask("PUT", "schedules", NIGHTLY).status == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "n", "cron": "@daily"}, "filter"),
        ({**NIGHTLY, "clusters": [1]}, "filter"),
        ({**NIGHTLY, "filter": "&"}, "filter"),
        ({**NIGHTLY, "filter": "q="}, "filter"),
        ({**NIGHTLY, "filter": "?"}, "filter"),
        ({**NIGHTLY, "filter": "sort=name"}, "filter"),
        ({**NIGHTLY, "filter": "/clusters/?q=orders"}, "filter"),
        ({**NIGHTLY, "filter": "engine=steam"}, "filter"),
        ({**NIGHTLY, "filter": "qq=o"}, "filter"),
        ({**NIGHTLY, "minutes": 5}, "cron"),
        ({"name": "n", "filter": "q=o"}, "cron"),
        ({**NIGHTLY, "cron": "0 25 * * *"}, "cron"),
        ({**NIGHTLY, "zone": "Mars"}, "zone"),
        ({**NIGHTLY, "ping_url": "ftp://x"}, "ping_url"),
        ({**NIGHTLY, "when_not_ready": "wait"}, "wait_minutes"),
        ({**NIGHTLY, "work": "report"}, "report_channel"),
    ],
)
def test_a_schedule_that_cannot_be_names_its_field(
    terraform: Program, cluster: Cluster, body: dict[str, Any], field: str
) -> None:
    refused = terraform.ask("PUT", "schedules", body)
    assert refused.status == 400
    assert field in [each["field"] for each in refused.body["errors"]]
    assert not Schedule.objects.exists()


def test_a_limited_token_leaves_no_schedule_of_other_projects(
    limited: Program, project: Project, cluster: Cluster, hidden: Cluster
) -> None:
    for selected in ({"filter": "show=present"}, {"clusters": [cluster.pk, hidden.pk]}):
        refused = limited.ask("PUT", "schedules", {"name": "n", "cron": "@daily", **selected})
        assert refused.body["errors"][0]["field"] == "filter"
    assert not Schedule.objects.exists()
    named = {"name": "n", "cron": "@daily", "filter": f"project={project.pk}"}
    assert limited.ask("PUT", "schedules", named).status == 201
    picked = {"name": "p", "cron": "@daily", "clusters": [cluster.pk]}
    assert limited.ask("PUT", "schedules", picked).status == 201
    assert limited.get("channels").kind == "not-permitted"


def test_a_limited_token_reaches_no_schedule_of_its_account_in_other_projects(
    terraform: Program, limited: Program, project: Project, cluster: Cluster, hidden: Cluster
) -> None:
    """It would fire with all that the account may do."""
    body = {"name": "everywhere", "cron": "@daily", "filter": "show=present"}
    everywhere = terraform.ask("PUT", "schedules", body).body["id"]
    body = {"name": "theirs", "cron": "@daily", "filter": f"project={hidden.project_id}"}
    theirs = terraform.ask("PUT", "schedules", body).body["id"]
    assert [each["name"] for each in limited.get("schedules").body["items"]] == ["everywhere"]
    for path in (f"schedules/{theirs}", f"schedules/{theirs}/firings"):
        assert limited.get(path).status == 404
    assert limited.ask("DELETE", f"schedules/{theirs}").status == 404
    # stored with clusters of its own project alone, and its filter selects all
    stored = Schedule.objects.get(pk=everywhere)
    stored.projects.set([project])
    assert limited.ask("POST", f"schedules/{everywhere}/pause").status == 200
    refused = limited.ask("POST", f"schedules/{everywhere}/resume")
    assert (refused.status, refused.body["errors"][0]["field"]) == (400, "filter")
    stored.refresh_from_db()
    assert not stored.is_on


def test_a_name_is_one_with_and_without_outer_spaces(terraform: Program, cluster: Cluster) -> None:
    for name, status in (("nightly", 201), (" nightly ", 200)):
        body = {"name": name, "cron": "@daily", "filter": "show=present"}
        assert terraform.ask("PUT", "schedules", body).status == status
        assert terraform.ask("PUT", "channels", {**HOOK, "name": name}).status == status
    assert Schedule.objects.get().name == Channel.objects.get().name == "nightly"


@pytest.mark.parametrize(
    "field", [{"report_channel": 3}, {"report_span": "last_month"}, {"wait_minutes": 5}]
)
def test_a_field_without_effect_is_refused(
    terraform: Program, cluster: Cluster, field: dict[str, Any]
) -> None:
    body = {"name": "n", "cron": "@daily", "filter": "show=present", **field}
    refused = terraform.ask("PUT", "schedules", body)
    assert [each["field"] for each in refused.body["errors"]] == list(field)
    assert not Schedule.objects.exists()


def test_an_empty_end_or_label_is_not_none(terraform: Program, cluster: Cluster) -> None:
    body = {"cause": "backup_off", "cluster": cluster.pk, "reason": "known", "until": ""}
    assert terraform.ask("POST", "handlings", body).status == 400
    assert not Handling.objects.exists()
    channel = Channel.objects.create(name="mail", kind="webhook", enabled=True)
    for label in (" ", ","):
        body = {"channel": channel.pk, "kinds": ["run_rejected"], "project": None, "label": label}
        assert terraform.ask("PUT", "rules", body).status == 400
    assert not Rule.objects.exists()


def test_a_token_that_only_runs_leaves_no_schedule(program: Program, cluster: Cluster) -> None:
    refused = program.ask("PUT", "schedules", NIGHTLY)
    assert (refused.status, refused.kind) == (403, "out-of-scope")


# --- channels


def test_the_signing_secret_is_in_one_answer(terraform: Program) -> None:
    made = terraform.ask("PUT", "channels", HOOK).body
    assert made["signing_secret"].startswith("whsec_")
    url = f"channels/{made['id']}"
    for answer in (terraform.get(url), terraform.get("channels"), terraform.ask("PUT", url, HOOK)):
        assert made["signing_secret"] not in str(answer.body)
    renewed = terraform.ask("PUT", url, {"name": "renamed", "renew_secret": True}).body
    assert renewed["name"] == "renamed"
    assert renewed["signing_secret"].startswith("whsec_")
    assert renewed["signing_secret"] != made["signing_secret"]
    assert "s3cret" not in str(list(AuditEvent.objects.values_list("before", "after", "details")))


def test_a_channel_stays_off_unless_it_is_switched_on(terraform: Program) -> None:
    made = terraform.ask("PUT", "channels", {**HOOK, "enabled": False}).body
    assert made["enabled"] is False
    assert terraform.ask("PUT", "channels", HOOK).body["enabled"] is False
    assert terraform.ask("PUT", "channels", {**HOOK, "enabled": True}).body["enabled"] is True


def test_a_channel_is_tested_and_deleted(terraform: Program) -> None:
    here = {"name": "here", "url": "https://127.0.0.1:9/hook"}
    number = terraform.ask("PUT", "channels", here).body["id"]
    tested = terraform.post(f"channels/{number}/test").body
    assert tested["state"] != "sent"
    assert tested["error"]
    assert terraform.get("deliveries").body["items"] == [tested]
    assert terraform.ask("DELETE", f"channels/{number}").body["id"] == number
    assert terraform.get(f"channels/{number}").status == 404
    assert terraform.ask("PUT", "channels", {"name": "x"}).body["errors"][0]["field"] == "url"


# --- handlings


def test_a_cluster_is_handled_until_its_cause_changes(program: Program, cluster: Cluster) -> None:
    sent = {"cause": "never", "cluster": cluster.pk, "reason": "migrated on Friday"}
    made = program.post("handlings", sent)
    assert made.status == 201
    (handling,) = made.body["items"]
    assert (handling["cluster"], handling["until"], handling["made_by"]) == (
        cluster.pk,
        None,
        "anna",
    )
    assert program.get("handlings").body["items"] == [handling]
    assert program.get("clusters?cause=never&handled=no").body["count"] == 0
    wrong = program.post("handlings", {**sent, "cause": "overdue"})
    assert (wrong.status, wrong.kind) == (409, "cannot-handle")
    ended = program.post(f"handlings/{handling['id']}/end")
    assert ended.body["ended_by"] == "anna"
    assert program.post(f"handlings/{handling['id']}/end").kind == "cannot-handle"
    assert program.get("clusters?cause=never&handled=no").body["count"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "2035"}, "cluster"),
        ({"cluster": None}, "cluster"),
        ({"cluster": 1, "project": None}, "cluster"),
        ({"project": None}, ""),
        ({"project": None, "until": "2001-01-01T00:00:00Z"}, ""),
        ({"project": None, "until": "soon"}, "until"),
        ({"project": 10**9}, "project"),
        ({"project": None, "reason": ""}, "reason"),
    ],
)
def test_a_handling_says_what_it_is_for(
    program: Program, cluster: Cluster, body: dict[str, Any], field: str
) -> None:
    refused = program.post("handlings", {"cause": "never", "reason": "x", **body})
    assert refused.status == 400
    assert refused.body["errors"][0]["field"] == field
    assert not Handling.objects.exists()


def test_a_cause_is_handled_where_the_account_may(
    program: Program, project: Project, cluster: Cluster, hidden: Cluster
) -> None:
    until = (timezone.now() + timedelta(days=1)).isoformat()
    made = program.post(
        "handlings", {"cause": "never", "project": None, "reason": "x", "until": until}
    )
    assert [each["project"] for each in made.body["items"]] == [project.pk]


# --- the report


def test_the_report_has_the_figures_of_the_csv(
    terraform: Program, admin: User, cluster: Cluster, hidden: Cluster, client: Any
) -> None:
    query = "span=this_month&zone=Europe/Berlin"
    client.force_login(admin)  # first: it is an event
    found = terraform.get(f"report?{query}").body
    text = client.get(f"/report.csv?{query}").content.decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))
    figures = dict(rows[: rows.index([])])
    for moment in ("as_of", "judged_until"):
        figures.pop(moment)
        found["figures"].pop(moment, None)
    assert {name: str(value) for name, value in found["figures"].items()} == figures
    assert {each["cluster"] for each in found["clusters"]} == {"orders", "accounts"}
    assert {row[0] for row in rows if row} > {"orders", "accounts"}
    assert terraform.get("report?first=2001-01-01").status == 400
    assert terraform.get("report?month=1").body["errors"][0]["field"] == "month"


def test_a_limited_token_gets_a_report_of_its_projects(
    limited: Program, cluster: Cluster, hidden: Cluster
) -> None:
    found = limited.get("report?span=this_month").body
    assert {each["cluster"] for each in found["clusters"]} == {"orders"}
    assert limited.get(f"report?project={hidden.project_id}").status == 400


def test_clusters_of_a_schedule_are_named_by_number(
    terraform: Program, project: Project, cluster: Cluster
) -> None:
    other = cluster_in(project, "billing")
    body = {"name": "two", "cron": "@daily", "clusters": [other.pk, cluster.pk]}
    made = terraform.ask("PUT", "schedules", body).body
    assert (made["clusters"], made["filter"]) == ([other.pk, cluster.pk], "")
    before = stored()
    assert terraform.ask("PUT", "schedules", body).status == 200
    assert stored() == before
