"""`transition` through every pair of states: what ALLOWED draws happens, nothing else does."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from backups.choices import ACTIVE, ALLOWED, TERMINAL, RunState, Trigger
from backups.models import BackupRun, Cluster, Project
from backups.services.runs.transitions import IllegalTransition, amend, transition

STATES = st.sampled_from(list(RunState))


def make_run(state: RunState = RunState.QUEUED) -> BackupRun:
    project, _ = Project.objects.get_or_create(cloud="c", region="r", project_id="p")
    number = Cluster.objects.count()
    cluster = Cluster.objects.create(project=project, cluster_id=f"id-{number}", name=f"n{number}")
    return BackupRun.objects.create(
        cluster=cluster,
        project=cluster.project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        cloud="c",
        project_id_in_cloud="p",
        requested_by_name="anna",
        trigger=Trigger.BUTTON,
        state=state,
    )


@pytest.mark.django_db
@pytest.mark.parametrize(("origin", "target"), list(itertools.product(RunState, RunState)))
def test_each_pair_of_states(origin, target):
    run = make_run(origin)
    if target in ALLOWED[origin]:
        assert transition(run, target, actor="t", note="why")
        assert run.state == target
        (event,) = run.events.all()
        assert (event.from_state, event.to_state, event.note) == (origin, target, "why")
        assert (run.finished_at is not None) == (target in TERMINAL)
    else:
        with pytest.raises(IllegalTransition):
            transition(run, target, actor="t")
        run.refresh_from_db()
        assert run.state == origin
        assert not run.events.exists()


def test_no_terminal_state_has_a_way_out_and_every_state_can_be_reached():
    assert all(not ALLOWED[state] for state in TERMINAL)
    reached, waiting = {RunState.QUEUED}, [RunState.QUEUED]
    while waiting:
        new = ALLOWED[waiting.pop()] - reached
        reached |= new
        waiting += new
    assert reached == set(RunState)


@pytest.mark.django_db
def test_amend_never_writes_the_state():
    run = make_run()
    with pytest.raises(IllegalTransition):
        amend(run, state="succeeded")


@pytest.mark.django_db
def test_amend_leaves_a_run_alone_that_moved_on():
    run = make_run()
    twin = BackupRun.objects.get(pk=run.pk)
    assert transition(run, RunState.CANCELLED, actor="t")
    assert not amend(twin, note="stale")
    run.refresh_from_db()
    assert run.note == ""


PAIRS = frozenset(itertools.product(RunState, RunState))
ARROWS = sorted((origin, to) for origin, to in PAIRS if to in ALLOWED[origin])


class TwoActors(RuleBasedStateMachine):
    """Two processes that know the run as it was at different times."""

    moved: ClassVar[set[tuple[RunState, RunState]]] = set()
    refused: ClassVar[set[tuple[RunState, RunState]]] = set()

    @initialize(arrow=st.sampled_from(ARROWS))
    def begin(self, arrow: tuple[RunState, RunState]) -> None:
        self.origin, to = arrow
        self.state = self.origin
        self.run = make_run(self.origin)
        self.copies = [self.run, BackupRun.objects.get(pk=self.run.pk)]
        self.moves = 0
        self._try(self.run, self.state, to)

    def _try(self, copy: BackupRun, believed: RunState, to: RunState, **how: Any) -> None:
        """Whatever the pair: an arrow moves the run if it stands there, no other pair does."""
        if to not in ALLOWED[believed]:
            with pytest.raises(IllegalTransition):
                transition(copy, to, actor="t", **how)
            self.refused.add((believed, to))
            return
        moved = transition(copy, to, actor="t", **how)
        assert moved == (believed == self.state)
        if moved:
            self.moved.add((believed, to))
            self.state = to
            self.moves += 1

    @rule(who=st.integers(0, 1), to=STATES)
    def move(self, who: int, to: RunState) -> None:
        copy = self.copies[who]
        self._try(copy, copy.run_state, to)

    @rule(who=st.integers(0, 1))
    def move_from_where_it_is_not_or_to_where_no_arrow_goes(self, who: int) -> None:
        for expected, to in PAIRS:
            if expected is not self.state or to not in ALLOWED[expected]:
                self._try(self.copies[who], expected, to, expect=expected)

    @rule(who=st.integers(0, 1))
    def look(self, who: int) -> None:
        self.copies[who].refresh_from_db()

    @invariant()
    def the_row_is_where_the_winner_put_it(self) -> None:
        row = BackupRun.objects.get(pk=self.run.pk)
        assert row.run_state is self.state
        assert row.events.count() == self.moves == row.version
        if self.moves:
            assert (row.finished_at is not None) == (self.state in TERMINAL)
        assert (self.state in ACTIVE) == row.is_active

    @invariant()
    def the_events_are_a_path(self) -> None:
        state = self.origin
        for event in self.run.events.order_by("id"):
            assert event.from_state == state
            state = RunState(event.to_state)
        assert state == self.state


class TransitionsOfTwoActors(TestCase):
    def test_whatever_two_actors_do_the_row_and_its_events_agree(self) -> None:
        """Derandomised: the same steps each time, which come through every pair of states."""
        TwoActors.moved.clear()
        TwoActors.refused.clear()
        run_state_machine_as_test(
            TwoActors,
            settings=settings(
                max_examples=300,
                stateful_step_count=10,
                derandomize=True,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert TwoActors.moved == set(ARROWS)
        assert TwoActors.refused == PAIRS - set(ARROWS)
