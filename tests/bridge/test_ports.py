"""Ports on ptys, sockets and memory pairs: exclusive opening, loss, blocked writers, the stop that passes them; and the wire log."""

from __future__ import annotations

import hashlib
import os
import pty
import queue
import select
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from firmware_bridge.errors import LinkLost, LocalProtocolError, PortBusy, PortMissing, WriteQueueFull
from firmware_bridge.port_owner import PortBytes, PortInput, PortLost, PortOwner
from firmware_bridge.transport import MemoryPair, Transport, list_ports, open_transport
from firmware_bridge.wire_log import WireChunk, WireLog, WireLogDamaged, read_wire_log

LIMIT = 5.0


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    closed = False

    try:
        yield master, name
    finally:
        if not closed:
            try:
                os.close(master)
            except OSError:
                closed = True


class Far:
    """Collects what an owner delivers; waits with a limit, never sleeps."""

    def __init__(self) -> None:
        self.inbox: queue.Queue[PortInput] = queue.Queue()

    def next(self) -> PortInput:
        return self.inbox.get(timeout=LIMIT)

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            given = self.next()
            assert isinstance(given, PortBytes)
            data += given.data
        return data


def owner(transport: Transport, far: Far, wire: Callable[[str, str, int, bytes], None] | None = None, limit: int = 65_536) -> PortOwner:
    return PortOwner("printer", transport, far.inbox.put, clock=lambda: 42, wire=wire, queue_limit=limit)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_bytes_both_ways_over_a_pty(terminal: tuple[int, str]) -> None:
    master, name = terminal
    before, far = open_descriptors(), Far()
    port = owner(open_transport(name), far)
    os.write(master, b"start\n")
    assert far.next() == PortBytes("printer", b"start\n", 42)
    port.write(b"M115\n")
    assert os.read(master, 100) == b"M115\n"
    assert (port.bytes_read, port.bytes_queued) == (6, 5)
    port.write(b"")
    port.close()
    port.close()
    with pytest.raises(LinkLost):
        port.write(b"x")
    port.emergency_write(b"x")
    assert open_descriptors() == before and far.inbox.empty()


def test_second_opening_is_refused(terminal: tuple[int, str]) -> None:
    _, name = terminal
    first = open_transport(name)
    with pytest.raises(PortBusy) as refused:
        open_transport(name)
    assert name in str(refused.value) and refused.value.remedy
    first.close()
    first.close()
    open_transport(name).close()


def test_missing_port_names_itself_and_those_that_are_there(tmp_path: Path) -> None:
    missing = str(tmp_path / "ttyNONE")
    with pytest.raises(PortMissing) as refused:
        open_transport(missing)
    assert missing in str(refused.value)
    assert refused.value.present == tuple(port.path for port in list_ports())
    plain = tmp_path / "file"
    plain.write_bytes(b"")
    with pytest.raises(LinkLost):
        open_transport(str(plain))


@pytest.mark.parametrize("address", ["socket://", "socket://127.0.0.1", "socket://127.0.0.1:x", "socket://127.0.0.1:1"])
def test_bad_socket_addresses(address: str) -> None:
    with pytest.raises(LinkLost):
        open_transport(address)


def test_socket_port_and_its_loss() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = Far()
        port = owner(open_transport(f"socket://127.0.0.1:{server.getsockname()[1]}"), far)
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"ok\n")
            assert far.next() == PortBytes("printer", b"ok\n", 42)
            port.write(b"G28\n")
            assert peer.recv(10) == b"G28\n"
        lost = far.next()
        assert isinstance(lost, PortLost) and "printer" not in lost.reason and lost.port == "printer"
        with pytest.raises(LinkLost):
            port.write(b"x")
        assert port.lost
        port.close()


def test_pulled_cable_is_reported_once(terminal: tuple[int, str]) -> None:
    master, name = terminal
    far = Far()
    port = owner(open_transport(name), far)
    os.close(master)
    assert isinstance(far.next(), PortLost)
    port.emergency_write(b"\nM112\n")
    port.close()
    assert far.inbox.empty()


