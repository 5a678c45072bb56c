"""Handled: it does not count until its end or until the cause changes, and says who and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups.choices import AttentionCause
from backups.models import Handling, Project
from backups.services import handling
from backups.services.attention import Attention, needs_attention
from dashboard.accounts.access import Role, RoleRequired
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun, protect
from tests.views.page_text import home_part, page, words

HOUR = timedelta(hours=1)
Handle = Callable[..., Any]
HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}"


@pytest.fixture
def handle(web: Client) -> Handle:
    """Sends the form as anna."""

    def send(code: str, **fields: Any) -> Any:
        values = {"cause": code, "reason": "new bucket on Monday", "lasts": "24", "back": "/"}
        return web.post("/attention/handle/", values | fields)

    return send


def attention(user: User) -> Attention:
    return needs_attention(user, timezone.now())


def test_a_handled_cluster_stops_counting_and_is_listed_with_who_and_why(
    web: Client, anna: User, make_cluster: MakeCluster, handle: Handle
) -> None:
    cluster = make_cluster("orders")
    form = page(web, f"/attention/handle/?cause=never&cluster={cluster.pk}&back=/")
    assert "orders" in form
    assert "Until the cause changes" in form
    answer = handle("never", cluster=cluster.pk, lasts="", reason=HOSTILE)
    assert answer.headers["Location"] == "/"
    text = page(web, "/")
    listed = home_part(text, "attention")
    assert "Nothing needs attention" in listed
    assert "Handled: 1 cluster" in words(listed)
    assert "until the cause changes" in listed
    assert "anna" in listed
    assert "&lt;script&gt;" in listed
    assert "<script>" not in listed
    summary = words(home_part(text, "summary"))
    assert "0 need attention 1 handled" in summary
    assert "0 of 1 cluster protected" in summary  # the truth stays
    row = page(web, "/protection/")
    assert "Handled until the cause changes" in row


def test_it_returns_when_its_time_is_up_with_no_job(
    anna: User, make_cluster: MakeCluster, handle: Handle
) -> None:
    cluster = make_cluster("orders")
    handle("never", cluster=cluster.pk, lasts="4")
    now = timezone.now()
    assert needs_attention(anna, now).total == 0
    assert needs_attention(anna, now + 3.9 * HOUR).total == 0
    later = needs_attention(anna, now + 4.1 * HOUR)
    assert (later.total, later.handled) == (1, [])


def test_it_returns_when_the_cause_changes(
    anna: User, make_cluster: MakeCluster, make_run: MakeRun, handle: Handle
) -> None:
    cluster = make_cluster("orders")
    handle("never", cluster=cluster.pk, lasts="")
    assert attention(anna).total == 0
    make_run(cluster, state="failed", requested_at=timezone.now() - HOUR)
    found = attention(anna)
    assert [each.cause for each in found.counts] == ["job_failed"]
    assert found.handled == []


def test_it_returns_when_the_cluster_recovered_and_fell_into_the_same_cause_again(
    anna: User, make_cluster: MakeCluster, handle: Handle
) -> None:
    cluster = make_cluster("orders")
    protect(cluster, 30)
    handle("overdue", cluster=cluster.pk, lasts="")
    assert attention(anna).total == 0
    protect(cluster, 25)  # verified since, and overdue again
    assert attention(anna).total == 1


def test_a_handled_cause_covers_clusters_that_come_to_have_it_later(
    web: Client, anna: User, make_cluster: MakeCluster, handle: Handle
) -> None:
    first = make_cluster("first", readiness="backup_off")
    assert handle("backup_off", lasts="24").status_code == 302
    assert attention(anna).handled_count == 1
    make_cluster("second", readiness="backup_off")
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q", name="other")
    make_cluster("third", readiness="backup_off", project=other)
    make_cluster("never")
    found = attention(anna)
    assert (found.handled_count, found.total) == (3, 1)
    assert "3 clusters, and those to come, all projects" in words(page(web, "/"))
    own = f"cluster:{first.pk}"
    handle("backup_off", cluster=first.pk, lasts="")  # its own goes before the cause's
    assert {each.scope: count for each, count in attention(anna).handled} == {
        own: 1,
        "cause:backup_off:": 2,
    }


def test_a_cause_of_one_project_leaves_the_others(
    anna: User, project: Project, make_cluster: MakeCluster, handle: Handle
) -> None:
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q", name="other")
    make_cluster("mine")
    make_cluster("theirs", project=other)
    handle("never", project=project.pk)
    found = attention(anna)
    assert (found.handled_count, found.total) == (1, 1)


def test_all_projects_of_an_operator_of_one_are_that_one(
    project: Project, make_cluster: MakeCluster
) -> None:
    other = Project.objects.create(cloud="otc", region="eu-nl", project_id="q", name="other")
    make_cluster("mine")
    make_cluster("theirs", project=other)
    ben = give(User.objects.create_user("ben"), Role.OPERATOR, project=project)
    give(ben, Role.VIEWER, project=other)
    until = timezone.now() + HOUR
    made = handling.handle_cause(AttentionCause.NEVER, None, "r", until, Actor("ben", ben))
    assert [each.project for each in made] == [project]
    assert (attention(ben).handled_count, attention(ben).total) == (1, 1)
    with pytest.raises(RoleRequired):
        handling.handle_cause(AttentionCause.NEVER, other, "r", until, Actor("ben", ben))


def test_it_can_be_ended_early_and_counts_again_at_once(
    web: Client, anna: User, make_cluster: MakeCluster, handle: Handle
) -> None:
    handle("never", cluster=make_cluster("orders").pk)
    (made,) = Handling.objects.all()
    assert f'action="/attention/{made.pk}/end/"' in page(web, "/")
    assert web.post(f"/attention/{made.pk}/end/", {"back": "/"}).headers["Location"] == "/"
    made.refresh_from_db()
    assert (made.ended_by_name, made.ended_why) == ("anna", "By hand.")
    assert attention(anna).total == 1
    again = web.post(f"/attention/{made.pk}/end/", follow=True)
    assert "It has ended already." in again.content.decode()


def test_every_step_is_audited_with_before_and_after(
    web: Client, make_cluster: MakeCluster, handle: Handle
) -> None:
    cluster = make_cluster("orders")
    handle("never", cluster=cluster.pk, lasts="", reason="first")
    handle("never", cluster=cluster.pk, lasts="", reason="second")
    (open_now,) = Handling.objects.filter(ended_at=None)
    web.post(f"/attention/{open_now.pk}/end/")
    events = list(AuditEvent.objects.about(cluster).order_by("sequence"))
    steps = [(each.action, each.before, each.after) for each in events]

    def values(reason: str) -> dict[str, str]:
        until = "the cause changes"
        return {"handled": "never", "until": until, "handled_because": reason}

    none = {"handled": None}
    assert steps == [
        ("need_handled", none, values("first")),
        ("need_handled", values("first"), values("second")),
        ("need_returned", values("second"), none),
    ]
    assert Handling.objects.get(ended_why="Replaced.").reason == "first"


REFUSED = [
    ({"reason": ""}, 422, "Enter a reason"),
    ({"lasts": "", "until": ""}, 422, "needs an end"),
    ({"until": "2020-01-01T00:00"}, 422, "must be in the future"),
    ({"until": "9000-01-01T00:00"}, 422, "must be in the future"),
    ({"lasts": "5"}, 422, "valid choice"),
    ({"cause": "no-such"}, 400, "valid choice"),
    ({"project": "77777"}, 400, "valid choice"),
    ({"cluster": "x"}, 400, "whole number"),
]


@pytest.mark.parametrize(("fields", "status", "words_of"), REFUSED)
def test_what_is_wrong_is_said_and_nothing_is_lost(
    handle: Handle, fields: dict[str, str], status: int, words_of: str
) -> None:
    answer = handle("never", **{"reason": "typed words"} | fields)
    assert answer.status_code == status
    assert words_of in answer.content.decode()
    assert not Handling.objects.exists()
    if status == 422 and "reason" not in fields:
        assert 'value="typed words"' in answer.content.decode()


def test_a_cause_that_has_changed_meanwhile_is_not_handled(
    make_cluster: MakeCluster, handle: Handle
) -> None:
    cluster = make_cluster("orders", readiness="backup_off")
    answer = handle("never", cluster=cluster.pk)
    assert answer.status_code == 409
    assert "another cause now: Log backup is off" in answer.content.decode()
    protect(cluster, 1)
    assert "another cause now: nothing" in handle("never", cluster=cluster.pk).content.decode()


def test_who_may_only_look_is_offered_nothing_and_may_not(
    client: Client, project: Project, make_cluster: MakeCluster, handle: Handle
) -> None:
    cluster = make_cluster("orders")
    client.force_login(give(User.objects.create_user("vera"), Role.VIEWER, project=project))
    assert "Handle" not in page(client, "/")
    assert client.get(f"/attention/handle/?cause=never&cluster={cluster.pk}").status_code == 403
    sent = {"cause": "never", "cluster": cluster.pk, "reason": "r"}
    assert client.post("/attention/handle/", sent).status_code == 403
    assert not Handling.objects.exists()


def test_who_has_no_role_sees_no_handling(client: Client, handle: Handle) -> None:
    handle("never", reason="a secret reason")
    nobody = User.objects.create_user("nobody")
    assert needs_attention(nobody).handled == []
    assert Handling.objects.count() == 1
