"""Whether the first page answers."""

from __future__ import annotations

import select
import socket

REQUEST = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"


class PageProbe:
    """Asks once and looks for the answer whenever it is called.

    The socket listens before gunicorn runs, so the request waits in its queue, and a try that
    gives up and comes again would only leave dead connections there.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._family = listener.family
        host, port, *rest = listener.getsockname()
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        self._address = (host, port, *rest)
        self._connection: socket.socket | None = None

    def answered(self) -> bool:
        """Whether the page has answered 200."""
        try:
            if self._connection is None:
                self._connection = self._asked()
            if not select.select([self._connection], [], [], 0)[0]:
                return False
            with self._connection as connection:
                status = connection.recv(64).split(b" ")[1:2]
        except OSError:
            status = []
        self._connection = None
        return status == [b"200"]

    def _asked(self) -> socket.socket:
        connection = socket.socket(self._family, socket.SOCK_STREAM)
        connection.settimeout(1.0)
        connection.connect(self._address)
        connection.sendall(REQUEST)
        return connection
