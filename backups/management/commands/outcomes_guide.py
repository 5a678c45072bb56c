"""``manage.py outcomes_guide``: generates docs/outcomes.md from the rules and the guide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, no_translations

from backups.choices import Outcome, Readiness, RunState
from backups.css_api.errors import (
    ConfigurationError,
    CssApiError,
    IdentityError,
    NotSent,
    TransportKind,
    Unanswered,
)
from backups.css_api.types import Answer, BodyKind
from backups.guide import (
    ACTION_BY_LABELS,
    BY_HAND,
    CODES,
    IMPORTED,
    OUTCOMES,
    READINESS,
    Explanation,
    explain_run,
)
from backups.rules.outcomes import Next, classify
from backups.rules.readiness import RANK

Row = tuple[object, ...]

WORDS = ("Meaning", "Action by", "Next step", "Retry?")

HEAD = """\
# Outcomes

<!-- Generated: `python manage.py outcomes_guide > docs/outcomes.md`. Do not edit. -->

An *outcome* is the result of one `POST …/logs/collect`. It does not end the run: an accepted
request still has to be verified by the cloud's record ([run-states.md](run-states.md)). Pages, API
and `manage.py backup --json` use the terms below.

An error code in the body takes precedence over the HTTP status, because the cloud's documents
disagree about the status. Sources: [css-api.md](css-api.md), sections 1c, 4 and 6.
"""

NEXT: dict[Next, str] = {
    Next.FOLLOW: "accepted; the cloud's records are read until the job ends",
    Next.END: "rejected",
    Next.RETRY: "queued again while attempts remain, then rejected",
    Next.WAIT_IF_ASKED: "rejected, or queued again if the request asked to wait",
    Next.SETTLE: "unknown until the cloud's records decide; never sent again",
}

STATUSES = (
    *(200, 201, 202, 204, 206, 302),
    *(400, 401, 403, 404, 405, 408, 409, 410, 412, 415, 422, 429),
    *(500, 502, 503, 504),
)

BODIES: dict[BodyKind, str] = {
    BodyKind.JSON_OBJECT: "a non-empty JSON object",
    BodyKind.HTML: "an HTML page",
    BodyKind.TEXT: "plain text",
    BodyKind.JSON_OTHER: "JSON other than an object",
    BodyKind.BINARY: "binary data",
    BodyKind.OVERSIZED: "a body above the size limit",
}

# Errors without a response, in the order of a request's steps.
FAILURES: tuple[tuple[str, CssApiError], ...] = (
    ("clouds.yaml has no such cloud, or its entry is not usable", ConfigurationError("")),
    ("the identity service rejects the credentials (401)", IdentityError("", status=401)),
    ("the identity service denies access (403)", IdentityError("", status=403)),
    ("the identity service throttles (429)", IdentityError("", status=429, retryable=True)),
    ("the identity service is unreachable or fails (5xx)", IdentityError("", retryable=True)),
    (
        "no connection: name, route, refusal, TLS, proxy, connect timeout",
        NotSent(TransportKind.REFUSED, ""),
    ),
    (
        "the request was sent, but the response timed out, was reset or incomplete",
        Unanswered(TransportKind.READ_TIMEOUT, ""),
    ),
)


class Command(BaseCommand):
    help = "Print docs/outcomes.md: every outcome, HTTP status and CSS code, and what they mean."
    requires_system_checks = []

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(document(), ending="")


def document() -> str:
    """docs/outcomes.md as Markdown."""
    return "\n".join(
        [
            HEAD,
            "## Outcomes\n",
            *table(("Outcome", "Shown as", *WORDS), _all()),
            "\n“Retry?” says whether the same request can succeed later.\n",
            "## Responses without a known code\n",
            *table(("Response", "Outcome", "Next state of the run"), _answers()),
            "\nAfter a 401 the token is renewed and the request is sent again, once.\n",
            "## Errors without a response\n",
            *table(("Error", "Outcome", "Next state of the run"), _failures()),
            "\n## States with an explanation of their own\n",
            *table(("State", "Shown as", *WORDS), _states()),
            "\n## Settled by hand\n",
            "If the records stay unreadable ([run-states.md](run-states.md#settled-by-hand)).\n",
            *table(("State", "Shown as", *WORDS), _by_hand()),
            "\n## Jobs that were not requested here\n",
            "Imported from the cloud's records ([run-states.md](run-states.md#imported-jobs)).\n",
            *table(("State", "Shown as", *WORDS), _imported()),
            "\n## Readiness\n",
            "The expected result of a request ([protection.md](protection.md#readiness)). If"
            " several apply, the first in the table is shown.\n",
            *table(("Readiness", "Shown as", *WORDS), _ready()),
            "\n## Codes\n",
            "The run's page explains a listed code by its row. Any other code is shown as it is,"
            " and the HTTP status decides.\n",
            *table(("Code", "Outcome", *WORDS), _codes()),
            "",
        ]
    )


def table(heads: Iterable[str], rows: Iterable[Row]) -> Iterator[str]:
    """A Markdown table, line by line."""
    names = list(heads)
    yield _line(names)
    yield "|" + "---|" * len(names)
    for row in rows:
        yield _line([_cell(value) for value in row])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if text.startswith("`"):
        return text
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def _all() -> Iterator[Row]:
    for outcome, words in OUTCOMES.items():
        yield (
            f"`{outcome.value}`" if outcome.value else "(empty)",
            outcome.label,
            words.meaning,
            words.actor_label,
            words.next_step,
            words.retryable,
        )


def _answers() -> Iterator[Row]:
    for status in STATUSES:
        yield _verdict(f"HTTP {status}", _answer(status))
    for kind, words in BODIES.items():
        yield _verdict(f"HTTP 200 with {words}", _answer(200, body_kind=kind, excerpt="…"))
    yield _verdict(
        "HTTP 400, 403, 404, 409, 412, … with a truncated or unreadable body",
        _answer(400, body_kind=BodyKind.TRUNCATED),
    )
    yield _verdict(
        "HTTP 200 with an error code that is not listed below", _answer(200, error_code="CSS.7777")
    )


def _failures() -> Iterator[Row]:
    return (_verdict(words, error) for words, error in FAILURES)


def _answer(
    status: int,
    *,
    body_kind: BodyKind = BodyKind.EMPTY,
    excerpt: str = "",
    error_code: str = "",
) -> Answer:
    return Answer("POST", "", status, body_kind=body_kind, excerpt=excerpt, error_code=error_code)


def _verdict(what: str, result: Answer | CssApiError) -> Row:
    verdict = classify(result)
    return (what, f"`{verdict.outcome.value}`", NEXT[verdict.next])


def _states() -> Iterator[Row]:
    for state in RunState:
        if state in (RunState.REJECTED, RunState.ACCEPTED):
            continue  # explained by their outcome
        yield _row(state, state.label, explain_run(state, Outcome.NONE))


def _by_hand() -> Iterator[Row]:
    return (_row(state, state.label, words) for state, words in BY_HAND.items())


def _imported() -> Iterator[Row]:
    return (_row(state, state.label, words) for state, words in IMPORTED.items())


def _ready() -> Iterator[Row]:
    return (_row(each, each.label, READINESS[each]) for each in RANK)


def _row(value: RunState | Readiness, label: object, words: Explanation) -> Row:
    acts = (words.actor_label, words.next_step, words.retryable)
    return (f"`{value.value}`", label, words.meaning, *acts)


def _codes() -> Iterator[Row]:
    for code, entry in sorted(CODES.items()):
        yield (
            f"`{code}`",
            f"`{entry.outcome.value}`",
            entry.meaning,
            ACTION_BY_LABELS[entry.actor],
            entry.next_step,
            entry.retryable,
        )
