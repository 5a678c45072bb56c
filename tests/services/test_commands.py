"""`backup` for the command line: the same service, a line a cluster, an honest exit code."""

from __future__ import annotations

import io
import json
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from backups.choices import RunState, Trigger
from backups.models import BackupRun, Batch, Cluster, Project
from backups.services import rate
from backups.services.batches import starting
from backups.services.runs.transitions import transition
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give

KEYS = [
    "cluster_id",
    "cluster",
    "run_id",
    "state",
    "outcome",
    "http_status",
    "error_code",
    "message",
    "request_id",
]


@pytest.fixture
def clusters(db):
    project = Project.objects.create(cloud="c", region="r", project_id="p")
    return [
        Cluster.objects.create(project=project, cluster_id=f"id-{n}", name=name)
        for n, name in enumerate(["orders", "search", "twin", "twin"])
    ]


def backup(*args: str, **options: object) -> list[dict]:
    out = io.StringIO()
    call_command("backup", *args, json=True, stdout=out, **options)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_a_cluster_by_name_or_id(clusters):
    lines = backup("orders", "id-1", reason="before the upgrade")
    assert [line["cluster"] for line in lines] == ["orders", "search"]
    assert list(lines[0])[: len(KEYS)] == KEYS
    assert lines[0]["state"] == "queued"
    run = BackupRun.objects.get(pk=lines[0]["run_id"])
    assert (run.trigger, run.reason) == (Trigger.CLI, "before the upgrade")
    assert "command line" in run.requested_by_name


def test_a_cluster_named_twice_is_one_line_and_an_active_run_is_joined(clusters):
    (first,) = backup("orders", "id-0")
    (second,) = backup("orders")
    assert first["run_id"] == second["run_id"]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["nope"], "'nope' is not registered"),
        (["twin"], "'twin' is not unique, give the id: id-2"),
        (["orders", "nope"], "not registered"),
        ([], "name clusters"),
        (["orders", "--all"], "not both"),
    ],
)
def test_bad_input_is_named_and_nothing_is_requested(clusters, names, problem):
    with pytest.raises(CommandError, match=problem) as caught:
        backup(*names)
    assert caught.value.returncode == 2
    assert not BackupRun.objects.exists()


def test_a_cluster_that_is_gone_is_named_as_gone(clusters):
    Cluster.objects.filter(name="orders").update(gone_at="2026-01-01T00:00Z")
    with pytest.raises(CommandError, match="gone from the cloud"):
        backup("orders")
    assert len(backup(all=True)) == 3


def test_all_without_any_cluster_says_what_to_do(db):
    with pytest.raises(CommandError, match="sync_clusters"):
        backup(all=True)


def test_an_account_can_be_named_and_an_unknown_one_is_refused(clusters):
    user = give(User.objects.create_user("anna"), Role.OPERATOR)
    (line,) = backup("orders", user="anna")
    assert BackupRun.objects.get(pk=line["run_id"]).requested_by == user
    with pytest.raises(CommandError, match="no active account 'bert'"):
        backup("search", user="bert")


def test_in_an_accounts_name_no_more_is_permitted_than_on_the_pages(clusters):
    other = Project.objects.create(cloud="c", region="r", project_id="q")
    Cluster.objects.create(project=other, cluster_id="id-9", name="secret")
    anna = User.objects.create_user("anna")
    give(anna, Role.OPERATOR, project=clusters[0].project)
    give(anna, Role.VIEWER)
    with pytest.raises(CommandError, match=r"'anna' may not back up secret .*operator") as caught:
        backup("orders", "secret", user="anna")
    assert caught.value.returncode == 2
    assert not BackupRun.objects.exists()
    assert len(backup("orders", user="anna")) == 1
    assert len(backup("secret")) == 1


def test_waiting_ends_in_time_and_says_so(clusters):
    with pytest.raises(CommandError, match="have not ended within") as caught:
        backup("orders", wait=True, timeout=0.2)
    assert caught.value.returncode == 3
    assert BackupRun.objects.get().state == RunState.QUEUED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("path", "code"), [(["accepted", "succeeded"], 0), (["rejected"], 1)])
