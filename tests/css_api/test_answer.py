"""Every shape of body and error becomes an answer; none can make it fail."""

# ruff: noqa: E501  a case is a line of a table

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups.css_api.answer import Reply, read_answer
from backups.css_api.types import BodyKind
from dashboard.http.transport import RawAnswer

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(body: bytes | object, status: int = 400, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = RawAnswer(status, named, data, oversized=False, cut_short=False, duration_ms=5)
    return read_answer(raw, method="POST", path="/v1.0/p/x", secrets=("hunter2secret",))


ERRORS = {
    "CSS": ({"errCode": "CSS.0036", "externalMessage": "CSS.0036 : Internal error"}, "CSS.0036", "CSS.0036 : Internal error"),
    "generic": ({"error_msg": "wrong", "error_code": "AS.0001"}, "AS.0001", "wrong"),
    "gateway": ({"error_msg": "bad token", "error_code": "APIGW.0301", "request_id": "r1"}, "APIGW.0301", "bad token"),
    "camel case": ({"errorCode": "CSS.3004", "errorMsg": "busy"}, "CSS.3004", "busy"),
    "code and message": ({"code": "CSS.0015", "message": "denied"}, "CSS.0015", "denied"),
    "Keystone": ({"error": {"message": "Unauthorized.", "code": 401, "title": "Unauthorized"}}, "", "Unauthorized."),
    "Keystone, number as text": ({"error": {"message": "No.", "code": "401"}}, "", "No."),
    "nested": ({"error": {"error_code": "CSS.0001", "error_msg": "param"}}, "CSS.0001", "param"),
    "nested twice": ({"data": {"error": {"errCode": "CSS.0001", "externalMessage": "m"}}}, "CSS.0001", "m"),
    "in a list": ({"errors": [{"errCode": "CSS.0029", "errMsg": "creating"}]}, "CSS.0029", "creating"),
    "code in the text only": ({"externalMessage": "CSS.0004 : Invalid operation. (Illegal operation)"}, "CSS.0004", "CSS.0004 : Invalid operation. (Illegal operation)"),
    "code null": ({"errCode": None, "externalMessage": "CSS.0004 : no"}, "CSS.0004", "CSS.0004 : no"),
    "no code at all": ({"externalMessage": "Invalid operation."}, "", "Invalid operation."),
    "Spring": ({"status": 404, "error": "Not Found", "path": "/x"}, "", "Not Found"),
    "text": (b"CSS.0001 : broken", "CSS.0001", "CSS.0001 : broken"),
    "JSON text": (b'"sorry"', "", "sorry"),
    "HTML": (b"<html><head><title>502 Bad Gateway</title><script>x()</script></head></html>", "", "502 Bad Gateway"),
    "empty": (b"", "", ""),
    "wrong types": ({"errCode": ["CSS.1"], "externalMessage": {"a": 1}}, "", ""),
    "several lines": ({"errCode": "CSS.0001", "externalMessage": "a\n b\tc\x1b[31m"}, "CSS.0001", "a b c [31m"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_every_error_shape_is_read(body: object, code: str, message: str) -> None:
    answer = read(body).answer
    assert (answer.error_code, answer.message) == (code, message)
    assert not answer.ok


@pytest.mark.parametrize(
    ("body", "ok"),
    [
        (b"", True),
        ({"clusters": []}, True),
        ({"errCode": "CSS.0011", "externalMessage": "CSS.0011 : busy"}, False),
        ({"error_code": "CSS.0011"}, False),
        ({"externalMessage": "CSS.0011 : busy"}, False),
        ({"error": {"errCode": "CSS.0011"}}, False),
        (b"CSS.0011 : busy", False),
        ({"errCode": None}, True),
        ({"errCode": "0"}, True),
        ({"id": "c", "failedReason": {"errorCode": "CSS.6000", "errorMsg": "create"}}, True),
        ({"code": "red", "message": "a cluster's own field"}, True),
    ],
)
def test_a_2xx_with_an_error_code_is_not_ok(body: object, ok: bool) -> None:
    assert read(body, status=202).answer.ok is ok


BODIES = {
    BodyKind.EMPTY: [b"", b" \r\n", b"\xef\xbb\xbf"],
    BodyKind.JSON_OBJECT: [b"{}", b'\xef\xbb\xbf{"a": 1}', '{"a":1}'.encode("utf-16"), b'{"a":NaN}', b'{"a":1,"a":2}', b'{"a":"\xff"}'],
    BodyKind.JSON_OTHER: [b"[]", b"null", b"1e999", b'"x"'],
    BodyKind.HTML: [b"<html>", b"<!DOCTYPE html><p>", b"<!-- x --><body>", b" <HEAD><TITLE>x"],
    BodyKind.TEXT: [b"OK", b"<script>alert(1)</script>", b"<?xml version='1.0'?>", b"{", b"[" * 200_000, b"9" * 5000],
    BodyKind.BINARY: [b"\x00\x01\x02", b"\xff\xd8\xff\xe0", b"\x1f\x8b\x08\x00"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "body"), [(k, b) for k, bodies in BODIES.items() for b in bodies])
def test_a_body_is_what_it_is_whatever_it_claims(kind: BodyKind, body: bytes) -> None:
    answer = read(body, Content_Type="application/json").answer
    assert answer.body_kind is kind
    assert answer.size == len(body)


def test_an_oversized_body_says_so() -> None:
    raw = RawAnswer(200, {}, b"[1, 2", oversized=True, cut_short=False, duration_ms=1)
    answer = read_answer(raw, method="GET", path="/").answer
    assert answer.body_kind is BodyKind.OVERSIZED
    assert "larger than 5 bytes" in answer.message


def test_a_body_that_broke_off_says_so() -> None:
    raw = RawAnswer(500, {}, b"x" * 9000, oversized=False, cut_short=True, duration_ms=1)
    answer = read_answer(raw, method="GET", path="/").answer
    assert answer.body_kind is BodyKind.TRUNCATED
    assert answer.excerpt.endswith("[the answer was cut off here]")
    assert len(answer.excerpt) <= 4000


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", ""),
        (b'{"errCode": "CSS.00', ""),
        (b'{"errCode": "CSS.0036"}', "CSS.0036"),
        (b"CSS.0036: the cluster", "CSS.0036"),
    ],
)
def test_a_body_that_broke_off_is_neither_empty_nor_whole(body: bytes, code: str) -> None:
    raw = RawAnswer(400, {}, body, oversized=False, cut_short=True, duration_ms=1)
    answer = read_answer(raw, method="POST", path="/").answer
    assert (answer.body_kind, answer.error_code) == (BodyKind.TRUNCATED, code)


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"X_Request_Id": "abc"}, {}, "abc"),
        ({"x_openstack_request_id": "req-1"}, {}, "req-1"),
        ({}, {"request_id": "in-body"}, "in-body"),
        ({}, {"requestId": "camel"}, "camel"),
        ({}, {"request_id": 5}, ""),
        ({"X_Request_Id": "a\x1b b" + "c" * 300}, {}, "ab" + "c" * 126),
        ({}, {}, ""),
    ],
)
def test_the_request_id_is_found_and_bounded(
    headers: dict[str, str], body: object, expected: str
) -> None:
    from requests.structures import CaseInsensitiveDict

    named = CaseInsensitiveDict({k.replace("_", "-"): v for k, v in headers.items()})
    raw = RawAnswer(400, named, json.dumps(body).encode(), False, False, 1)
    assert read_answer(raw, method="GET", path="/").answer.request_id == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7.0), ("1.5", 1.5), ("-3", 0.0), ("nan", None), ("inf", None), ("soon", None), ("", None),
     ("999999999", 86_400.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Wed, 99 Oct", None), ("6, 9", 9.0),
     ("Wednesday, 21-Oct-15 07:28:00 GMT", 0.0), ("5, soon", None)],
)  # fmt: skip
def test_retry_after_is_read_in_both_spellings(value: str, expected: float | None) -> None:
    assert read({}, 429, Retry_After=value).answer.retry_after == expected


