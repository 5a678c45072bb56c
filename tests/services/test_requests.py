"""One active run a cluster: whoever asks meanwhile joins it."""

from __future__ import annotations

import threading

import pytest
from django.db import IntegrityError, connection, transaction

from backups.choices import ACTIVE, RunState, Trigger
from backups.models import BackupRun, Cluster, Project
from backups.services.runs import sending
from backups.services.runs.requests import CannotCancel, Requester, cancel_run, request_backup
from backups.services.runs.transitions import transition
from dashboard.audit.trail import Actor

S = RunState


def test_a_request_stores_a_queued_run_with_copied_names(make_cluster, operator):
    cluster = make_cluster()
    request = request_backup(cluster, operator, idempotency_key="k")
    run = request.run
    assert request.created
    assert (run.state, run.cluster_name, run.requested_by_name) == (S.QUEUED, cluster.name, "anna")
    assert (run.project_name, run.source_ip) == (cluster.project.name, "10.1.2.3")
    assert [e.to_state for e in run.events.all()] == [S.QUEUED]


def test_a_second_request_joins_the_active_run_and_is_remembered(make_cluster, operator):
    cluster = make_cluster()
    first = request_backup(cluster, operator)
    second = request_backup(cluster, Requester("bert", Trigger.CLI))
    assert (second.run, second.created) == (first.run, False)
    assert "joined" in first.run.events.last().note
    assert first.run.events.last().actor == "bert"


def test_the_same_form_sent_twice_is_one_run_even_after_it_ended(make_cluster, operator):
    cluster = make_cluster()
    first = request_backup(cluster, operator, idempotency_key="form-1").run
    cancel_run(first, actor=Actor("anna"))
    again = request_backup(cluster, operator, idempotency_key="form-1")
    assert (again.run, again.created) == (first, False)
    assert request_backup(cluster, operator, idempotency_key="form-2").created


def test_a_key_counts_for_its_requester_and_cluster_only(make_cluster, operator):
    first = request_backup(make_cluster(), operator, idempotency_key="same").run
    second = request_backup(make_cluster(), operator, idempotency_key="same").run
    assert first != second


def test_the_database_itself_refuses_a_second_active_run(make_run):
    run = make_run()
    run.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        run.save(force_insert=True)


def test_a_queued_run_can_be_cancelled_and_is_never_sent(make_run, cloud):
    run = make_run()
    cancel_run(run, actor=Actor("anna"))
    sending.send_run(run.pk)
    run.refresh_from_db()
    assert run.state == S.CANCELLED
    assert not cloud.ledger(endpoint="collect", cluster=run.cluster_cloud_id)


def test_a_sent_run_cannot_be_cancelled_and_says_why(make_run):
    run = make_run()
    sending.send_run(run.pk)
    run.refresh_from_db()
    with pytest.raises(CannotCancel, match="no call to stop"):
        cancel_run(run, actor=Actor("anna"))


def test_a_run_that_has_ended_cannot_be_cancelled(make_run):
    run = make_run()
    cancel_run(run, actor=Actor("anna"))
    with pytest.raises(CannotCancel, match="already ended"):
        cancel_run(run, actor=Actor("anna"))


def test_of_two_writers_one_wins(make_run):
    run = make_run()
    twin = BackupRun.objects.get(pk=run.pk)
    assert transition(run, S.CANCELLED, actor="a")
    assert not transition(twin, S.CANCELLED, actor="b")
    assert run.events.filter(to_state=S.CANCELLED).count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_clicks_at_once_make_one_run():
    project = Project.objects.create(cloud="c", region="r", project_id="p")
    cluster = Cluster.objects.create(project=project, cluster_id="id-1", name="busy")
    start = threading.Barrier(8)
    made: list[tuple[int, bool]] = []
    errors: list[BaseException] = []

    def click(number: int) -> None:
        try:
            start.wait(10)
            request = request_backup(cluster, Requester(f"user {number}", Trigger.BUTTON))
            made.append((request.run.pk, request.created))
        except BaseException as error:  # handed to the test's own thread
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=click, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert len({pk for pk, _created in made}) == 1
    assert sum(created for _pk, created in made) == 1
    assert BackupRun.objects.filter(state__in=ACTIVE).count() == 1
    assert BackupRun.objects.get().events.count() == 8
