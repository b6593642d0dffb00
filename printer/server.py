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

from pydantic import JsonValue

from audit.canonical import JsonValue as Answer
from audit.errors import DosewrightError
from printer.errors import CellError, CellRefused, FrameInvalid
from printer.frames import REQUEST_LIMIT, Greeting, Reply, parse_request, receive_frame, send_frame
from printer.priority import step_down

Handler = Callable[[Mapping[str, JsonValue]], Answer]
_IDLE_S = 300.0


class CellServer:
    def __init__(self, *, cell: str, host: str, port: int, context: ssl.SSLContext, handlers: Mapping[str, Handler]) -> None:
        self._cell = cell
        self._context = context
        self._handlers = dict(handlers)
        self._listener = socket.create_server((host, port))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name="cell-server", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._listener.close()
        with self._lock:
            for connection in self._open:
                _shutdown(connection)

    def _accept(self) -> None:
        step_down()  # and with it every connection: an asker does not come before the other programs of the computer
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="cell-connection", daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(_IDLE_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection = self._context.wrap_socket(raw, server_side=True)
        except (OSError, ssl.SSLError):
            raw.close()  # whoever it was had no certificate of this installation
            return
        with self._lock:
            self._open.add(connection)
        try:
            self._talk(connection)
        except (OSError, FrameInvalid):
            return  # the peer has gone or does not speak this protocol; it is answered no further
        finally:
            with self._lock:
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
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is gone already
