"""A minimal browser for the trial: cookies, forms, headers of a proxy."""

from __future__ import annotations

import re
from http.cookiejar import CookieJar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Visitor:
    """Opens pages of one instance.

    Args:
        url: address of the instance.
        headers: headers that a proxy would add.
    """

    def __init__(self, url: str, **headers: str) -> None:
        self._url = url
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._jar = CookieJar()
        # `open` sends the cookies itself, because Secure cookies must be sent over HTTP as well.
        self._opener = build_opener(HTTPCookieProcessor(self._jar), _NoRedirect())

    def open(self, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """Open a page; return status and text, or 0 and the reason without an answer."""
        data = urlencode(form).encode() if form is not None else None
        request = Request(self._url + path, data, self._headers)  # noqa: S310 - our own address
        if cookies := "; ".join(f"{each.name}={each.value}" for each in self._jar):
            request.add_unredirected_header("Cookie", cookies)
        try:
            with self._opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except (URLError, OSError) as error:
            return 0, str(error)

    def finds_all_well(self) -> bool:
        """Whether web can serve pages, and /health/work does not report a problem."""
        return self.open("/readyz")[0] == 200 and self.open("/health/work")[0] != 503

    def sign_in(self, name: str, password: str) -> int:
        """Submit the sign-in form; return the status, 302 on success, 0 without a form."""
        _, page = self.open("/sign-in/")
        if not (token := TOKEN.search(page)):
            return 0
        form = {"csrfmiddlewaretoken": token[1], "username": name, "password": password}
        return self.open("/sign-in/", form)[0]
