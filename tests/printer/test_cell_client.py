"""A client of a cell and its connection: how it gives up, and that it opens another where the cell closed the one it kept."""

from __future__ import annotations

import gc
import selectors
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.certificates import make_certificates
from printer import cell_client
from printer.cell_client import CellAddress, CellClient
from printer.errors import CellUnreachable
from printer.frames import server_context
from printer.server import CellServer, Handler, _shutdown


class Connection:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("greeting", [None, b"{", b'{"nonce": 5}', ConnectionResetError("reset")])
def test_a_cell_that_goes_before_it_has_greeted_leaves_nothing_open(greeting: bytes | Exception | None, monkeypatch: Any) -> None:
    made: list[Connection] = []

    def receive(*_: object) -> bytes | None:
        if isinstance(greeting, Exception):
            raise greeting
        return greeting

    def reached(*_: object) -> Connection:
        made.append(Connection())
        return made[-1]

    monkeypatch.setattr(CellClient, "_reached", reached)
    monkeypatch.setattr(cell_client, "client_context", lambda *_: None)
    monkeypatch.setattr(cell_client, "receive_frame", receive)
    client = CellClient(CellAddress(host="h", port=1, name="cell-1", ca=Path("a"), certificate=Path("b"), key=Path("c")))
    for _ in range(2):
        with pytest.raises(CellUnreachable):
            client.status()
    assert [connection.closed for connection in made] == [1, 1], "each try has a connection of its own"


def test_a_cell_that_resets_the_connection_before_the_handshake_leaves_nothing_open(tmp_path: Path) -> None:
    make_certificates(tmp_path, site="test", workstation="workstation", cells=("cell-1",))
    files = {"ca": tmp_path / "ca.pem", "certificate": tmp_path / "workstation.pem", "key": tmp_path / "workstation.key"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        gone = threading.Event()

        def reset() -> None:
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()  # lingering for no time at all: it is reset
                if gone.is_set():
                    return

        resetting = threading.Thread(target=reset)
        resetting.start()
        client = CellClient(CellAddress(host=host, port=port, name="cell-1", **files))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ResourceWarning)
            for _ in range(50):
                with pytest.raises(CellUnreachable):
                    client.status()
            gone.set()
            with pytest.raises(CellUnreachable):
                client.status()
            resetting.join(30)
            gc.collect()
    assert [str(warning.message) for warning in said] == []


class Queue:
    """A lock that says who comes to wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.came = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.came.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_who_waits_behind_a_question_that_is_not_answered_is_not_kept_for_another(monkeypatch: Any) -> None:
    over, made = threading.Event(), []

    def reached(*_: object) -> Connection:
        made.append(Connection())
        if not over.wait(30):
            raise AssertionError("nobody let it go")
        raise TimeoutError("timed out")

    monkeypatch.setattr(CellClient, "_reached", reached)
    monkeypatch.setattr(cell_client, "client_context", lambda *_: None)
    client = CellClient(CellAddress(host="h", port=1, name="cell-1", ca=Path("a"), certificate=Path("b"), key=Path("c")))
    queue = client._lock = Queue()  # type: ignore[assignment]
    refused: list[str] = []

    def ask() -> None:
        with pytest.raises(CellUnreachable) as caught:
            client.status()
        refused.append(caught.value.message)

    askers = [threading.Thread(target=ask) for _ in range(5)]
    for asker in askers:
        asker.start()
        assert queue.came.acquire(timeout=30)
    over.set()
    for asker in askers:
        asker.join(30)
    assert len(made) == 1, "the others are not asked"
    assert len(refused) == 5 and sum("the question before" in message for message in refused) == 4
    with pytest.raises(CellUnreachable):
        client.status()
    assert len(made) == 2, "who comes later asks"


class Door:
    """A cell's door on this computer, and the client that knocks."""

    def __init__(self, folder: Path) -> None:
        make_certificates(folder, site="test", workstation="workstation", cells=("cell-1",))
        self.asked: list[object] = []
        handlers: dict[str, Handler] = {"status": lambda _: {"run": "R"}, "command": lambda body: self.asked.append(body["operation"])}
        context = server_context(folder / "ca.pem", folder / "cell-1.pem", folder / "cell-1.key")
        self.server = CellServer(cell="cell-1", host="127.0.0.1", port=0, context=context, handlers=handlers)
        self.server.start()
        host, port = self.server.address
        files = {"ca": folder / "ca.pem", "certificate": folder / "workstation.pem", "key": folder / "workstation.key"}
        self.client = CellClient(CellAddress(host=host, port=port, name="cell-1", **files), timeout_s=30.0)

    def idle_for_too_long(self) -> None:
        """Close the connections as the cell does that were idle for too long."""
        with self.server._lock:
            for connection in self.server._open:
                _shutdown(connection)
        self.wait()

    def wait(self) -> None:
        """Wait until the end of the connection is here."""
        kept = self.client._connection
        assert kept is not None
        with selectors.DefaultSelector() as selector:
            selector.register(kept, selectors.EVENT_READ)
            assert selector.select(30.0)

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    opened = Door(tmp_path)
    yield opened
    opened.close()


def test_the_first_stop_after_the_cell_closed_the_connection_reaches_it(door: Door) -> None:
    assert door.client.status() == {"run": "R"}
    door.idle_for_too_long()
    door.client.stop("R", "quickstop", {}, "seen")
    assert door.asked == ["stop.quickstop"]


def test_a_connection_that_is_open_is_kept(door: Door) -> None:
    door.client.status()
    kept = door.client._connection
    door.client.stop("R", "kill", {}, "seen")
    door.client.status()
    assert door.client._connection is kept and door.asked == ["stop.kill"]


@pytest.mark.parametrize(
    ("comes", "quiet"),
    [(ssl.SSLWantReadError(), True), (b"", False), (b"\0", False), (ConnectionResetError("reset"), False), (ssl.SSLEOFError(), False)],
)
def test_a_connection_is_quiet_where_nothing_came_unasked(comes: bytes | Exception, quiet: bool) -> None:
    def received(_: int) -> bytes:
        if isinstance(comes, Exception):
            raise comes
        return comes

    assert cell_client._is_quiet(SimpleNamespace(setblocking=lambda _: None, recv=received)) is quiet  # type: ignore[arg-type]
