"""What nobody does anything for: overdue protection, work that stands still, missing guards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from backups import work
from backups.choices import NoticeKind
from backups.models import Alert, Channel, Cluster, Notice, Project
from backups.services.clusters.protection import set_objective, verified
from backups.services.notifications import notifier, watching
from backups.services.notifications.channels import add_rule
from dashboard.audit.models import Verification

from .conftest import ADMIN, Receiver, wait_for

OVERDUE, RECOVERED = NoticeKind.PROTECTION_OVERDUE, NoticeKind.PROTECTION_RECOVERED
Make = Callable[..., Cluster]


@pytest.fixture
def everything(webhook: Channel) -> None:
    add_rule(webhook, list(NoticeKind), None, "", actor=ADMIN)


def told() -> list[tuple[str, int | None]]:
    return list(Notice.objects.order_by("pk").values_list("kind", "cluster"))


def age(cluster: Cluster, hours: float) -> None:
    assert verified(cluster.pk, timezone.now() - timedelta(hours=hours))


def test_overdue_is_told_once_and_so_is_its_end(everything: None, make_cluster: Make) -> None:
    late, well = make_cluster(), make_cluster()
    age(late, 25)
    age(well, 1)
    for _ in range(2):
        watching.look_at_protection()
    assert told() == [(OVERDUE, late.pk)]
    assert "objective 24 h" in Notice.objects.get().facts["text"]
    age(late, 0)
    for _ in range(2):
        watching.look_at_protection()
    assert told() == [(OVERDUE, late.pk), (RECOVERED, late.pk)]
    # a second time, later
    Cluster.objects.filter(pk=late.pk).update(overdue_at=timezone.now() - timedelta(minutes=1))
    watching.look_at_protection()
    assert told()[2:] == [(OVERDUE, late.pk)]


def test_a_cluster_that_never_had_a_backup_is_overdue_after_its_objective(
    everything: None, make_cluster: Make
) -> None:
    new, old, patient = make_cluster(), make_cluster(), make_cluster(objective_hours=48)
    registered = timezone.now() - timedelta(hours=25)
    Cluster.objects.filter(pk__in=[old.pk, patient.pk]).update(registered_at=registered)
    watching.look_at_protection()
    assert told() == [(OVERDUE, old.pk)]
    assert Notice.objects.get().cause == "never backed up"
    age(old, 0)
    age(new, 0)
    watching.look_at_protection()
    assert told()[1:] == [(RECOVERED, old.pk)]


def test_archived_and_gone_clusters_are_neither_overdue_nor_recovered(
    everything: None, make_cluster: Make
) -> None:
    now = timezone.now()
    gone, archived, later = (make_cluster() for _ in range(3))
    for cluster in (gone, archived, later):
        age(cluster, 30)
    Cluster.objects.filter(pk=gone.pk).update(gone_at=now)
    Cluster.objects.filter(pk=archived.pk).update(archived_at=now)
    watching.look_at_protection()
    assert told() == [(OVERDUE, later.pk)]
    Cluster.objects.filter(pk=later.pk).update(archived_at=now)
    watching.look_at_protection()
    assert len(told()) == 1
    assert not Alert.objects.exists()


def test_a_rule_for_one_project_leaves_others_to_later_rules(
    webhook: Channel, project: Project, make_cluster: Make
) -> None:
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="other")
    age(make_cluster(), 30)
    late = make_cluster(project=other)
    age(late, 30)
    add_rule(webhook, [NoticeKind.PROTECTION_OVERDUE], project, "", actor=ADMIN)
    assert watching.look_at_protection() == 1
    add_rule(webhook, [NoticeKind.PROTECTION_OVERDUE], other, "", actor=ADMIN)
    assert watching.look_at_protection() == 1
    assert told()[-1] == ("protection_overdue", late.pk)


def test_without_a_rule_nothing_is_noted_and_a_rule_tells_of_what_is_overdue_now(
    webhook: Channel, make_cluster: Make
) -> None:
    late = make_cluster()
    age(late, 25)
    assert watching.look_at_protection() == 0
    assert not Alert.objects.exists()
    add_rule(webhook, [OVERDUE], None, "", actor=ADMIN)
    watching.look_at_protection()
    assert told() == [(OVERDUE, late.pk)]


def test_a_longer_objective_ends_it_also_where_there_was_never_a_backup(
    everything: None, make_cluster: Make
) -> None:
    new = make_cluster()
    Cluster.objects.update(registered_at=timezone.now() - timedelta(hours=30))
    watching.look_at_protection()
    set_objective(new, 48, ADMIN)
    watching.look_at_protection()
    assert not Alert.objects.exists()
    set_objective(new, 12, ADMIN)
    watching.look_at_protection()
    assert told() == [(OVERDUE, new.pk)] * 2


def test_two_processes_that_look_at_once_tell_it_once(
    everything: None, make_cluster: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = make_cluster()
    age(late, 25)
    stored = Alert.objects.bulk_create

    def other_first(rows: list[Alert], **options: Any) -> list[Alert]:
        """The other process commits between this one's reading and its writing."""
        monkeypatch.undo()
        watching.look_at_protection()
        return stored(rows, **options)

    monkeypatch.setattr(
        type(Alert.objects), "bulk_create", lambda self, *a, **k: other_first(*a, **k)
    )
    watching.look_at_protection()
    assert told() == [(OVERDUE, late.pk)]
    assert Alert.objects.count() == 1