def test_the_exit_code_is_zero_only_if_every_backup_was_verified(path, code):
    project = Project.objects.create(cloud="c", region="r", project_id="p")
    Cluster.objects.create(project=project, cluster_id="id-0", name="orders")
    requested = threading.Event()

    def worker() -> None:
        requested.wait(10)
        run = BackupRun.objects.get()
        for state in ["sending", *path]:
            assert transition(run, RunState(state), actor="t")
        connection.close()

    thread = threading.Thread(target=worker)
    thread.start()
    out = io.StringIO()
    out.flush = lambda: None  # type: ignore[method-assign]
    try:
        from backups.management.commands import backup as command

        class Announcing(command.Command):
            def _wait(self, ids, timeout, *, as_json):
                requested.set()
                super()._wait(ids, timeout, as_json=as_json)

        if code:
            with pytest.raises(CommandError, match="0 of 1 verified; 1 rejected") as caught:
                call_command(Announcing(stdout=out), "orders", wait=True, json=True, timeout=20)
            assert caught.value.returncode == code
        else:
            call_command(Announcing(stdout=out), "orders", wait=True, json=True, timeout=20)
    finally:
        requested.set()
        thread.join(20)
    (line,) = [json.loads(text) for text in out.getvalue().splitlines()]
    assert line["state"] == path[-1]


def test_all_leaves_archived_clusters_out(clusters):
    Cluster.objects.filter(pk=clusters[0].pk).update(archived_at=timezone.now())
    lines = backup("--all")
    assert [line["cluster_id"] for line in lines] == ["id-1", "id-2", "id-3"]
    assert not clusters[0].runs.exists()


def test_a_named_cluster_that_is_archived_is_an_error_and_nothing_is_requested(clusters):
    Cluster.objects.filter(pk=clusters[1].pk).update(archived_at=timezone.now())
    with pytest.raises(CommandError, match="'search': This cluster is archived") as caught:
        backup("orders", "search")
    assert caught.value.returncode == 2
    assert not BackupRun.objects.exists()


# --- a batch -------------------------------------------------------------------------------------


@pytest.fixture
def broker(redis_url):
    rate.close()
    yield
    rate.close()


def command(*arguments):
    out = io.StringIO()
    call_command("backup", *arguments, stdout=out)
    return out.getvalue()


def test_a_filter_is_one_batch_for_a_key(clusters, broker):
    Cluster.objects.filter(pk=clusters[0].pk).update(
        readiness="backup_off", checked_at=timezone.now()
    )
    arguments = ("--filter", "show=present", "--key", "nightly-1", "--reason", "patch day")
    said = command(*arguments)
    batch = Batch.objects.get()
    count = len(clusters) - 1
    assert said == f"batch {batch.pk}: {count} clusters; 1 skipped: backup_off\n"
    assert command(*arguments) == said
    assert (batch.trigger, batch.reason, batch.requested_by) == ("cli", "patch day", None)
    document = json.loads(command("--filter", "show=present", "--anyway", "--json"))
    assert (document["clusters"], document["skipped"]) == (len(clusters), {})


@pytest.mark.django_db(transaction=True)
def test_waiting_for_a_batch_prints_its_runs_and_ends_with_it(clusters, broker):
    done = threading.Event()

    def work():
        while not done.wait(0.05):
            starting.start_waiting()
            for run in BackupRun.objects.filter(state="queued"):
                BackupRun.objects.filter(pk=run.pk).update(
                    state="succeeded", finished_at=timezone.now()
                )
            starting.end_batches()
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        lines = command("--filter", "show=present", "--wait", "--timeout", "60").splitlines()
    finally:
        done.set()
        thread.join()
    assert len(lines) == len(clusters)
    assert all("Verified" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--filter", "engine=steam"], "engine"),
        (["--filter", "enginee=steam"], "unknown filter"),
        (["--filter", "q=no-such-cluster"], "nothing matches"),
        (["--filter", "show=present", "--all"], "without clusters"),
        (["--filter", "show=present", "--wait-if-held", "5"], "does not go with"),
        (["--all", "--anyway"], "need --filter"),
    ],
)
def test_a_batch_that_cannot_be_is_an_error_and_nothing_is_stored(clusters, arguments, problem):
    with pytest.raises(CommandError, match=problem) as raised:
        command(*arguments)
    assert raised.value.returncode == 2
    assert not Batch.objects.exists()


def test_a_batch_that_does_not_end_in_time_says_so(clusters, broker):
    with pytest.raises(CommandError, match="continues in the background") as raised:
        command("--filter", "show=present", "--wait", "--timeout", "0")
    assert raised.value.returncode == 3
