"""What is secret does not get into excerpts, whatever the wrapping."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.http.redact import REDACTED, one_line, redact

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SECRET = "s3cr3t-Value/with+signs=="


@pytest.mark.parametrize(
    "text",
    [
        f'{{"password": "{SECRET}"}}',
        f'{{"password":"{SECRET}',
        f"{{'adminPass_token': '{SECRET}'}}",
        f'{{\\"password\\": \\"{SECRET}\\"}}',
        f'{{"X-Subject-Token": "{SECRET}"}}',
        f'{{"access_key":"AKIA","secret_key":"{SECRET}"}}',
        f'{{"ak":"x","sk":"{SECRET}"}}',
        f"X-Auth-Token: {SECRET}\r\nAccept: */*",
        f"Authorization: SDK-HMAC-SHA256 Access=AK, SignedHeaders=host, Signature={SECRET}",
        f"authorization=Basic {SECRET}",
        f"https://host/?token={SECRET}&x=1",
        f"sent with Bearer {SECRET}",
        f"Cookie: a=1; session={SECRET}",
        f"application_credential_secret={SECRET}",
    ],
)
def test_what_is_named_like_a_secret_goes(text: str) -> None:
    cleaned = redact(text)
    assert SECRET not in cleaned
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    "token", ["gAAAAABl" + "x" * 60, "MIIF" + "A" * 200, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.abc"]
)
def test_what_looks_like_a_token_goes(token: str) -> None:
    assert token not in redact(f"we got {token} from you")


@pytest.mark.parametrize("form", ["{}", '{{"x": "{}"}}', "x={}", "<b>{}</b>", "a{}b"])
@pytest.mark.parametrize("secret", [SECRET, 'quo"ted\\word', "pâsswörd"])
def test_a_known_secret_goes_wherever_it_is(form: str, secret: str) -> None:
    import json
    from urllib.parse import quote

    for spelling in (secret, json.dumps(secret)[1:-1], quote(secret, safe="")):
        assert spelling not in redact(form.format(spelling), [secret])


def test_the_rest_stays() -> None:
    text = '{"errCode": "CSS.0036", "task": "risk", "desktop": 1, "message": "Internal error"}'
    assert redact(text) == text


def test_a_short_secret_does_not_blank_out_everything() -> None:
    assert redact("a cat", ["a"]) == "a cat"


def test_control_characters_go_and_line_ends_stay() -> None:
    assert redact("a\x00b\x1b[31mc\r\nd\u202ee\ud800f") == "a b [31mc\nd e f"


def test_one_line_is_one_line_and_bounded() -> None:
    assert one_line(" a\n\t b\u2028c ", 10) == "a b c"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


@RELAXED
@given(st.text(min_size=4, max_size=12), st.text(max_size=60), st.text(max_size=60))
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    if secret in REDACTED or secret in before or secret in after:
        return
    cleaned = redact(f"{before}|{secret}|{after}", [secret])
    assert f"|{secret}|" not in cleaned


@pytest.mark.parametrize("piece", ["a", '"', "\\", "'a", "token", '"token":"', "x.-_"])
def test_hostile_text_takes_no_time(piece: str) -> None:
    import time

    began = time.process_time()
    redact(piece * (65_536 // len(piece)))
    assert time.process_time() - began < 2
