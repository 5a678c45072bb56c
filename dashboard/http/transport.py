"""Perform one HTTP exchange without retries, with bounded size and time.

A failure states whether the request was sent.
"""

from __future__ import annotations

import http.cookiejar
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidProxyURL, InvalidSchema
from requests.utils import select_proxy

from .errors import NotSent, TransportError, TransportKind, Unanswered
from .redact import one_line, redact
from .wire import POOLS, ExchangeWatch, Phase, Timeouts, running_watch

_CHUNK = 65_536  # bytes
_WORDS: dict[TransportKind, str] = {
    TransportKind.DNS: "the name of {host} could not be resolved",
    TransportKind.REFUSED: "{host} refused the connection",
    TransportKind.CONNECT_TIMEOUT: "no connection to {host} within the time allowed",
    TransportKind.TLS: "no secure connection to {host}",
    TransportKind.PROXY: "the proxy on the way to {host} did not let the request through",
    TransportKind.CONNECT_FAILED: "no connection to {host}",
    TransportKind.READ_TIMEOUT: "{host} did not answer within the time allowed",
    TransportKind.RESET: "{host} closed the connection before it had answered",
    TransportKind.BROKEN_ANSWER: "the answer of {host} broke off or is not HTTP",
}
_PLAIN_IN_WORDS = {TransportKind.DNS, TransportKind.REFUSED, TransportKind.CONNECT_TIMEOUT}


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """HTTP answer with its body as bytes.

    Attributes:
        status: HTTP status code.
        headers: response headers; names are case-insensitive.
        body: decoded body, limited to the cap.
        oversized: True if the body was larger than the cap; the rest was not read.
        cut_short: True if the body was truncated. Never set for a 2xx, which raises `Unanswered`.
        duration_ms: time from the first byte sent to the last byte read, in milliseconds.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    oversized: bool
    cut_short: bool
    duration_ms: int


def is_loopback(host: str) -> bool:
    """Return True if the name or address `host` denotes this machine; does no DNS lookup."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        try:  # the resolver also accepts forms such as “127.1” and “0x7f000001”
            address = ip_address(socket.inet_aton(host))
        except (OSError, ValueError):
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def names_loopback_http(*urls: str) -> bool:
    """Return True if any of the configured URLs is http:// on this machine.

    URLs supplied by the identity service can use http:// on this machine only in that case.
    Otherwise a remote service could make this process connect to local services such as Redis.
    """
    found = map(urlsplit, urls)
    return any(each.scheme == "http" and is_loopback(each.hostname or "") for each in found)


def require_proxy_address(proxy: str) -> None:
    """Check that `proxy` is the URL of an HTTP proxy.

    Raises:
        InvalidProxyURL: the URL is not valid or not supported. The message omits the password;
            urllib3's own message would quote the URL up to the first unescaped character.
    """
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        parts.port  # noqa: B018 - raises ValueError if invalid
        extra = parts.path.strip("/") or parts.query or parts.fragment
        usable = bool(parts.hostname) and not extra
    except ValueError:
        usable = False
    if not usable:
        raise InvalidProxyURL(
            "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is not http://USER:PASSWORD@HOST:PORT"
            " (escape # / ? [ ] @ : % in a password)"
        )
    if parts.scheme not in ("http", "https"):
        raise InvalidProxyURL("SOCKS and other kinds of proxies are not supported")


class WatchedAdapter(HTTPAdapter):
    """Requests adapter for watched connections: no retries, both timeouts always set.

    Requires HTTPS unless the arguments allow plain HTTP. HTTPS_PROXY, HTTP_PROXY and NO_PROXY
    apply, except to requests to this machine.

    Args:
        plain_http: allow http:// to other machines.
        loopback_http: allow http:// to this machine.
    """

    def __init__(self, *, plain_http: bool = False, loopback_http: bool = True) -> None:
        self._plain_http = plain_http
        self._loopback_http = loopback_http
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create pools of watched connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Create pools of watched connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send one request under the running thread's watch."""
        parts = urlsplit(request.url or "")
        here = is_loopback(parts.hostname or "")
        if parts.scheme != "https" and not (self._loopback_http if here else self._plain_http):
            raise InvalidSchema(f"refused to send to {parts.hostname} without HTTPS")
        if here:  # no proxy can reach this machine's loopback; ignore proxies from the environment
            kwargs["proxies"] = None
        elif proxy := select_proxy(request.url or "", kwargs.get("proxies")):
            require_proxy_address(proxy)
        watch = running_watch()
        if watch is not None:
            kwargs["timeout"] = (watch.timeouts.connect, watch.timeouts.read)
        return super().send(request, *args, **kwargs)


class _NoAuth(requests.auth.AuthBase):
    """No-op authentication: `requests` reads ~/.netrc only for sessions without one."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None for every answer: `requests` would read a redirect's whole body."""
        return None


def new_session(
    user_agent: str, *, plain_http: bool = False, loopback_http: bool = True
) -> requests.Session:
    """Create a session that reuses connections and ignores cookies and ~/.netrc passwords.

    Args:
        user_agent: value of the User-Agent header.
        plain_http: allow http:// to other machines.
        loopback_http: allow http:// to this machine. Set to False if a remote service supplies the
            URLs, so that it cannot make this process connect to local services.
    """
    session = _Session()
    session.auth = _NoAuth()
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"User-Agent": user_agent, "Accept-Encoding": "gzip, deflate"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, WatchedAdapter(plain_http=plain_http, loopback_http=loopback_http))
    return session


