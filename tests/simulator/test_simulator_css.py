"""CSS: lists and paging, the life of a log backup job, log settings."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest
from simulator_access import Css, StartSimulator

from simulator.client import SimulatorControl
from simulator.server import Simulator

SETTINGS = {"agency": "css_obs_agency", "log_base_path": "css/log", "log_bucket": "bucket"}


def test_the_cluster_list_is_paged_by_item_index_newest_first(
    control: SimulatorControl, css: Css
) -> None:
    ids = control.add_clusters(25)
    first = css.call("GET", "").json()
    assert first["totalSize"] == 25
    assert [each["id"] for each in first["clusters"]] == ids[:14:-1]

    for name in ("offset", "start"):
        last = css.call("GET", "", params={name: 21, "limit": 10}).json()["clusters"]
        assert [each["id"] for each in last] == ids[4::-1]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"start": 0}, {"offset": "x"}])
def test_paging_out_of_range_is_a_bad_request(css: Css, query: dict[str, object]) -> None:
    answer = css.call("GET", "", params=query)
    assert (answer.status_code, answer.json()["errCode"]) == (400, "CSS.5038")


def test_the_detail_is_the_cluster_itself(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop", engine="opensearch", actions=["GROWING"])
    detail = css.call("GET", f"/{cluster_id}").json()
    assert detail["name"] == "shop"
    assert detail["datastore"]["type"] == "opensearch"
    assert detail["actions"] == ["GROWING"]


def test_a_missing_cluster_is_403_css_0015(css: Css) -> None:
    for path in ("/no-such-cluster", "/no-such-cluster/logs/records"):
        answer = css.call("GET", path)
        assert (answer.status_code, answer.json()["errCode"]) == (403, "CSS.0015")


def test_a_collect_is_answered_empty_and_its_running_record_is_there_at_once(
    control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop")
    answer = css.collect(cluster_id)
    assert (answer.status_code, answer.content) == (200, b"")

    [record] = css.records(cluster_id)
    assert record["status"] == "RUNNING"
    assert record["jobTypes"] == "Manual"
    assert record["finishedAt"] is None
    [entry] = control.ledger(endpoint="collect")
    assert entry.job_id == record["jobId"]
    assert entry.request_id == answer.headers["X-Request-Id"]

    control.end_jobs(cluster_id)
    [record] = css.records(cluster_id)
    assert record["status"] == "SUCCESS"
    assert record["finishedAt"] >= record["createAt"]


def test_of_many_collects_at_once_one_is_taken(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: Css(css.simulator).collect(cluster_id), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    conflict = next(answer for answer in answers if answer.status_code == 409)
    assert conflict.json()["errCode"] == "CSS.3004"
    assert len(control.cluster(cluster_id).jobs) == 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"actions": ["SNAPSHOTTING"]}, 409, "CSS.0011"),
        ({"log_backup": False}, 412, "CSS.0004"),
        ({"log_backup": None}, 412, "CSS.0004"),
        ({"status": "100"}, 400, "CSS.5090"),
    ],
)
def test_a_cluster_that_cannot_be_backed_up_says_why(
    control: SimulatorControl, css: Css, fields: dict[str, object], status: int, code: str
) -> None:
    answer = css.collect(control.add_cluster("shop", **fields))
    assert (answer.status_code, answer.json()["errCode"]) == (status, code)


def test_jobs_of_the_schedule_and_of_the_console_hold_the_cluster(
    control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop")
    for job_type in ("Auto", "Manual"):
        job_id = control.start_job(cluster_id, job_type, duration="never")
        assert css.collect(cluster_id).status_code == 409
        assert css.records(cluster_id)[0]["jobId"] == job_id
        assert control.end_jobs(cluster_id, "stopped by hand") == 1
    assert [each["jobTypes"] for each in css.records(cluster_id)] == ["Manual", "Auto"]
    assert css.records(cluster_id)[0]["failedMsg"] == "stopped by hand"


def test_records_are_filtered_and_paged(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    for number in range(12):
        control.start_job(cluster_id, duration=0, failed_message="full" if number % 2 else "")
    assert len(css.records(cluster_id)) == 10
    assert len(css.records(cluster_id, start=11)) == 2
    assert {each["status"] for each in css.records(cluster_id, status="FAIL")} == {"FAIL"}
    assert {each["status"] for each in css.records(cluster_id, status="NOT_FAIL")} == {"SUCCESS"}


def test_the_cloud_writes_times_on_its_own_clock(
    simulator: Simulator, control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop", stamps="string")
    control.set_clock(-420.0)
    answer = css.collect(cluster_id)
    here = time.time()
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == pytest.approx(
        here - 420, abs=30
    )
    stamp = css.records(cluster_id)[0]["createAt"]
    assert isinstance(stamp, str)
    assert int(stamp) / 1000 == pytest.approx(here - 420, abs=30)
    assert simulator.clock.offset == -420.0


@pytest.mark.parametrize(
    "names", [("log_base_path", "log_bucket"), ("logBasePath", "logBucket"),
              ("log_base_path", "log_Bucket")],
)  # fmt: skip
def test_log_backup_is_switched_on_whatever_the_spelling(
    control: SimulatorControl, css: Css, names: tuple[str, str]
) -> None:
    cluster_id = control.add_cluster("shop", log_backup=None)
    body = {"agency": "css_obs_agency", names[0]: "css/log", names[1]: "bucket"}
    assert css.call("GET", f"/{cluster_id}/logs/settings").json()["logConfiguration"] is None

    answer = css.call("POST", f"/{cluster_id}/logs/open", json=body)
    assert (answer.status_code, answer.content) == (200, b"")
    settings = css.call("GET", f"/{cluster_id}/logs/settings").json()["logConfiguration"]
    assert (settings["obsBucket"], settings["basePath"]) == ("bucket", "css/log")
    assert settings["logSwitch"] is True
    assert css.collect(cluster_id).status_code == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"agency": "no spaces"}, "CSS.5130"),
        ({"log_base_path": "/css"}, "CSS.0001"),
        ({"log_base_path": "x" * 513}, "CSS.0001"),
        ({"log_bucket": ""}, "CSS.0048"),
        ({"auto_enable": True, "period": "00:30 GMT+01:00"}, "CSS.5018"),
    ],
)
def test_settings_that_break_a_rule_are_refused(
    control: SimulatorControl, css: Css, change: dict[str, object], code: str
) -> None:
    cluster_id = control.add_cluster("shop")
    answer = css.call("POST", f"/{cluster_id}/logs/settings", json={**SETTINGS, **change})
    assert (answer.status_code, answer.json()["errCode"]) == (400, code)


def test_the_automatic_policy_is_set_and_lifted(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    period = {"period": "05:00 GMT+02:00"}
    assert css.call("POST", f"/{cluster_id}/logs/policy/update", json=period).status_code == 200
    settings = css.call("GET", f"/{cluster_id}/logs/settings").json()["logConfiguration"]
    assert (settings["autoEnable"], settings["period"]) == (True, "05:00 GMT+02:00")
    assert css.call("PUT", f"/{cluster_id}/logs/policy/close").status_code == 200
    settings = css.call("GET", f"/{cluster_id}/logs/settings").json()["logConfiguration"]
    assert (settings["autoEnable"], settings["period"]) == (False, None)


def test_switching_log_backup_off_forgets_the_failures_only(
    control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop")
    control.start_job(cluster_id, duration=0, failed_message="full")
    kept = control.start_job(cluster_id, duration=0)
    assert css.call("PUT", f"/{cluster_id}/logs/close").status_code == 200
    assert [each["jobId"] for each in css.records(cluster_id)] == [kept]
    again = css.call("PUT", f"/{cluster_id}/logs/close")
    assert (again.status_code, again.json()["errCode"]) == (415, "CSS.0004")


def test_log_search_gives_lines_of_the_level_asked_for(control: SimulatorControl, css: Css) -> None:
    cluster_id = control.add_cluster("shop")
    node = css.call("GET", f"/{cluster_id}").json()["instances"][0]["name"]
    body = {"instance_name": node, "log_type": "instance", "level": "WARN|ERROR", "limit": 5}
    found = css.call("POST", f"/{cluster_id}/logs/search", json=body).json()
    assert len(found["logList"]) == 5
    assert {line["level"] for line in found["logList"]} <= {"WARN", "ERROR"}
    wrong = css.call("POST", f"/{cluster_id}/logs/search", json={**body, "log_type": "gc"})
    assert wrong.status_code == 400


def test_cluster_ids_outlive_the_simulator(start_simulator: StartSimulator) -> None:
    first, second = (start_simulator(demo=True, clusters=3) for _ in range(2))
    assert [c.id for c in first.cloud.clusters()] == [c.id for c in second.cloud.clusters()]
    assert len(first.cloud.clusters()) > 15
