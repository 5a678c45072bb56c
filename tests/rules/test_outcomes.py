"""Every status, every error and every code of the guide is told as what it is."""

from __future__ import annotations

import pytest

from backups.choices import Outcome, RunState
from backups.css_api.errors import (
    ConfigurationError,
    CssApiError,
    IdentityError,
    NotSent,
    TransportKind,
    Unanswered,
)
from backups.css_api.types import Answer, BodyKind
from backups.guide import CODES, OUTCOMES, code_family, explain, explain_run
from backups.rules.outcomes import Next, Verdict, classify

O, N = Outcome, Next  # noqa: E741


def answer(status: int, code: str = "", kind: BodyKind = BodyKind.EMPTY) -> Answer:
    text = "" if kind is BodyKind.EMPTY else "something"
    return Answer("POST", "/x", status, error_code=code, body_kind=kind, excerpt=text)


BY_STATUS = {
    200: (O.ACCEPTED, N.FOLLOW),
    201: (O.ACCEPTED, N.FOLLOW),
    202: (O.ACCEPTED, N.FOLLOW),
    204: (O.ACCEPTED, N.FOLLOW),
    203: (O.MALFORMED, N.SETTLE),
    206: (O.MALFORMED, N.SETTLE),
    301: (O.MALFORMED, N.END),
    302: (O.MALFORMED, N.END),
    304: (O.MALFORMED, N.END),
    307: (O.MALFORMED, N.END),
    400: (O.INVALID_REQUEST, N.END),
    401: (O.UNAUTHENTICATED, N.END),
    403: (O.FORBIDDEN, N.END),
    404: (O.NOT_FOUND, N.END),
    405: (O.INVALID_REQUEST, N.END),
    407: (O.UNAUTHENTICATED, N.END),
    408: (O.UNANSWERED, N.SETTLE),
    409: (O.CONFLICT, N.WAIT_IF_ASKED),
    410: (O.NOT_FOUND, N.END),
    412: (O.PRECONDITION_FAILED, N.END),
    413: (O.INVALID_REQUEST, N.END),
    415: (O.INVALID_REQUEST, N.END),
    418: (O.INVALID_REQUEST, N.END),
    419: (O.INVALID_REQUEST, N.END),
    422: (O.INVALID_REQUEST, N.END),
    429: (O.THROTTLED, N.RETRY),
    500: (O.SERVER_ERROR, N.SETTLE),
    501: (O.SERVER_ERROR, N.SETTLE),
    502: (O.SERVER_ERROR, N.SETTLE),
    503: (O.SERVER_ERROR, N.RETRY),
    504: (O.SERVER_ERROR, N.SETTLE),
    599: (O.SERVER_ERROR, N.SETTLE),
}


@pytest.mark.parametrize(("status", "expected"), BY_STATUS.items())
def test_a_status_without_a_code(status, expected):
    verdict = classify(answer(status))
    assert (verdict.outcome, verdict.next) == expected


@pytest.mark.parametrize("kind", [BodyKind.TRUNCATED, BodyKind.OVERSIZED, BodyKind.BINARY])
@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 415, 422])
def test_a_refusal_whose_code_could_not_be_read_is_settled_by_the_records(status, kind):
    """It may have been CSS.0036, which comes with a 400 and leaves open what happened."""
    assert classify(answer(status, kind=kind)) == Verdict(O.MALFORMED, N.SETTLE)
    assert classify(answer(status, "CSS.5090", kind)).next is N.END


@pytest.mark.parametrize(("status", "next_"), [(401, N.END), (407, N.END), (429, N.RETRY)])
def test_a_gateways_refusal_is_one_whatever_its_body_is(status, next_):
    assert classify(answer(status, kind=BodyKind.TRUNCATED)).next is next_


@pytest.mark.parametrize("status", [600, 999])
def test_a_status_that_http_does_not_have_is_settled_by_the_records(status):
    assert classify(answer(status)) == Verdict(O.MALFORMED, N.SETTLE)


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_an_outcome_and_only_a_clean_2xx_is_accepted(status):
    for kind in BodyKind:
        verdict = classify(answer(status, kind=kind))
        accepted = verdict.outcome is O.ACCEPTED
        clean = kind is BodyKind.EMPTY
        assert accepted == (status in (200, 201, 202, 204) and clean)
        assert (verdict.next is N.FOLLOW) == accepted


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("status", [200, 202, 400, 403, 409, 412, 415, 500, 504])
def test_a_known_code_counts_before_the_status(code, status):
    verdict = classify(answer(status, code, BodyKind.JSON_OBJECT))
    assert verdict.outcome is CODES[code].outcome
    assert verdict.next is not N.FOLLOW


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (409, "CSS.3004", O.CONFLICT),
        (202, "CSS.0011", O.CONFLICT),
        (400, "CSS.0029", O.CONFLICT),
        (403, "CSS.0015", O.NOT_FOUND),
        (415, "CSS.0004", O.PRECONDITION_FAILED),
        (412, "CSS.0004", O.PRECONDITION_FAILED),
        (400, "CSS.0036", O.SERVER_ERROR),
        (429, "APIGW.0308", O.THROTTLED),
        (401, "APIGW.0301", O.UNAUTHENTICATED),
    ],
)
def test_the_cases_that_the_documents_name(status, code, outcome):
    assert classify(answer(status, code, BodyKind.JSON_OBJECT)).outcome is outcome


