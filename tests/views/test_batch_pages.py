"""Backing up many clusters: the selection, its preview, the batch's page, the list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from backups.choices import RunState
from backups.forms import MOST_SELECTED
from backups.models import BackupRun, Batch, Cluster, Project
from backups.services import rate
from backups.services.batches import selecting
from backups.services.batches.starting import advance
from backups.services.runs.transitions import transition
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun
from tests.views.page_text import tight

NEW, URL = "/batches/new/", "/batches/"
KEY = "k" * 16


@pytest.fixture(autouse=True)
def broker(redis_url: str) -> Iterator[None]:
    rate.close()
    yield
    rate.close()


def preview(web: Client, query: str = "") -> str:
    response = web.get(f"{NEW}?{query}")
    assert response.status_code == 200
    return tight(response.content.decode())


def send(web: Client, clusters: list[Cluster] | None = None, **data: str) -> Any:
    return web.post(URL, {"cluster": [each.pk for each in clusters or []], **data})


def made(web: Client, clusters: list[Cluster] | None = None, **data: str) -> Batch:
    response = send(web, clusters, **data)
    batch = Batch.objects.latest("pk")
    assert (response.status_code, response.headers["Location"]) == (302, f"/batches/{batch.pk}/")
    return batch


def off(make_cluster: MakeCluster, count: int = 1) -> list[Cluster]:
    columns = {"readiness": "backup_off", "checked_at": timezone.now()}
    return [make_cluster(**columns) for _ in range(count)]


# --- selecting -----------------------------------------------------------------------------------


def test_the_clusters_page_leads_to_all_that_match(web: Client, make_cluster: MakeCluster) -> None:
    for _ in range(60):
        make_cluster()
    text = tight(web.get("/clusters/?q=cluster&sort=-verified").content.decode())
    assert 'href="/batches/new/?q=cluster&amp;sort=-verified"' in text
    assert "Back up all 60…" in text
    assert "All 60 that match…" in text
    assert "60 clusters selected" in preview(web, "q=cluster&sort=-verified&page=2")


def test_the_preview_says_what_would_be_done_and_does_nothing(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    make_cluster()
    off(make_cluster, 2)
    make_run()
    make_cluster(archived_at=timezone.now())
    text = preview(web, "show=all")
    assert "5 clusters selected" in text
    assert "1 is ready" in text
    for part in ("Log backup is off", "Enable log backup", "Already being backed up", "Archived"):
        assert part in text
    assert text.index('id="send-ready"') < text.index('id="send-all"'), "the safe one first"
    assert "Back up 1 cluster" in text
    assert "Back up all 4 anyway" in text
    assert "Not backed up in any case." in text
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("query", "said"),
    [("q=nothing-is-called-so", "No cluster matches"), ("cluster=999999", "1 selected cluster no")],
)
def test_a_selection_of_nothing_says_so(
    web: Client, make_cluster: MakeCluster, query: str, said: str
) -> None:
    make_cluster()
    text = preview(web, query)
    assert said in text
    assert 'id="send-' not in text


def test_too_many_are_told_what_to_do(
    web: Client, make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "MOST", 2)
    for _ in range(3):
        make_cluster()
    text = preview(web)
    assert "Narrow the filter" in text
    assert 'id="send-' not in text
    assert send(web).status_code == 409
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    "picked", [["x"], ["-1"], ["1" * 19], ["٣"], [str(n) for n in range(MOST_SELECTED + 1)]]
)
def test_a_selection_that_cannot_be_read_is_a_400(web: Client, picked: list[str]) -> None:
    assert web.get(NEW, {"cluster": picked}).status_code == 400
    assert web.post(URL, {"cluster": picked}).status_code == 400


def test_a_filter_that_cannot_be_read_is_a_400(web: Client, db: None) -> None:
    assert web.get(f"{NEW}?engine=steam").status_code == 400
    assert web.post(URL, {"query": "engine=steam"}).status_code == 400
    assert web.get(f"{URL}?before=x").status_code == 400


def test_a_filter_that_is_too_long_is_not_cut_to_select_more(
    web: Client, make_cluster: MakeCluster
) -> None:
    make_cluster()
    query = f"other={'x' * 2000}&q=nothing-has-this-name"
    assert web.get(f"{NEW}?{query}").status_code == 400
    assert send(web, query=query, idempotency_key=KEY).status_code == 400
    assert not Batch.objects.exists()


def test_a_viewer_may_not(client: Client, make_cluster: MakeCluster, db: None) -> None:
    make_cluster()
    client.force_login(give(User.objects.create_user("eve"), Role.VIEWER))
    assert client.get(NEW).status_code == 403
    assert send(client).status_code == 403
    assert "batches/new" not in client.get("/clusters/").content.decode()


def test_clusters_of_other_projects_are_neither_backed_up_nor_told_of(
    client: Client, make_cluster: MakeCluster, db: None
) -> None:
    own = make_cluster()
    elsewhere = Project.objects.create(cloud="otc", region="eu-de", project_id="q", name="bank")
    hidden = make_cluster("hidden-one", project=elsewhere)
    user = give(User.objects.create_user("ops"), Role.OPERATOR, project=own.project)
    client.force_login(user)
    text = preview(client, f"cluster={own.pk}&cluster={hidden.pk}")
    assert "1 cluster selected" in text
    assert "hidden-one" not in text
    batch = made(client, [own, hidden], anyway="1")
    assert [item.cluster for item in batch.items.all()] == [own]


# --- sending -------------------------------------------------------------------------------------


def test_the_ready_ones_are_sent_and_the_answer_is_the_batchs_page(
    web: Client, make_cluster: MakeCluster
) -> None:
    ready = make_cluster()
    [not_ready] = off(make_cluster)
    batch = made(web, query="q=cluster", reason="patch day")
    assert (batch.requested_by_name, batch.reason, batch.trigger) == ("anna", "patch day", "bulk")
    assert dict(batch.items.values_list("cluster", "state")) == {
        ready.pk: "waiting",
        not_ready.pk: "skipped",
    }
    text = tight(web.get(f"/batches/{batch.pk}/").content.decode())
    assert "0 of 1 cluster done" in text
    assert "Log backup is off" in text
    assert "patch day" in text
    assert web.get(URL).status_code == 200, "an address that is opened again answers"


def test_anyway_sends_the_others_too(web: Client, make_cluster: MakeCluster) -> None:
    clusters = off(make_cluster, 2)
    assert send(web, clusters).status_code == 409
    text = tight(send(web, clusters, reason="typed text").content.decode())
    assert "None of the 2 selected clusters is ready." in text
    assert 'value="typed text"' in text
    batch = made(web, clusters, anyway="1")
    assert {item.state for item in batch.items.all()} == {"waiting"}


def test_the_same_form_sent_twice_is_one_batch(web: Client, make_cluster: MakeCluster) -> None:
    make_cluster()
    for _ in range(2):
        made(web, query="show=present", idempotency_key=KEY)
    assert Batch.objects.count() == 1
    response = send(web, query="show=present", idempotency_key=KEY, reason="another")
    assert response.status_code == 409
    assert "has its batch" in response.content.decode()


def test_a_required_reason_is_asked_for(
    web: Client, make_cluster: MakeCluster, settings: Any
) -> None:
    settings.BACKUP_REASON_REQUIRED = True
    make_cluster()
    response = send(web)
    assert response.status_code == 422
    assert "A reason is required for every backup." in response.content.decode()
    assert made(web, reason="upgrade").reason == "upgrade"


def test_a_form_of_another_site_is_refused(anna: User, make_cluster: MakeCluster) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(anna)
    assert send(strict, [make_cluster()]).status_code == 403
    assert not Batch.objects.exists()


# --- a batch -------------------------------------------------------------------------------------


def finish(run: BackupRun, state: str, **columns: Any) -> None:
    now = timezone.now()
    BackupRun.objects.filter(pk=run.pk).update(
        state=state, sent_at=now, answered_at=now, finished_at=now, **columns
    )


def test_the_page_counts_outcomes_and_says_what_to_do_about_refusals(
    web: Client, make_cluster: MakeCluster
) -> None:
    for _ in range(4):
        make_cluster()
    batch = made(web)
    advance()
    one, two, three, four = batch_runs(batch)
    finish(one, "succeeded", outcome="accepted")
    for run in (two, three):
        finish(run, "rejected", outcome="precondition_failed", http_status=412)
    text = tight(web.get(f"/batches/{batch.pk}/").content.decode())
    assert "3 of 4 clusters done" in text
    assert 'max="4" value="3"' in text
    assert "Rejected: Precondition failed" in text
    assert f"?batch={batch.pk}&amp;window=all&amp;state=rejected" in text
    assert "data-live-active" in text
    assert transition(four, RunState.CANCELLED, actor="test")
    advance()
    text = tight(web.get(f"/batches/{batch.pk}/").content.decode())
    assert "4 of 4 clusters done" in text
    assert "data-live-active" not in text
    document = json.loads(web.get(f"/batches/{batch.pk}.json").content)
    assert document["runs"] == {"succeeded": 1, "rejected": 2, "cancelled": 1}
    assert document["refusals"][0]["count"] == 2
    assert document["finished_at"]


def batch_runs(batch: Batch) -> list[BackupRun]:
    return list(BackupRun.objects.filter(batch_items__batch=batch).order_by("pk"))


def test_the_page_is_swapped_only_when_something_has_changed(
    web: Client, make_cluster: MakeCluster
) -> None:
    make_cluster()
    batch = made(web)
    Batch.objects.update(requested_at=timezone.now() - timedelta(minutes=5))
    page = web.get(f"/batches/{batch.pk}/").content.decode()
    shown = page.split('data-live="')[1].split('"')[0]
    live = f"/batches/{batch.pk}/live/?shown={shown}"
    assert web.get(live).status_code == 204
    advance()
    response = web.get(live)
    assert response.status_code == 200
    assert 'hx-swap-oob="true"' in response.content.decode()


def test_history_lists_the_runs_of_a_batch(web: Client, make_cluster: MakeCluster) -> None:
    inside, outside = make_cluster("in-it"), make_cluster("not-in-it")
    batch = made(web, [inside])
    made(web, [outside])
    advance()
    text = web.get(f"/history/?batch={batch.pk}&window=all").content.decode()
    assert "in-it" in text
    assert "not-in-it" not in text
    [run] = batch_runs(batch)
    assert f'href="/batches/{batch.pk}/"' in web.get(run.get_absolute_url()).content.decode()
    assert web.get("/history/?batch=x").status_code == 400


def test_cancelling_and_requesting_the_failed_again(web: Client, make_cluster: MakeCluster) -> None:
    for _ in range(2):
        make_cluster()
    batch = made(web)
    response = web.post(f"/batches/{batch.pk}/cancel/", follow=True)
    assert "2 clusters were cancelled before their requests were sent." in tight(
        response.content.decode()
    )
    response = web.post(f"/batches/{batch.pk}/cancel/", follow=True)
    assert "Nothing of this batch is waiting any more." in response.content.decode()
    response = web.post(f"/batches/{batch.pk}/retry/", follow=True)
    assert "No cluster is selected" in response.content.decode()
    failing = made(web)
    advance()
    finish(batch_runs(failing)[0], "failed")
    page = web.get(f"/batches/{failing.pk}/").content.decode()
    assert "Back up the failed one again" in page
    response = web.post(f"/batches/{failing.pk}/retry/", {"idempotency_key": KEY})
    again = Batch.objects.latest("pk")
    assert response.headers["Location"] == f"/batches/{again.pk}/"
    assert f"batch {failing.pk}</a>" in web.get(f"/batches/{again.pk}/").content.decode()
    assert f"batch {again.pk}</a>" in web.get(f"/batches/{failing.pk}/").content.decode()


def test_the_list_has_the_newest_first_and_older_pages(
    web: Client, make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backups.views import batches

    assert "No batch yet" in web.get(URL).content.decode()
    make_cluster()
    numbers = [made(web, query=QueryDict().urlencode()).pk for _ in range(3)]
    monkeypatch.setattr(batches, "MOST_LISTED", 2)
    text = web.get(URL).content.decode()
    assert f"?before={numbers[1]}" in text
    assert f"/batches/{numbers[0]}/" not in text
    assert f"/batches/{numbers[0]}/" in web.get(f"{URL}?before={numbers[1]}").content.decode()


def test_the_same_selection_is_labelled_with_what_was_wrong_said_and_kept(
    client: Client, make_cluster: MakeCluster, db: None
) -> None:
    clusters = [make_cluster(), make_cluster()]
    client.force_login(give(User.objects.create_user("root"), Role.ADMIN))
    text = preview(client, "q=cluster")
    assert "/batches/new/?q=cluster&amp;show=present&amp;work=label" in text
    assert 'name="labels"' in preview(client, "q=cluster&work=label")
    sent = {"query": "q=cluster&show=present", "work": "label"}
    refused = client.post(URL, {**sent, "labels": "no good key!", "remove": "kept"})
    assert refused.status_code == 422
    assert 'value="kept"' in refused.content.decode()
    assert client.post(URL, sent).status_code == 409, "neither set nor removed"
    batch = made(client, labels="env=prod", **sent)
    advance()
    text = tight(client.get(f"/batches/{batch.pk}/").content.decode())
    assert f"Batch {batch.pk}: Label" in text
    assert "2 of 2 clusters done" in text
    assert "Its runs" not in text
    for cluster in clusters:
        assert "env=prod" in [str(tag) for tag in cluster.tags.all()]


def test_log_backup_settings_are_previewed_before_they_are_sent(
    client: Client, make_cluster: MakeCluster, db: None
) -> None:
    twins = [make_cluster(), make_cluster()]
    Cluster.objects.filter(pk__in=[each.pk for each in twins]).update(name="twin <b>")
    client.force_login(give(User.objects.create_user("root"), Role.ADMIN))
    first = preview(client, "work=settings")
    assert 'value="css/log/{cluster}"' in first
    assert 'id="preview"' in first
    assert 'id="send-ready"' not in first
    values = {"bucket": "logs", "base_path": "css/{cluster}", "agency": "css", "stop_after": "3"}
    sent = {"query": "", "work": "settings", "reason": "new bucket", **values}
    refused = send(client, **{**sent, "bucket": "No"})
    assert (refused.status_code, "OBS bucket: Enter 3" in refused.content.decode()) == (422, True)
    text = tight(send(client, **sent).content.decode())
    assert not Batch.objects.exists(), "the first answer is the preview"
    # "<" is no valid character of a path
    assert 'id="invalid-paths"' in text
    assert "twin &lt;b&gt;" in text
    Cluster.objects.filter(pk__in=[each.pk for each in twins]).update(name="twin")
    text = tight(send(client, **sent).content.decode())
    assert 'id="shared-paths"' in text
    assert '<bdi class="mono">css/twin</bdi>' in text
    assert "Change log backup: 2 clusters" in text
    previewed = text.split('name="previewed" value="')[1].split('"')[0]
    text = send(client, **{**sent, "base_path": "other", "previewed": previewed}).content.decode()
    assert 'value="other"' in text
    assert not Batch.objects.exists(), "other values than those of the preview"
    batch = made(client, **sent, previewed=previewed)
    assert batch.values == {**values, "stop_after": 3}
    items = batch.items.order_by("pk")
    items.filter(cluster=twins[0]).update(state="failed", code="CSS.0048", note="no <bucket>")
    items.filter(cluster=twins[1]).update(state="cancelled", cause="stopped", code="CSS.0048")
    text = tight(client.get(f"{URL}{batch.pk}/").content.decode())
    assert "Stopped after 3 failures of one kind (CSS.0048): 1 cluster was not changed." in text
    assert "Failed.<bdi>no &lt;bucket&gt;</bdi>" in text
    document = client.get(f"{URL}{batch.pk}.json").json()
    assert document["failed_work"] == 1
    assert document["answers"] == [
        {
            "cluster_id": twins[0].cluster_id,
            "cluster": "twin",
            "state": "failed",
            "code": "CSS.0048",
            "note": "no <bucket>",
        }
    ]


@pytest.mark.parametrize("work", ["settings", "label", "objective", "archive"])
def test_work_that_an_operator_may_not_do_is_neither_offered_nor_done(
    web: Client, make_cluster: MakeCluster, work: str
) -> None:
    make_cluster()
    assert f"work={work}" not in preview(web)
    assert "work=check" in preview(web)
    assert web.get(f"{NEW}?work={work}").status_code == 403
    assert send(web, work=work, labels="a", hours="5", reason="why").status_code == 403
    assert web.get(f"{NEW}?work=steal").status_code == 400


def test_busy_clusters_can_be_waited_for(web: Client, make_cluster: MakeCluster) -> None:
    free = make_cluster("free")
    busy = make_cluster("busy", readiness="busy", checked_at=timezone.now())
    text = tight(web.get(f"/batches/new/?cluster={free.pk}&cluster={busy.pk}").content.decode())
    assert "Back up 2, the busy ones once they are free" in text
    batch = made(web, [free, busy], wait="1", wait_minutes="30")
    assert set(batch.items.values_list("state", flat=True)) == {"waiting"}
    assert batch.waits_until is not None
    assert made(web, [free, busy], wait_minutes="30").waits_until is None
    wrong = {"cluster": [busy.pk], "wait": "1", "wait_minutes": "-1", "idempotency_key": "k" * 20}
    assert web.post("/batches/", wrong).status_code == 422
