"""How the web process listens: TLS that is not below 1.2 and takes new certificates as they come, and a bound on slow and long headers.

uvicorn bounds a connection that rests between two requests, and nothing before the first: whoever opens connections and sends a byte now
and then would keep them for ever. The bodies are bounded inside the application (`api.body_limits`).
Sources: RFC 9325 (recommendations for TLS); CVE-2007-6750 (slow headers); RFC 9110 15.5.9.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

# Forward secrecy and authenticated encryption only; those of TLS 1.3 all are.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
LONGEST_HEADERS = 16 << 10
"""Bytes; h11 counts them."""
_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_NOT_STARTED = 3
_log = logging.getLogger(__name__)


class Certificates:
    """The certificate and key files of the site, read again by the first handshake after they changed.

    Files that cannot be used (one is half written, they do not fit) leave the former ones in use, which is logged.
    Lifetime: that of the process. Concurrency: the event loop's thread.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError, ssl.SSLError where the files cannot be used now."""
        self._certificate = certificate
        self._key = key
        self._seen = self._stamp()
        self._current = self._read()
        self._first = self._read()
        self._first.sni_callback = self._choose

    @property
    def context(self) -> ssl.SSLContext:
        """The context to listen with."""
        return self._first

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called in each handshake, after its first message."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._current = self._read()
                _log.warning("The certificate in %s was read anew.", self._certificate)
            except OSError as error:  # ssl.SSLError is one
                _log.error("The changed certificate in %s cannot be used, the former one goes on: %s", self._certificate, error)
        connection.context = self._current

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
        context.load_cert_chain(self._certificate, self._key)
        return context

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in (self._certificate, self._key))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class PunctualProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with a time for the headers of every request, the first one of a connection too.

    Concurrency: the event loop's thread.
    """

    headers_s: ClassVar[float] = 10.0
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._waits and self._due is None:
            self._begin()
        super().data_received(data)
        if not self._waits or self.transport.get_protocol() is not self:
            self._rest()

    @property
    def _waits(self) -> bool:
        """Whether no request is being answered: what comes belongs to the headers of the next."""
        return self.cycle is None or self.cycle.response_complete

    def _begin(self) -> None:
        self._due = self.loop.call_later(self.headers_s, self._late)

    def _rest(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _late(self) -> None:
        self._due = None
        if self._waits and self.transport.get_protocol() is self and not self.transport.is_closing():
            self.transport.write(_LATE)
            self.transport.close()


def punctual(headers_s: float) -> type[PunctualProtocol]:
    """Return the protocol with this time for headers, as uvicorn takes it."""
    return type("PunctualProtocol", (PunctualProtocol,), {"headers_s": headers_s})


class _Server(uvicorn.Server):
    """Says when it takes requests."""

    def __init__(self, config: uvicorn.Config, up: Callable[[], None]) -> None:
        super().__init__(config)
        self._up = up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._up()


def serve(
    app: FastAPI,
    *,
    host: str,
    port: int,
    listener: socket.socket | None,
    up: Callable[[], None],
    headers_s: float,
    tls: Callable[..., ssl.SSLContext] | None,
) -> None:
    """Serve an application until told to stop, on `listener` where one is given. `up` is called when requests are taken."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who a proxy says that it speaks for is judged by the perimeter, against what is declared
        http=punctual(headers_s),
        h11_max_incomplete_event_size=LONGEST_HEADERS,
        ssl_context_factory=tls,
        timeout_graceful_shutdown=2,
        ws_max_size=1 << 20,
    )
    server = _Server(config, up)
    with suppress(KeyboardInterrupt):
        server.run(None if listener is None else [listener])
    if not server.started:
        sys.exit(_NOT_STARTED)