@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 429, 500, 503])
def test_an_unknown_code_leaves_the_word_to_the_status(status):
    with_code = classify(answer(status, "CSS.8888", BodyKind.JSON_OBJECT))
    assert with_code == classify(answer(status))


def test_an_unknown_code_in_a_2xx_is_never_accepted_and_settled_by_the_records():
    verdict = classify(answer(200, "CSS.8888", BodyKind.JSON_OBJECT))
    assert (verdict.outcome, verdict.next) == (O.MALFORMED, N.SETTLE)


@pytest.mark.parametrize("kind", TransportKind)
def test_what_was_not_sent_is_tried_again_and_what_was_is_settled(kind):
    assert classify(NotSent(kind, "x")) == Verdict(O.UNREACHABLE, N.RETRY)
    assert classify(Unanswered(kind, "x")) == Verdict(O.UNANSWERED, N.SETTLE)


@pytest.mark.parametrize(
    ("error", "outcome", "next_"),
    [
        (IdentityError("refused", status=401), O.UNAUTHENTICATED, N.END),
        (IdentityError("forbidden", status=403), O.FORBIDDEN, N.END),
        (IdentityError("no endpoint"), O.UNAUTHENTICATED, N.END),
        (IdentityError("down", status=503, retryable=True), O.UNREACHABLE, N.RETRY),
        (IdentityError("unreachable", retryable=True), O.UNREACHABLE, N.RETRY),
        (IdentityError("slow down", status=429, retryable=True), O.THROTTLED, N.RETRY),
        (ConfigurationError("no such cloud"), O.UNAUTHENTICATED, N.END),
        (CssApiError("something new"), O.UNANSWERED, N.SETTLE),
    ],
)
def test_errors_before_and_instead_of_an_answer(error, outcome, next_):
    verdict = classify(error)
    assert (verdict.outcome, verdict.next) == (outcome, next_)


@pytest.mark.parametrize("text", ['{"error":{"code":401}}', '{"errCode":"??"}', '{"jobId":"x"}'])
def test_a_2xx_that_says_more_than_nothing_is_settled_by_the_records(text):
    told = Answer("POST", "/x", 200, excerpt=text, body_kind=BodyKind.JSON_OBJECT)
    assert classify(told) == Verdict(O.MALFORMED, N.SETTLE)


def test_an_empty_object_is_as_good_as_no_body():
    told = Answer("POST", "/x", 200, excerpt="{}\n", body_kind=BodyKind.JSON_OBJECT)
    assert classify(told) == Verdict(O.ACCEPTED, N.FOLLOW)


def test_retry_after_reaches_the_verdict():
    throttled = Answer("POST", "/x", 429, retry_after=7.5)
    assert classify(throttled).retry_after == 7.5
    for status in (429, 503):
        refused = IdentityError("slow down", status=status, retryable=True, retry_after=7.5)
        assert classify(refused).retry_after == 7.5


@pytest.mark.parametrize(
    ("written", "family"),
    [
        ("CSS.0004", "CSS.0004"),
        ("css.4", "CSS.0004"),
        (" CSS-3004 ", "CSS.3004"),
        ("APIGW.0301", "APIGW.0301"),
        ("weird code!", "weird code!"),
        ("x" * 500, "x" * 64),
    ],
)
def test_spellings_of_a_code(written, family):
    assert code_family(written) == family


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_words(outcome):
    words = OUTCOMES[outcome]
    assert str(words.meaning)
    assert str(words.next_step)
    assert str(words.actor_label)
    assert explain(outcome, "CSS.9876") is words


def test_the_words_of_a_code_are_used_only_with_its_own_outcome():
    assert "frozen" in str(explain(O.INVALID_REQUEST, "CSS.5301").meaning)
    assert explain(O.CONFLICT, "CSS.5301") is OUTCOMES[O.CONFLICT]


@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("outcome", Outcome)
def test_every_state_with_every_outcome_has_words(state, outcome):
    assert str(explain_run(state, outcome).meaning)


def test_only_a_verified_run_needs_nobody():
    calm = {s for s in RunState if explain_run(s, O.ACCEPTED).actor == "nobody"}
    assert calm == {RunState.SUCCEEDED, RunState.CANCELLED}


@pytest.mark.parametrize("outcome", [O.THROTTLED, O.SERVER_ERROR])
@pytest.mark.parametrize("code", ["", "APIGW.0308"])
def test_a_run_that_is_over_is_not_said_to_be_tried_again(outcome, code):
    assert "by itself" not in str(explain_run(RunState.REJECTED, outcome, code).next_step)