def test_work_that_stands_still_is_told_once_and_so_is_its_end(everything: None) -> None:
    broker = work.Trouble("broker", words="Redis is unreachable (ConnectionError)")
    for troubles in ([], [broker], [broker], [], []):
        watching.look_at_work(troubles)
    stalled, flows = Notice.objects.order_by("pk")
    assert (stalled.kind, flows.kind) == (NoticeKind.WORK_STALLED, NoticeKind.WORK_RECOVERED)
    assert stalled.facts["text"] == "Redis is unreachable (ConnectionError)"


def test_every_trouble_has_words() -> None:
    for kind in ("worker", "scheduler", "broker", "flow"):
        assert watching.words([work.Trouble(kind)])


def test_a_broken_trail_and_missing_guards_are_told_once(
    everything: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    watching.look_at_audit()
    assert told() == []
    broken = Verification.objects.create(
        result="broken", requested_at=now, finished_at=now, problem="event 7 was changed"
    )
    monkeypatch.setattr(watching.triggers, "missing", lambda connection: {"audit_no_update"})
    for _ in range(2):
        watching.look_at_audit()
    (notice,) = Notice.objects.all()
    assert notice.kind == NoticeKind.AUDIT_BROKEN
    assert "event 7 was changed" in notice.facts["text"]
    assert "audit_no_update" in notice.facts["text"]
    # one ends, begins again while the other lasts, and is told again
    broken.delete()
    watching.look_at_audit()
    assert [alert.subject for alert in Alert.objects.all()] == ["triggers"]
    again = Verification.objects.create(
        result="broken", requested_at=now, finished_at=now, problem="event 9 was changed"
    )
    for _ in range(2):
        watching.look_at_audit()
    _first, second = Notice.objects.order_by("pk")
    assert second.facts["text"] == "event 9 was changed"
    again.delete()
    monkeypatch.setattr(watching.triggers, "missing", lambda connection: set())
    watching.look_at_audit()
    assert not Alert.objects.exists()


def test_the_instance_pings_while_work_flows_and_says_when_it_does_not(
    db: None, receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PING_URL = receiver.url
    settings.NOTIFY_ALLOWED_NETWORKS = []  # the operator's own URL may be anywhere
    troubles: list[work.Trouble] = []
    monkeypatch.setattr(work, "troubles", lambda: troubles)
    monkeypatch.setattr(notifier, "WATCH_EVERY", 0.0)
    made = notifier.Notifier()

    def look(count: int) -> None:
        made._look_at_work()
        wait_for(lambda: len(receiver.requests) >= count, "the ping")
        assert made._pinging is not None
        made._pinging.join(10)

    look(1)
    made._look_at_work()  # not due
    troubles.append(work.Trouble("broker", words="Redis is unreachable"))
    look(2)
    troubles.clear()
    look(3)
    path = "/hooks/c4n-you-guess-me"
    seen = [(each.method, each.path, each.body) for each in receiver.requests]
    assert seen == [
        ("GET", path, b""),
        ("POST", f"{path}/fail", b"Redis is unreachable"),
        ("GET", path, b""),
    ]
