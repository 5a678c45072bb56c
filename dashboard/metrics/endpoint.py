"""`/metrics`: what Prometheus reads, for whoever knows METRICS_TOKEN.

A middleware serves it for the same reason as the health probes: Prometheus uses an IP address. One
thread computes an answer at a time, and each answer is kept for some seconds, so that scrapes cost
the same however many there are, and no page waits for one.
"""

from __future__ import annotations

import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from prometheus_client import CONTENT_TYPE_LATEST, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily

from .counters import REGISTRY
from .models import Sample

logger = logging.getLogger(__name__)

KEPT = 5.0  # seconds
LIMIT = 8.0  # seconds for an answer; Prometheus gives up after 10
WAITING = 2  # scrapes that wait for an answer at the same time; each holds a thread of the server

Families = Iterable[Metric]


class MetricsMiddleware:
    """Answer `/metrics` before any other middleware processes the request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info != "/metrics":
            return self.get_response(request)
        answer = _answer(request)
        answer["Cache-Control"] = "no-store"
        answer._has_been_logged = True  # type: ignore[attr-defined]  # do not log every scrape
        return answer


def _answer(request: HttpRequest) -> HttpResponse:
    if not settings.METRICS_TOKEN:
        return _text("METRICS_TOKEN is not set.", 404)
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode()):
        refused = _text("A bearer token is required.", 401)
        refused["WWW-Authenticate"] = "Bearer"
        return refused
    try:
        return HttpResponse(_scrapes.latest(), content_type=CONTENT_TYPE_LATEST)
    except TookTooLong:
        return _text("The database takes too long.", 503)
    except (DatabaseError, InterfaceError) as error:
        return _text(f"The database cannot be read ({type(error).__name__}).", 503)


def _text(text: str, status: int) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")


class Scrapes:
    """Computes answers one at a time, and keeps the last for KEPT seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(WAITING)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._last: Future[bytes] | None = None
        self._made_at = 0.0

    def latest(self) -> bytes:
        """Return the answer, at most KEPT seconds old.

        Raises:
            TookTooLong: it is not there within LIMIT, or others already wait for it.
            DatabaseError, InterfaceError: the database cannot be read.
        """
        with self._lock:
            fresh = time.monotonic() - self._made_at < KEPT
            if self._last is None or (self._last.done() and not fresh):
                self._last, self._made_at = self._thread.submit(compute), time.monotonic()
            answer = self._last
        if answer.done():
            return answer.result()
        if not self._waiting.acquire(blocking=False):
            raise TookTooLong
        try:
            return answer.result(timeout=LIMIT)
        finally:
            self._waiting.release()


_scrapes = Scrapes()


def compute() -> bytes:
    """Return the text that Prometheus reads; closes this thread's database connection."""
    try:
        return generate_latest(_Collected(list(families())))
    finally:
        connection.close()


class _Collected:
    """A registry as `generate_latest` expects one, of families that exist already."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> list[Metric]:
        return self._found


def families() -> Iterator[Metric]:
    """Read all metrics: the counters of all processes, then the gauges in METRICS_GAUGES.

    A gauge function that fails is left out, which `css_backup_collector_success` says.

    Raises:
        DatabaseError, InterfaceError: the counters cannot be read.
    """
    yield from _counters()
    success = gauge("collector_success", "Whether a part of this answer could be read.", "part")
    for path in settings.METRICS_GAUGES:
        name = path.rpartition(".")[2]
        try:
            yield from list(import_string(path)())
        except Exception:
            logger.exception("metrics of %s cannot be read", name)
            success.add_metric([name], 0.0)
        else:
            success.add_metric([name], 1.0)
    yield success


def gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    """Return an empty gauge; `add_metric(label values, value)` fills it.

    Args:
        name: without the prefix `css_backup_`.
        documentation: one sentence.
        labels: names of its labels, whose values must be few and known.
    """
    return GaugeMetricFamily(f"css_backup_{name}", documentation, labels=labels)


def _counters() -> Iterator[Metric]:
    stored: dict[str, list[tuple[dict[str, str], float]]] = {}
    for name, labels, value in Sample.objects.values_list("name", "labels", "value"):
        stored.setdefault(name, []).append((json.loads(labels), value))
    for known in REGISTRY.collect():
        metric = Metric(known.name, known.documentation, known.type)
        ends = ("_bucket", "_count", "_sum") if known.type == "histogram" else ("_total",)
        for end in ends:
            for sample in sorted(stored.get(known.name + end, ()), key=_in_order):
                metric.add_sample(known.name + end, *sample)
        yield metric


def _in_order(sample: tuple[dict[str, str], float]) -> tuple[list[tuple[str, str]], float]:
    """Sort by label, the buckets of a histogram by their bound."""
    labels = dict(sample[0])
    bound = float(labels.pop("le", "0"))
    return sorted(labels.items()), bound
