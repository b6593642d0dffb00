"""How a client of a cell gives up: nothing stays open of a connection to a cell that goes before it has greeted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from printer import cell_client
from printer.cell_client import CellAddress, CellClient
from printer.errors import CellUnreachable


class Connection:
    def __init__(self) -> None:
        self.closed = 0

    def setsockopt(self, *_: object) -> None: ...

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("greeting", [None, b"{", b'{"nonce": 5}', ConnectionResetError("reset")])
def test_a_cell_that_goes_before_it_has_greeted_leaves_nothing_open(greeting: bytes | Exception | None, monkeypatch: Any) -> None:
    made: list[Connection] = []

    def receive(*_: object) -> bytes | None:
        if isinstance(greeting, Exception):
            raise greeting
        return greeting

    def wrap(raw: object, server_hostname: str) -> Connection:
        made.append(Connection())
        return made[-1]

    monkeypatch.setattr(cell_client.socket, "create_connection", lambda *_, **__: Connection())
    monkeypatch.setattr(cell_client, "client_context", lambda *_: SimpleNamespace(wrap_socket=wrap))
    monkeypatch.setattr(cell_client, "receive_frame", receive)
    client = CellClient(CellAddress(host="h", port=1, name="cell-1", ca=Path("a"), certificate=Path("b"), key=Path("c")))
    for _ in range(2):
        with pytest.raises(CellUnreachable):
            client.status()
    assert [connection.closed for connection in made] == [1, 1], "each try has a connection of its own"
