"""Every spelling of docs/css-api.md is read; what is wrong is named; nothing crashes."""

# ruff: noqa: E501  a case is a line of a table

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups.css_api import parse
from backups.css_api.parse import ShapeError
from backups.css_api.types import JobType, LogSettingsInfo, RecordStatus

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

CREATED = datetime(2022, 6, 24, 3, 53, 57, tzinfo=UTC)
RECORD = {
    "id": "d455a541-597e-4846-a6be-baad0ea361b1",
    "clusterId": "4213d908",
    "createAt": 1656042837000,
    "logPath": "css-backup-1610678043608/css/log",
    "status": "RUNNING",
    "finishedAt": None,
    "jobTypes": "Manual",
    "failedMsg": None,
    "jobId": "2c9080df7c171342017c5e0884f8011c",
}
SETTINGS = {
    "id": "00032118",
    "clusterId": "e3201ceb",
    "obsBucket": "my-bucket",
    "agency": "css_obs_agency",
    "updateAt": 1639624882000,
    "basePath": "css/log",
    "autoEnable": True,
    "period": "00:00 GMT+08:00",
    "logSwitch": True,
}
CLUSTER = {
    "id": "5b1ce123-2cc6-4b6f-a1cd-5e3d9c0f0b6a",
    "name": "es-1",
    "status": "200",
    "datastore": {"type": "elasticsearch", "version": "7.10.2", "unheardOf": [1]},
    "actions": ["REBOOTING", "NEVER_HEARD_OF"],
    "actionProgress": {"REBOOTING": "50%"},
    "instances": [{"id": "n1", "name": "es-1-ess-1", "type": "ess", "status": "200", "volume": {}}],
    "endpoint": "10.0.0.1:9200,10.0.0.2:9200",
    "created": "2023-10-09T02:07:13",
    "tags": [{"key": "team", "value": "search"}],
    "failedReason": {"errorCode": "CSS.6000", "errorMsg": "Failed to create"},
}


def record(**changes: object) -> Any:
    return parse.log_records({"clusterLogRecord": [{**RECORD, **changes}]}).rows[0]


def cluster(**changes: object) -> Any:
    return parse.cluster({**CLUSTER, **changes})


# --- Records -------------------------------------------------------------------------------------


def test_a_record_is_read() -> None:
    row = record()
    assert (row.record_id, row.job_id) == (RECORD["id"], RECORD["jobId"])
    assert (row.status, row.raw_status) == (RecordStatus.RUNNING, "RUNNING")
    assert row.job_type is JobType.MANUAL
    assert (row.created_at, row.finished_at) == (CREATED, None)
    assert row.log_path == RECORD["logPath"]


@pytest.mark.parametrize(
    "value",
    [1656042837000, 1656042837, "1656042837000", " 1656042837 ", 1656042837000.0, "1656042837.0",
     "2022-06-24T03:53:57", "2022-06-24T03:53:57Z", "2022-06-24T05:53:57+02:00", "2022-06-24 03:53:57"],
)  # fmt: skip
def test_a_time_is_read_in_every_spelling(value: object) -> None:
    assert record(createAt=value).created_at == CREATED


@pytest.mark.parametrize("name", ["createAt", "create_at", "createdAt", "created_at", "created"])
def test_a_time_is_found_under_every_name(name: str) -> None:
    row = {key: value for key, value in RECORD.items() if key != "createAt"} | {name: 1656042837000}
    assert parse.log_records({"clusterLogRecord": [row]}).rows[0].created_at == CREATED


@pytest.mark.parametrize("value", [None, "", 0, "0"])
def test_a_time_that_is_not_there_is_none(value: object) -> None:
    assert record(finishedAt=value).finished_at is None


@pytest.mark.parametrize(
    "value", ["yesterday", -5, 1e300, "9" * 20, True, [], {}, 10**40, float("inf")]
)
def test_a_record_whose_time_cannot_be_read_is_one_without(value: object) -> None:
    row = record(createAt=value, finishedAt=value)
    assert (row.created_at, row.finished_at) == (None, None)
    assert row.job_id == RECORD["jobId"]


@pytest.mark.parametrize(
    ("word", "status"),
    [("RUNNING", RecordStatus.RUNNING), ("success", RecordStatus.SUCCESS),
     ("FAIL", RecordStatus.FAIL), ("PAUSED", RecordStatus.UNRECOGNISED),
     (None, RecordStatus.UNRECOGNISED), (7, RecordStatus.UNRECOGNISED)],
)  # fmt: skip
def test_an_unknown_status_is_unrecognised(word: object, status: RecordStatus) -> None:
    assert record(status=word).status is status


def test_an_unknown_job_type_is_unrecognised() -> None:
    assert record(jobTypes="Lunar").job_type is JobType.UNRECOGNISED
    assert record(jobTypes="auto").job_type is JobType.AUTO


def test_a_failure_carries_its_message_on_one_line() -> None:
    assert record(status="FAIL", failedMsg="no\nbucket\x00").failed_message == "no bucket"


