"""Scripted faults on the wire: what the client sees, and whether the job exists all the same."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import requests
from simulator_access import Css, StartSimulator

from chaos.stack import until
from simulator.client import ControlError, SimulatorControl
from simulator.faults import HUGE_BYTES, PRESETS


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_answers_without_a_job_as_often_as_asked(
    control: SimulatorControl, css: Css, preset: str
) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("status", cluster_id, preset=preset, times=1)
    expected = PRESETS[preset]("")
    answer = css.collect(cluster_id)
    assert answer.status_code == expected.status
    assert answer.headers["Content-Type"] == dict(expected.headers)["Content-Type"]
    assert answer.headers["Server"].startswith("css-simulator/")
    assert css.records(cluster_id) == []
    assert css.collect(cluster_id).content == b""
    first, second = control.ledger(endpoint="collect")
    assert (first.processed, first.faults, second.processed) == (False, ("status",), True)


def test_faults_for_one_slot_take_turns(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("status", cluster_id, preset="throttled", times=2)
    control.fault("status", cluster_id, status=418, body="teapot", headers={"X-A": "b"}, times=1)
    answers = [css.collect(cluster_id) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 429, 418, 200]
    assert answers[0].headers["Retry-After"] == "2"
    assert (answers[2].text, answers[2].headers["X-A"]) == ("teapot", "b")


@pytest.mark.parametrize(
    ("kind", "processed"),
    [("reset_before", False), ("reset_after", True), ("hang_before", False), ("hang_after", True)],
)
def test_an_answer_that_never_comes_says_nothing_about_the_job(
    control: SimulatorControl, css: Css, kind: str, processed: bool
) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault(kind, cluster_id)
    error = requests.ConnectionError if "reset" in kind else requests.ReadTimeout
    with pytest.raises(error):
        css.collect(cluster_id, timeout=(5, 0.3) if "hang" in kind else 5)
    [entry] = control.ledger(endpoint="collect")
    assert (entry.ending, entry.status) == (kind.partition("_")[0], None)
    assert entry.processed is processed
    assert len(css.records(cluster_id)) == processed


def test_a_gateway_error_can_hide_a_job_that_started(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("error_after", cluster_id, preset="bad_gateway")
    assert css.collect(cluster_id).status_code == 502
    assert [each["status"] for each in css.records(cluster_id)] == ["RUNNING"]
    [entry] = control.ledger(endpoint="collect")
    assert (entry.status, entry.processed) == (502, True)


def test_a_503_can_hide_a_job_that_started(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("error_after", cluster_id, preset="unavailable", times=1)
    answer = css.collect(cluster_id)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert css.collect(cluster_id).status_code == 409  # the job is there
    first, second = control.ledger(endpoint="collect")
    assert (first.processed, second.processed) == (True, False)


@pytest.mark.parametrize("kind", ["error_after", "reset_after"])
def test_a_request_can_be_processed_after_it_was_given_up(
    control: SimulatorControl, css: Css, kind: str
) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault(kind, cluster_id)
    control.fault("process_later", cluster_id, seconds=0.5)
    if kind == "error_after":
        assert css.collect(cluster_id).status_code == 504
    else:
        with pytest.raises(requests.ConnectionError):
            css.collect(cluster_id)
    [entry] = control.ledger(endpoint="collect")
    assert (entry.effect_pending, entry.processed) == (True, False)
    assert css.records(cluster_id) == []
    assert until(lambda: not control.ledger(endpoint="collect")[0].effect_pending, 10)
    [entry] = control.ledger(endpoint="collect")
    assert [job.job_id for job in control.cluster(cluster_id).jobs] == [entry.job_id]
    assert [each["status"] for each in css.records(cluster_id)] == ["RUNNING"]


def test_what_is_processed_later_finds_the_cluster_as_it_is_then(
    control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("error_after", cluster_id, times=1)
    control.fault("process_later", cluster_id, seconds=0.3, times=1)
    assert css.collect(cluster_id).status_code == 504
    assert css.collect(cluster_id).status_code == 200  # is faster
    assert until(lambda: not control.ledger(endpoint="collect")[0].effect_pending, 10)
    first, second = control.ledger(endpoint="collect")
    assert (first.processed, second.processed) == (False, True)


def test_an_answer_can_lack_its_date_or_have_a_wrong_one(
    control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop")
    control.set_clock(60.0)
    control.fault("no_date", cluster_id, times=1)
    control.fault("wrong_date", cluster_id, seconds=-3600, times=1)
    without, wrong, right = (css.collect(cluster_id).headers.get("Date") for _ in range(3))
    assert without is None
    behind = parsedate_to_datetime(right) - parsedate_to_datetime(wrong)
    assert behind.total_seconds() == pytest.approx(3600, abs=5)
    # jobs' times stay those of the cloud's clock
    [record] = css.records(cluster_id)
    created = datetime.fromtimestamp(record["createAt"] / 1000, UTC)
    assert (parsedate_to_datetime(right) - created).total_seconds() == pytest.approx(0, abs=5)


def test_it_is_told_when_a_record_will_be_listed(control: SimulatorControl, css: Css) -> None:
    waits = {}
    for kind in ("late_record", "no_record", "late_fail"):
        cluster_id = control.add_cluster(kind)
        control.fault(kind, cluster_id, seconds=3600)
        css.collect(cluster_id)
        [job] = control.cluster(cluster_id).jobs
        waits[kind] = job.listed_in
    assert waits["late_record"] == pytest.approx(3600, abs=10)
    assert (waits["no_record"], waits["late_fail"]) == (None, 0)


def test_it_is_told_when_a_job_started_by_the_clock_of_the_ledger(
    control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop")
    control.set_clock(-900.0)
    css.collect(cluster_id)
    [job], [entry] = control.cluster(cluster_id).jobs, control.ledger(endpoint="collect")
    assert job.started_at == pytest.approx(entry.time, abs=2)
    assert job.created_ms / 1000 == pytest.approx(entry.time - 900, abs=2)


def test_a_slow_answer_comes_late_although_the_job_is_there(
    control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("slow", cluster_id, seconds=0.4)
    assert css.collect(cluster_id).elapsed.total_seconds() >= 0.4


def test_an_answer_drips_byte_by_byte(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("drip", cluster_id, endpoint="settings", seconds=0.0005)
    answer = css.call("GET", f"/{cluster_id}/logs/settings")
    assert answer.json()["logConfiguration"]["logSwitch"] is True
    assert answer.elapsed.total_seconds() > 0.05


@pytest.mark.parametrize("body_kind", ["", "html", "huge"])
def test_a_truncated_answer_breaks_off(control: SimulatorControl, css: Css, body_kind: str) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("truncated", cluster_id)
    if body_kind:
        control.fault("status", cluster_id, status=200, body_kind=body_kind)
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        css.collect(cluster_id)
    assert control.ledger(endpoint="collect")[0].ending == "truncated"


def test_a_redirect_leads_elsewhere(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("redirect", cluster_id, location="http://127.0.0.1:9/login")
    answer = css.collect(cluster_id)
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://127.0.0.1:9/login")
    assert css.records(cluster_id) == []


def test_a_job_can_fail_late(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault("late_fail", cluster_id, message="bucket is full", seconds=0)
    assert css.collect(cluster_id).status_code == 200
    [record] = css.records(cluster_id)
    assert (record["status"], record["failedMsg"]) == ("FAIL", "bucket is full")


@pytest.mark.parametrize("kind", ["late_record", "no_record"])
def test_a_record_can_be_missing_while_its_job_holds_the_cluster(
    control: SimulatorControl, css: Css, kind: str
) -> None:
    cluster_id = control.add_cluster("shop")
    control.fault(kind, cluster_id, seconds=3600)
    assert css.collect(cluster_id).status_code == 200
    assert css.records(cluster_id) == []
    assert [job.listed for job in control.cluster(cluster_id).jobs] == [False]
    assert css.collect(cluster_id).status_code == 409


def test_a_stuck_job_runs_until_it_is_ended(start_simulator: StartSimulator) -> None:
    simulator = start_simulator(job_seconds=0.0)
    control, css = SimulatorControl(simulator.url), Css(simulator)
    cluster_id = control.add_cluster("shop")
    control.fault("stuck_running", cluster_id, times=1)
    css.collect(cluster_id)
    assert css.records(cluster_id)[0]["status"] == "RUNNING"
    control.end_jobs(cluster_id)
    css.collect(cluster_id)
    assert [each["status"] for each in css.records(cluster_id)] == ["SUCCESS", "SUCCESS"]


def test_bodies_that_hurt(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    bodies = {}
    for kind in ("empty", "not_json", "huge", "hostile", "gzip_bomb", "invalid_utf8"):
        control.fault("status", cluster_id, status=200, body_kind=kind, times=1)
        answer = css.collect(cluster_id, stream=True)
        bodies[kind] = answer.raw.read(decode_content=False)
        answer.close()
    assert bodies["empty"] == b""
    assert len(bodies["huge"]) >= HUGE_BYTES
    assert b"<script>" in bodies["hostile"]
    assert bodies["gzip_bomb"].startswith(b"\x1f\x8b")
    assert len(bodies["gzip_bomb"]) < 100_000
    with pytest.raises(UnicodeDecodeError):
        bodies["invalid_utf8"].decode()


def test_the_token_endpoint_and_the_list_fail_for_everyone(
    control: SimulatorControl, css: Css
) -> None:
    control.fault("status", endpoint="list", preset="unavailable", times=1)
    control.fault("status", endpoint="token", preset="error_500", times=1)
    assert css.call("GET", "").status_code == 503
    assert css.call("GET", "").status_code == 200
    answer = requests.post(f"{css.simulator.url}/v3/auth/tokens", json={}, timeout=5)
    assert answer.status_code == 500


def test_faults_by_chance_follow_the_seed(start_simulator: StartSimulator) -> None:
    courses = []
    for _ in range(2):
        simulator = start_simulator(seed=7)
        control, css = SimulatorControl(simulator.url), Css(simulator)
        control.fault("status", endpoint="list", preset="unavailable", probability=0.5)
        courses.append([css.call("GET", "").status_code for _ in range(20)])
    assert courses[0] == courses[1]
    assert set(courses[0]) == {200, 503}


def test_a_region_can_refuse_connections_and_come_back(start_simulator: StartSimulator) -> None:
    simulator = start_simulator(regions=("eu-de", "eu-nl"))
    control, css = SimulatorControl(simulator.url), Css(simulator, "eu-nl")
    cluster_id = control.add_cluster("shop", region="eu-nl")
    assert css.collect(cluster_id).status_code == 200
    control.set_listening("eu-nl", listening=False)
    css.session.close()
    with pytest.raises(requests.ConnectionError, match="refused"):
        css.collect(cluster_id)
    control.set_listening("eu-nl", listening=True)
    assert css.collect(cluster_id).status_code == 409


def test_what_the_control_api_does_not_know_it_refuses(control: SimulatorControl) -> None:
    cluster_id = control.add_cluster("shop")
    for wrong in ({"kind": "earthquake"}, {"kind": "status"}, {"kind": "slow", "speed": 1}):
        with pytest.raises(ControlError, match=r"^400"):
            control.fault(wrong.pop("kind"), cluster_id, **wrong)
    with pytest.raises(ControlError, match=r"^404"):
        control.fault("slow", "no-such-cluster")
    with pytest.raises(ControlError, match=r"^400"):
        control.add_cluster("shop", colour="red")
    assert control.faults() == []


def test_a_page_of_another_origin_cannot_steer_the_simulator(control: SimulatorControl) -> None:
    control.add_cluster("shop")
    url = f"{control._url}/reset"
    answer = requests.post(url, data="{}", headers={"Content-Type": "text/plain"}, timeout=5)
    assert answer.status_code == 400
    assert len(control.clusters()) == 1
    control.reset()
    assert control.clusters() == []


def test_stopping_ends_hanging_requests_at_once(start_simulator: StartSimulator) -> None:
    simulator = start_simulator()
    control, css = SimulatorControl(simulator.url), Css(simulator)
    cluster_id = control.add_cluster("shop")
    control.fault("hang_after", cluster_id)
    ended = threading.Event()

    def collect() -> None:
        with pytest.raises(requests.ConnectionError):
            css.collect(cluster_id, timeout=60)
        ended.set()

    thread = threading.Thread(target=collect)
    thread.start()
    while not control.ledger(endpoint="collect"):
        pass
    simulator.stop()
    assert ended.wait(5)
    thread.join()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", simulator.listeners["eu-de"].port), timeout=5)
