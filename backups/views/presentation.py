"""Texts for runs: steps, times, durations and sentences. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby
from operator import attrgetter

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.choices import TERMINAL, Evidence, Outcome, RunState
from backups.css_api.errors import TransportKind
from backups.css_api.types import Answer, BodyKind
from backups.guide import Explanation, explain, explain_run
from backups.models import ApiCall, BackupRun
from backups.models.run_log import exchange_lasted
from backups.rules.outcomes import outcome_of

Text = str | Promise


TRANSPORT_LABELS: dict[str, Text] = {
    TransportKind.DNS: gettext_lazy("name not resolved"),
    TransportKind.REFUSED: gettext_lazy("connection refused"),
    TransportKind.CONNECT_TIMEOUT: gettext_lazy("no connection in time"),
    TransportKind.TLS: gettext_lazy("TLS failed"),
    TransportKind.PROXY: gettext_lazy("proxy failed"),
    TransportKind.CONNECT_FAILED: gettext_lazy("connection failed"),
    TransportKind.READ_TIMEOUT: gettext_lazy("no answer in time"),
    TransportKind.RESET: gettext_lazy("connection reset"),
    TransportKind.BROKEN_ANSWER: gettext_lazy("incomplete answer"),
}

PURPOSE_LABELS: dict[str, Text] = {
    "collect": gettext_lazy("Request the log backup"),
    "records": gettext_lazy("Read the cloud's records"),
    "baseline": gettext_lazy("Read the records beforehand"),
    "conflict": gettext_lazy("See who holds the cluster"),
}

BODY_LABELS: dict[str, Text] = {
    BodyKind.JSON_OBJECT: "JSON",
    BodyKind.JSON_OTHER: "JSON",
    BodyKind.HTML: "HTML",
    BodyKind.TEXT: gettext_lazy("text"),
    BodyKind.BINARY: gettext_lazy("binary data"),
    BodyKind.OVERSIZED: gettext_lazy("too large to be read"),
    BodyKind.TRUNCATED: gettext_lazy("incomplete"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One of the steps of a run.

    Attributes:
        label: its word.
        mark: done, now, open (its result is not known), stopped (it ended here) or todo.
    """

    label: Text
    mark: str


_MARKS: dict[RunState, tuple[str, str, str, str]] = {
    RunState.QUEUED: ("now", "todo", "todo", "todo"),
    RunState.SENDING: ("done", "now", "todo", "todo"),
    RunState.ACCEPTED: ("done", "done", "done", "now"),
    RunState.UNKNOWN: ("done", "done", "open", "todo"),
    RunState.SUCCEEDED: ("done", "done", "done", "done"),
    RunState.FAILED: ("done", "done", "done", "stopped"),
    RunState.UNVERIFIED: ("done", "done", "done", "open"),
    RunState.REJECTED: ("done", "done", "stopped", "todo"),
    RunState.NOT_STARTED: ("done", "done", "stopped", "todo"),
    RunState.CANCELLED: ("stopped", "todo", "todo", "todo"),
}
_STEPS = (
    RunState.QUEUED.label,
    RunState.SENDING.label,
    gettext_lazy("Accepted"),
    RunState.SUCCEEDED.label,
)

# A step that was not reached is called what happened instead, shorter than the state's label.
_ENDED_AS: dict[RunState, Text] = {
    RunState.UNKNOWN: gettext_lazy("Unknown"),
    RunState.UNVERIFIED: gettext_lazy("Not verified"),
    RunState.FAILED: gettext_lazy("Failed"),
}


def steps(state: RunState, *, accepted: bool = True, tried: bool = False) -> list[Step]:
    """The steps of a run and how far it has come: four, or up to the one at which it ended.

    Args:
        state: where the run stands.
        tried: of a cancelled run, whether an attempt had been made.
        accepted: False where it ended unverified although the cloud had accepted nothing.
    """
    if not accepted and state is RunState.UNVERIFIED:
        marks = (*_MARKS[RunState.UNKNOWN][:3], "open")
        labels = (*_STEPS[:2], _ENDED_AS[RunState.UNKNOWN], _ENDED_AS[state])
        return [Step(label, mark) for label, mark in zip(labels, marks, strict=True)]
    if tried and state is RunState.CANCELLED:
        return [Step(_STEPS[0], "done"), Step(state.label, "stopped")]
    ended_as = _ENDED_AS.get(state, state.label)
    return [
        Step(ended_as if mark in ("stopped", "open") else label, mark)
        for label, mark in zip(_STEPS, _MARKS[state], strict=True)
        if mark != "todo" or state not in TERMINAL
    ]