@pytest.mark.parametrize("odd", [{}, {"id": None}, {"id": "x", "status": []}, "junk", None, 5])
def test_a_record_that_cannot_be_read_proves_nothing_and_spoils_no_other(odd: object) -> None:
    rows = {"clusterLogRecord": [odd, RECORD, odd]}
    first, whole, last = parse.log_records(rows).rows
    assert whole.job_id == RECORD["jobId"]
    for row in (first, last):
        assert (row.status, row.job_type) == (RecordStatus.UNRECOGNISED, JobType.UNRECOGNISED)
        assert (row.job_id, row.created_at) == ("", None)
    assert first.record_id != last.record_id
    assert parse.log_records(rows).rows == (first, whole, last)


def test_snake_case_records_are_read() -> None:
    row = {
        "id": "r",
        "job_id": "j",
        "status": "SUCCESS",
        "finished_at": 1656042837,
        "failed_msg": "x",
    }
    page = parse.log_records({"cluster_log_record": [row], "total_size": "1"})
    assert (page.rows[0].job_id, page.rows[0].finished_at, page.total) == ("j", CREATED, 1)


@pytest.mark.parametrize(
    ("document", "total"),
    [({"clusterLogRecord": []}, None), ({"clusterLogRecord": None}, None),
     ({"clusterLogRecord": [], "totalSize": 0}, 0), ({"totalSize": 0}, 0)],
)  # fmt: skip
def test_no_records_is_an_empty_page(document: object, total: int | None) -> None:
    assert parse.log_records(document) == parse.ListPage((), total)


