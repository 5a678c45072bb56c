"""Talking to the provider, with the transport for untrusted services: bounded in time and size."""

from __future__ import annotations

from typing import Any

import requests
from django.conf import settings

from dashboard.http.errors import TransportError
from dashboard.http.transport import names_loopback_http, new_session, send
from dashboard.http.wire import Timeouts

TIMEOUTS = Timeouts(connect=5.0, read=10.0, total=10.0)  # seconds, for each of the requests
LARGEST = 1_048_576  # bytes, unpacked; a discovery document has some thousand
USER_AGENT = "css-log-backup"


class ProviderSession(requests.Session):
    """What django-allauth calls in place of a session of requests.

    HTTPS only but for loopback, verified certificates, no redirects, no cookies, nothing of a
    ~/.netrc, one try. `OIDC_CA_FILE` names the CA of a provider that has its own.
    """

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request and read its answer.

        Args:
            method: HTTP method.
            url: whole URL.
            args, kwargs: params, data, headers and auth as in requests; what else there is does
                not count here.

        Raises:
            requests.RequestException: no whole answer, or one that is too large.
        """
        names = {"params", "data", "headers", "auth"}
        given = {name: value for name, value in kwargs.items() if name in names}
        asked = requests.Request(method, url, **given).prepare()
        body = asked.body.encode() if isinstance(asked.body, str) else asked.body
        try:
            # addresses of the provider's discovery document are its word, not ours
            here = names_loopback_http(settings.OIDC_ISSUER)
            with new_session(USER_AGENT, loopback_http=here) as session:
                found = send(
                    session,
                    str(asked.method),
                    str(asked.url),
                    headers=asked.headers,
                    body=body,
                    timeouts=TIMEOUTS,
                    cap=LARGEST,
                    verify=settings.OIDC_CA_FILE or True,
                    secrets=(settings.OIDC_CLIENT_SECRET,),
                )
        except TransportError as error:
            raise requests.ConnectionError(str(error)) from None
        if found.oversized or found.cut_short:
            raise requests.ConnectionError(f"{asked.url}: the answer is too large or broke off")
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = found.status, str(asked.url), asked
        answer.headers.update(found.headers)
        answer.headers.setdefault("Content-Type", "")
        answer._content = found.body
        return answer
