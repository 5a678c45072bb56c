"""What is announced, to whom it goes, and what is sent together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.choices import NoticeKind, RunState
from backups.models import Channel, Cluster, ClusterTag, Delivery, Notice, NoticeDelivery, Project
from backups.services.notifications import outbox
from backups.services.notifications.channels import add_rule, change_channel, delete_channel
from backups.services.notifications.outbox import announce
from backups.services.notifications.routing import route

from .conftest import ADMIN, Receiver, deliver_due

REJECTED = NoticeKind.RUN_REJECTED


def tell(cluster: Cluster, key: str = "", cause: str = "Precondition failed") -> bool:
    return announce(
        REJECTED,
        key=key or f"run of {cluster.pk}",
        project=cluster.project,
        cluster=cluster,
        cause=cause,
        facts={"cluster": cluster.name, "project": cluster.project.name},
    )


def test_nothing_is_written_and_asked_while_nobody_wants_it(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert not tell(cluster)
    assert len(queries) == 0
    assert not Notice.objects.exists()


def test_rules_of_a_switched_off_channel_want_nothing(
    webhook: Channel, make_cluster: Callable[..., Cluster]
) -> None:
    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    assert tell(make_cluster())
    change_channel(webhook, actor=ADMIN, name=webhook.name, enabled=False)
    assert not tell(make_cluster())


def test_another_process_knows_a_new_rule_after_some_seconds(
    webhook: Channel, make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make_cluster()
    known = outbox._known
    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    monkeypatch.setattr(outbox, "_known", known)  # as another process has it
    assert not tell(cluster)
    monkeypatch.setattr(outbox, "FRESH", 0.0)
    assert tell(cluster)


def test_the_same_event_twice_is_one_notice(
    webhook: Channel, make_cluster: Callable[..., Cluster]
) -> None:
    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    cluster = make_cluster()
    assert tell(cluster)
    assert tell(cluster)
    assert Notice.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_breaks_meanwhile_is_told_to_the_caller(
    webhook: Channel, make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a savepoint to return to, Django would roll the caller back without an error."""
    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    cluster = make_cluster()

    def break_off(event: object) -> Notice:
        connection.connection.close()
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(outbox, "_row", break_off)

    @transaction.atomic
    def change_and_tell() -> None:
        Cluster.objects.update(name="changed")
        tell(cluster)

    with pytest.raises(OperationalError, match="unexpectedly"):
        change_and_tell()
    assert Cluster.objects.get(pk=cluster.pk).name == cluster.name
    monkeypatch.undo()
    assert tell(cluster)


@pytest.mark.parametrize("broken", ["facts", "database"])
def test_an_error_costs_the_callers_transaction_nothing(
    webhook: Channel,
    make_cluster: Callable[..., Cluster],
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    cluster = make_cluster()
    if broken == "database":
        monkeypatch.setattr(Notice._meta, "db_table", "no_such_table")
    else:
        monkeypatch.setattr(outbox, "_fact", lambda value: 1 / 0)
    with transaction.atomic():
        assert not tell(cluster)
        Cluster.objects.filter(pk=cluster.pk).update(name="still written")
    cluster.refresh_from_db()
    assert cluster.name == "still written"


def test_41_clusters_with_the_same_cause_are_one_message(
    webhook: Channel, receiver: Receiver, make_cluster: Callable[..., Cluster], settings: Any
) -> None:
    settings.NOTIFY_GROUP_SECONDS = 30.0
    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    clusters = [make_cluster() for _ in range(41)]
    for cluster in clusters[:20]:
        tell(cluster)
    assert route() == 20
    for cluster in clusters[20:]:
        tell(cluster)
    assert route() == 21
    other = make_cluster()
    tell(other, cause="Bucket missing")
    route()
    first, second = Delivery.objects.order_by("pk")
    assert (first.count, second.count) == (41, 1)
    assert not deliver_due(), "it waits for others"
    Delivery.objects.update(next_at=timezone.now())
    assert [each.state for each in deliver_due()] == ["sent", "sent"]
    (body, _other) = [request.body.decode() for request in receiver.requests]
    assert f"41 \\u00d7 Log backup rejected: {clusters[0].project.name}" in body
    assert clusters[0].name in body
    assert clusters[40].name in body


def test_a_message_that_was_tried_takes_no_more_notices(
    webhook: Channel, receiver: Receiver, make_cluster: Callable[..., Cluster], settings: Any
) -> None:
    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    receiver.answers = [(500, {})]
    tell(make_cluster())
    route()
    deliver_due()
    settings.NOTIFY_GROUP_SECONDS = 30.0
    tell(make_cluster())
    route()
    assert [each.count for each in Delivery.objects.order_by("pk")] == [1, 1]


def test_rules_by_project_label_and_kind(
    webhook: Channel, make_cluster: Callable[..., Cluster], project: Project
) -> None:
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="other", name="lab")
    production, staging = make_cluster(), make_cluster()
    elsewhere = make_cluster(project=other)
    for cluster, value in ((production, "production"), (staging, "staging")):
        ClusterTag.objects.create(cluster=cluster, origin="own", key="stage", value=value)
    add_rule(webhook, [REJECTED], project, "stage=production", actor=ADMIN)
    assert tell(production)
    assert tell(staging), "labels are looked at when it is routed"
    assert not tell(elsewhere), "the project is known beforehand"
    assert not announce(NoticeKind.RUN_FAILED, key="x", project=project, facts={})
    route()
    assert [link.notice.cluster for link in NoticeDelivery.objects.all()] == [production]
    add_rule(webhook, [REJECTED], None, "stage", actor=ADMIN)
    tell(staging, "again")
    route()
    assert NoticeDelivery.objects.last().notice.cluster == staging  # type: ignore[union-attr]


