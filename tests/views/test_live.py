"""How pages keep themselves up to date: only what has changed is answered."""

from __future__ import annotations

import re

import pytest
from django.db.models import F
from django.test import Client

from backups.choices import RunState
from backups.models import ApiCall, BackupRun, Cluster, RunEvent
from backups.services.runs.transitions import transition
from tests.views.conftest import MakeCluster, MakeRun


def shown(client: Client, url: str) -> str:
    """What live.js would say that the page shows."""
    tokens = re.findall(r'\sdata-live="([^"]+)"', client.get(url).content.decode())
    assert tokens
    return ",".join(dict.fromkeys(tokens))


def live_url(client: Client, url: str) -> str:
    match = re.search(r'data-live-url="([^"]+)"', client.get(url).content.decode())
    assert match
    return match[1]


def ask(client: Client, url: str, tokens: str) -> tuple[int, str]:
    response = client.get(live_url(client, url), {"shown": tokens} | _query(client, url))
    assert response.headers.get("X-Live") == "1"
    return response.status_code, response.content.decode()


def _query(client: Client, url: str) -> dict[str, str]:
    match = re.search(r"newest=([^&\"]+)", live_url(client, url))
    return {"newest": match[1]} if match else {}


@pytest.mark.parametrize("url", ["/clusters/", "/history/", "run"])
def test_nothing_changed_is_an_empty_answer(web: Client, make_run: MakeRun, url: str) -> None:
    run = make_run()
    url = run.get_absolute_url() if url == "run" else url
    assert ask(web, url, shown(web, url)) == (204, "")


@pytest.mark.parametrize("url", ["/clusters/", "/history/", "run"])
def test_a_step_of_a_run_is_answered_at_the_next_question(
    web: Client, make_run: MakeRun, url: str
) -> None:
    run = make_run()
    url = run.get_absolute_url() if url == "run" else url
    before = shown(web, url)
    assert transition(run, RunState.SENDING, actor="worker")
    status, text = ask(web, url, before)
    assert status == 200
    assert "Sending" in text
    assert 'hx-swap-oob="true"' in text
    after = dict.fromkeys(re.findall(r'\sdata-live="([^"]+)"', text))
    assert ask(web, url, ",".join(after))[0] == 204


def test_only_the_rows_that_changed_are_answered(
    web: Client, make_run: MakeRun, make_cluster: MakeCluster
) -> None:
    run, other = make_run(), make_cluster()
    before = shown(web, "/clusters/")
    assert transition(run, RunState.CANCELLED, actor="anna")
    text = ask(web, "/clusters/", before)[1]
    assert f'id="cluster-{run.cluster_id}"' in text
    assert f'id="cluster-{other.pk}"' not in text


def test_a_new_run_and_a_new_status_of_a_cluster_change_its_row(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    cluster = make_cluster()
    before = shown(web, "/clusters/")
    Cluster.objects.filter(pk=cluster.pk).update(status="100")
    assert "Creating" in ask(web, "/clusters/", before)[1]
    before = shown(web, "/clusters/")
    make_run(cluster)
    assert "Queued" in ask(web, "/clusters/", before)[1]


def test_the_history_says_how_many_runs_are_new(web: Client, make_run: MakeRun) -> None:
    old = make_run(state="succeeded")
    url, before = live_url(web, "/history/"), shown(web, "/history/")
    assert web.get(f"{url}&shown={before}").status_code == 204
    make_run(old.cluster, state="failed")
    make_run(old.cluster, state="failed")
    text = web.get(f"{url}&shown={before}").content.decode()
    assert "2 new runs" in text
    assert web.get(f"{url}&shown=0:2").status_code == 204


def test_a_note_or_a_call_without_a_new_version_still_reaches_the_run_page(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run(state="accepted")
    url = run.get_absolute_url()
    before = shown(web, url)
    RunEvent.objects.create(run=run, to_state="accepted", from_state="accepted", note="asked again")
    assert "asked again" in ask(web, url, before)[1]
    before = shown(web, url)
    call = ApiCall.objects.create(
        run=run,
        attempt=1,
        purpose="records",
        method="GET",
        path="/r",
        started_at=run.requested_at,
    )
    assert "no answer stored" in ask(web, url, before)[1]
    before = shown(web, url)
    ApiCall.objects.filter(pk=call.pk).update(finished_at=F("started_at"), status=200)
    assert "HTTP 200" in ask(web, url, before)[1]


@pytest.mark.parametrize(
    "query",
    [
        "shown=x",
        "shown=1",
        "shown=1:<b>",
        "shown=-1:2",
        "shown=99999999999999999999:1",
        "shown=%00",
        "shown=" + ",".join(f"{n}:0" for n in range(201)),
        "shown=" + "9" * 20_000,
        "shown=%D9%A1:1",
    ],
)
def test_a_hostile_question_is_a_400(web: Client, make_run: MakeRun, query: str) -> None:
    run = make_run()
    for url in ("/clusters/live/", "/history/live/", f"/runs/{run.pk}/live/"):
        assert web.get(f"{url}?{query}").status_code == 400


def test_a_bad_place_in_the_history_is_a_400(web: Client) -> None:
    assert web.get("/history/live/?shown=0:0&newest=x").status_code == 400


def test_unknown_numbers_are_no_rows(web: Client, make_run: MakeRun) -> None:
    make_run()
    huge = "999999999999999999:0"
    assert web.get(f"/clusters/live/?shown={huge}").status_code == 204
    assert web.get(f"/history/live/?shown={huge}").status_code == 204
    assert web.get("/runs/999999/live/?shown=1:0").status_code == 404


def test_a_quiet_poll_of_fifty_rows_costs_six_queries(
    web: Client, make_run: MakeRun, django_assert_num_queries: object
) -> None:
    for _ in range(50):
        make_run()
    tokens = shown(web, "/clusters/")
    with django_assert_num_queries(6):  # type: ignore[operator]
        assert web.get("/clusters/live/", {"shown": tokens}).status_code == 204


def test_a_visitor_is_not_answered(client: Client, make_run: MakeRun) -> None:
    make_run()
    assert client.get("/clusters/live/?shown=1:0").status_code == 302
    assert BackupRun.objects.count() == 1
