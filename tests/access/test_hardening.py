"""Attacks on static files, patterns and transport headers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as product
from django.test import Client

from tests.access.conftest import World
from tests.access.test_every_answer import superuser
from tests.access.test_hostile_input import LISTS

PLANTED = "a file beside the static files"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../planted.txt",
        "/static/%2e%2e/planted.txt",
        "/static/..%2fplanted.txt",
        "/static/..%5cplanted.txt",
        "/static/....//planted.txt",
        "/static/css/../../planted.txt",
        "/static//{absolute}",
        "/static/%00/../planted.txt",
        "/static/.%00./planted.txt",
    ],
)
def test_static_files_lead_to_no_other_file(world: World, path: str) -> None:
    beside = Path(product.STATIC_ROOT).parent / "planted.txt"
    beside.write_text(PLANTED)
    try:
        answer = superuser(world).client.get(path.replace("{absolute}", str(beside)))
        assert answer.status_code == 404
        assert PLANTED not in answer.getvalue().decode()
    finally:
        beside.unlink()


# input that causes catastrophic backtracking
BACKTRACKING = [
    "a" * 20_000 + "!",
    " " * 20_000 + "x",
    "=" * 20_000,
    "a=" * 10_000,
    ",".join(["a=b"] * 5_000) + "!",
    "1" * 20_000 + "x",
    "2026-" * 4_000,
    "." * 20_000,
    "(" * 10_000 + ")" * 9_999,
    "a@" * 10_000,
]


@pytest.mark.parametrize("text", BACKTRACKING, ids=range(len(BACKTRACKING)))
def test_no_filter_takes_long_over_a_text(world: World, text: str) -> None:
    client = superuser(world).client
    for path, names in LISTS.items():
        client.get(path)
        for name in names:
            began = time.process_time()
            assert client.get(path, {name: text}).status_code < 500, name
            took = time.process_time() - began
            assert took < 2, f"{path} {name}: {took:.1f} s"


def test_over_https_browsers_are_told_to_stay_there(settings: Any, world: World) -> None:
    settings.SECURE_HSTS_SECONDS = 31_536_000
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = settings.SECURE_HSTS_PRELOAD = True
    settings.SECURE_SSL_REDIRECT = True
    answer = Client().get("/sign-in/", secure=True)
    assert answer.headers["Strict-Transport-Security"] == (
        "max-age=31536000; includeSubDomains; preload"
    )
    plain = Client().get("/sign-in/?next=/history/")
    assert (plain.status_code, plain.headers["Location"]) == (
        301,
        "https://testserver/sign-in/?next=/history/",
    )
    assert "Strict-Transport-Security" not in plain.headers
