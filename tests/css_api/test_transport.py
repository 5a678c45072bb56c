"""Every way in which an exchange fails, and whether the request had left."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from backups.css_api.errors import NotSent, TransportError, TransportKind, Unanswered
from dashboard.http.transport import RawAnswer, is_loopback, new_session, send
from dashboard.http.wire import Timeouts

from .servers import Peer, Play, Server, always, serving, whole

QUICK = Timeouts(connect=0.4, read=0.4, total=1.0)
Run = Callable[[Play], Server]


@pytest.fixture
def run() -> Iterator[Run]:
    with ExitStack() as stack:
        yield lambda play: stack.enter_context(serving(play))


def post(
    url: str, *, timeouts: Timeouts = QUICK, cap: int = 64 * 1024, **more: object
) -> RawAnswer:
    session = more.pop("session", None) or new_session("test/1")
    return send(  # type: ignore[arg-type]
        session, "POST", f"{url}/logs/collect", headers={}, timeouts=timeouts, cap=cap, **more
    )


def failure(url: str, **more: Any) -> TransportError:
    with pytest.raises(TransportError) as caught:
        post(url, **more)
    assert len(str(caught.value)) <= 500
    assert "\n" not in str(caught.value)
    return caught.value


def after_request(act: Callable[[Peer], None]) -> Play:
    def play(peer: Peer) -> None:
        if peer.request() is not None:
            act(peer)

    return play


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# --- Nothing was sent ----------------------------------------------------------------------------


def test_a_refused_connection_is_not_sent() -> None:
    error = failure(f"http://127.0.0.1:{free_port()}")
    assert isinstance(error, NotSent)
    assert error.kind is TransportKind.REFUSED


def test_a_name_that_does_not_exist_is_not_sent() -> None:
    error = failure("https://nope.invalid")
    assert isinstance(error, NotSent)
    assert error.kind is TransportKind.DNS
    assert "nope.invalid" in error.detail


def test_a_server_that_is_not_accepting_is_a_connect_timeout() -> None:
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # fill the backlog: from then on the kernel drops what arrives
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        error = failure(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert isinstance(error, NotSent)
    assert error.kind is TransportKind.CONNECT_TIMEOUT


def test_a_server_that_does_not_speak_tls_is_not_sent(run: Run) -> None:
    server = run(lambda peer: peer.send(b"220 mail.example ESMTP\r\n"))
    error = failure(f"https://127.0.0.1:{server.port}")
    assert isinstance(error, NotSent)
    assert error.kind is TransportKind.TLS


def test_a_certificate_nobody_vouches_for_is_not_sent(tls: ssl.SSLContext) -> None:
    with serving(always(whole(200)), tls) as server:
        error = failure(server.url)
        assert server.requests == []
    assert isinstance(error, NotSent)
    assert error.kind is TransportKind.TLS
    assert "certificate" in error.detail


def test_a_server_silent_in_the_handshake_is_a_connect_timeout(run: Run) -> None:
    server = run(lambda peer: server.stopping.wait(5) and None)
    error = failure(f"https://127.0.0.1:{server.port}")
    assert isinstance(error, NotSent)
    assert error.kind is TransportKind.CONNECT_TIMEOUT


def test_a_handshake_that_drips_ends_with_the_total_time(run: Run) -> None:
    def drip(peer: Peer) -> None:
        peer.send(b"\x16\x03\x03\x3f\x00")  # a record of 16 KiB is coming …
        while not server.stopping.wait(0.1):
            peer.send(b"\x02")

    server = run(drip)
    began = time.monotonic()
    error = failure(f"https://127.0.0.1:{server.port}")
    assert isinstance(error, NotSent)
    assert time.monotonic() - began < QUICK.total + 0.5


def test_a_proxy_that_is_away_or_says_no_is_not_sent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = run(after_request(lambda peer: peer.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")))
    for proxy in (server.url, f"http://127.0.0.1:{free_port()}", "socks5://127.0.0.1:1"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        error = failure("https://css.invalid")
        assert isinstance(error, NotSent)
        assert error.kind is TransportKind.PROXY
    assert [(r.method, r.path) for r in server.requests] == [("CONNECT", "css.invalid:443")]


def test_plain_http_to_another_machine_is_not_sent() -> None:
    error = failure("http://192.0.2.1")
    assert isinstance(error, NotSent)
    assert "without HTTPS" in error.detail


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.9.9.9", True), ("::1", True), ("localhost.evil.example", False)],
)
def test_loopback_is_told_by_name_and_address(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# --- It was sent, and no whole answer came -------------------------------------------------------


def test_silence_after_the_request_is_a_read_timeout(run: Run) -> None:
    server = run(after_request(lambda peer: server.stopping.wait(5) and None))
    error = failure(server.url)
    assert isinstance(error, Unanswered)
    assert error.kind is TransportKind.READ_TIMEOUT
    assert error.duration_ms >= 350


@pytest.mark.parametrize("act", [Peer.reset, Peer.close])
def test_a_connection_closed_after_the_request_is_a_reset(
    run: Run, act: Callable[[Peer], None]
) -> None:
    error = failure(run(after_request(act)).url)
    assert isinstance(error, Unanswered)
    assert error.kind is TransportKind.RESET


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: ab",
        b"220 mail.example ESMTP\r\n",
        b"\x00\x01\x02\x03",
    ],
)
def test_half_a_head_is_no_answer(run: Run, head: bytes) -> None:
    error = failure(run(after_request(lambda peer: peer.send(head))).url)
    assert isinstance(error, Unanswered)
    assert error.kind is TransportKind.BROKEN_ANSWER


HALF_BODIES = {
    "length": (b"Content-Length: 100\r\n\r\n{", b"{"),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n40\r\nx", b"hello"),
    "gzip": (b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", b""),
}


@pytest.mark.parametrize("rest", HALF_BODIES.values(), ids=HALF_BODIES.keys())
def test_a_2xx_whose_body_breaks_off_is_unanswered(run: Run, rest: tuple[bytes, bytes]) -> None:
    error = failure(
        run(after_request(lambda peer: peer.send(b"HTTP/1.1 200 OK\r\n" + rest[0]))).url
    )
    assert isinstance(error, Unanswered)
    assert error.kind is TransportKind.BROKEN_ANSWER


@pytest.mark.parametrize("rest", HALF_BODIES.values(), ids=HALF_BODIES.keys())
def test_an_error_whose_body_breaks_off_keeps_its_status(
    run: Run, rest: tuple[bytes, bytes]
) -> None:
    raw = post(run(after_request(lambda peer: peer.send(b"HTTP/1.1 409 C\r\n" + rest[0]))).url)
    assert (raw.status, raw.cut_short) == (409, True)
    assert raw.body.startswith(rest[1]) or raw.body == b""


@pytest.mark.parametrize("endless", [b"X", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_head_that_drips_ends_with_the_total_time(run: Run, endless: bytes) -> None:
    def drip(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nX-Drip: " if endless == b"X" else b"")
        while not server.stopping.wait(0.05):
            peer.send(endless)

    server = run(drip)
    began = time.monotonic()
    error = failure(server.url)
    assert isinstance(error, Unanswered)
    assert error.kind is TransportKind.READ_TIMEOUT
    assert QUICK.total - 0.2 < time.monotonic() - began < QUICK.total + 0.5


@pytest.mark.parametrize("framing", [b"Content-Length: 9999", b"Connection: close"])
def test_a_body_that_drips_ends_with_the_total_time(run: Run, framing: bytes) -> None:
    def drip(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        while not server.stopping.wait(0.05):
            peer.send(b"x")

    server = run(drip)
    error = failure(server.url)
    assert isinstance(error, Unanswered)
    assert error.kind is TransportKind.READ_TIMEOUT


def test_a_secret_in_the_answer_stays_out_of_the_error(run: Run) -> None:
    server = run(after_request(lambda peer: peer.send(b"ECHO hunter2secret\r\n\r\n")))
    assert "hunter2secret" not in failure(server.url, secrets=("hunter2secret",)).detail


# --- Answers -------------------------------------------------------------------------------------


def test_an_answer_comes_back_whole(run: Run) -> None:
    server = run(always(whole(412, b"no", X_Request_Id="r-1")))
    raw = post(server.url)
    assert (raw.status, raw.body, raw.headers["x-request-id"]) == (412, b"no", "r-1")
    assert (raw.oversized, raw.cut_short) == (False, False)
    assert server.requests[0].headers["user-agent"] == "test/1"


@pytest.mark.parametrize("interim", [100, 102, 103, 199])
def test_an_interim_answer_is_not_taken_for_the_answer(run: Run, interim: int) -> None:
    """Else the answer proper would be read as the answer to the next request."""
    statuses = iter([204, 412])

    def play(peer: Peer) -> None:
        while peer.request() is not None:
            early = f"HTTP/1.1 {interim} Early\r\nLink: </a>\r\n\r\n".encode()
            peer.send(early + whole(next(statuses)))

    server, session = run(play), new_session("test/1")
    answers = [post(server.url, session=session).status for _ in range(2)]
    assert answers == [204, 412]


def test_an_answer_that_switches_protocols_is_none(run: Run) -> None:
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"
    error = failure(run(after_request(lambda peer: peer.send(upgrade))).url)
    assert isinstance(error, Unanswered)


def test_a_redirect_is_an_answer_and_is_not_followed(run: Run) -> None:
    target = run(always(whole(200)))
    body = b"y" * 200_000
    raw = post(run(always(whole(307, body, Location=f"{target.url}/elsewhere"))).url)
    assert (raw.status, raw.oversized, len(raw.body)) == (307, True, 64 * 1024)
    assert target.connections == 0


def test_a_body_is_read_up_to_the_cap_and_its_connection_closed(run: Run) -> None:
    server = run(always(whole(200, b"x" * 300_000)))
    session = new_session("test/1")
    for _ in range(2):
        raw = post(server.url, session=session)
        assert (raw.oversized, len(raw.body)) == (True, 64 * 1024)
    assert server.connections == 2


def test_a_body_of_exactly_the_cap_is_not_oversized(run: Run) -> None:
    raw = post(run(always(whole(200, b"x" * 1000))).url, cap=1000)
    assert (raw.oversized, len(raw.body)) == (False, 1000)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_a_compression_bomb_stays_folded(run: Run, coding: str) -> None:
    zeros = bytes(50_000_000)
    bomb = zlib.compress(zeros) if coding == "deflate" else gzip.compress(zeros)
    if coding == "gzip, gzip":
        bomb = gzip.compress(bomb)
    del zeros
    server = run(always(whole(200, bomb, Content_Encoding=coding)))
    tracemalloc.start()
    try:
        raw = post(server.url)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (raw.oversized, len(raw.body)) == (True, 64 * 1024)
    assert peak < 5_000_000


# --- Connections ---------------------------------------------------------------------------------


def test_a_connection_is_kept_for_the_next_request(run: Run) -> None:
    server = run(always(whole(400, b"{}")))
    session = new_session("test/1")
    for _ in range(5):
        post(server.url, session=session)
    assert (len(server.requests), server.connections) == (5, 1)


def test_a_kept_tls_connection_is_under_the_same_deadline(
    tls: ssl.SSLContext, certificate: Path
) -> None:
    def play(peer: Peer) -> None:
        peer.request()
        peer.answer(200)
        peer.request()
        while not server.stopping.wait(0.05):
            peer.send(b"H")

    session = new_session("test/1")
    with serving(play, tls) as server:
        assert post(server.url, session=session, verify=str(certificate)).status == 200
        error = failure(server.url, session=session, verify=str(certificate))
        assert server.connections == 1
    assert isinstance(error, Unanswered)
    assert error.kind is TransportKind.READ_TIMEOUT


def test_a_connection_idle_for_too_long_is_opened_anew(run: Run) -> None:
    server = run(always(whole(200)))
    session = new_session("test/1")
    never_idle = Timeouts(connect=0.4, read=0.4, total=1.0, idle=0)
    for _ in range(3):
        post(server.url, session=session, timeouts=never_idle)
    assert server.connections == 3


def test_a_connection_that_the_server_has_closed_is_not_used_again(run: Run) -> None:
    closed = threading.Event()

    def once(peer: Peer) -> None:
        peer.request()
        peer.answer(200)
        peer.close()
        closed.set()

    server = run(once)
    session = new_session("test/1")
    for _ in range(2):
        assert post(server.url, session=session).status == 200
        assert closed.wait(2)
        closed.clear()
    assert server.connections == 2


def test_nothing_is_sent_a_second_time_by_itself(run: Run) -> None:
    server = run(after_request(Peer.reset))
    failure(server.url)
    assert len(server.requests) == 1


def test_cookies_and_netrc_add_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = run(always(whole(200, b"", Set_Cookie="session=1; Path=/")))
    session = new_session("test/1")
    for _ in range(2):
        post(server.url, session=session)
    for request in server.requests:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers


def test_timeouts_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        Timeouts(total=0)