def test_queue_is_bounded_and_emptied_when_the_device_reads() -> None:
    pair, far = MemoryPair(), Far()
    port = owner(pair.ours, far, limit=1_000_000)
    sent = 0
    block = bytes(range(256)) * 64
    with pytest.raises(WriteQueueFull):
        while True:
            port.write(block)
            sent += len(block)
    assert port.bytes_queued == sent
    received = bytearray()
    reader = threading.Thread(target=lambda: _drain(pair.theirs, received, sent))
    reader.start()
    reader.join(LIMIT)
    assert bytes(received) == block * (sent // len(block))
    port.close()
    pair.close()


def _drain(transport: Transport, into: bytearray, count: int) -> None:
    with socket.socket(fileno=os.dup(transport.fileno())) as far:
        far.settimeout(LIMIT)
        while len(into) < count:
            into += far.recv(65536)


def test_stop_passes_a_pty_that_nobody_reads(terminal: tuple[int, str]) -> None:
    master, name = terminal
    far, seen = Far(), []
    port = owner(open_transport(name), far, wire=lambda *chunk: seen.append(chunk))
    with pytest.raises(WriteQueueFull):
        while True:
            port.write(b"G1 X1\n" * 100)
    accepted, waiting = port.bytes_queued, port._waiting
    port.emergency_write(b"\nM112\n")
    data = b""
    while not data.endswith(b"\nM112\n"):
        data += os.read(master, 65536)
    # What the far end had already taken in may come first, what waited here may not: the queue held nearly its limit.
    assert waiting > 60_000 and len(data) < accepted - waiting + 6_000
    with pytest.raises(LocalProtocolError):
        port.write(b"G1 X2\n")
    assert seen[-1] == ("!", "printer", 42, b"\nM112\n")
    port.close()


def test_stop_to_a_blocked_socket_comes_before_the_queue() -> None:
    pair, far = MemoryPair(), Far()
    port = owner(pair.ours, far, limit=2_000_000)
    with pytest.raises(WriteQueueFull):
        while True:
            port.write(b"G" * 10_000)
    port.emergency_write(b"\nM112\n")
    received = bytearray()
    with socket.socket(fileno=os.dup(pair.theirs.fileno())) as peer:
        peer.settimeout(LIMIT)
        while not received.endswith(b"\nM112\n"):
            received += peer.recv(65536)
    assert len(received) < 2_000_000
    port.close()
    pair.close()


def test_stop_does_not_wait_for_the_lock_of_ordinary_writes() -> None:
    pair, far = MemoryPair(), Far()
    port = owner(pair.ours, far)
    with port._lock:
        port.emergency_write(b"\nM112\n")
        with socket.socket(fileno=os.dup(pair.theirs.fileno())) as peer:
            peer.settimeout(LIMIT)
            assert peer.recv(100) == b"\nM112\n"
    port.close()
    pair.close()


def test_a_closed_transport_is_lost_not_an_accident() -> None:
    pair = MemoryPair()
    pair.theirs.close()
    with pytest.raises(LinkLost):
        pair.ours.read()
    with pytest.raises(LinkLost):
        for _ in range(3):
            pair.ours.write(b"x")
    assert pair.ours.discard_output() == 0
    pair.close()


def test_wire_log_digest_and_replay(tmp_path: Path) -> None:
    path = tmp_path / "wire.log"
    log = WireLog(path)
    chunks = [WireChunk(i, "printer", "<>!"[i % 3], bytes((i % 256,)) * (1 + i % 50)) for i in range(3000)]
    for chunk in chunks:
        log.append(chunk.direction, chunk.port, chunk.at_us, chunk.data)
    log.flush()
    log.close()
    log.close()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == log.sha256 and log.chunks == 3000
    assert list(read_wire_log(path, log.sha256)) == chunks
    with pytest.raises(FileExistsError):
        WireLog(path)
    with pytest.raises(WireLogDamaged, match="SHA-256"):
        list(read_wire_log(path, "0" * 64))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WireLogDamaged, match="line 3000"):
        list(read_wire_log(path))


def test_a_device_is_told_that_somebody_listens(terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """RepRapFirmware and STM32 boards throw away what they would say over native USB without DTR; a balance with handshake waits for RTS"""
    lines: list[tuple[bool, bool]] = []

    class Watched(serial.Serial):
        def _update_dtr_state(self) -> None:
            lines.append((self._dtr_state, self._rts_state))

        def _update_rts_state(self) -> None: ...

    monkeypatch.setattr(serial, "Serial", Watched)
    open_transport(terminal[1]).close()
    assert lines == [(True, True)]


@pytest.mark.parametrize("refusal", [None, ValueError("no such mode"), OSError(25, "not a typewriter")])
def test_an_adapter_is_asked_not_to_keep_bytes_back(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch, refusal: Exception | None
) -> None:
    asked: list[bool] = []

    def mode(port: object, quick: bool) -> None:
        asked.append(quick)
        if refusal is not None:
            raise refusal

    monkeypatch.setattr(serial.Serial, "set_low_latency_mode", mode)
    master, name = terminal
    port = open_transport(name)
    try:
        os.write(master, b"1,150.0\n")
        assert select.select([port], [], [], LIMIT)[0] and port.read() == b"1,150.0\n"
    finally:
        port.close()
    assert asked == [True]
