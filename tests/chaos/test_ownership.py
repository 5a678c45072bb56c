"""Check 5 of the chaos run finds each kind of false word, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaos.checks import Limits, check_outcomes, check_ownership
from chaos.evidence import Call, Findings, Run, StoredPost
from chaos.trouble import Diary, DiaryEntry
from simulator.client import JobView
from simulator.ledger import LedgerEntry

NOW = 1_700_000_000.0
LIMITS = Limits(tolerance=2.0, late=25.0, skew=300.0, longest=10.0)


def job(job_id: str, status: str = "SUCCESS", at: float = NOW, *, listed: bool = True) -> JobView:
    return JobView(job_id, f"r-{job_id}", "Manual", status, 0, 0, "", listed, started_at=at)


def entry(seq: int, job_id: str = "", at: float = NOW) -> LedgerEntry:
    return LedgerEntry(
        seq, at, "POST", "/", "", "collect", "c", f"q{seq}", "", status=504, job_id=job_id
    )


def run(number: int, job_id: str = "", evidence: str = "inferred", state: str = "succeeded") -> Run:
    made = Run(
        id=number,
        cluster_pk=1,
        cluster="c",
        requester="ada",
        state=state,
        outcome="unanswered",
        note="",
        job_id=job_id,
        evidence=evidence if job_id else "",
        corrected_from="",
        claimed_by="",
        requested=NOW,
    )
    made.calls = [Call(number, number, 1, "c", NOW, NOW + 1, 504, "", f"q{number}", "", True)]
    made.posts = {1: StoredPost(job_id, dated=True, accepted=False)}
    return made


def evidence(runs: list[Run], jobs: list[JobView], made: dict[int, str]) -> Findings:
    """`made`: the job that each run's only request made."""
    requests = [entry(one.id, made.get(one.id, "")) for one in runs]
    return Findings(
        runs={one.id: one for one in runs},
        imported={},
        requests=requests,
        request_of={one.id: request for one, request in zip(runs, requests, strict=True)},
        call_of={one.id: one.calls[0] for one in runs},
        jobs={each.job_id: each for each in jobs},
        guessed=set(),
    )


def offences(found: Findings, diary: Diary | None = None) -> list[str]:
    return check_ownership(found, diary or Diary(), LIMITS).offences


@pytest.mark.parametrize("grade", ["proven", "inferred"])
def test_a_run_that_carries_its_own_job_is_right(grade: str) -> None:
    assert offences(evidence([run(1, "a", grade)], [job("a")], {1: "a"})) == []


@pytest.mark.parametrize("grade", ["proven", "inferred"])
def test_a_job_of_another_post_is_wrong_however_well_it_is_said_to_be_known(grade: str) -> None:
    found = evidence([run(1), run(2, "a", grade)], [job("a")], {1: "a"})
    [offence] = offences(found)
    assert "run 2" in offence
    assert "which run 1 (attempt 1) made" in offence


def test_a_job_of_another_attempt_of_the_same_run_is_wrong() -> None:
    carrying = run(1, "a")
    carrying.posts = {1: StoredPost("", True, False), 2: StoredPost("a", True, True)}
    [offence] = offences(evidence([carrying], [job("a")], {1: "a"}))
    assert "credits another" in offence


def test_a_post_without_a_date_need_not_name_the_job_that_its_run_inferred() -> None:
    carrying = run(1, "a")
    carrying.posts = {1: StoredPost("", False, True)}
    assert offences(evidence([carrying], [job("a")], {1: "a"})) == []
    carrying.posts[2] = StoredPost("a", True, True)
    [offence] = offences(evidence([carrying], [job("a")], {1: "a"}))
    assert "credits another" in offence
    proven = run(2, "b", "proven")
    proven.posts = {1: StoredPost("", False, True)}
    [offence] = offences(evidence([proven], [job("b")], {2: "b"}))
    assert "credits another" in offence


def test_an_outsiders_job_is_never_proven() -> None:
    [offence] = offences(evidence([run(1, "a", "proven")], [job("a")], {}))
    assert "an outsider" in offence


def test_an_outsiders_job_may_be_inferred_only_within_the_window_of_the_post() -> None:
    within = evidence([run(1, "a")], [job("a", at=NOW + 20)], {})
    assert offences(within) == []
    beyond = evidence([run(1, "a")], [job("a", at=NOW + 60)], {})
    assert "30.0 s outside" in offences(beyond)[0]
    before = evidence([run(1, "a")], [job("a", at=NOW - 60)], {})
    assert "46.0 s outside" in offences(before)[0]


def test_of_an_accepted_post_the_skew_around_its_window_is_told_apart() -> None:
    accepted = run(1, "a")
    accepted.posts = {1: replace(accepted.posts[1], accepted=True)}
    around = check_ownership(evidence([accepted], [job("a", at=NOW + 60)], {}), Diary(), LIMITS)
    assert around.passed
    assert "0 of these an outsider's job in the window, 1 an outsider's in the" in around.facts[0]
    far = evidence([accepted], [job("a", at=NOW + 400)], {})
    assert "395.0 s outside" in offences(far)[0]


def test_without_the_clouds_time_or_while_its_clock_moves_the_window_is_as_wide_as_the_skew() -> (
    None
):
    undated = run(1, "a")
    undated.posts = {1: replace(undated.posts[1], dated=False)}
    assert offences(evidence([undated], [job("a", at=NOW + 60)], {})) == []
    diary = Diary()
    diary.add(DiaryEntry("cloud clock moved", NOW + 0.5, NOW + 0.6))
    assert offences(evidence([run(1, "a")], [job("a", at=NOW + 60)], {}), diary) == []


def test_a_job_of_ours_is_imported_only_with_the_name_of_its_run() -> None:
    found = evidence([run(12, state="not_started")], [job("a")], {12: "a"})
    for name, wrong in (
        ("someone in the console", True),
        ("not known: run 1 (attempt 1), or someone in the console", True),
        ("not known: run 12 (attempt 1), or someone in the console", False),
    ):
        assert bool(offences(replace(found, imported={"a": name}))) is wrong
        # and by check 3 such a run denies nothing
        assert check_outcomes(replace(found, imported={"a": name})).passed is not wrong


def test_a_job_without_a_grade_and_one_that_never_was_are_wrong() -> None:
    assert len(offences(evidence([run(1, "a", "")], [job("a")], {1: "a"}))) == 1
    assert len(offences(evidence([run(1, "b")], [job("a")], {1: "a"}))) == 1


@pytest.mark.parametrize("status", ["SUCCESS", "FAIL"])
@pytest.mark.parametrize("state", ["not_started", "unverified", "rejected", "cancelled"])
def test_an_end_that_denies_a_listed_job_is_false_once_late_listings_are_over(
    state: str, status: str
) -> None:
    found = evidence([run(1, state=state)], [job("a", status)], {1: "a"})
    [offence] = check_outcomes(found).offences
    assert f"says {state}" in offence
    hidden = evidence([run(1, state=state)], [job("a", status, listed=False)], {1: "a"})
    assert check_outcomes(hidden).passed


def test_a_refused_run_is_not_excused_by_an_import_that_names_it() -> None:
    found = evidence([run(1, state="rejected")], [job("a")], {1: "a"})
    assert not check_outcomes(replace(found, imported={"a": "not known: run 1"})).passed