@pytest.mark.parametrize("ahead", [-240, 0, 240])
def test_a_date_to_retry_after_is_counted_on_the_clouds_own_clock(ahead: int) -> None:
    clouds_now = datetime.now(UTC) + timedelta(seconds=ahead)
    answer = read(
        {},
        429,
        Date=format_datetime(clouds_now, usegmt=True),
        Retry_After=format_datetime(clouds_now + timedelta(seconds=90), usegmt=True),
    ).answer
    assert answer.retry_after == 90


def test_a_date_to_retry_after_is_counted_from_now_where_the_cloud_tells_no_time() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    for date in ({}, {"Date": "yesterday"}):
        wait = read({}, 429, Retry_After=until, **date).answer.retry_after
        assert wait is not None
        assert 60 < wait <= 90


def test_secrets_are_in_neither_message_nor_excerpt() -> None:
    answer = read(
        {"errCode": "CSS.1", "externalMessage": "user hunter2secret", "password": "p w"}
    ).answer
    assert "hunter2secret" not in answer.message + answer.excerpt
    assert "p w" not in answer.excerpt


def test_text_is_bounded() -> None:
    answer = read({"errCode": "CSS.1", "externalMessage": "é" * 100_000}).answer
    assert (len(answer.message), len(answer.excerpt)) == (2000, 4000)


@RELAXED
@given(st.binary(max_size=300), st.integers(100, 599))
def test_no_bytes_make_it_fail(body: bytes, status: int) -> None:
    answer = read(body, status).answer
    answer.message.encode()
    answer.excerpt.encode()
    assert "\x00" not in answer.message + answer.excerpt


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["errCode", "error", "error_msg", "code", "message", "request_id", "errors"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@RELAXED
@given(json_values, st.sampled_from([200, 202, 400, 401, 500]))
def test_no_document_makes_it_fail(document: object, status: int) -> None:
    answer = read(document, status).answer
    assert not answer.error_code.isdigit()
    (answer.message + answer.error_code + answer.request_id).encode()
