"""Every fault of the simulator, as a deck of cards that are dealt to clusters.

No card makes the cloud lie in a way that cannot be detected: a clear refusal (429, 4xx) that starts
a job anyway, or a record of an unanswered request that stays hidden forever. docs/reliability.md
excludes these from what is promised.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator.client import SimulatorControl
from simulator.faults import BODY_KINDS, PRESETS

BEYOND_GRACE = (15.0, 35.0)  # seconds after the grace at which a late record is listed
# Answers that do not say whether the job was started.
AMBIGUOUS = ("error_500", "bad_gateway", "gateway_timeout", "html_200", "internal")


@dataclass(frozen=True, slots=True)
class Strike:
    """One call of `SimulatorControl.fault`."""

    kind: str
    endpoint: str = "collect"
    times: int = 1
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """Faults that are enabled together, and their name in the report."""

    name: str
    strikes: tuple[Strike, ...]

    def play(self, control: SimulatorControl, cluster_id: str) -> None:
        """Enable the faults for one cluster."""
        for strike in self.strikes:
            control.fault(
                strike.kind,
                cluster_id,
                endpoint=strike.endpoint,
                times=strike.times,
                **strike.parameters,
            )


def _card(name: str, kind: str, *more: Strike, times: int = 1, **parameters: Any) -> Card:
    return Card(name, (Strike(kind, times=times, parameters=parameters), *more))


def _records(name: str, kind: str, times: int = 2, **parameters: Any) -> Card:
    return Card(f"records {name}", (Strike(kind, "records", times, parameters),))


def ownership_cards(rng: random.Random, grace: float) -> list[Card]:
    """Cards after which it is hard to identify the run that a job belongs to.

    Args:
        rng: for delays.
        grace: how long a run waits for its job, in seconds.
    """

    def late() -> Strike:
        return Strike("late_record", parameters={"seconds": round(rng.uniform(2, 7), 1)})

    def too_late() -> Strike:
        seconds = round(grace + rng.uniform(*BEYOND_GRACE), 1)
        return Strike("late_record", parameters={"seconds": seconds})

    def processed_later() -> Strike:
        return Strike("process_later", parameters={"seconds": round(rng.uniform(1, 6), 1)})

    # The job is listed after its run has ended without it, and other POSTs may have followed.
    listed_too_late = [
        _card(f"{name}, listed too late", kind, too_late(), **parameters)
        for name, kind, parameters in (
            ("504, job started", "error_after", {}),
            ("503, job started", "error_after", {"preset": "unavailable"}),
            ("reset_after", "reset_after", {}),
            ("hang_after", "hang_after", {}),
            ("accepted", "slow", {"seconds": 0.2}),
        )
    ]
    listed_too_late += [
        _card("504, job fails, listed too late", "error_after", Strike("late_fail"), too_late()),
        _card("accepted, job fails, listed too late", "late_fail", too_late(), seconds=1),
    ]
    behind = [
        _card("503, job started", "error_after", preset="unavailable"),
        _card("504, processed later", "error_after", processed_later()),
        _card("reset, processed later", "reset_after", processed_later()),
        _card("given up, processed later", "hang_after", processed_later()),
        _card("504, processed later, listed late", "error_after", processed_later(), late()),
        _card("POST without Date", "no_date"),
        _card("records without Date", "no_date", Strike("no_date", "records", 20)),
        _card("504 without Date, job started", "error_after", Strike("no_date")),
    ]
    return listed_too_late + behind


def accepted_and_listed_too_late(rng: random.Random, grace: float) -> Card:
    """The card "accepted, listed too late" of `ownership_cards`."""
    return next(c for c in ownership_cards(rng, grace) if c.name == "accepted, listed too late")


def other_cards(rng: random.Random) -> list[Card]:
    """All other cards once, with delays drawn from `rng`."""

    def late() -> Strike:
        return Strike("late_record", parameters={"seconds": round(rng.uniform(2, 7), 1)})

    answers = [_card(f"answer {name}", "status", preset=name) for name in PRESETS]
    answers += [_card(f"{name} x2", "status", times=2, preset=name) for name in ("throttled",)]
    answers += [_card("unauthorized x2", "status", times=2, preset="unauthorized")]
    answers += [_card("unavailable for ever", "status", times=9, preset="unavailable")]
    answers += [_card("accepted, no job", "status", status=200)]
    bodies = [
        _card(f"200 {kind}, job started", "status", status=200, body_kind=kind, processed=True)
        for kind in BODY_KINDS
        if kind != "hostile"
    ]
    bodies += [_card("200 hostile", "status", status=200, body_kind="hostile")]
    # A CSS code in the body is a refusal, so no job is started behind it.
    bodies += [_card(f"500 {kind}", "status", status=500, body_kind=kind) for kind in BODY_KINDS]
    after = [_card(f"error_after {name}", "error_after", preset=name) for name in AMBIGUOUS]
    delivery = [
        _card("redirect", "redirect"),
        _card("reset_before", "reset_before"),
        _card("reset_after", "reset_after"),
        _card("reset_after, late record", "reset_after", late()),
        _card("reset_after, job fails", "reset_after", Strike("late_fail")),
        _card("hang_before", "hang_before"),
        _card("hang_after", "hang_after"),
        _card("hang_after, late record", "hang_after", late()),
        _card("slow", "slow", seconds=2),
        _card("slow beyond the timeout", "slow", seconds=6),
        _card("slow_before", "slow_before", seconds=2),
        _card("slow_before beyond the timeout", "slow_before", seconds=6),
        _card("drip", "drip", seconds=0.01),
        _card("drip beyond the timeout", "drip", seconds=0.2),
        _card("truncated", "truncated"),
        _card("truncated 400, job started", "error_after", Strike("truncated"), preset="internal"),
    ]
    jobs = [
        _card("late_fail", "late_fail", seconds=1),
        _card("stuck_running", "stuck_running"),
        _card("late_record", "late_record", seconds=6),
        _card("no_record", "no_record"),
    ]
    records = [
        _records(name, "status", preset=name)
        for name in ("error_500", "throttled", "unavailable", "unauthorized", "html_200", "hostile")
    ]
    records += [_records(kind, "status", status=200, body_kind=kind) for kind in BODY_KINDS]
    records += [_records(kind, kind) for kind in ("reset_before", "hang_before", "truncated")]
    records += [_records("slow", "slow", seconds=2), _records("drip", "drip", seconds=0.002)]
    return answers + bodies + after + delivery + jobs + records


def deal(rng: random.Random, grace: float) -> Iterator[Card]:
    """Yield cards without end; a new deck starts after the last card of the previous one.

    Every second card is one of `ownership_cards` until they are used up, so that a short run
    includes them.
    """
    while True:
        hard, others = ownership_cards(rng, grace), other_cards(rng)
        rng.shuffle(hard)
        rng.shuffle(others)
        for first, second in zip(hard, others, strict=False):
            yield from (first, second)
        yield from others[len(hard) :]


def darken(control: SimulatorControl, cluster_id: str) -> None:
    """Make a cluster's records unreadable permanently, and leave its POSTs unanswered."""
    control.fault("hang_after", cluster_id)
    control.fault("status", cluster_id, endpoint="records", preset="error_500")
