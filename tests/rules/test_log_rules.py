"""What is taken as log backup settings."""

from __future__ import annotations

import pytest

from backups.rules.log_settings import (
    OFFSETS,
    agency_problem,
    bucket_problem,
    path_problem,
    period,
    split_period,
)


@pytest.mark.parametrize("name", ["abc", "my-bucket.1", "0" * 63, "a1.b2-c3"])
def test_a_bucket(name: str) -> None:
    assert bucket_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    ["", "ab", "a" * 64, "Bucket", "-abc", "abc-", ".abc", "a..b", "a.-b", "a-.b", "a_b",
     "192.168.1.1", "bücket", "a b c", "abc\n"],
)  # fmt: skip
def test_no_bucket(name: str) -> None:
    assert bucket_problem(name)


@pytest.mark.parametrize(
    "path", ["css/log", "a", "logs.2026/eu", "p" * 512, "a/b/", "a//b", "a..b"]
)
def test_a_path(path: str) -> None:
    assert path_problem(path) == ""


@pytest.mark.parametrize(
    "path",
    ["", "/css", ".css", "css.", "a///b", "a...b", "p" * 513, "a\\b", "a:b", "a*b", "a?b", 'a"b',
     "a<b", "a>b", "a|b", "a'b", "a{b", "a}b", "a\nb", "a\x00b"],
)  # fmt: skip
def test_no_path(path: str) -> None:
    assert path_problem(path)


@pytest.mark.parametrize("name", ["css_obs_agency", "A-1", "x" * 64])
def test_an_agency(name: str) -> None:
    assert agency_problem(name) == ""


@pytest.mark.parametrize("name", ["", "a b", "a.b", "x" * 65, "ägency", "a\n"])
def test_no_agency(name: str) -> None:
    assert agency_problem(name)


@pytest.mark.parametrize("offset", OFFSETS)
def test_a_period_comes_back_as_it_was_made(offset: str) -> None:
    assert split_period(period(7, offset)) == (7, offset)


@pytest.mark.parametrize("text", ["", "07:30 GMT+08:00", "7:00 GMT+08:00", "24:00 GMT+00:00", "x"])
def test_a_period_in_another_notation_is_none(text: str) -> None:
    assert split_period(text) is None