def test_two_rules_that_match_are_one_message(
    webhook: Channel, make_cluster: Callable[..., Cluster]
) -> None:
    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    add_rule(webhook, [REJECTED, NoticeKind.RUN_FAILED], None, "", actor=ADMIN)
    tell(make_cluster())
    route()
    route()
    assert NoticeDelivery.objects.count() == Delivery.objects.count() == 1


def test_a_deleted_channel_leaves_its_log_and_sends_nothing(
    webhook: Channel, receiver: Receiver, make_cluster: Callable[..., Cluster]
) -> None:
    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    tell(make_cluster())
    route()
    assert delete_channel(webhook, actor=ADMIN) == 1
    assert not deliver_due()
    assert not receiver.requests
    row = Delivery.objects.get()
    assert (row.state, row.channel, row.channel_name) == ("cancelled", None, "hook")


def test_old_messages_are_deleted_and_new_ones_kept(
    webhook: Channel, make_cluster: Callable[..., Cluster], settings: Any
) -> None:
    from backups.services.notifications.cleaning import delete_old

    add_rule(webhook, [REJECTED], None, "", actor=ADMIN)
    tell(make_cluster(), "old")
    tell(make_cluster(), "new", cause="another")
    route()
    past = timezone.now() - timedelta(days=settings.NOTIFY_KEEP_DAYS, seconds=1)
    Notice.objects.filter(key="old").update(at=past)
    Delivery.objects.filter(links__notice__key="old").update(created_at=past)
    assert delete_old() == 2
    assert Notice.objects.get().key == "new"
    assert NoticeDelivery.objects.get().delivery == Delivery.objects.get()


def test_the_end_of_a_run_is_announced_in_its_transaction(
    webhook: Channel, make_cluster: Callable[..., Cluster]
) -> None:
    from backups.choices import Outcome, Trigger
    from backups.services.runs.requests import Requester, request_backup
    from backups.services.runs.transitions import transition

    add_rule(webhook, list(NoticeKind), None, "", actor=ADMIN)
    for outcome, to in (
        (Outcome.PRECONDITION_FAILED, RunState.REJECTED),
        (Outcome.UNANSWERED, RunState.UNKNOWN),
    ):
        run = request_backup(make_cluster(), Requester("anna", Trigger.BUTTON)).run
        assert transition(run, RunState.SENDING, actor="w", attempt=1)
        try:
            with transaction.atomic():
                transition(run, to, actor="w", outcome=outcome, error_code="CSS.0004")
                raise RuntimeError  # whatever happens after it
        except RuntimeError:
            pass
        assert not Notice.objects.filter(cluster=run.cluster).exists()
        run.refresh_from_db()
        assert transition(run, to, actor="w", outcome=outcome, error_code="CSS.0004")
        notice = Notice.objects.get(cluster=run.cluster)
        assert notice.facts["run"] == run.pk
        assert "CSS.0004" in notice.cause
        assert notice.facts["path"] == run.get_absolute_url()
