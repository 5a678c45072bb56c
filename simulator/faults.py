"""Scripted faults: what goes wrong, at which endpoint of which cluster, and how often.

Faults combine: each kind fills one slot of a request's plan (answer, pace, delivery, `Date`, job
result, job record). If several faults need the same slot, the one that was added first occupies it
until its `times` are used up. Presets are typical error answers of the cloud.
"""

from __future__ import annotations

import gzip
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any

from .state import NEVER, JobScript
from .wire import HTML_TYPE, JSON_TYPE, Headers, RawReply, css_error, gateway_error

Preset = Callable[[str], RawReply]
"""Makes the answer for a request id (the gateway repeats it in its body)."""

HUGE_BYTES = 10 * 1024 * 1024
BOMB_BYTES = 64 * 1024 * 1024
HOSTILE = "<script>alert(1)</script>"


def _css(status: int, code: str, text: str, detail: str = "", headers: Headers = ()) -> Preset:
    return lambda request_id: css_error(status, code, text, detail, headers)


def _gateway(status: int, code: str, message: str, headers: Headers = ()) -> Preset:
    return lambda request_id: gateway_error(status, code, message, request_id, headers)


def _page(status: int, title: str) -> Preset:
    body = (
        f"<!DOCTYPE html>\n<html><head><title>{status} {title}</title></head>"
        f"<body><center><h1>{status} {title}</h1></center><hr>"
        "<center>css-simulator</center></body></html>\n"
    ).encode()
    return lambda request_id: RawReply(status, body, (HTML_TYPE,))


PRESETS: dict[str, Preset] = {
    "parameters": _css(400, "CSS.0001", "Incorrect parameters."),
    "not_allowed": _css(400, "CSS.5090", "The operation is not allowed in the current status."),
    "frozen": _css(400, "CSS.5301", "The cluster is frozen."),
    "bucket": _css(400, "CSS.0048", "The OBS bucket does not exist or you have no permission."),
    "internal": _css(400, "CSS.0036", "Internal error"),
    "unauthorized": _gateway(401, "APIGW.0301", "Incorrect IAM authentication information"),
    "forbidden": _css(403, "CSS.0010", "The user is not authorized or the ID is null."),
    "vanished": _css(403, "CSS.0015", "No resource found or access denied."),
    "not_found": _css(404, "CSS.0022", "The instance does not exist."),
    "backup_running": _css(409, "CSS.3004", "A backup is in progress."),
    "busy": _css(409, "CSS.0011", "Another operation is running or the instance is faulty."),
    "precondition": _css(412, "CSS.0004", "Invalid operation.", "Log backup is not enabled"),
    "throttled": _gateway(
        429, "APIGW.0308", "The throttling threshold has been reached", (("Retry-After", "2"),)
    ),
    "error_500": _page(500, "Internal Server Error"),
    "bad_gateway": _page(502, "Bad Gateway"),
    "unavailable": _gateway(
        503, "APIGW.0613", "Service unavailable, try again later", (("Retry-After", "2"),)
    ),
    "gateway_timeout": _gateway(504, "APIGW.0201", "Backend timeout"),
    "accepted_busy": _css(
        202, "CSS.0011", "Another operation is running or the instance is faulty."
    ),
    "hostile": _css(400, "CSS.0001", f"Incorrect parameters. {HOSTILE}"),
    "html_200": _page(200, "Sign in to the proxy"),
}


