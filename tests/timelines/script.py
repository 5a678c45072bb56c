"""What may happen to one cluster, as data: the world, what its people do, what becomes of POSTs.

All times are seconds of true time; clocks differ from it (`World`). `hypothesis` makes timelines
out of `timelines()`, and shrinks them to the few steps that show a fault.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from enum import StrEnum

from hypothesis import strategies as st


class Fate(StrEnum):
    """What becomes of a POST."""

    OK = "ok"  # processed, answered 200
    REFUSED = "refused"  # 400, not processed
    THROTTLED = "throttled"  # 429, not processed
    BUSY = "busy"  # 503, not processed
    BUSY_LIE = "busy_lie"  # 503, and its job was created all the same
    BUSY_LATE = "busy_late"  # 503, and it is processed later
    FAILED = "failed"  # 504, not processed
    FAILED_LIE = "failed_lie"  # 504, and its job was created all the same
    FAILED_LATE = "failed_late"  # 504, and it is processed later
    RESET_BEFORE = "reset_before"  # connection reset, not processed
    RESET_AFTER = "reset_after"  # connection reset, processed
    RESET_LATE = "reset_late"  # connection reset, processed later
    TIMEOUT = "timeout"  # no answer in time, not processed
    TIMEOUT_LIE = "timeout_lie"  # no answer in time, processed
    TIMEOUT_LATE = "timeout_late"  # no answer in time, processed after we gave up
    NOT_SENT = "not_sent"  # nothing left


class Death(StrEnum):
    """Where the worker that sends dies."""

    NOWHERE = ""
    CLAIMED = "claimed"  # before the request left, at the baseline
    FENCED = "fenced"  # the fence is written, not one byte left
    SENT = "sent"  # the bytes have left: what becomes of the POST is its fate
    ANSWERED = "answered"  # the answer is stored and not yet judged


class _Brief:
    """Shows only what differs from the default: a timeline is read by people when it fails."""

    def __repr__(self) -> str:
        told = [
            f"{item.name}={type(value).__name__}.{value.name}"
            if isinstance(value, StrEnum)
            else f"{item.name}={value!r}"
            for item in fields(self)  # type: ignore[arg-type]
            if (value := getattr(self, item.name))
            != (item.default_factory() if item.default_factory is not MISSING else item.default)
        ]
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True, repr=False)
class JobScript(_Brief):
    """How a job of the cloud goes."""

    seconds: float = 30.0
    ok: bool = True
    listed_after: float = 0.0
    id_after: float = 0.0  # until then its record has no jobId


@dataclass(frozen=True, repr=False)
class PostScript(_Brief):
    """What becomes of one POST, in the order in which they are sent."""

    fate: Fate = Fate.OK
    death: Death = Death.NOWHERE
    arrives: float = 0.1  # from sending to processing
    answers: float = 0.1  # from processing to the answer
    late: float = 5.0  # from giving up to processing
    silent: bool = False  # the worker's heartbeats do not get through
    job: JobScript = field(default_factory=JobScript)


@dataclass(frozen=True, repr=False)
class World(_Brief):
    """Clocks and habits that hold for a whole timeline.

    Attributes:
        cloud_offset: the clock that stamps jobs, against the true time.
        date: "right": `Date` is that clock; "missing"; "wrong": off by `date_offset` from it.
        seconds_only: jobs are stamped with whole seconds.
        two_entries: a second entry of clouds.yaml leads to the same project.
        phase: fraction of the second in which the timeline begins.
    """

    cloud_offset: float = 0.0
    date: str = "right"
    date_offset: float = 0.0
    seconds_only: bool = False
    two_entries: bool = False
    phase: float = 0.0


class Kind(StrEnum):
    """What people and machines do."""

    REQUEST = "request"
    CONSOLE = "console"
    SCHEDULE = "schedule"
    STEP = "step"  # our clock jumps
    OUTAGE = "outage"  # the records cannot be read for a while
    SETTLE = "settle"  # somebody settles the unknown run by hand
    CHECK = "check"  # the cluster is checked at once


@dataclass(frozen=True, repr=False)
class Act(_Brief):
    """Something that happens `after` seconds after the act before it."""

    kind: Kind
    after: float = 1.0
    entry: int = 0  # REQUEST
    amount: float = 0.0  # STEP: seconds; OUTAGE: seconds; SETTLE: 0 started, 1 not started
    job: JobScript = field(default_factory=JobScript)  # CONSOLE, SCHEDULE


@dataclass(frozen=True, repr=False)
class Timeline(_Brief):
    """All that happens to one cluster."""

    world: World = field(default_factory=World)
    acts: tuple[Act, ...] = ()
    posts: tuple[PostScript, ...] = ()


# -- strategies -----------------------------------------------------------------------------------
#
# Repeated values are weights. Most timelines are calm but for one or two troubles: where everything
# goes wrong at once nobody can tell anything, and nothing is found out about those who try.

LATEST = 20.0  # seconds after giving up in which a POST may still be processed

_SECONDS = st.sampled_from([0.3, 1.0, 3.0, 3.0, 20.0, 20.0, 60.0, 400.0])
_LATE_LISTING = st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.0, 10.0, 46.0, 46.0, 140.0, 1200.0, 3900.0])
_MOMENTS = st.sampled_from([0.0, 0.2, 0.5, 1.0, 3.0, 8.0, 20.0])
_PAUSES = st.sampled_from([0.0, 1.0, 32.0, 36.0, 36.0, 45.0, 70.0, 140.0, 700.0])
_OFFSETS = st.sampled_from([0.0, 0.0, 0.0, 1.5, -1.5, 20.0, -20.0, 250.0, -250.0, 600.0, -600.0])

_UNPROCESSED = (Fate.FAILED, Fate.RESET_BEFORE, Fate.TIMEOUT, Fate.BUSY)
_LIES = (Fate.FAILED_LIE, Fate.RESET_AFTER, Fate.BUSY_LIE, Fate.TIMEOUT_LIE)
_LATE = (Fate.FAILED_LATE, Fate.RESET_LATE, Fate.TIMEOUT_LATE, Fate.BUSY_LATE)
_CLEAR = (Fate.REFUSED, Fate.THROTTLED, Fate.NOT_SENT)
_FATES = st.sampled_from([*[Fate.OK] * 6, *_LIES, *_LIES, *_UNPROCESSED, *_LATE, *_CLEAR])
_DEATHS = st.sampled_from([*[Death.NOWHERE] * 16, *Death])

_jobs = st.builds(
    JobScript,
    seconds=_SECONDS,
    ok=st.sampled_from([True, True, False]),
    listed_after=_LATE_LISTING,
    id_after=st.sampled_from([0.0, 0.0, 0.0, 5.0, 100.0]),
)
_short_jobs = st.builds(
    JobScript,
    seconds=st.sampled_from([0.2, 0.3, 1.0]),
    ok=st.booleans(),
    listed_after=st.sampled_from([0.0, 0.0, 0.0, 46.0]),
)
_posts = st.builds(
    PostScript,
    fate=_FATES,
    death=_DEATHS,
    arrives=st.sampled_from([0.05, 0.05, 0.4, 2.0, 15.0]),
    answers=st.sampled_from([0.05, 0.05, 0.4, 2.0, 14.0]),
    late=st.sampled_from([0.5, 3.0, 12.0, LATEST]),
    silent=st.sampled_from([False] * 6 + [True]),
    job=_jobs,
)
_worlds = st.builds(
    World,
    cloud_offset=_OFFSETS,
    date=st.sampled_from(["right"] * 4 + ["missing"] * 3 + ["wrong"] * 2),
    date_offset=st.sampled_from([3.0, -3.0, 15.0, -15.0, 60.0, -60.0, 600.0, -600.0]),
    seconds_only=st.booleans(),
    two_entries=st.sampled_from([False, False, True]),
    phase=st.sampled_from([0.0, 0.5, 0.95]),
)


def _console(
    gaps: st.SearchStrategy[float], jobs: st.SearchStrategy[JobScript]
) -> st.SearchStrategy[Act]:
    return st.builds(Act, st.just(Kind.CONSOLE), gaps, job=jobs)


_steps = st.builds(
    Act,
    st.just(Kind.STEP),
    _MOMENTS,
    amount=st.sampled_from([600.0, -600.0, 40.0, -40.0, 5.0, -5.0]),
)
_beside = st.one_of(
    _console(_MOMENTS, _jobs),
    _console(_PAUSES, _jobs),
    _console(_MOMENTS, _short_jobs),
    st.builds(Act, st.just(Kind.SCHEDULE), _MOMENTS, job=_jobs),
    _steps,
    st.builds(Act, st.just(Kind.OUTAGE), _MOMENTS, amount=st.sampled_from([10.0, 60.0, 300.0])),
    st.builds(Act, st.just(Kind.CHECK), _PAUSES),
)


@st.composite
def _episodes(draw: st.DrawFn, two_entries: bool) -> list[Act]:
    """A request, and what happens around it."""
    entry = draw(st.sampled_from([0, 1])) if two_entries else 0
    acts = [Act(Kind.REQUEST, draw(_PAUSES), entry)]
    shape = draw(st.sampled_from(["plain"] * 5 + ["before"] * 3 + ["after"] * 4 + ["by hand"]))
    if shape == "before":  # short jobs in the seconds, or the second, before it
        acts[:0] = draw(
            st.lists(_console(st.sampled_from([0.3, 0.5]), _short_jobs), min_size=1, max_size=3)
        )
        acts[0] = replace(acts[0], after=acts[-1].after)
        acts[-1] = replace(acts[-1], after=draw(st.sampled_from([0.3, 0.5, 3.0])))
    elif shape == "after":
        acts += draw(st.lists(_beside, min_size=1, max_size=3))
    elif shape == "by hand":  # somebody settles it, while its records cannot be read
        acts += [
            Act(Kind.OUTAGE, 0.0, amount=1100.0),
            Act(
                Kind.SETTLE,
                draw(st.sampled_from([960.0, 1090.0])),
                amount=draw(st.sampled_from([0.0, 1.0])),
            ),
        ]
    return acts


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    """Two to four requests, what else happens around them, and what becomes of each POST."""
    world = draw(_worlds)
    count = draw(st.sampled_from([2, 2, 2, 3, 3, 4]))
    episodes = [draw(_episodes(world.two_entries)) for _ in range(count)]
    posts = draw(st.lists(_posts, min_size=2, max_size=5))
    return Timeline(world, tuple(act for acts in episodes for act in acts), tuple(posts))
