"""Tiny servers over real sockets, with every byte in the test's hand."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PROJECT = "0123456789abcdef0123456789abcdef"
EXPIRES = "2099-01-01T00:00:00.000000Z"


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Peer:
    """One accepted connection, seen from the server."""

    def __init__(self, sock: socket.socket, number: int, log: list[Request]) -> None:
        self.sock = sock
        self.number = number
        self.log = log
        self._stream = sock.makefile("rb")

    def request(self) -> Request | None:
        """Read a whole request; None when the client has closed."""
        first = self._stream.readline().decode("latin-1").split()
        if len(first) < 2:
            return None
        headers = {}
        while (line := self._stream.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = self._stream.read(int(headers.get("content-length", 0)))
        request = Request(first[0], first[1], headers, body, self.number)
        self.log.append(request)
        return request

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def answer(self, status: int, body: bytes | object = b"", **headers: str) -> None:
        """Send a whole answer; what is not bytes goes as JSON."""
        self.send(whole(status, body, **headers))

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close, whatever stands."""
        with contextlib.suppress(OSError):
            self._stream.close()
        with contextlib.suppress(OSError):
            self.sock.close()


def whole(status: int, body: bytes | object = b"", **headers: str) -> bytes:
    """A whole answer as bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Word", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + data


Play = Callable[[Peer], None]


class Server:
    """Runs `play` for each connection, each on its own thread."""

    def __init__(self, play: Play, tls: ssl.SSLContext | None = None) -> None:
        self.play = play
        self.tls = tls
        self.requests: list[Request] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._peers: list[Peer] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Close everything."""
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            peer = Peer(sock, number, self.requests)
            self._peers.append(peer)
            try:
                self.play(peer)
            finally:
                peer.close()


@contextlib.contextmanager
def serving(play: Play, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(play, tls)
    try:
        yield server
    finally:
        server.stop()


def always(data: bytes) -> Play:
    """Answer every request with the same bytes, and keep the connection."""

    def play(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(data)

    return play


@dataclass
class Cloud:
    """Identity and CSS on one port: tokens are counted, `css` answers what the test says."""

    css: Callable[[Request], bytes] = lambda request: whole(200)
    region: str = "eu-test"
    endpoint: str = "{url}/v1.0/$(tenant_id)s"
    service: str = "css"
    project: str | None = PROJECT
    secret: str = "correct horse"
    identity_answer: bytes | None = None
    identity_delay: Callable[[], None] = lambda: None
    valid: set[str] = field(default_factory=set)
    issued: int = 0
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.server = Server(self._play)

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return self.server.url

    def css_requests(self) -> list[Request]:
        """What CSS was asked, without identity."""
        return [r for r in self.server.requests if not r.path.startswith("/v3")]

    def _play(self, peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if not request.path.startswith("/v3"):
                known = request.headers.get("x-auth-token") in self.valid
                peer.send(self.css(request) if known else UNAUTHORIZED)
            elif request.method == "GET":
                link = [{"rel": "self", "href": f"{self.url}/v3/"}]
                peer.answer(200, {"version": {"id": "v3.14", "status": "stable", "links": link}})
            else:
                self.identity_delay()
                peer.send(self.identity_answer or self._token(json.loads(request.body)))

    def _token(self, body: dict[str, dict[str, dict[str, object]]]) -> bytes:
        if self.secret not in json.dumps(body["auth"]["identity"]):
            text = "The request you have made requires authentication."
            return whole(401, {"error": {"message": text, "code": 401, "title": "Unauthorized"}})
        with self._lock:
            self.issued += 1
            token = f"token-number-{self.issued}"
            self.valid.add(token)
        place = {
            "interface": "public",
            "region": self.region,
            "region_id": self.region,
            "url": self.endpoint.format(url=self.url),
            "id": "e1",
        }
        answer: dict[str, object] = {
            "methods": ["password"],
            "expires_at": EXPIRES,
            "issued_at": "2020-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}},
            "catalog": [{"type": self.service, "name": "css", "id": "s1", "endpoints": [place]}],
        }
        if self.project:
            domain = {"id": "d", "name": "d"}
            answer["project"] = {"id": self.project, "name": "eu-test_logs", "domain": domain}
        return whole(201, {"token": answer}, X_Subject_Token=token)


UNAUTHORIZED = whole(401, {"error_code": "APIGW.0301", "error_msg": "Incorrect IAM information"})