def _huge() -> Iterator[bytes]:
    block = b'{"errCode": "' + b"A" * 65_536
    for _ in range(HUGE_BYTES // len(block) + 1):
        yield block


@cache
def _gzip_bomb() -> bytes:
    return gzip.compress(b"\0" * BOMB_BYTES, compresslevel=9)


BODY_KINDS: dict[str, Callable[[int], RawReply]] = {
    "empty": RawReply,
    "html": lambda status: replace(PRESETS["html_200"](""), status=status),
    "not_json": lambda status: RawReply(status, b"upstream said no {", (JSON_TYPE,)),
    "huge": lambda status: RawReply(status, headers=(JSON_TYPE,), chunks=_huge),
    "hostile": lambda status: css_error(status, "CSS.0001", HOSTILE),
    "gzip_bomb": lambda status: RawReply(
        status, _gzip_bomb(), (JSON_TYPE, ("Content-Encoding", "gzip"))
    ),
    "wrong_shape": lambda status: RawReply(
        status, b'[1, null, {"clusters": "none"}]', (JSON_TYPE,)
    ),
    "invalid_utf8": lambda status: RawReply(status, b'{"errCode": "\xff\xfe\xc3"}', (JSON_TYPE,)),
}


ANY = "*"
ENDPOINTS = ("collect", "records", "settings", "detail", "list", "token")


@dataclass(frozen=True, slots=True)
class Fault:
    """One scripted fault.

    Attributes:
        kind: a key of KINDS.
        endpoint: endpoint to which it applies: one of ENDPOINTS, or any endpoint name used in the
            ledger.
        times: number of requests to which it applies; None for all.
        probability: probability, from 0 to 1, that it applies to a request.
        preset: answer, a key of PRESETS (for status, error_after).
        status: HTTP status of an answer without a preset; `headers` and `body` are sent unchanged.
        body_kind: body from BODY_KINDS in place of `body`, also for a preset.
        processed: whether a request takes effect despite a `status` fault.
        seconds: duration (slow, slow_before, process_later, late_record, late_fail), interval
            between bytes (drip), or offset of `Date` (wrong_date; negative for the past).
        message: failedMsg of a late_fail.
        location: target of a redirect.
    """

    kind: str
    endpoint: str = "collect"
    times: int | None = None
    probability: float = 1.0
    preset: str = ""
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    body_kind: str = ""
    processed: bool = False
    seconds: float | None = None
    message: str = "Simulated failure: the OBS bucket refused the write"
    location: str = "http://127.0.0.1:9/elsewhere"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}; known: {', '.join(KINDS)}")
        if self.preset and self.preset not in PRESETS:
            raise ValueError(f"no preset {self.preset!r}; known: {', '.join(PRESETS)}")
        if self.body_kind and self.body_kind not in BODY_KINDS:
            raise ValueError(f"no body {self.body_kind!r}; known: {', '.join(BODY_KINDS)}")
        if self.kind == "status" and not (self.preset or 100 <= self.status <= 599):
            raise ValueError("a status fault needs a preset or a status from 100 to 599")
        if self.seconds is not None and self.seconds < 0 and self.kind != "wrong_date":
            raise ValueError("seconds is 0 or more")
        if self.times is not None and self.times < 1:
            raise ValueError("times is 1 or more, or null for all")

    def answer(self, request_id: str) -> RawReply:
        """Return the answer for this fault."""
        if self.preset or not self.status:
            reply = PRESETS[self.preset or "gateway_timeout"](request_id)
        else:
            reply = RawReply(self.status, self.body.encode())
        if self.body_kind:
            reply = BODY_KINDS[self.body_kind](reply.status)
        return replace(reply, headers=(*reply.headers, *self.headers.items()))


@dataclass(slots=True)
class Plan:
    """How one request is handled; without faults, it is processed and answered at once.

    Attributes:
        faults: kinds of the faults that apply.
        delay_before: seconds to wait before processing.
        processed: whether the request takes effect.
        process_after: seconds from the answer to the effect; None to process before answering.
        delay_after: seconds to wait between processing and answering.
        answer: creates the answer in place of the real one.
        ending: answered, reset, hang or truncated.
        drip: seconds between bytes of the answer; None to send it at once.
        date_shift: seconds by which the answer's `Date` is ahead of the cloud's clock; None for an
            answer without `Date`.
        job: script for the job that a collect creates.
    """

    faults: tuple[str, ...] = ()
    delay_before: float = 0.0
    processed: bool = True
    process_after: float | None = None
    delay_after: float = 0.0
    answer: Callable[[str], RawReply] | None = None
    ending: str = "answered"
    drip: float | None = None
    date_shift: float | None = 0.0
    job: JobScript = field(default_factory=JobScript)


Effect = Callable[[Fault, Plan], None]


def _status(fault: Fault, plan: Plan) -> None:
    plan.answer, plan.processed = fault.answer, fault.processed


def _error_after(fault: Fault, plan: Plan) -> None:
    plan.answer = fault.answer


def _redirect(fault: Fault, plan: Plan) -> None:
    plan.processed = False
    plan.answer = lambda request_id: RawReply(302, headers=(("Location", fault.location),))


def _ending(ending: str, *, processed: bool) -> Effect:
    def effect(fault: Fault, plan: Plan) -> None:
        plan.ending, plan.processed = ending, processed

    return effect


def _slow(fault: Fault, plan: Plan) -> None:
    plan.delay_after = _seconds(fault, 5.0)


def _slow_before(fault: Fault, plan: Plan) -> None:
    plan.delay_before = _seconds(fault, 5.0)


