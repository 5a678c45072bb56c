"""Listening socket of the web server, opened before anything else is started."""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
from collections.abc import Mapping

from dashboard.environment import clean

from .console import StartError

BACKLOG = 128
LOOPBACK = "127.0.0.1"


def address(environ: Mapping[str, str]) -> tuple[str, int]:
    """Read HOST (default 127.0.0.1) and PORT (default 8000; 0 selects any free port).

    A HOST that `foreign_host` returns is ignored.

    Raises:
        StartError: PORT is not a port.
    """
    text = clean(environ.get("PORT", "")) or "8000"
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise StartError(f"PORT={text!r} is not a port number (1 to 65535)")
    host = clean(environ.get("HOST", ""))
    return (LOOPBACK if foreign_host(environ) else host or LOOPBACK), int(text)


def foreign_host(environ: Mapping[str, str]) -> str:
    """Return the value of HOST if it is not meant for this product, else "".

    conda's compilers export HOST=x86_64-conda-linux-gnu, and tcsh exports the machine's name.
    Listening on the latter would expose the pages to the network.
    """
    host = clean(environ.get("HOST", ""))
    if host in ("", "localhost"):
        return ""
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    return ""


def listen(host: str, port: int) -> socket.socket:
    """Listen on a TCP port.

    gunicorn inherits the socket, so no connection is refused while gunicorn restarts.

    Raises:
        StartError: the port is in use or not permitted, or the host is not an address of this
            machine.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        raise StartError(_reason(error, host, port)) from error
    return listener


def url(listener: socket.socket, host: str) -> str:
    """Return the URL to open in a browser on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"http://{shown}:{listener.getsockname()[1]}/"


def _reason(error: OSError, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"HOST={host!r} is not an address of this machine: {error.strerror}"
    other = f"`PORT={8001 if port == 8000 else 8000} make run`"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another program: try {other}"
    if error.errno == errno.EACCES:
        return f"port {port} requires privileges that this user does not have: try {other}"
    return f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}"


REQUEST = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"


class PageProbe:
    """Request that is sent once; each call checks for the answer.

    The socket listens before gunicorn runs, so the request waits in the backlog. Giving up and
    retrying would only leave dead connections there.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._family = listener.family
        host, port, *rest = listener.getsockname()
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        self._address = (host, port, *rest)
        self._connection: socket.socket | None = None

    def answered(self) -> bool:
        """Return True if the page has answered with status 200."""
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
