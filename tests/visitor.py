"""A person at a browser without JavaScript: follows links, fills forms, waits and looks again."""

from __future__ import annotations

import html
import re
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter

FORM = re.compile(r'<form method="post" action="(/clusters/\d+/backup/)".*?</form>', re.DOTALL)
TERMINAL = {"succeeded", "failed", "unverified", "rejected", "not_started", "cancelled"}


def text_of(page: str) -> str:
    """What a person reads: no tags, entities resolved, white space folded."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


class TlsProxy(HTTPAdapter):
    """Stands for the proxy of an HTTPS site: passes on by HTTP, and says what came."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        inner = request.copy()
        inner.url = str(request.url).replace("https://", "http://", 1)
        inner.headers["X-Forwarded-Proto"] = "https"
        response = super().send(inner, **kwargs)
        response.request, response.url = request, str(request.url)
        return response


class Visitor(requests.Session):
    """A browser: relative URLs, cookies, CSRF.

    Args:
        base_url: of the product, without a slash at the end; https:// goes through a TlsProxy.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.base_url = base_url
        self.trust_env = False
        self.mount("https://", TlsProxy())

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """As requests does it, for a path on `base_url`."""
        kwargs.setdefault("timeout", 30)
        if url.startswith("/"):
            url = self.base_url + url
        if method.upper() == "POST":
            headers = {**(kwargs.pop("headers", None) or {})}
            headers.setdefault("X-CSRFToken", self._csrf_token())
            headers.setdefault("Referer", self.base_url + "/")
            kwargs["headers"] = headers
        return super().request(method, url, *args, **kwargs)

    def _csrf_token(self) -> str:
        """The token of this instance: two on one host have cookies of two names."""
        port = self.base_url.rpartition(":")[2]
        cookies = {cookie.name: cookie.value or "" for cookie in self.cookies}
        return cookies.get(f"csrftoken_{port}") or cookies.get("csrftoken", "")

    def sign_in(self, username: str, password: str) -> Visitor:
        """Use the sign-in page."""
        self.get("/sign-in/").raise_for_status()
        answer = self.post("/sign-in/", data={"username": username, "password": password})
        answer.raise_for_status()
        assert "/sign-in/" not in answer.url, "the sign-in was refused"
        return self

    def back_up(self, cluster: str, **fields: str) -> int:
        """Press "Back up logs" in a cluster's row of the clusters page.

        Args:
            cluster: the name, whole.
            fields: what to fill in: reason, wait_minutes.

        Returns:
            The run's number.
        """
        page = self.get("/clusters/", params={"q": cluster})
        page.raise_for_status()
        for row in re.findall(r"<tr\b.*?</tr>", page.text, re.DOTALL):
            name = re.search(r'<bdi class="name"[^>]*>(.*?)</bdi>', row)
            if name and html.unescape(name[1]) == cluster:
                break
        else:
            raise AssertionError(f"no row of {cluster!r} on {page.url}:\n{page.text}")
        form = FORM.search(row)
        assert form, f"no button in the row of {cluster!r}:\n{row}"
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0]))
        data = {name: html.unescape(value) for name, value in hidden.items()} | fields
        answer = self.post(form[1], data={**data, "then": "run"})
        answer.raise_for_status()
        number = re.search(r"/runs/(\d+)/", answer.url)
        assert number, f"no run's page but {answer.url}"
        return int(number[1])

    def run(self, number: int) -> dict[str, Any]:
        """A run as the page's download has it."""
        answer = self.get(f"/runs/{number}.json")
        answer.raise_for_status()
        return dict(answer.json())

    def wait_for_run(self, number: int, *, seconds: float = 60.0) -> dict[str, Any]:
        """Look at a run until it has ended; returns it."""
        deadline = time.monotonic() + seconds
        while (run := self.run(number))["state"] not in TERMINAL:
            assert time.monotonic() < deadline, f"run {number} has not ended: {run}"
            time.sleep(0.1)
        return run