def _process_later(fault: Fault, plan: Plan) -> None:
    plan.process_after = _seconds(fault, 5.0)


def _no_date(fault: Fault, plan: Plan) -> None:
    plan.date_shift = None


def _wrong_date(fault: Fault, plan: Plan) -> None:
    plan.date_shift = _seconds(fault, 600.0)


def _drip(fault: Fault, plan: Plan) -> None:
    plan.drip = _seconds(fault, 0.2)


def _truncated(fault: Fault, plan: Plan) -> None:
    plan.ending = "truncated"


def _late_fail(fault: Fault, plan: Plan) -> None:
    plan.job = replace(plan.job, failed_message=fault.message, duration=fault.seconds)


def _stuck_running(fault: Fault, plan: Plan) -> None:
    plan.job = replace(plan.job, duration=NEVER)


def _late_record(fault: Fault, plan: Plan) -> None:
    plan.job = replace(plan.job, hidden=_seconds(fault, 5.0))


def _no_record(fault: Fault, plan: Plan) -> None:
    plan.job = replace(plan.job, hidden=NEVER)


def _seconds(fault: Fault, default: float) -> float:
    return default if fault.seconds is None else fault.seconds


KINDS: dict[str, tuple[str, Effect]] = {
    "status": ("answer", _status),
    "error_after": ("answer", _error_after),
    "redirect": ("answer", _redirect),
    "reset_before": ("answer", _ending("reset", processed=False)),
    "reset_after": ("answer", _ending("reset", processed=True)),
    "hang_before": ("answer", _ending("hang", processed=False)),
    "hang_after": ("answer", _ending("hang", processed=True)),
    "truncated": ("delivery", _truncated),
    "drip": ("delivery", _drip),
    "slow": ("pace", _slow),
    "slow_before": ("pace", _slow_before),
    "process_later": ("pace", _process_later),
    "no_date": ("date", _no_date),
    "wrong_date": ("date", _wrong_date),
    "late_fail": ("job result", _late_fail),
    "stuck_running": ("job result", _stuck_running),
    "late_record": ("job record", _late_record),
    "no_record": ("job record", _no_record),
}


@dataclass(slots=True)
class _Standing:
    fault: Fault
    left: int | None


class FaultRegistry:
    """Active faults by cluster id (ANY: requests with any cluster or none); thread-safe."""

    def __init__(self, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._standing: dict[str, list[_Standing]] = {}

    def add(self, scope: str, fault: Fault) -> None:
        """Activate a fault for a cluster id, or for ANY."""
        with self._lock:
            self._standing.setdefault(scope, []).append(_Standing(fault, fault.times))

    def clear(self, scope: str = "") -> None:
        """Remove the faults of one scope, or all faults."""
        with self._lock:
            if scope:
                self._standing.pop(scope, None)
            else:
                self._standing.clear()

    def listing(self) -> list[dict[str, Any]]:
        """Return the active faults with the remaining number of requests (null: unlimited)."""
        with self._lock:
            return [
                {"cluster": scope, "left": standing.left, **asdict(standing.fault)}
                for scope, group in self._standing.items()
                for standing in group
            ]

    def plan(self, endpoint: str, cluster_id: str) -> Plan:
        """Plan how one request is handled, and count it for the faults that apply."""
        plan = Plan()
        with self._lock:
            if not self._standing:
                return plan
            taken: set[str] = set()
            for scope in dict.fromkeys((cluster_id, ANY)):
                for standing in self._standing.get(scope, ()):
                    self._strike(standing, endpoint, plan, taken)
            for scope, group in list(self._standing.items()):
                self._standing[scope] = [each for each in group if each.left != 0]
        return plan

    def _strike(self, standing: _Standing, endpoint: str, plan: Plan, taken: set[str]) -> None:
        fault = standing.fault
        slot, effect = KINDS[fault.kind]
        if fault.endpoint != endpoint or slot in taken:
            return
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return
        taken.add(slot)
        effect(fault, plan)
        plan.faults = (*plan.faults, fault.kind)
        if standing.left is not None:
            standing.left -= 1


def fault_from_json(data: dict[str, Any]) -> Fault:
    """Create a fault from the JSON of the control API.

    Raises:
        ValueError: the JSON is not a valid fault; the message states the problem.
    """
    unknown = set(data) - {entry.name for entry in fields(Fault)}
    if unknown:
        raise ValueError(f"a fault has no field {', '.join(sorted(unknown))}")
    try:
        return Fault(**data)
    except TypeError as error:
        raise ValueError(str(error)) from error
