"""Ports on ptys, sockets and memory pairs: exclusive opening, loss, blocked writers, the stop that passes them; and the wire log."""

from __future__ import annotations

import hashlib
import os
import pty
import queue
import select
import socket
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial

from firmware_bridge.errors import LinkLost, LocalProtocolError, PortBusy, PortMissing, WriteQueueFull
from firmware_bridge.link_values import STOP_BYTES, StopStrength
from firmware_bridge.port_owner import PortBytes, PortInput, PortLost, PortOwner
from firmware_bridge.stop_receipt import StopReceipt
from firmware_bridge.transport import MemoryPair, Transport, list_ports, open_transport
from firmware_bridge.wire_log import LogFailed, LogSealed, WireChunk, WireLog, WireLogDamaged, read_wire_log

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


KILL, QUICKSTOP = STOP_BYTES[StopStrength.KILL], STOP_BYTES[StopStrength.QUICKSTOP]


@pytest.mark.parametrize(
    ("stop", "said", "confirmed"),
    [
        (KILL, b"echo:M112 Shutdown\nError:Printer halted. kill() called!\n//action:poweroff\n", True),
        (KILL, b"Error:Printer halted. kill() called!\n", True),
        (KILL, b"of a line\r\n\x11//action:poweroff\x13\r\n", True),
        (KILL, b"// Klipper state: Shutdown\n", True),
        (KILL, b"Emergency Stop! Reset the controller to continue.\n", True),
        (KILL, b"start\nMarlin 2.1.2.5\n", True),
        (KILL, b"ok N7 P15 B3\n T:60.0 /60.0 B:30.0 /30.0 @:0 B@:0\necho:busy: processing\n", False),
        (KILL, b"!! Move out of range\nError:Heating failed, system\n" + b"x" * 5000 + b"\n", False),
        (KILL, b"Error:Printer halted. kill() called!", False),
        (QUICKSTOP, b"ok\necho:M104 S0\nok\necho:N8 M140 S0*99\nok\n", False),
        (QUICKSTOP, b"echo:M410\nok\necho:M104 S0\nok\necho:M140 S0\nok\n", True),
    ],
)
def test_a_stop_is_confirmed_by_what_the_printer_says_of_it(stop: bytes, said: bytes, confirmed: bool) -> None:
    whole, bytewise = StopReceipt(stop), StopReceipt(stop)
    whole.receive(said)
    for byte in said:
        bytewise.receive(bytes((byte,)))
    assert whole.confirmed is bytewise.confirmed is confirmed


def test_a_stop_that_nobody_reads_waits_until_it_is_confirmed() -> None:
    pair, far = MemoryPair(), Far()
    port = owner(pair.ours, far)
    assert not port.stop_waits
    port.emergency_write(KILL)
    assert port.stop_waits, "the operating system has it, the printer has not"
    assert far.read(pair.theirs.write(b"ok N3 P15 B3\n")) and port.stop_waits
    assert far.read(pair.theirs.write(b"Error:Printer halted. kill() called!\n")) and not port.stop_waits
    pair.theirs.close()
    assert isinstance(far.next(), PortLost) and not port.stop_waits
    port.emergency_write(KILL)
    assert port.stop_waits, "it never left"
    port.close()
    pair.close()


def test_a_printer_that_had_halted_before_its_stop_has_answered_it() -> None:
    pair, far = MemoryPair(), Far()
    port = owner(pair.ours, far)
    said = b"Error:Heating failed, system stopped! Heater_ID: 0\nError:Printer halted. kill() called!\n//action:poweroff\n"
    assert far.read(pair.theirs.write(said)) == said
    port.emergency_write(KILL)
    assert not port.stop_waits
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


class Disk:
    """The file of a log on a disk that does as told. `before` is called with the number of each write, from 1."""

    def __init__(
        self, file: Any, before: Callable[[int], None], *, piece: int = 1 << 20, closing: Callable[[], None] = lambda: None
    ) -> None:
        self._file, self._before, self._piece, self._closing = file, before, piece, closing
        self._writes = 0

    def write(self, data: bytes) -> int:
        self._writes += 1
        self._before(self._writes)
        return int(self._file.write(data[: self._piece]))

    def close(self) -> None:
        self._file.close()
        self._closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def full() -> None:
    raise OSError(28, "No space left on device")


