"""A forwarding HTTP proxy as companies have one, small and over real sockets."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import urlsplit

LONGEST_HEAD = 65_536


class ForwardProxy:
    """Passes requests on to this machine's ports, as a context manager.

    Attributes:
        seen: the first line of each request.
        credentials: each `Proxy-Authorization` that came.
    """

    def __init__(self, ports: Mapping[str, int]) -> None:
        """`ports`: what the proxy resolves, as host name → port on 127.0.0.1."""
        self._ports = ports
        self.seen: list[str] = []
        self.credentials: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """As in HTTPS_PROXY."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ForwardProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and len(head) < LONGEST_HEAD:
                if not (more := client.recv(4096)):
                    return
                head += more
            first, _, rest = head.partition(b"\r\n")
            method, target, version = first.decode("latin-1").split(" ")
            self.seen.append(first.decode("latin-1"))
            self.credentials += [
                line.partition(b":")[2].strip().decode("latin-1")
                for line in rest.split(b"\r\n")
                if line.lower().startswith(b"proxy-authorization:")
            ]
            parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
            port = self._ports.get(parts.hostname or "")
            if port is None:
                client.sendall(b"HTTP/1.1 502 Unknown host\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", port)) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:  # one request a connection: the next one may be to another host
                    path = parts._replace(scheme="", netloc="").geturl() or "/"
                    whole = _with_body(client, rest)
                    server.sendall(f"{method} {path} {version}\r\n".encode("latin-1") + whole)
                    server.shutdown(socket.SHUT_WR)
                    status, _, answer = _until_end(server).partition(b"\r\n")
                    client.sendall(status + b"\r\nConnection: close\r\n" + answer)
                    return
                _pass_on(client, server)


def _with_body(client: socket.socket, rest: bytes) -> bytes:
    """Headers and body of a request of which `rest` has arrived."""
    head, _, body = rest.partition(b"\r\n\r\n")
    length = next(
        (
            int(line[15:])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length and (more := client.recv(65_536)):
        body += more
    return head + b"\r\n\r\n" + body


def _until_end(server: socket.socket) -> bytes:
    pieces = iter(lambda: server.recv(65_536), b"")
    return b"".join(pieces)


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                source: socket.socket = key.fileobj  # type: ignore[assignment]
                if not (data := source.recv(65_536)):
                    return
                key.data.sendall(data)
