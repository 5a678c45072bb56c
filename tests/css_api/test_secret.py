"""A secret shows itself nowhere but where it is asked to."""

from __future__ import annotations

import json
import pickle
import traceback

import pytest

from dashboard.http.redact import Secret

TEXT = "gAAAAA-a-token"


def test_it_prints_as_nothing() -> None:
    secret = Secret(TEXT)
    for shown in (str(secret), repr(secret), f"{secret}", str([secret]), str({"token": secret})):
        assert TEXT not in shown
    assert secret.reveal() == TEXT


def test_it_leaves_the_process_by_no_serializer() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(TEXT))
    with pytest.raises(TypeError):
        json.dumps({"token": Secret(TEXT)})


def test_the_locals_of_a_traceback_do_not_show_it() -> None:
    def fails(token: Secret) -> None:
        raise ValueError("refused")

    try:
        fails(Secret(TEXT))
    except ValueError as error:
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        shown = "".join(report.format())
    assert "token = [redacted]" in shown
    assert TEXT not in shown


def test_equal_texts_are_equal_secrets() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret(TEXT + "x")
    assert Secret(TEXT) != TEXT
    assert len({Secret(TEXT), Secret(TEXT)}) == 1