class Told:
    """What a wire log says."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[LogSealed | LogFailed] = queue.SimpleQueue()

    def next(self) -> LogSealed | LogFailed:
        return self.said.get(timeout=LIMIT)


def logged(log: WireLog, count: int = 400) -> None:
    for n in range(count):
        log.append("<", "pressure", n, b"12345,100.0\n" * 10)


@pytest.mark.parametrize("nth", [1, 2, 3, 7])
def test_what_a_disk_has_taken_is_not_written_again(tmp_path: Path, nth: int) -> None:
    path, told = tmp_path / "wire.log", Told()
    log = WireLog(path, told.said.put, again_s=3600.0)
    log._file = Disk(log._file, lambda n: full() if n in (nth, nth + 1) else None, piece=30_000)  # type: ignore[assignment]
    logged(log, 1000)
    assert told.next() == LogFailed("No space left on device")
    logged(log, 10)
    log.seal()
    assert told.next() == LogFailed("No space left on device")
    log._wake.set()
    assert told.next() == LogSealed(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(list(read_wire_log(path, log.sha256))) == 1010
    logged(log)
    assert not log._chunks, "nothing is kept for a log that is sealed"
    log.close()


def test_a_log_is_sealed_when_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that failed once says nothing the second time: the bytes are written again before it is believed."""
    path, told = tmp_path / "wire.log", Told()
    flushed: list[int] = []
    written: list[int] = []

    def fsync(descriptor: int) -> None:
        flushed.append(sum(written))
        if len(flushed) == 1:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    log = WireLog(path, told.said.put, again_s=0.001)
    log._file = Disk(log._file, written.append, closing=full)  # type: ignore[assignment]
    logged(log, 3)
    log.seal()
    assert told.next() == LogFailed("Input/output error")
    sealed = told.next()
    assert sealed == LogSealed(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(list(read_wire_log(path, sealed.sha256))) == 3
    assert len(flushed) == 3 and flushed[1] > flushed[0], "file, file written anew, folder"
    log.close()
    assert told.said.empty(), "what fsync has confirmed is not taken back by closing"


def test_a_disk_that_stalls_holds_nobody_up(tmp_path: Path) -> None:
    pair, far, told, stalled, go_on = MemoryPair(), Far(), Told(), threading.Event(), threading.Event()

    def stall(n: int) -> None:
        stalled.set()
        assert go_on.wait(LIMIT)

    log = WireLog(tmp_path / "wire.log", told.said.put)
    log._file = Disk(log._file, stall)  # type: ignore[assignment]
    port = owner(pair.ours, far, wire=log.append)
    pair.theirs.write(b"ok\n")
    assert far.read(3) == b"ok\n" and stalled.wait(LIMIT)
    logged(log, 10_000)
    port.write(b"G1 X1\n")
    port.emergency_write(b"\nM112\n")
    assert select.select([pair.theirs], [], [], LIMIT)[0] and pair.theirs.read() == b"G1 X1\n\nM112\n"
    assert log.is_late(0.0) and not log.is_late(3600.0)
    log.seal()
    go_on.set()
    assert isinstance(told.next(), LogSealed) and not log.is_late(0.0)
    port.close()
    pair.close()
    assert [chunk.direction for chunk in read_wire_log(log.path) if chunk.port == "printer"] == ["<", ">", "!"]


_FULL = """
import hashlib, queue, resource, select, sys
from pathlib import Path
from firmware_bridge.port_owner import PortOwner, PortBytes
from firmware_bridge.transport import MemoryPair
from firmware_bridge.wire_log import LogFailed, LogSealed, WireLog
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
said, got, pair = queue.SimpleQueue(), queue.SimpleQueue(), MemoryPair()
log = WireLog(Path(sys.argv[1]), said.put, again_s=0.001)
port = PortOwner("printer", pair.ours, got.put, wire=log.append)
for n in range(3000):
    log.append("<", "pressure", n, b"12345,100.0\\n")
assert isinstance(said.get(timeout=10), LogFailed)
pair.theirs.write(b"ok\\n")
assert isinstance(got.get(timeout=10), PortBytes)
port.write(b"G1 X1\\n")
port.emergency_write(b"\\nM112\\n")
assert not port.lost and select.select([pair.theirs], [], [], 10)[0] and pair.theirs.read() == b"G1 X1\\n\\nM112\\n"
log.seal()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
while isinstance(answer := said.get(timeout=10), LogFailed):
    pass
assert answer == LogSealed(hashlib.sha256(log.path.read_bytes()).hexdigest())
port.close()
pair.close()
"""


def test_a_full_disk_takes_no_port_and_no_stop_with_it(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", _FULL, str(tmp_path / "wire.log")], check=True, timeout=60)
    assert [chunk.direction for chunk in read_wire_log(tmp_path / "wire.log") if chunk.port == "printer"] == ["<", ">", "!"]


def test_bytes_are_logged_before_they_are_acted_on() -> None:
    pair, seen = MemoryPair(), queue.SimpleQueue[str]()
    port = PortOwner("printer", pair.ours, lambda event: seen.put("delivered"), wire=lambda *chunk: seen.put("logged"))
    pair.theirs.write(b"ok\n")
    assert [seen.get(timeout=LIMIT), seen.get(timeout=LIMIT)] == ["logged", "delivered"]
    port.close()
    pair.close()


def test_a_device_that_goes_while_its_line_is_set_or_flushed_is_a_port_that_is_lost(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """termios has an error of its own, which is no OSError."""

    def gone(number: int) -> Callable[..., None]:
        def call(*given: object) -> None:
            raise termios.error(number, os.strerror(number))

        return call

    _, name = terminal
    with monkeypatch.context() as patch:
        patch.setattr(termios, "tcsetattr", gone(5))
        with pytest.raises(LinkLost, match=r"cannot be opened: .*Input/output error"):
            open_transport(name)
        patch.setattr(termios, "tcsetattr", gone(19))
        with pytest.raises(PortMissing):
            open_transport(name)
    port = open_transport(name)
    monkeypatch.setattr(termios, "tcflush", gone(5))
    assert port.discard_output() == 0
    port.close()


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
