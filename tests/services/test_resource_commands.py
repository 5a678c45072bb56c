"""Commands that are operations of the API: the same filters, documents and refusals; exit codes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.utils import timezone

from backups.api import audit, clusters, runs
from backups.api.declare import QUERIES
from backups.management import resources
from backups.models import BackupRun, Batch, Cluster, Project, Schedule
from backups.models.cluster import attach_latest_runs
from backups.serialize import cluster_line, run_line
from backups.services import rate
from backups.services.batches import starting
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.commands import Exit
from dashboard.commands.arguments import number, seconds
from dashboard.commands.output import document, table
from dashboard.tokens.models import ApiToken, Scope
from tests.grants import give
from tests.tokens_made import token_of

pytestmark = pytest.mark.django_db


def command(*arguments: object, **options: Any) -> str:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out, **options)
    return out.getvalue()


def lines(*arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in command(*arguments, "--json").splitlines()]


def refused(*arguments: object) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        command(*arguments)
    return caught.value.returncode, str(caught.value)


@pytest.fixture
def project() -> Project:
    return Project.objects.create(cloud="c", region="r", project_id="p", name="shop")


@pytest.fixture
def some(project: Project) -> list[Cluster]:
    return [
        Cluster.objects.create(project=project, cluster_id=f"id-{n}", name=name, readiness="ready")
        for n, name in enumerate(["orders", "search", "twin", "twin"])
    ]


@pytest.fixture
def queued(some: list[Cluster]) -> BackupRun:
    (line,) = lines("backup", "orders")
    return BackupRun.objects.get(pk=line["run_id"])


# --- lists ---------------------------------------------------------------------------------------


def test_a_list_has_the_documents_of_the_api(queued: BackupRun) -> None:
    assert lines("runs", "list") == [json.loads(json.dumps(run_line(queued), default=str))]
    (found,) = lines("clusters", "list", "--q", "orders")
    cluster = Cluster.objects.with_latest_run().get(name="orders")
    attach_latest_runs([cluster])
    assert list(found) == list(cluster_line(cluster, timezone.now()))
    assert found["latest_run"]["run_id"] == queued.pk


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("runs", runs.list_runs),
        ("clusters", clusters.list_clusters),
        ("audit", audit.list_audit_events),
    ],
)
def test_every_filter_of_the_api_is_an_option(name: str, view: Any) -> None:
    parser = load_command_class("backups", name).create_parser("manage.py", name)
    (actions,) = [each for each in parser._actions if isinstance(each.choices, Mapping)]
    assert actions.choices
    options = actions.choices["list"]._option_string_actions
    names = {each["name"] for each in QUERIES[view]} - {"older", "newer", "cursor"}
    assert len(names) > 5
    assert not [each for each in names if f"--{each.replace('_', '-')}" not in options]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["runs", "list", "--state", "bogus"], "state: "),
        (["runs", "list", "--project", "77"], "project: "),
        (["runs", "list", "--since", "tomorrow or so"], "since: "),
        (["runs", "list", "--q", ""], "q: Give a value"),
        (["clusters", "list", "--engine", "steam"], "engine: "),
        (["audit", "list", "--action", "dancing"], "action: "),
        (["protection", "--engine", "steam"], "engine: "),
        (["report", "--span", "last_century"], "span: "),
        (["runs", "list", "--error-code", "a\udcffb"], "not valid UTF-8"),
        (["clusters", "show", "nope"], "'nope' is not registered"),
        (["clusters", "show", "twin"], "'twin' is not unique, give the id: id-2"),
        (["runs", "show", "77"], "no run 77"),
        (["runs", "cancel", "77"], "no run 77"),
        (["batches", "cancel", "77"], "no batch 77"),
        (["tokens", "revoke", "77"], "no token 77"),
        (["schedules", "run", "77"], "no schedule 77"),
    ],
)
def test_what_cannot_be_used_is_named_and_ends_with_2(
    some: list[Cluster], arguments: list[str], word: str
) -> None:
    status, text = refused(*arguments)
    assert status == Exit.USAGE, text
    assert word in text


def test_a_long_list_is_read_page_by_page(
    some: list[Cluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resources, "MOST", 2)
    err = io.StringIO()
    said = command("clusters", "list", "--limit", 3, stderr=err).splitlines()
    assert [line.split()[0] for line in said] == ["CLUSTER", "orders", "search", "twin"]
    assert "more than these 3: see --limit" in err.getvalue()
    err = io.StringIO()
    assert command("clusters", "list", stderr=err).count("twin") == 2
    assert err.getvalue() == ""


def test_an_unexpected_option_is_refused(some: list[Cluster]) -> None:
    for wrong in (["--stat", "failed"], ["--limit", "0"], ["--limit", "-1"], ["--cursor", "x"]):
        with pytest.raises(CommandError):
            command("runs", "list", *wrong)


# --- what is done --------------------------------------------------------------------------------


def test_a_run_is_cancelled_once_and_on_record(queued: BackupRun) -> None:
    assert command("runs", "cancel", queued.pk) == f"cancelled: {queued.pk}\n"
    event = AuditEvent.objects.get(action="run_cancelled")
    assert event.actor_name.endswith("(command line)")
    assert (event.actor_user_id, event.ip) == (None, "")
    status, text = refused("runs", "cancel", queued.pk)
    assert status == Exit.NOT_WELL
    assert "already ended" in text
    assert AuditEvent.objects.filter(action="run_cancelled").count() == 1
    assert lines("runs", "show", queued.pk)[0]["state"] == "cancelled"


def test_a_batch_is_shown_and_cancelled(some: list[Cluster], redis_url: str) -> None:
    rate.close()
    (made,) = lines("backup", "--filter", "show=present")
    assert lines("batches", "show", made["batch_id"])[0]["clusters"] == 4
    (cancelled,) = lines("batches", "cancel", made["batch_id"])
    assert cancelled["cancelled_by"].endswith("(command line)")
    assert cancelled["cancelled_waiting"] == 4
    starting.end_batches()
    assert refused("batches", "cancel", made["batch_id"])[0] == Exit.NOT_WELL
    rate.close()


def test_tokens_of_all_accounts_are_listed_without_secrets_and_revoked() -> None:
    anna = give(User.objects.create_user("anna"), Role.VIEWER)
    text = token_of(anna, Scope.READ, "grafana")
    (found,) = lines("tokens", "list")
    assert (found["account"], found["name"], found["usable"]) == ("anna", "grafana", True)
    token = ApiToken.objects.get()
    assert text not in json.dumps(found)
    assert token.digest not in json.dumps(found)
    for _again in range(2):
        assert lines("tokens", "revoke", token.pk)[0]["usable"] is False
    event = AuditEvent.objects.get(action="token_revoked")
    assert event.actor_name.endswith("(command line)")


def test_users_are_listed_with_their_roles(project: Project) -> None:
    give(User.objects.create_user("anna"), Role.OPERATOR, project=project)
    (found,) = lines("users", "list")
    assert found["roles"] == [{"role": "operator", "project": str(project)}]
    assert "password" not in found
    assert "operator c / r / shop" in command("users", "list")


def test_a_schedule_is_paused_resumed_and_run_for_its_owner(
    some: list[Cluster], project: Project, redis_url: str
) -> None:
    anna = give(User.objects.create_user("anna"), Role.OPERATOR)
    schedule = Schedule.objects.create(
        name="nightly", owner=anna, owner_name="anna", cron="0 3 * * *", query="show=present"
    )
    schedule.projects.add(project)
    assert [each["name"] for each in lines("schedules", "list")] == ["nightly"]
    for _again in range(2):
        assert lines("schedules", "pause", schedule.pk)[0]["on"] is False
    for _again in range(2):
        assert lines("schedules", "resume", schedule.pk)[0]["on"] is True
    for action in ("schedule_paused", "schedule_resumed"):
        event = AuditEvent.objects.get(action=action)
        assert event.actor_user_id is None
        assert event.actor_name.endswith("(command line)")
    (fired,) = lines("schedules", "run", schedule.pk)
    batch = Batch.objects.get(pk=fired["batch_id"])
    assert (fired["requested"], batch.requested_by) == (4, None)
    assert batch.requested_by_name.endswith("(command line)")
    status, text = refused("schedules", "run", schedule.pk)
    assert status == Exit.NOT_WELL
    assert "still open" in text
    schedule.refresh_from_db()
    assert schedule.owner == anna
    anna.grants.all().delete()
    status, text = refused("schedules", "run", schedule.pk)
    assert (status, "requires the role" in text) == (Exit.USAGE, True)
    anna.delete()
    assert refused("schedules", "resume", schedule.pk)[0] == Exit.NOT_WELL


# --- reports and summaries -----------------------------------------------------------------------


def test_protection_counts_what_matches(some: list[Cluster]) -> None:
    (all_of_them,) = lines("protection")
    (one,) = lines("protection", "--q", "orders")
    assert (all_of_them["total"], one["total"]) == (4, 1)
    assert "never: 4" in command("protection")


def test_a_report_has_the_same_figures_in_each_form(queued: BackupRun) -> None:
    (made,) = lines("report", "--span", "this_month")
    rows = list(csv.reader(io.StringIO(command("report", "--span", "this_month", "--csv"))))
    figures = {row[0].removeprefix("\ufeff"): row[1] for row in rows if len(row) == 2}
    now = ("as_of", "judged_until")
    same = {name: str(value) for name, value in made["figures"].items() if name not in now}
    assert len(same) > 20
    assert {name: figures.get(name, "") for name in same} == same
    assert (made["figures"]["runs"], made["figures"]["runs_active"]) == (1, 1)
    assert {each["cluster"] for each in made["clusters"]} == {"orders", "search", "twin"}
    assert "runs_active: 1" in command("report", "--span", "this_month")


def test_retention_as_json_is_the_document_of_the_api() -> None:
    (found,) = lines("retention")
    assert set(found) == {"policy", "due_now", "clean_ups"}


# --- backup refuses before anything is queued ----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["orders", "--timeout", "-1"], "--timeout"),
        (["orders", "--timeout", "nan"], "--timeout"),
        (["orders", "--timeout", "soon"], "--timeout"),
        (["orders", "--reason", "x" * 600], "at most 500 characters"),
        (["orders", "--wait-if-held", "-1"], "--wait-if-held"),
        (["orders", "--wait-if-held", "99999"], "--wait-if-held"),
        (["--filter", "show=present", "--key", "short"], "--key"),
        (["--filter", "show=present", "--reason", "x" * 600], "at most 500 characters"),
        (["--filter", "shoe=present"], "unknown filter"),
        (["--filter", "&"], "has no value"),
        (["--filter", "q="], "q has no value"),
        (["orders", "--reason", "a\udcff"], "not valid UTF-8"),
    ],
)
def test_backup_refuses_bad_values_before_anything_is_queued(
    some: list[Cluster], arguments: list[str], word: str
) -> None:
    _status, text = refused("backup", *arguments)
    assert word in text
    assert not BackupRun.objects.exists()
    assert not Batch.objects.exists()


# --- arguments and output ------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e9", "", "a", "2678401"])
def test_seconds_are_between_0_and_a_month(text: str) -> None:
    with pytest.raises(Exception, match="not a number of seconds"):
        seconds(text)
    assert (seconds("0"), seconds("2.5")) == (0, 2.5)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "²", "9" * 19, "9" * 5000])
def test_a_number_is_a_key_of_the_database(text: str) -> None:
    with pytest.raises(Exception, match="not a whole number"):
        number(text)
    assert number("42") == 42


def test_a_table_fits_a_terminal_and_moves_no_cursor() -> None:
    rows = [
        {"name": "a\x1b[31m\nb\u202e" + "c" * 60, "deep": {"at": "2026-01-02T03:04:05.678Z"}},
        {"name": None, "deep": {"at": None}},
    ]
    columns = [("NAME", "name"), ("AT (UTC)", "deep.at"), ("NONE", "deep.no.such")]
    narrow = list(table(columns, rows, 40))
    assert max(map(len, narrow)) <= 40
    assert "…" in narrow[1]
    assert "2026-01-02 03:04" in narrow[1]
    assert all(line.isprintable() for line in narrow)
    whole = list(table(columns, rows, None))
    assert "c" * 60 in whole[1]
    assert list(document({"a": "x\x1b]0;y\x07", "b": [{"c": 1, "d": ""}], "e": None})) == [
        "a: x ]0;y ",
        "b:",
        "  - c: 1",
    ]
