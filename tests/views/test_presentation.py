"""Words for times, and looks for states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backups.choices import TERMINAL, RunState
from backups.css_api.errors import TransportKind
from backups.models import BackupRun
from backups.views import badges, presentation

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2, "just now"),
        (12, "12 s ago"),
        (-12, "in 12 s"),
        (-1, "in 1 s"),
        (59.7, "1 min ago"),
        (3599, "59 min ago"),
        (3600 * 47, "47 h ago"),
        (86400 * 3, "3 d ago"),
    ],
)
def test_relative_times(seconds: float, text: str) -> None:
    assert presentation.ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (0.0004, "1 ms"),
        (0.04, "40 ms"),
        (9.96, "10 s"),
        (42, "42 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.9, "1 h 00 min"),
        (7440, "2 h 04 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert presentation.lasting(timedelta(seconds=seconds)) == text


def test_every_state_has_a_look_steps_and_a_word_about_its_record() -> None:
    assert set(badges.RUN_STATES) == set(RunState) == set(presentation._NO_RECORD)
    for state in RunState:
        shown = presentation.steps(state)
        assert 1 <= len(shown) <= 4
        assert state not in TERMINAL or all(step.mark != "todo" for step in shown)


def test_every_way_to_fail_below_http_has_a_word() -> None:
    assert set(presentation.TRANSPORT_LABELS) == set(TransportKind)


def test_a_rejected_run_shows_no_step_that_will_not_happen() -> None:
    labels = [str(step.label) for step in presentation.steps(RunState.REJECTED)]
    assert labels == ["Queued", "Sending", "Rejected"]


def test_a_rejected_run_that_sent_nothing_is_not_said_to_be_refused_by_the_cloud() -> None:
    run = BackupRun(state=RunState.REJECTED)
    assert presentation.why_no_record(run) == "None: nothing was sent."
    run.sent_at = NOW
    assert "the cloud rejected" in presentation.why_no_record(run)
