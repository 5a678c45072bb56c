"""gunicorn as the product configures it takes nothing but the request from a request."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instances import ROOT, clean_environment


@pytest.fixture
def web(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of gunicorn with the product's configuration; the param is more environment."""
    (tmp_path / "data").mkdir()
    more = getattr(request, "param", {})
    environ = clean_environment(tmp_path, DEBUG="1", WEB_CONCURRENCY="1", **more)
    listener = socket.create_server(("127.0.0.1", 0))
    command = [sys.executable, "-m", "gunicorn", "-c", "python:dashboard.gunicorn"]
    process = subprocess.Popen(
        [*command, "--bind", f"fd://{listener.fileno()}"],
        cwd=ROOT,
        env=environ,
        pass_fds=[listener.fileno()],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield listener.getsockname()[1]
    finally:
        process.terminate()
        process.wait(20)
        listener.close()


def answer(port: int, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    asked.request("GET", path, headers=headers)
    found = asked.getresponse()
    found.read()
    return found


def test_a_proxy_on_loopback_passes_on_no_address_that_strangers_choose(web: int) -> None:
    usual = answer(web, "/healthz", {})
    assert usual.status == 200
    for name, value in {
        "SCRIPT_NAME": "/elsewhere",
        "Script_Name": "/elsewhere",
        "PATH_INFO": "/elsewhere/",
    }.items():
        found = answer(web, "/healthz", {name: value})
        assert found.status in (200, 400), name
        location = answer(web, "/history/", {name: value}).headers["Location"] or ""
        assert "elsewhere" not in location


@pytest.mark.parametrize(
    "web", [{"URL_PREFIX": "css-logs/"}, {"SCRIPT_NAME": "/css-logs"}], indirect=True
)
@pytest.mark.parametrize("asked", ["/css-logs/history/", "/history/"])
def test_the_prefix_of_the_setting_is_in_every_address(web: int, asked: str) -> None:
    """Also by gunicorn's own variable, and where the proxy has taken the prefix off."""
    for path in ("/healthz", "/css-logs/healthz"):
        assert answer(web, path, {}).status == 200
    found = answer(web, asked, {"SCRIPT_NAME": "/elsewhere"})
    if found.status != 400:  # gunicorn may refuse such a header
        assert found.headers["Location"].startswith("/css-logs/sign-in/")
    found = answer(web, asked, {})
    assert found.headers["Location"] == "/css-logs/sign-in/?next=/css-logs/history/"
