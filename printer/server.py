"""The cell's door: mutual TLS over loopback, schema-checked frames, one handler per question.

Lifetime: from `start` to `close`. Concurrency: one thread accepts, one thread per connection; the answers that need
the controller wait for it, the others read the store.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress

from pydantic import JsonValue

from audit.canonical import JsonValue as Answer
from audit.errors import DosewrightError
from printer.errors import CellError, CellRefused, FrameInvalid
from printer.frames import REQUEST_LIMIT, Greeting, Reply, parse_request, receive_frame, send_frame
from printer.priority import step_down

Handler = Callable[[Mapping[str, JsonValue]], Answer]
_IDLE_S = 300.0
_HANDSHAKE_S = 5.0
_UNKNOWN_AT_ONCE = 32
"""Connections that have not shown a certificate yet. One more takes the place of the oldest: whoever has a certificate shows it at once."""
_NO_ROOM_S = 0.05


class CellServer:
    def __init__(self, *, cell: str, host: str, port: int, context: ssl.SSLContext, handlers: Mapping[str, Handler]) -> None:
        self._cell = cell
        self._context = context
        self._handlers = dict(handlers)
        self._listener = socket.create_server((host, port))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._open: set[ssl.SSLSocket] = set()
        self._unknown: dict[ssl.SSLSocket, None] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="cell-server", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        _shutdown(self._listener)
        self._listener.close()
        with self._lock:
            for connection in (*self._open, *self._unknown):
                _shutdown(connection)

    def _accept(self) -> None:
        """Let in whoever comes, until the door is closed: nobody can shut it from outside, since STOP comes through it."""
        step_down()  # and with it every connection: an asker does not come before the other programs of the computer
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed, or no descriptor is left for one more: some are freed, then the next is taken
                self._turn_away(room_for=_UNKNOWN_AT_ONCE // 2)
                self._closing.wait(_NO_ROOM_S)
                continue
            self._admit(connection)

    def _admit(self, raw: socket.socket) -> None:
        """Have a thread of its own find out who this is."""
        try:
            raw.settimeout(_HANDSHAKE_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.getpeername()  # who has gone by now is let go here: `wrap_socket` would leave the descriptor open
            connection = self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):
            raw.close()  # it has gone again, or spoke before it was asked
            return
        self._turn_away(room_for=1)
        with self._lock:
            self._unknown[connection] = None
        try:
            threading.Thread(target=self._serve, args=(connection,), name="cell-connection", daemon=True).start()
        except RuntimeError:  # no thread is left for one more
            with self._lock:
                self._unknown.pop(connection, None)
            connection.close()

    def _turn_away(self, *, room_for: int) -> None:
        """End the oldest connections without a certificate, so that there is room for so many more."""
        with self._lock:
            for connection in [*self._unknown][: max(0, len(self._unknown) + room_for - _UNKNOWN_AT_ONCE)]:
                del self._unknown[connection]
                _shutdown(connection)

    def _serve(self, connection: ssl.SSLSocket) -> None:
        try:
            connection.do_handshake()
            connection.settimeout(_IDLE_S)
            with self._lock:
                self._unknown.pop(connection, None)
                self._open.add(connection)
            self._talk(connection)
        except (OSError, FrameInvalid):
            return  # it has no certificate of this installation, has gone, or does not speak this protocol; it is answered no further
        finally:
            with self._lock:
                self._unknown.pop(connection, None)
                self._open.discard(connection)
            connection.close()

    def _talk(self, connection: socket.socket) -> None:
        nonce = secrets.token_hex(16)
        send_frame(connection, Greeting(cell=self._cell, nonce=nonce))
        counter = 0
        while (data := receive_frame(connection, REQUEST_LIMIT)) is not None:
            counter += 1
            request = parse_request(data, nonce=nonce, counter=counter)
            send_frame(connection, self._answer(request.op, request.body, counter))

    def _answer(self, op: str, body: Mapping[str, JsonValue], counter: int) -> Reply:
        handler = self._handlers.get(op)
        if handler is None:
            return Reply(counter=counter, error=f"The cell knows no {op!r}.", code=CellError.code)
        try:
            return Reply.model_validate({"counter": counter, "result": handler(body)})
        except DosewrightError as error:
            reasons = getattr(error, "reasons", ())
            code = CellRefused.code if reasons else error.code
            return Reply(counter=counter, error=error.message, code=code, remedy=error.remedy, reasons=list(reasons))
        except (KeyError, ValueError, TypeError) as error:
            text = f"{op}: the request does not fit ({type(error).__name__}: {error})."
            return Reply(counter=counter, error=text, code=FrameInvalid.code)
        except TimeoutError:
            return Reply(counter=counter, error=f"{op}: the cell did not answer in time.", code=CellError.code)
        except Exception as error:
            # Our own fault: said to the asker and to the log; the door stays open.
            traceback.print_exc()
            text = f"{op}: the cell failed inside ({type(error).__name__})."
            return Reply(counter=counter, error=text, code=CellError.code, remedy="See the cell's log; nothing was started.")


def _shutdown(connection: socket.socket) -> None:
    """End a connection that another thread waits at: under its TLS, so that the thread meets the end of the line and nothing else."""
    with suppress(OSError):  # it is gone already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
