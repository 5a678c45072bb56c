"""What admins change by program: each change once, with its event; tokens limited to projects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backups.models import Cluster, Connection, LogSettings, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from dashboard.tokens.issuing import create_token
from dashboard.tokens.models import ApiToken, Scope
from tests.api.conftest import cluster_in
from tests.grants import give
from tests.tokens_made import Program, token_of


@pytest.fixture(autouse=True)
def no_cloud(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))


@pytest.fixture
def admin(db: None) -> User:
    return give(User.objects.create_user("ada"), Role.ADMIN)


@pytest.fixture
def terraform(admin: User) -> Program:
    """With a token of an admin of all projects that may manage."""
    return Program(token_of(admin, Scope.MANAGE, "terraform"))


def events() -> list[str]:
    return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


@pytest.mark.parametrize(
    ("path", "body", "action"),
    [
        ("clusters/ID/labels", {"labels": {"team": "shop", "tier": ""}}, "cluster_labelled"),
        ("clusters/ID/objective", {"hours": 12}, "objective_changed"),
        ("projects/PROJECT/objective", {"hours": 48}, "objective_changed"),
        ("connections/CONNECTION/file-checks", {"enabled": False}, "file_checks_disabled"),
    ],
)
def test_what_is_put_twice_changes_nothing_the_second_time(
    path: str, body: Any, action: str, terraform: Program, cluster: Cluster, project: Project
) -> None:
    row = Connection.objects.create(cloud="otc", region="eu-de", project=project)
    path = path.replace("ID", str(cluster.pk)).replace("PROJECT", str(project.pk))
    path = path.replace("CONNECTION", str(row.pk))
    before = events()
    first = terraform.ask("PUT", path, body)
    assert first.status == 200
    assert events() == [*before, action]
    event = AuditEvent.objects.get(action=action)
    assert event.actor_name == "ada"
    assert event.details["program"].startswith("terraform")
    second = terraform.ask("PUT", path, body)
    assert (second.status, second.body) == (200, first.body)
    assert events() == [*before, action]


def test_labels_and_objective_are_in_the_answer(terraform: Program, cluster: Cluster) -> None:
    url = f"clusters/{cluster.pk}"
    answer = terraform.ask("PUT", f"{url}/labels", {"labels": {"team": "shop"}})
    assert answer.body["tags"] == [{"origin": "own", "key": "team", "value": "shop"}]
    assert terraform.ask("PUT", f"{url}/labels", {"labels": {"": "x"}}).status == 400
    answer = terraform.ask("PUT", f"{url}/objective", {"hours": 12})
    assert answer.body["protection"]["objective_hours"] == 12
    answer = terraform.ask("PUT", f"{url}/objective", {"hours": None})
    assert answer.body["protection"]["objective_hours"] == 24
    for wrong in ({}, {"hours": 0}, {"hours": 10**6}, {"hours": "12"}):
        assert terraform.ask("PUT", f"{url}/objective", wrong).status == 400


def test_a_cluster_is_archived_and_restored_once(terraform: Program, cluster: Cluster) -> None:
    url = f"clusters/{cluster.pk}"
    assert terraform.post(f"{url}/archive", {"reason": " "}).status == 400
    for _twice in range(2):
        assert terraform.post(f"{url}/archive", {"reason": "replaced"}).body["archived_at"]
    for _twice in range(2):
        assert terraform.post(f"{url}/restore").body["archived_at"] is None
    assert events().count("cluster_archived") == events().count("cluster_restored") == 1


def test_a_check_is_asked_for(program: Program, cluster: Cluster) -> None:
    assert program.post(f"clusters/{cluster.pk}/check").status == 202
    cluster.refresh_from_db()
    assert cluster.check_due_at is not None


def test_a_run_is_retried_as_a_new_run(program: Program, cluster: Cluster) -> None:
    first = program.post(f"clusters/{cluster.pk}/backups", {"anyway": True}).body["run_id"]
    assert program.post(f"runs/{first}/retry").body["run_id"] == first, "it is active: joined"
    program.post(f"runs/{first}/cancel")
    again = program.post(f"runs/{first}/retry", {"reason": "again", "anyway": True})
    assert (again.status, again.body["reason"]) == (202, "again")
    assert again.body["run_id"] != first
    assert again.headers["Location"] == f"/api/v1/runs/{again.body['run_id']}"


def test_settings_that_no_cloud_answers_for_are_a_502(terraform: Program, cluster: Cluster) -> None:
    url = f"clusters/{cluster.pk}/log-settings"
    assert terraform.get(url).status == 404, "never read"
    LogSettings.objects.create(cluster=cluster, enabled=True, bucket="b", read_at="2030-01-31T12Z")
    assert terraform.get(url).body["bucket"] == "b"
    wanted = {"enabled": True, "bucket": "css-logs", "base_path": "css/log", "agency": "css"}
    answer = terraform.ask("PUT", url, wanted)
    assert (answer.status, answer.kind) == (502, "cloud-unreachable")
    assert terraform.post(f"{url}/read").status == 502
    wrong = terraform.ask("PUT", url, {**wanted, "bucket": "Not A Bucket"})
    assert [each["field"] for each in wrong.body["errors"]] == ["bucket"]
    policy = f"clusters/{cluster.pk}/log-policy"
    assert terraform.ask("PUT", policy, {"enabled": True, "hour": 3}).status == 502
    assert terraform.ask("PUT", policy, {"enabled": True, "offset": "+09:59"}).status == 400


def test_connections_are_listed_synchronised_and_disconnected(
    terraform: Program, reader: Program, project: Project
) -> None:
    row = Connection.objects.create(cloud="otc", region="eu-de", project=project)
    Connection.objects.create(cloud="new", region="eu-de")  # of no project yet
    assert [each["cloud"] for each in reader.get("connections").body["items"]] == ["otc"]
    assert [each["cloud"] for each in terraform.get("connections").body["items"]] == ["new", "otc"]
    url = f"connections/{row.pk}"
    assert terraform.post(f"{url}/sync").status == 202
    assert terraform.post("connections", {"cloud": "no-such"}).status == 404
    assert terraform.post("connections/test", {"cloud": "no-such"}).status == 404
    for _twice in range(2):
        answer = terraform.post(f"{url}/disconnect", {"reason": "moved"})
        assert (answer.status, answer.body["connected"]) == (200, False)
    assert events().count("connection_removed") == 1
    assert terraform.post(f"{url}/sync").kind == "disconnected"
    body = {"connection": row.pk, "cluster_id": "c-1"}
    assert terraform.post("clusters", body).status == 404, "it is disconnected"


def test_the_audit_trail_is_listed_and_verified(
    terraform: Program, reader: Program, cluster: Cluster
) -> None:
    for hours in (1, 2, 3):
        terraform.ask("PUT", f"clusters/{cluster.pk}/objective", {"hours": hours})
    first = terraform.get("audit?action=objective_changed&limit=2").body
    assert [each["after"]["objective_hours"] for each in first["items"]] == [3, 2]
    rest = terraform.get(first["next"]).body
    assert [each["after"]["objective_hours"] for each in rest["items"]] == [1]
    assert rest["next"] is None
    number = first["items"][0]["sequence"]
    assert terraform.get(f"audit/{number}").body == first["items"][0]
    assert reader.get("audit").status == 403
    assert terraform.post("audit/verifications").body["result"] in ("waiting", "intact")
    assert len(terraform.get("audit/verifications").body["items"]) == 1
    assert terraform.get("retention").body["policy"]["audit_days"] is None


def test_an_export_can_be_followed(program: Program, cluster: Cluster) -> None:
    answer = program.post("runs/export?window=all")
    made = program.get(answer.headers["Location"]).body
    assert (made["state"], made["format"], made["rows"]) == ("complete", "csv", 0)
    assert [each["id"] for each in program.get("exports").body["items"]] == [made["id"]]


# --- what a program is


def test_me_and_the_version(program: Program, project: Project) -> None:
    me = program.get("me").body
    assert (me["name"], me["token"]["name"]) == ("anna", "nightly")
    assert [(each["role"], each["project"]["name"]) for each in me["roles"]] == [
        ("operator", "shop")
    ]
    assert "run" in me["may"]["somewhere"]
    assert program.get("version").body["api"] == "v1"


def test_a_token_revokes_itself_and_no_other_without_the_scope(
    program: Program, reader: Program, admin: User
) -> None:
    tokens = {each["name"]: each["id"] for each in program.get("tokens").body["items"]}
    assert tokens.keys() == {"nightly", "report"}
    assert reader.post(f"tokens/{tokens['nightly']}/revoke").kind == "out-of-scope"
    other, _text = create_token(admin, "x", Scope.READ, 1, Actor("ada"))
    assert Program(token_of(admin, Scope.MANAGE)).post(f"tokens/{other.pk}/revoke").status == 200
    manager = Program(token_of(admin, Scope.MANAGE, "manager"))
    assert manager.post(f"tokens/{tokens['nightly']}/revoke").status == 404, "of another account"
    assert reader.post(f"tokens/{tokens['report']}/revoke").body["usable"] is False
    assert reader.get("token").status == 401
    assert program.get("token").status == 200


def test_a_scope_that_is_too_small_is_said(program: Program, reader: Program, cluster: Any) -> None:
    for asked in (program, reader):
        answer = asked.ask("PUT", f"clusters/{cluster.pk}/objective", {"hours": 1})
        assert (answer.kind, answer.body["scope"]) == ("out-of-scope", "manage")
    answer = program.post("batches", {"filter": "q=o", "work": "objective", "hours": 5})
    assert (answer.kind, answer.body["scope"]) == ("out-of-scope", "manage")


def test_a_batch_of_other_work(terraform: Program, cluster: Cluster) -> None:
    sent = {"clusters": [cluster.pk], "work": "label", "labels": {"team": "shop"}}
    answer = terraform.post("batches", sent)
    assert (answer.status, answer.body["work"]) == (202, "label")
    assert answer.body["values"] == {"labels": {"team": "shop"}, "remove": []}
    wrong = terraform.post("batches", {"clusters": [cluster.pk], "work": "label"})
    assert (wrong.status, wrong.kind) == (400, "invalid-request")
    assert terraform.post("batches", {"clusters": [cluster.pk], "work": "fly"}).status == 400


# --- tokens limited to projects


def test_a_token_of_one_project_sees_and_does_nothing_elsewhere(
    admin: User, project: Project, other_project: Project
) -> None:
    here, there = cluster_in(project, "here"), cluster_in(other_project, "there")
    _row, text = create_token(admin, "x", Scope.MANAGE, 1, Actor("ada"), projects=[project])
    limited = Program(text.text)
    assert [each["cluster"] for each in limited.get("clusters").body["items"]] == ["here"]
    assert [each["name"] for each in limited.get("projects").body["items"]] == ["shop"]
    assert limited.get(f"clusters/{there.pk}").status == 404
    assert limited.ask("PUT", f"clusters/{there.pk}/objective", {"hours": 1}).status == 404
    assert limited.ask("PUT", f"clusters/{here.pk}/objective", {"hours": 1}).status == 200
    assert limited.get("retention").kind == "not-permitted", "that is of all projects"
    assert limited.get("token").body["projects"] == [project.pk]
    assert limited.get("token").body["may"]["everywhere"] == []
    event = AuditEvent.objects.get(action="token_created")
    assert event.details["projects"] == [str(project)]


def test_a_limit_adds_no_permission(anna: User, other_project: Project, cluster: Cluster) -> None:
    _row, text = create_token(anna, "x", Scope.RUN, 1, Actor("anna"), projects=[other_project])
    limited = Program(text.text)
    cluster_in(other_project, "there")
    assert limited.get("clusters").body["items"] == []
    assert limited.get(f"clusters/{cluster.pk}").status == 404


def test_a_token_whose_projects_are_gone_may_nothing(admin: User, cluster: Cluster) -> None:
    _row, text = create_token(admin, "x", Scope.MANAGE, 1, Actor("ada"), projects=[cluster.project])
    ApiToken.objects.update(project_ids=[])
    limited = Program(text.text)
    assert limited.get("clusters").body["items"] == []
    assert limited.get("audit").status == 403


def test_a_limited_token_reaches_no_other_token_and_names_no_other_project(
    project: Project, other_project: Project, redis_url: str
) -> None:
    boss = give(User.objects.create_user("boss"), Role.ADMIN, project=project)
    give(boss, Role.ADMIN, project=other_project)
    actor = Actor(boss.username)
    _made, text = create_token(boss, "one", Scope.MANAGE, 30, actor, projects=[project])
    wide = Program(token_of(boss, Scope.MANAGE, "all"))
    limited, other = Program(text.text), ApiToken.objects.get(name="all")
    assert [each["name"] for each in limited.get("tokens").body["items"]] == ["one"]
    assert limited.post(f"tokens/{other.pk}/revoke").status == 404
    assert [each["project"]["name"] for each in limited.get("me").body["roles"]] == ["shop"]
    assert wide.get("token").status == 200
    assert [each["project"]["name"] for each in wide.get("me").body["roles"]] == ["shop", "bank"]
    assert limited.post(f"tokens/{limited.get('me').body['token']['id']}/revoke").status == 200
    assert limited.get("token").status == 401


def test_a_limited_token_sees_the_exports_that_it_made(
    admin: User, project: Project, hidden: Cluster, redis_url: str
) -> None:
    made = {
        name: create_token(admin, name, Scope.READ, 30, Actor("ada"), projects=only)[1].text
        for name, only in (("all", None), ("limited", [project]), ("other", [project]))
    }
    everything, limited, other = (Program(text) for text in made.values())
    secret = everything.post(f"runs/export?project={hidden.project_id}&q=secret").headers
    own = limited.post("runs/export?q=own").headers["Location"]
    assert [each["filter"] for each in limited.get("exports").body["items"]] == ["q=own"]
    assert limited.get(own).status == 200
    assert limited.get(secret["Location"]).status == 404
    assert (other.get("exports").body["items"], other.get(own).status) == ([], 404)
    assert len(everything.get("exports").body["items"]) == 2


def test_the_hour_of_the_daily_backup_has_no_default(terraform: Program, cluster: Cluster) -> None:
    refused = terraform.ask("PUT", f"clusters/{cluster.pk}/log-policy", {"enabled": True})
    assert (refused.status, refused.body["errors"][0]["field"]) == (400, "hour")