EVIDENCE: dict[str, Text] = {
    Evidence.PROVEN: gettext_lazy(
        "Proven: the cloud accepted the request, this new job was running directly afterwards, "
        "and no other request of ours can have started it."
    ),
    Evidence.INFERRED: gettext_lazy(
        "Inferred: this job fits the request, and no other request of ours can have started it. "
        "Somebody outside this dashboard may have, at the same moment."
    ),
}


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a moment is from now, rounded to one unit.

    Attributes:
        number: of units.
        unit: s, min, h or d; "" for a moment that is now.
        ahead: it is still to come.
    """

    number: int
    unit: str
    ahead: bool


def distance(moment: datetime, now: datetime) -> Distance:
    """How far a moment is from now."""
    seconds = round((now - moment).total_seconds())
    size, ahead = abs(seconds), seconds < 0
    if size < 60:
        return Distance(0, "", False) if 0 <= seconds < 5 else Distance(size, "s", ahead)
    if size < 3600:
        return Distance(size // 60, "min", ahead)
    if size < 48 * 3600:
        return Distance(size // 3600, "h", ahead)
    return Distance(size // 86400, "d", ahead)


def distance_words(far: Distance) -> str:
    """A distance in words, short: "just now", "5 min ago", "in 12 s"."""
    match far.unit:
        case "s":
            text = _("%(n)d s")
        case "min":
            text = _("%(n)d min")
        case "h":
            text = _("%(n)d h")
        case "d":
            text = _("%(n)d d")
        case _:
            return _("just now")
    wrapped = _("in %(time)s") if far.ahead else _("%(time)s ago")
    return wrapped % {"time": text % {"n": far.number}}


def ago(moment: datetime, now: datetime) -> str:
    """A moment relative to now, short: "just now", "5 min ago", "in 12 s". live.js has the same."""
    return distance_words(distance(moment, now))


def zone_label(moment: datetime) -> str:
    """The unambiguous name of an aware moment's zone: "CET", "UTC-03:00"."""
    if (name := moment.tzname()) in _OWN_NAMES:
        return str(name)
    minutes = round((moment.utcoffset() or timedelta()).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


# Abbreviations that only one zone has; CST, IST or BST are several, some half a world apart.
_OWN_NAMES = frozenset({"UTC", "GMT", "WET", "WEST", "CET", "CEST", "EET", "EEST", "MSK"})


def local(moment: datetime, zone: tzinfo | None = None, *, milliseconds: bool = False) -> str:
    """A moment in a zone, with the zone's name: "2026-03-02 10:30:00 CET".

    Args:
        moment: aware.
        zone: the viewer's where none is given.
        milliseconds: whether they are told.
    """
    there = moment.astimezone(zone or timezone.get_current_timezone())
    # half the price of strftime, which a page of the history would call a hundred times
    digits = there.isoformat(" ", "milliseconds")[: 23 if milliseconds else 19]
    return f"{digits} {zone_label(there)}"


def utc(moment: datetime) -> str:
    """A moment in UTC, to the second: "2026-03-02 09:30:00 UTC"."""
    return f"{moment.astimezone(UTC).isoformat(' ', 'seconds')[:19]} UTC"


def lasting(duration: timedelta) -> str:
    """A duration in two units: "4 ms", "0.4 s", "12 s", "3 min 05 s", "2 h 04 min", "3 d 01 h"."""
    seconds = max(duration.total_seconds(), 0)
    if 0 < seconds < 0.1:
        return _("%(n)d ms") % {"n": max(round(seconds * 1000), 1)}
    if round(seconds, 1) < 10:
        return _("%(n)s s") % {"n": number_format(round(seconds, 1), decimal_pos=1)}
    whole = round(seconds)
    if whole < 60:
        return _("%(n)d s") % {"n": whole}
    if whole < 3600:
        return _("%(m)d min %(s)02d s") % {"m": whole // 60, "s": whole % 60}
    if whole < 48 * 3600:
        return _("%(h)d h %(m)02d min") % {"h": whole // 3600, "m": whole % 3600 // 60}
    return _("%(d)d d %(h)02d h") % {"d": whole // 86400, "h": whole % 86400 // 3600}


@dataclass(frozen=True, slots=True)
class Rejection:
    """An unsuccessful answer of the cloud, explained.

    Attributes:
        said: status, code and message of the cloud.
        request_id: the cloud's, for its support.
        meaning: what it means.
        next_step: what to do.
    """

    said: str
    request_id: str
    meaning: Text
    next_step: Text


def rejection(answer: Answer) -> Rejection:
    """Explain an unsuccessful answer of the cloud."""
    words = explain(outcome_of(answer), answer.error_code)
    said = " · ".join(part for part in (f"HTTP {answer.status}", answer.error_code) if part)
    if answer.message:
        said += f": {answer.message}"
    return Rejection(said, answer.request_id, words.meaning, words.next_step)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a run's time.

    Attributes:
        label: what happened in it.
        lasted: how long.
    """

    label: Text
    lasted: timedelta


def spans(run: BackupRun, calls: Sequence[ApiCall]) -> list[Span]:
    """Durations of waiting, request and the cloud's job; spans without both ends are left out.

    The cloud's job is measured on the cloud's clock, the rest on ours.

    Args:
        run: the run.
        calls: its calls, in their order.
    """
    parts = (
        (gettext_lazy("Waited"), run.waited),
        (gettext_lazy("Request and answer"), exchange_lasted(calls)),
        (gettext_lazy("The cloud's job"), run.job_lasted),
        (gettext_lazy("In all"), run.duration),
    )
    return [Span(label, lasted) for label, lasted in parts if lasted is not None]


def explanation(run: BackupRun) -> Explanation:
    """What the state of a run means, who acts, and what is next."""
    return explain_run(
        run.run_state,
        Outcome(run.outcome),
        run.error_code,
        imported=run.is_imported,
        by_hand=run.settled_by_hand,
    )


def despite_answer(run: BackupRun) -> str:
    """Why a run has a job although its request was not accepted: one sentence; "" elsewhere."""
    ended = run.run_state in (RunState.SUCCEEDED, RunState.FAILED)
    if not ended or run.is_imported or run.outcome in (Outcome.NONE, Outcome.ACCEPTED):
        return ""
    if not run.http_status:
        return _("The request was not answered, but the cloud's records show the job it started.")
    text = _("The request was answered with HTTP %(status)d, but the cloud had started the job.")
    return text % {"status": run.http_status}


def headline(run: BackupRun) -> str:
    """State and outcome in one line: "Rejected: Conflict". Only where the outcome adds a fact."""
    adds = run.run_state in (RunState.REJECTED, RunState.UNKNOWN, RunState.NOT_STARTED)
    if adds and run.outcome and not run.settled_by_hand:
        return f"{run.state_label}: {Outcome(run.outcome).label}"
    return run.state_label


def answer(run: BackupRun) -> str:
    """Status and code of the cloud's answer: "HTTP 409 · CSS.3004"; "" if there was none."""
    status = f"HTTP {run.http_status}" if run.http_status else ""
    return " · ".join(part for part in (status, run.error_code) if part)


FOLDED_FROM = 3  # calls in a row


@dataclass(frozen=True, slots=True)
class CallGroup:
    """Calls in a row that read the same thing and were answered alike.

    Attributes:
        calls: the oldest first.
    """

    calls: list[ApiCall]

    @property
    def is_folded(self) -> bool:
        """Whether they are shown as one line with a count."""
        return len(self.calls) >= FOLDED_FROM

    @property
    def first(self) -> ApiCall:
        return self.calls[0]

    @property
    def last(self) -> ApiCall:
        return self.calls[-1]


def call_groups(calls: Iterable[ApiCall]) -> list[CallGroup]:
    """A run's calls in order, with repeated readings of the records together."""
    facts = attrgetter("purpose", "attempt", "status", "error_code", "transport_error")

    def key(call: ApiCall) -> tuple[object, ...]:
        # a successful reading is stored because it said something new
        return (*facts(call), call.excerpt if call.status == 200 else "")

    groups = []
    for (purpose, *_rest), found in groupby(calls, key=key):
        alike = list(found)
        together = purpose == "records" and len(alike) >= FOLDED_FROM
        groups += [CallGroup(alike)] if together else [CallGroup([call]) for call in alike]
    return groups


def request_text(call: ApiCall) -> str:
    """A call's request as it was sent, without its secrets: address, headers, body."""
    lines = [f"{call.method} {call.url}"]
    lines += [f"{name}: {value}" for name, value in sorted(call.request_headers.items())]
    return "\n".join([*lines, "", call.request_body or _("(no body)")])


def why_no_record(run: BackupRun) -> str:
    """Why the run page shows no record of the cloud."""
    if run.settled_by_hand:
        return _("None was found: the cloud's records stayed unreadable until it was settled.")
    if run.run_state is RunState.CANCELLED and run.outcome:
        return _("None: its attempts were not accepted, and it was cancelled before the next one.")
    if run.run_state is RunState.REJECTED and run.sent_at is None:
        return str(_NO_RECORD[RunState.CANCELLED])
    return str(_NO_RECORD[run.run_state])


_NO_RECORD: dict[RunState, Text] = {
    RunState.QUEUED: gettext_lazy("None yet: nothing has been sent to the cloud."),
    RunState.SENDING: gettext_lazy("None yet: the request is being sent."),
    RunState.ACCEPTED: gettext_lazy(
        "Not found yet: the answer names no job, so it is looked for in the cloud's records."
    ),
    RunState.UNKNOWN: gettext_lazy(
        "Not found yet: the cloud's records are read until they show whether a job was started."
    ),
    RunState.SUCCEEDED: gettext_lazy("The cloud's record carries no job id."),
    RunState.FAILED: gettext_lazy("The cloud's record carries no job id."),
    RunState.UNVERIFIED: gettext_lazy(
        "None found: the cloud accepted the request, but no record of it appeared in time."
    ),
    RunState.REJECTED: gettext_lazy(
        "None: the cloud rejected the request, so it started no job for it."
    ),
    RunState.NOT_STARTED: gettext_lazy(
        "None: the records could be read, and they show no job for this request."
    ),
    RunState.CANCELLED: gettext_lazy("None: nothing was sent."),
}
