"""What a request would meet: each rule, and which counts where several hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.choices import Outcome, Readiness
from backups.css_api.types import (
    ClusterInfo,
    Instance,
    JobType,
    LogRecord,
    LogSettingsInfo,
    RecordStatus,
)
from backups.guide import READINESS
from backups.rules.readiness import LASTING_CODES, RANK, Rejection, judge, readiness_of

R, O = Readiness, Outcome  # noqa: E741
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def node(status: str = "200", name: str = "n-1") -> Instance:
    return Instance("i-" + name, name, "ess", status)


HEALTHY = ClusterInfo("c", "orders", "200", instances=(node(), node(name="n-2")))
ON = LogSettingsInfo(enabled=True, bucket="b", base_path="p", agency="a")
OFF = LogSettingsInfo(enabled=False)


def job(job_type: JobType = JobType.MANUAL, at: datetime | None = NOON) -> LogRecord:
    return LogRecord("r", "j", RecordStatus.RUNNING, "RUNNING", job_type, at)


def test_an_available_cluster_with_log_backup_on_is_ready():
    assert judge(HEALTHY, ON) == (R.READY, "Available, and log backup is on.")


CLUSTERS = {
    "being created": ({"status": "100", "actions": ("CREATING",)}, R.UNAVAILABLE, "created"),
    "an operation": ({"status": "100"}, R.UNAVAILABLE, "another operation"),
    "failed": (
        {"status": "303", "failed_code": "CSS.6000", "failed_message": "no quota"},
        R.UNAVAILABLE,
        "CSS.6000 no quota",
    ),
    "failed without a reason": ({"status": "303"}, R.UNAVAILABLE, "failed or unavailable"),
    "unavailable": ({"status": "300"}, R.UNAVAILABLE, "failed or unavailable"),
    "a new word": ({"status": "777"}, R.UNKNOWN, "“777”"),
    "no word": ({"status": ""}, R.UNKNOWN, "“”"),
    "scaling": ({"actions": ("GROWING",)}, R.BUSY, "being scaled out"),
    "two actions": ({"actions": ("rebooting", "TURNING")}, R.BUSY, "restarting, TURNING"),
    "no node": ({"instances": ()}, R.UNKNOWN, "no node"),
    "a failed node": (
        {"instances": (node(), node("100", "n-2"), node("303", "n-3"))},
        R.UNAVAILABLE,
        "A node has failed: n-3 (303)",
    ),
    "a new node": ({"instances": (node(), node("100", "n-2"))}, R.BUSY, "n-2"),
    "an odd node": ({"instances": (node("100"), node("9", "n-2"))}, R.UNKNOWN, "n-2 (“9”)"),
    "silent nodes": ({"instances": (node(""), node())}, R.READY, "Available"),
}


@pytest.mark.parametrize("case", CLUSTERS)
def test_what_the_cloud_says_of_a_cluster_decides(case):
    changes, readiness, words = CLUSTERS[case]
    told, detail = judge(replace(HEALTHY, **changes), ON)
    assert told is readiness
    assert words in detail


@pytest.mark.parametrize(
    ("settings", "readiness", "words"),
    [
        (OFF, R.BACKUP_OFF, "switched off"),
        (replace(ON, bucket=""), R.STORAGE_MISSING, "without bucket"),
        (replace(ON, agency=" "), R.STORAGE_MISSING, "without agency"),
        (replace(ON, bucket="", agency=""), R.STORAGE_MISSING, "without bucket and agency"),
        (replace(ON, base_path=""), R.READY, "log backup is on"),
        (None, R.UNKNOWN, "settings could not be read"),
    ],
)
def test_the_log_backup_settings_decide(settings, readiness, words):
    told, detail = judge(HEALTHY, settings)
    assert told is readiness
    assert words in detail


def test_a_running_log_backup_makes_the_cluster_busy_and_says_whose_it_is():
    assert judge(HEALTHY, ON, running=job(JobType.AUTO)) == (
        R.BUSY,
        "The cloud's scheduled log backup has been running since 2026-03-04 12:00 UTC.",
    )
    assert judge(HEALTHY, ON, running=job())[1].startswith("A log backup has been running")
    assert "an unknown time" in judge(HEALTHY, ON, running=job(at=None))[1]


@pytest.mark.parametrize(
    ("outcome", "code", "readiness"),
    [
        (O.PRECONDITION_FAILED, "", R.BACKUP_OFF),
        (O.PRECONDITION_FAILED, "CSS.0004", R.BACKUP_OFF),
        (O.CONFLICT, "CSS.3004", R.BUSY),
        (O.CONFLICT, "", R.BUSY),
        (O.INVALID_REQUEST, "CSS.0048", R.STORAGE_MISSING),
        (O.INVALID_REQUEST, "css.5130", R.STORAGE_MISSING),
        (O.INVALID_REQUEST, "CSS.5301", R.UNAVAILABLE),
        (O.INVALID_REQUEST, "CSS.0021", R.UNAVAILABLE),
        (O.INVALID_REQUEST, "CSS.5090", R.UNAVAILABLE),
        (O.NOT_FOUND, "CSS.0015", R.UNAVAILABLE),
        (O.FORBIDDEN, "CSS.0010", R.UNKNOWN),
        (O.NOT_FOUND, "APIGW.0101", None),
        (O.INVALID_REQUEST, "CSS.0001", None),
        (O.SERVER_ERROR, "", None),
        (O.UNREACHABLE, "", None),
    ],
)
def test_an_answer_speaks_of_readiness_in_the_same_words(outcome, code, readiness):
    assert readiness_of(outcome, code) is readiness


def test_a_request_that_was_refused_says_so_with_its_run_and_time():
    rejection = Rejection(O.INVALID_REQUEST, "CSS.0048", NOON, 12)
    told, detail = judge(HEALTHY, ON, rejections=[rejection])
    assert told is R.STORAGE_MISSING
    assert "bucket does not exist" in detail
    assert "run 12 at 2026-03-04 12:00 UTC" in detail


def test_a_code_that_is_not_in_the_guide_is_named():
    assert "CSS.7777" in judge(HEALTHY, ON, rejections=[Rejection(O.CONFLICT, "CSS.7777")])[1]


WORST_FIRST = (
    (R.UNAVAILABLE, {"info": replace(HEALTHY, status="303")}),
    (R.BACKUP_OFF, {"settings": OFF}),
    (R.STORAGE_MISSING, {"rejections": [Rejection(O.INVALID_REQUEST, "CSS.5130")]}),
    (R.BUSY, {"running": job()}),
    (R.UNKNOWN, {"rejections": [Rejection(O.FORBIDDEN, "CSS.0010")]}),
)


@given(st.sets(st.sampled_from(range(len(WORST_FIRST)))))
def test_of_several_reasons_the_worst_counts(chosen):
    facts = {"info": HEALTHY, "settings": ON, "running": None, "rejections": []}
    for number in sorted(chosen):
        for name, value in WORST_FIRST[number][1].items():
            facts[name] = facts[name] + value if name == "rejections" else value
    expected = WORST_FIRST[min(chosen)][0] if chosen else R.READY
    assert judge(facts.pop("info"), facts.pop("settings"), **facts)[0] is expected


@given(st.text(), st.lists(st.text()), st.lists(st.text()), st.booleans(), st.text())
def test_whatever_the_cloud_says_is_judged_and_never_ready_by_mistake(
    status, actions, nodes, enabled, bucket
):
    info = ClusterInfo("c", "n", status, actions=tuple(actions), instances=tuple(map(node, nodes)))
    told, detail = judge(info, LogSettingsInfo(enabled=enabled, bucket=bucket, agency="a"))
    assert detail
    if told is R.READY:
        assert (status, actions, enabled) == ("200", [], True)
        assert bucket.strip()
        assert nodes
        assert set(nodes) <= {"200", ""}


def test_nothing_read_is_not_known():
    assert judge(None, None)[0] is R.UNKNOWN


def test_every_readiness_has_its_rank_and_its_words():
    assert set(RANK) == set(Readiness) == set(READINESS)
    assert len(RANK) == len(set(RANK))


def test_what_lasts_speaks_of_readiness():
    assert {readiness_of(O.INVALID_REQUEST, code) for code in LASTING_CODES} == {
        R.STORAGE_MISSING,
        R.UNAVAILABLE,
    }
