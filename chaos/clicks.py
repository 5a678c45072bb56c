"""Users who click "Back up logs" over HTTP: twice, simultaneously, and until they get an answer."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import requests

THREADS = 12
TIMEOUT = 45.0  # seconds; longer than SQLite waits for a lock
PATIENCE = 60.0  # seconds for which an unanswered click is repeated
SENT_AGAIN = 0.12  # share of the forms that are sent once more …
LATER = (8.0, 25.0)  # … after this many seconds
RUN_PATH = re.compile(r"/runs/(\d+)/\Z")
BATCH_PATH = re.compile(r"/batches/(\d+)/\Z")


@dataclass(frozen=True, slots=True)
class Click:
    """One decision of one or two people.

    Attributes:
        at: seconds after the start.
        cluster: primary key of the cluster.
        people: who clicks; two people click at the same time.
        key: idempotency key of the form; each person has their own form.
        double: each person sends the form twice, as a double click does.
        wait_minutes: the option "wait and retry when free".
    """

    at: float
    cluster: int
    people: tuple[str, ...]
    key: str
    double: bool = False
    wait_minutes: int = 0


@dataclass(slots=True)
class ClickResult:
    """Result of submitting one form.

    Attributes:
        key: the form's idempotency key.
        person: who sent it.
        cluster: primary key of the cluster.
        at: Unix time of the first try.
        run_id: the run that the answer redirects to; None if there was no answer.
        seconds: duration of the answered try.
        failures: errors of the tries before.
    """

    key: str
    person: str
    cluster: int
    at: float
    run_id: int | None = None
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def plan(
    rng: random.Random, count: int, seconds: float, clusters: Sequence[int], people: Sequence[str]
) -> list[Click]:
    """Distribute the clicks over `seconds`; every cluster is clicked once before any is twice.

    In addition to `count`, some forms are sent again much later, when their run may have ended.
    """
    order: list[int] = []
    while len(order) < count:
        order += rng.sample(list(clusters), len(clusters))
    clicks = []
    for number in range(count):
        kind = rng.random()
        click = Click(
            at=seconds * number / count + rng.uniform(0, 0.5),
            cluster=order[number],
            people=tuple(rng.sample(list(people), 2 if kind < 0.15 else 1)),
            key=f"{rng.getrandbits(96):024x}",
            double=kind > 0.8,
            wait_minutes=1 if rng.random() < 0.15 else 0,
        )
        clicks.append(click)
        if rng.random() < SENT_AGAIN:
            clicks.append(replace(click, at=click.at + rng.uniform(*LATER), double=False))
    return sorted(clicks, key=lambda click: click.at)


class Person:
    """A signed-in browser without JavaScript. Raises RequestException if it cannot sign in."""

    def __init__(self, url: str, name: str, password: str) -> None:
        self.name = name
        self._url = url
        with _session() as session:
            session.get(f"{url}/sign-in/", timeout=TIMEOUT).raise_for_status()
            answer = session.post(
                f"{url}/sign-in/",
                data={"username": name, "password": password},
                headers=_csrf(session.cookies),
                timeout=TIMEOUT,
                allow_redirects=False,
            )
            if answer.status_code != 302:
                raise requests.RequestException(f"the sign-in of {name} was refused")
            self._cookies = session.cookies.get_dict()

    def back_up(self, cluster: int, key: str, wait_minutes: int) -> int:
        """Send the form once; return the id of the run that the answer redirects to.

        Raises:
            requests.RequestException: there is no answer, or it does not redirect to a run.
        """
        with _session() as session:
            session.cookies.update(self._cookies)
            answer = session.post(
                f"{self._url}/clusters/{cluster}/backup/",
                data={
                    "idempotency_key": key,
                    "wait_minutes": wait_minutes,
                    "then": "run",
                    "anyway": "1",  # regardless of the cluster's readiness
                },
                headers=_csrf(session.cookies),
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        found = RUN_PATH.search(answer.headers.get("Location", ""))
        if answer.status_code != 302 or not found:
            raise requests.RequestException(f"HTTP {answer.status_code}")
        return int(found[1])

    def back_up_all(self, key: str) -> int:
        """Send the form of a batch of all clusters once; return the batch's number.

        Raises:
            requests.RequestException: there is no answer, or it does not redirect to a batch.
        """
        with _session() as session:
            session.cookies.update(self._cookies)
            answer = session.post(
                f"{self._url}/batches/",
                data={"idempotency_key": key, "query": "show=present", "anyway": "1"},
                headers=_csrf(session.cookies),
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        found = BATCH_PATH.search(answer.headers.get("Location", ""))
        if answer.status_code != 302 or not found:
            raise requests.RequestException(f"HTTP {answer.status_code}")
        return int(found[1])


@dataclass(slots=True)
class BatchResult:
    """What the forms of one batch were answered.

    Attributes:
        key: their idempotency key.
        batches: the numbers that the answers named: one.
    """

    key: str
    batches: set[int] = field(default_factory=set)


class Batcher(threading.Thread):
    """Requests batches of all clusters in the trouble; sends each form until it is answered twice.

    Args:
        person: who requests them.
        keys: one for each batch.
        pause: seconds between two batches.
        stop: when set, the thread ends.
    """

    def __init__(
        self, person: Person, keys: Sequence[str], pause: float, stop: threading.Event
    ) -> None:
        super().__init__(name="batcher", daemon=True)
        self._person, self._pause, self._stop_all = person, pause, stop
        self.results = [BatchResult(key) for key in keys]

    def run(self) -> None:
        for number, result in enumerate(self.results):
            # the first one before clicks hold the clusters
            if number and self._stop_all.wait(self._pause):
                return
            answers, give_up = 0, time.monotonic() + PATIENCE
            while answers < 2 and time.monotonic() < give_up and not self._stop_all.is_set():
                try:
                    result.batches.add(self._person.back_up_all(result.key))
                    answers += 1
                except requests.RequestException:
                    self._stop_all.wait(1.0)


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


def _csrf(cookies: requests.cookies.RequestsCookieJar) -> dict[str, str]:
    return {"X-CSRFToken": cookies.get("csrftoken") or ""}


class Clickers:
    """Executes a plan with several threads.

    Args:
        people: by name.
        before: called with the cluster's primary key directly before each click.
        stop: when set, all threads end.
    """

    def __init__(
        self, people: dict[str, Person], before: Callable[[int], None], stop: threading.Event
    ) -> None:
        self._people = people
        self._before = before
        self._stop = stop
        self._lock = threading.Lock()
        self.answers: list[ClickResult] = []

    def carry_out(self, clicks: Sequence[Click]) -> None:
        """Click as planned; return when every click is answered or given up."""
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="clicker")
        try:
            self._submit(pool, clicks)
        except BaseException:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()

    def _submit(self, pool: ThreadPoolExecutor, clicks: Sequence[Click]) -> None:
        began = time.monotonic()
        for click in clicks:
            if self._stop.wait(max(0.0, began + click.at - time.monotonic())):
                return
            self._before(click.cluster)
            for person in click.people:
                key = f"{click.key}-{person}"
                for _ in range(2 if click.double else 1):
                    pool.submit(self._insist, person, click, key)

    def _insist(self, person: str, click: Click, key: str) -> None:
        """Send the same form until it is answered, as a user does by pressing "reload"."""
        answer = ClickResult(key, person, click.cluster, time.time())
        with self._lock:
            self.answers.append(answer)
        give_up = time.monotonic() + PATIENCE
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                answer.run_id = self._people[person].back_up(click.cluster, key, click.wait_minutes)
                answer.seconds = time.monotonic() - began
                return
            except requests.RequestException as error:
                text = str(error)
                answer.failures.append(text if text.startswith("HTTP ") else type(error).__name__)
            if time.monotonic() > give_up or self._stop.wait(1.0):
                return