def send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    timeouts: Timeouts,
    cap: int,
    body: bytes | None = None,
    auth: requests.auth.AuthBase | None = None,
    verify: bool | str = True,
    cert: str | tuple[str, str] | None = None,
    secrets: tuple[str, ...] = (),
    pin: Callable[[str, int], str] | None = None,
) -> RawAnswer:
    """Send one request once and read its answer. Redirects are returned, not followed.

    If the body is truncated, a non-2xx answer is returned with `cut_short` set. A 2xx raises
    `Unanswered`, because a partial answer is no proof of success.

    Args:
        session: session from `new_session`; use one per thread.
        method: HTTP method.
        url: absolute URL.
        headers: headers of this request.
        timeouts: time limits.
        cap: maximum size of the decoded body to read, in bytes.
        body: request body, or None.
        auth: signs the request, or None.
        verify: as in `requests`: whether to verify the certificate, or the path of a CA bundle.
        cert: as in `requests`: client certificate, or certificate and key.
        secrets: values to remove from error messages.
        pin: chooses the address, by host name and port, and may raise RefusedAddress. Only for a
            session that is used once: a connection that is kept is not checked again.

    Returns:
        The answer, regardless of its status.

    Raises:
        NotSent: no byte of the request was sent.
        Unanswered: the request was sent without a complete answer.
    """
    began = time.monotonic()
    response: requests.Response | None = None
    with ExchangeWatch(timeouts, pin) as watch:
        try:
            response = session.request(
                method,
                url,
                headers=dict(headers),
                data=body,
                auth=auth,
                timeout=(timeouts.connect, timeouts.read),
                allow_redirects=False,
                stream=True,
                verify=verify,
                cert=cert,
            )
        except Exception as error:  # for any exception, the watch knows if the request was sent
            raise _failure(error, watch, url, began, secrets) from error
        answered, oversized, problem = _read(response.raw, cap)
        if watch.expired and problem is None:
            problem = TimeoutError("the deadline ended the answer")
        if problem is not None and 200 <= response.status_code < 300:
            raise _failure(problem, watch, url, began, secrets) from problem
    return RawAnswer(
        status=response.status_code,
        headers=response.headers,
        body=answered,
        oversized=oversized,
        cut_short=problem is not None,
        duration_ms=_since(began if watch.sent_at is None else watch.sent_at),
    )


def _read(raw: Any, cap: int) -> tuple[bytes, bool, Exception | None]:
    """Read at most `cap` decoded bytes; return the body, whether there was more, and any error."""
    body = bytearray()
    problem: Exception | None = None
    try:
        while len(body) <= cap:
            # With an amount, urllib3 decodes no more than that: protects from compression bombs.
            chunk = raw.read(min(_CHUNK, cap + 1 - len(body)), decode_content=True)
            if not chunk:
                raw.release_conn()
                return bytes(body), False, None
            body += chunk
    except Exception as error:  # decoders and http.client raise their own exception types
        problem = error
    raw.close()  # on a reused connection, unread bytes would be read as the next answer
    return bytes(body[:cap]), problem is None, problem


def failure_kind(error: BaseException, watch: ExchangeWatch) -> TransportKind:
    """Classify a failed exchange by its underlying exceptions and the phase it reached."""
    causes = tuple(_causes(error))

    def met(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    kind = TransportKind
    timed_out = watch.expired or met(TimeoutError, urllib3.exceptions.TimeoutError)
    if watch.sent_at is not None:
        if timed_out:
            return kind.READ_TIMEOUT
        return kind.RESET if met(ConnectionError) else kind.BROKEN_ANSWER
    at_proxy = watch.phase is Phase.PROXY or (watch.proxied and watch.phase is Phase.CONNECT)
    if at_proxy or met(requests.exceptions.ProxyError, InvalidProxyURL):
        return kind.PROXY
    if met(socket.gaierror, urllib3.exceptions.NameResolutionError):
        return kind.DNS
    if met(ConnectionRefusedError):
        return kind.REFUSED
    if timed_out:
        return kind.CONNECT_TIMEOUT
    if met(ssl.SSLError, urllib3.exceptions.SSLError) or watch.phase is Phase.TLS:
        return kind.TLS
    return kind.CONNECT_FAILED


def describe(
    error: BaseException, kind: TransportKind, url: str, secrets: tuple[str, ...] = ()
) -> str:
    """Describe the failure in one line of at most 500 characters, without secrets."""
    parts = urlsplit(url)
    text = _WORDS[kind].format(host=parts.netloc.rpartition("@")[2])
    if kind not in _PLAIN_IN_WORDS and kind is not TransportKind.READ_TIMEOUT:
        innermost = str(list(_causes(error))[-1])
        if innermost:
            text = f"{text}: {redact(innermost, secrets)}"
    return one_line(text, 500)


def _failure(
    error: Exception, watch: ExchangeWatch, url: str, began: float, secrets: tuple[str, ...]
) -> TransportError:
    kind = failure_kind(error, watch)
    make: Callable[[TransportKind, str, int], TransportError]
    make = NotSent if watch.sent_at is None else Unanswered
    return make(kind, describe(error, kind, url, secrets), _since(began))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and its causes, outermost first.

    Libraries wrap exceptions in a `reason` attribute, in the arguments or by chaining.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = (getattr(cause, "reason", None), *cause.args, cause.__cause__, cause.__context__)
        waiting += [item for item in inner if isinstance(item, BaseException)]


def _since(start: float) -> int:
    return round((time.monotonic() - start) * 1000)
