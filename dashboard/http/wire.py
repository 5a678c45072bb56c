"""Connections that record whether a request was sent, and a deadline that servers cannot extend.

`requests` reports a failure, but not whether the cloud might have received the request. The
subclasses of urllib3's connections record the time in the thread's `ExchangeWatch` immediately
before they write the first byte of a request to the socket, after name resolution, connection,
proxy and TLS handshake. A failure without that time means that nothing was sent.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits, in seconds.

    Attributes:
        connect: limit for a TCP connection, and separately for its TLS handshake.
        read: limit between two bytes of an answer.
        total: limit for the whole exchange, from name resolution to the last byte. Only name
            resolution can exceed it (the resolver's own limit applies), and then nothing is sent.
        idle: a connection unused for longer than this is reopened. The server might be closing it,
            and a request lost that way cannot be distinguished from one that arrived.
    """

    connect: float = 5.0
    read: float = 30.0
    total: float = 60.0
    idle: float = 20.0

    def __post_init__(self) -> None:
        if min(self.connect, self.read, self.total) <= 0 or self.idle < 0:
            raise ValueError("timeouts are positive numbers of seconds")


class Phase(Enum):
    """Phase of an exchange before its first byte is sent."""

    CONNECT = "connect"
    PROXY = "proxy"
    TLS = "tls"


class ExchangeWatch:
    """Deadline and send time of the exchange that runs on this thread.

    Attributes:
        phase: phase that the connection has reached.
        proxied: True if the connection goes through a proxy.
        sent_at: `time.monotonic()` immediately before the first byte; None if nothing was sent.
        expired: True after the total time has elapsed.
        pin: returns the address to connect to, by host name and port; None: any. Not used for a
            proxy, which resolves the name itself.
    """

    def __init__(self, timeouts: Timeouts, pin: Callable[[str, int], str] | None = None) -> None:
        self.timeouts = timeouts
        self.pin = pin
        self.phase = Phase.CONNECT
        self.proxied = False
        self.sent_at: float | None = None
        self.expired = False
        self._deadline = time.monotonic() + timeouts.total
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._fileno = -1
        self._timer = threading.Timer(timeouts.total, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> ExchangeWatch:
        self._timer.start()
        _running.watch = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        _running.watch = None
        with self._lock:
            self._release()

    def remaining(self) -> float:
        """Return the seconds left.

        Raises:
            TimeoutError: the deadline has passed.
        """
        left = self._deadline - time.monotonic()
        if self.expired or left <= 0:
            self.expired = True
            raise TimeoutError("the time for the whole exchange is over")
        return left

    def attach(self, connected: socket.socket) -> None:
        """Apply the deadline to this socket and to any layer added on top of it later."""
        with self._lock:
            self._release()
            # A duplicate stays valid when TLS or the response object takes over the original.
            # Shutting it down unblocks a read in another thread.
            self._fileno = connected.fileno()
            self._handle = socket.fromfd(self._fileno, socket.AF_INET, socket.SOCK_STREAM)
        self.remaining()

    def first_byte(self, connected: socket.socket) -> None:
        """Record that the first byte of the request is about to be sent."""
        if self._fileno != connected.fileno():  # a reused connection
            self.attach(connected)
        self.remaining()
        if self.sent_at is None:
            self.sent_at = time.monotonic()

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None
            self._fileno = -1


class _Running(threading.local):
    watch: ExchangeWatch | None = None


_running = _Running()


def running_watch() -> ExchangeWatch | None:
    """Return the watch of the exchange that runs on this thread, or None."""
    return _running.watch


class _LastLine:
    """Stream wrapper used while the headers are read; remembers the last line."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream = stream
        self.line = b""

    def readline(self, limit: int = -1) -> bytes:
        self.line = self.stream.readline(limit)
        return self.line

    def close(self) -> None:
        self.stream.close()

    def flush(self) -> None:
        """Do nothing; `http.client` flushes a stream before closing it."""


class _Response(http.client.HTTPResponse):
    """Response that rejects truncated headers and skips interim (1xx) answers.

    `http.client` accepts truncated headers as complete. It also takes any 1xx except 100 for the
    final answer, which leaves the real answer on the connection for the next request.
    """

    fp: Any

    def _read_status(self) -> tuple[str, int, str]:
        # http.client offers no other hook to distinguish interim from final answers
        version, status, reason = super()._read_status()  # type: ignore[misc]
        if status == http.client.SWITCHING_PROTOCOLS:
            raise http.client.HTTPException("the answer switches to another protocol")
        return version, http.client.CONTINUE if 100 <= status < 200 else status, reason

    def begin(self) -> None:
        if self.fp is None or isinstance(self.fp, _LastLine):
            return super().begin()
        head = _LastLine(self.fp)
        self.fp = head
        try:
            super().begin()
        finally:
            if self.fp is head:
                self.fp = head.stream
        if head.line not in (b"\r\n", b"\n"):
            raise http.client.HTTPException("the head of the answer was cut short")
        return None


class _Watched(HTTPConnection):
    response_class = _Response
    idle_since = 0.0
    _connecting = False

    def _new_conn(self) -> socket.socket:
        watch = running_watch()
        if watch is None:
            return super()._new_conn()
        watch.phase = Phase.CONNECT
        watch.proxied = self.proxy is not None
        left = watch.remaining()
        if self.timeout is None or self.timeout > left:
            self.timeout = left
        name = self._dns_host
        if watch.pin is not None and not watch.proxied:
            self._dns_host = watch.pin(name, int(self.port or self.default_port))
        try:
            connected = super()._new_conn()
        finally:
            self._dns_host = name  # certificate and Host header are those of the name
        watch.attach(connected)
        watch.phase = Phase.TLS
        return connected

    def _tunnel(self) -> None:
        watch = running_watch()
        if watch is not None:
            watch.phase = Phase.PROXY
        super()._tunnel()
        if watch is not None:
            watch.phase = Phase.TLS

    def connect(self) -> None:
        self._connecting = True
        try:
            super().connect()
        finally:
            self._connecting = False

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        watch = running_watch()
        if watch is not None and not self._connecting:  # CONNECT is sent to the proxy only
            watch.first_byte(self.sock)
        super().send(data)


class WatchedHTTPConnection(_Watched):
    """Plain HTTP connection that reports to the thread's watch."""


class WatchedHTTPSConnection(_Watched, HTTPSConnection):
    """TLS connection that reports to the thread's watch."""


class _Pool(HTTPConnectionPool):
    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        watch = running_watch()
        if (
            watch is not None
            and not connection.is_closed
            and time.monotonic() - connection.idle_since > watch.timeouts.idle
        ):
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)


class WatchedHTTPPool(_Pool):
    """Pool of plain HTTP connections; reopens connections that were idle for too long."""

    ConnectionCls = WatchedHTTPConnection


class WatchedHTTPSPool(_Pool, HTTPSConnectionPool):
    """Pool of TLS connections; reopens connections that were idle for too long."""

    ConnectionCls = WatchedHTTPSConnection


POOLS: dict[str, type[HTTPConnectionPool]] = {"http": WatchedHTTPPool, "https": WatchedHTTPSPool}