# --- Settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket", "path"),
    [("obsBucket", "basePath"), ("logBucket", "logBasePath"), ("log_bucket", "log_base_path"),
     ("log_Bucket", "base_path")],
)  # fmt: skip
def test_settings_are_read_in_every_spelling(bucket: str, path: str) -> None:
    found = {key: value for key, value in SETTINGS.items() if key not in {"obsBucket", "basePath"}}
    settings = parse.log_settings(
        {"logConfiguration": {**found, bucket: "my-bucket", path: "css/log"}}
    )
    assert settings == LogSettingsInfo(
        enabled=True,
        bucket="my-bucket",
        base_path="css/log",
        agency="css_obs_agency",
        auto_enabled=True,
        period="00:00 GMT+08:00",
        updated_at=datetime(2021, 12, 16, 3, 21, 22, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("document", "enabled"),
    [({"logConfiguration": None, "realTimeLogCollectRecord": None}, False),
     ({"logConfiguration": {**SETTINGS, "logSwitch": False}}, False),
     ({"logConfiguration": {**SETTINGS, "logSwitch": "false"}}, False),
     ({"logConfiguration": {**SETTINGS, "logSwitch": 1}}, True),
     ({"realTimeLogCollectRecord": None}, False),
     ({"log_configuration": SETTINGS}, True),
     (SETTINGS, True)],
)  # fmt: skip
def test_log_backup_is_on_only_when_switched_on(document: object, enabled: bool) -> None:
    assert parse.log_settings(document).enabled is enabled


def test_a_period_of_null_and_an_unreadable_update_time_do_no_harm() -> None:
    settings = parse.log_settings(
        {"logConfiguration": {**SETTINGS, "period": None, "updateAt": "just now"}}
    )
    assert (settings.period, settings.updated_at) == ("", None)


# --- Clusters ------------------------------------------------------------------------------------


def test_a_cluster_is_read() -> None:
    found = cluster()
    assert (found.engine, found.version) == ("elasticsearch", "7.10.2")
    assert found.actions == ("REBOOTING", "NEVER_HEARD_OF")
    assert [node.type for node in found.instances] == ["ess"]
    assert found.endpoints == ("10.0.0.1:9200", "10.0.0.2:9200")
    assert found.created == datetime(2023, 10, 9, 2, 7, 13, tzinfo=UTC)
    assert found.tags == (("team", "search"),)
    assert (found.failed_code, found.failed_message) == ("CSS.6000", "Failed to create")


VARIANTS: dict[str, tuple[dict[str, object], Callable[[Any], object], object]] = {
    "endpoint list": ({"endpoint": ["a:9200", "b:9200"]}, lambda c: c.endpoints, ("a:9200", "b:9200")),
    "endpoint null": ({"endpoint": None}, lambda c: c.endpoints, ()),
    "tags dict": ({"tags": {"my_tag": "v", "n": 1}}, lambda c: c.tags, (("my_tag", "v"), ("n", "1"))),
    "tags null": ({"tags": None}, lambda c: c.tags, ()),
    "failed_reasons": ({"failedReason": None, "failed_reasons": {"error_code": "E", "error_msg": "m"}}, lambda c: (c.failed_code, c.failed_message), ("E", "m")),
    "failedReasons list": ({"failedReason": None, "failedReasons": [{"errorCode": "E"}]}, lambda c: c.failed_code, "E"),
    "failedReason text": ({"failedReason": "it broke"}, lambda c: c.failed_message, "it broke"),
    "no reason": ({"failedReason": None}, lambda c: (c.failed_code, c.failed_message), ("", "")),
    "status number": ({"status": 200}, lambda c: c.status, "200"),
    "status unknown": ({"status": "920"}, lambda c: c.status, "920"),
    "datastore text": ({"datastore": "opensearch"}, lambda c: c.engine, "opensearch"),
    "no datastore": ({"datastore": None}, lambda c: (c.engine, c.version), ("", "")),
    "actions null": ({"actions": None}, lambda c: c.actions, ()),
    "action text": ({"actions": "GROWING"}, lambda c: c.actions, ("GROWING",)),
    "no instances": ({"instances": None}, lambda c: c.instances, ()),
    "created odd": ({"created": "some day"}, lambda c: c.created, None),
    "tags text": ({"tags": "a=b"}, lambda c: (c.tags, c.status), ((), "200")),
    "endpoint odd": ({"endpoint": 5}, lambda c: (c.endpoints, c.status), ((), "200")),
    "hostile name": ({"name": "<b>\ud800\x00\u202ex"}, lambda c: c.name, "<b> x"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "get", "expected"), VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_of_a_cluster_is_read(
    change: dict[str, object], get: Callable[[Any], object], expected: object
) -> None:
    assert get(cluster(**change)) == expected


def test_a_wrapped_cluster_is_read() -> None:
    assert parse.cluster({"cluster": CLUSTER}) == parse.cluster(CLUSTER)


def test_a_list_of_clusters_has_its_total() -> None:
    page = parse.clusters({"totalSize": 12, "clusters": [CLUSTER]})
    assert (len(page.rows), page.total) == (1, 12)


@pytest.mark.parametrize(
    "oddity",
    [{"instances": "none"}, {"actions": {"GROWING": "5"}}, {"instances": [{"status": {}}]}],
)
def test_an_odd_row_of_the_list_spoils_neither_the_others_nor_its_presence(
    oddity: dict[str, object],
) -> None:
    odd, whole = parse.clusters(
        {"clusters": [{"id": "odd", "name": "n", "status": "200", **oddity}, CLUSTER]}
    ).rows
    assert (odd.id, odd.name, odd.status) == ("odd", "n", "")
    assert whole == parse.cluster(CLUSTER)


# --- What is wrong is named ----------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[object], object], object]] = {
    "the body is a list": (parse.clusters, []),
    "clusters is missing": (parse.clusters, {}),
    "clusters is an object": (parse.clusters, {"clusters": {}}),
    "clusters[1] is a text": (parse.clusters, {"clusters": [CLUSTER, "x"]}),
    "clusters[0].id is missing": (parse.clusters, {"clusters": [{"name": "x"}]}),
    "clusters[0].id is not an id": (parse.clusters, {"clusters": [{"id": "../x"}]}),
    "name is a list": (parse.cluster, {"id": "x", "name": []}),
    "instances[0].status is an object": (parse.cluster, {"id": "x", "instances": [{"status": {}}]}),
    "totalSize is a text": (parse.clusters, {"clusters": [], "totalSize": "many"}),
    "totalSize is a boolean": (parse.clusters, {"clusters": [], "totalSize": True}),
    "totalSize is a number": (parse.clusters, {"clusters": [], "totalSize": -1}),
    "actions is a number": (parse.cluster, {"id": "x", "actions": 7}),
    "cluster.id is missing": (parse.cluster, {"cluster": {}}),
    "logConfiguration is missing": (parse.log_settings, {}),
    "logConfiguration is a text": (parse.log_settings, {"logConfiguration": "on"}),
    "logConfiguration.logSwitch is a text": (parse.log_settings, {"logConfiguration": {"logSwitch": "maybe"}}),
    "logConfiguration.obsBucket is a list": (parse.log_settings, {"logConfiguration": {"obsBucket": []}}),
    "clusterLogRecord is missing": (parse.log_records, {}),
    "clusterLogRecord is an object": (parse.log_records, {"clusterLogRecord": {}}),
}  # fmt: skip


@pytest.mark.parametrize(("problem", "case"), WRONG.items(), ids=WRONG.keys())
def test_what_is_wrong_is_named(
    problem: str, case: tuple[Callable[[object], object], object]
) -> None:
    parser, document = case
    with pytest.raises(ShapeError) as caught:
        parser(document)
    assert str(caught.value).startswith(problem)


NAMES = [*RECORD, *SETTINGS, *CLUSTER, "totalSize", "clusters", "cluster", "clusterLogRecord",
         "logConfiguration", "realTimeLogCollectRecord", "errorCode", "key", "value", "type"]  # fmt: skip
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**400, -(10**4000), "\ud800", "9" * 30, 1e308]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "parser", [parse.clusters, parse.cluster, parse.log_settings, parse.log_records]
)
@RELAXED
@given(document=documents)
def test_no_document_crashes_a_parser(parser: Callable[[object], object], document: object) -> None:
    try:
        repr(parser(document)).encode()
    except ShapeError as error:
        str(error).encode()


@pytest.mark.parametrize("field", [*RECORD])
@RELAXED
@given(value=documents)
def test_no_value_crashes_a_record(field: str, value: object) -> None:
    try:
        row = record(**{field: value})
    except ShapeError:
        return
    json.dumps([row.record_id, row.failed_message, row.log_path]).encode()
