"""The bench as a process: ports, time port, lockstep, leaving and coming back. Nothing here sleeps; every wait has a limit."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hil_tests.cases import bench_for
from hil_tests.virtual_bench import VirtualBench
from tests.bench.bench_host import PRIME, numbered, unit_program

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 20.0


class Bench:
    """A served bench as a child process."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "hil_tests.serve", *arguments]
        self.cells: list[Cell] = []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        text = b""
        while not text.endswith(b"}\n"):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the bench did not start: {text!r}")
            text += line
        self.description = json.loads(text)

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> int:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(LIMIT_S)
        self.process.stdout.close()
        return code


class Cell:
    """A host on the time port and the device ports."""

    def __init__(self, bench: Bench) -> None:
        host, port = bench.description["time"].split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=LIMIT_S)
        self.files: dict[str, int | socket.socket] = {}
        bench.cells.append(self)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.send({"hello": "cell-1", "token": bench.description["token"]})
        self.welcome = self.line()
        if self.welcome["welcome"]:
            self.files = {name: self.open(address) for name, address in bench.description["ports"].items() if self.there(address)}
        self.counts = dict.fromkeys(self.files, 0)
        self.queued = dict.fromkeys(self.files, 0)
        self.bytes = dict.fromkeys(self.files, b"")
        self.lost: set[str] = set()
        self.closed: list[str] = []
        self.now = self.welcome.get("now", 0)
        if self.welcome["welcome"]:
            self.send({"ready": True})

    @staticmethod
    def there(address: str) -> bool:
        return address.startswith("socket://") or Path(address).exists()

    @staticmethod
    def open(address: str) -> int | socket.socket:
        if address.startswith("socket://"):
            host, port = address.removeprefix("socket://").split(":")
            return socket.create_connection((host, int(port)), timeout=LIMIT_S)
        return os.open(address, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def send(self, message: dict[str, object]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def line(self) -> dict[str, object]:
        return json.loads(self.file.readline())

    def read(self, name: str) -> bytes:
        device = self.files[name]
        if not select.select([device], [], [], LIMIT_S)[0]:
            raise TimeoutError(f"nothing more on {name}")
        try:
            return device.recv(65536) if isinstance(device, socket.socket) else os.read(device, 65536)
        except OSError:
            return b""

    def write(self, name: str, data: bytes) -> None:
        device = self.files[name]
        if isinstance(device, socket.socket):
            device.sendall(data)
        elif os.write(device, data) != len(data):
            raise RuntimeError("short write")
        self.queued[name] += len(data)

    def grant(self) -> int:
        """Take one grant and the bytes it announces, exactly."""
        message = self.line()
        self.now, self.closed = message["grant"], message["closed"]
        for name, count in message["sent"].items():
            if name in self.closed or name not in self.files:
                continue
            while self.counts[name] < count:
                data = self.read(name)
                self.counts[name] += len(data)
                self.bytes[name] += data
            if self.counts[name] != count:
                raise RuntimeError(f"{name}: {self.counts[name]} bytes, {count} announced")
        return self.now

    def acknowledge(self) -> None:
        self.send({"ack": self.now, "queued": self.queued})

    def until(self, condition: Callable[[Cell], bool], steps: int = 5000) -> None:
        for _ in range(steps):
            self.grant()
            if condition(self):
                return
            self.acknowledge()
        raise TimeoutError("the condition never held")

    def stream(self, commands: list[str]) -> None:
        waiting, number = list(commands), 0

        def advance(cell: Cell) -> bool:
            nonlocal number
            if "printer" in cell.closed:
                return True
            done = cell.bytes["printer"].count(b"ok N")
            while waiting and number - done < 4:
                number += 1
                cell.write("printer", numbered(number, waiting.pop(0)))
            return not waiting and done >= number

        self.until(advance)

    def leave(self) -> None:
        self.file.close()
        self.socket.close()
        while self.files:
            device = self.files.popitem()[1]
            device.close() if isinstance(device, socket.socket) else os.close(device)


@pytest.fixture
def served() -> Iterator[Callable[..., Bench]]:
    started: list[Bench] = []

    def start(*arguments: str) -> Bench:
        bench = Bench("--case", "cyclophosphamide", *arguments)
        started.append(bench)
        return bench

    yield start
    for bench in started:
        for cell in bench.cells:
            cell.leave()
        if bench.process.poll() is None:
            bench.process.kill()
            bench.process.wait(LIMIT_S)
        bench.process.stdin.close()
        bench.process.stdout.close()


@pytest.mark.parametrize("kind", ["pty", "tcp"])
def test_lockstep(served: Callable[..., Bench], kind: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    bench = served("--rate", "60", "--ready", str(ready), *(["--tcp"] if kind == "tcp" else []))
    assert json.loads(ready.read_text()) == bench.description
    assert set(bench.description) == {"ports", "time", "hand", "rate", "demonstration", "token"}
    assert all(address.startswith("socket://127.0.0.1:" if kind == "tcp" else "/dev/") for address in bench.description["ports"].values())
    cell = Cell(bench)
    assert cell.welcome == {"welcome": True, "rate": "60", "now": cell.welcome["now"], "step_us": 100_000}
    begun = cell.now
    first = cell.grant()
    assert first == begun + 100_000
    assert cell.bytes["pressure"].count(b"\n") == 10
    cell.write("printer", numbered(1, "M115") + numbered(2, "M105"))
    cell.write("balance", b"I4\r\n")
    cell.acknowledge()
    # Whatever the cell has acknowledged as queued is handled in the very next step.
    assert cell.grant() == first + 100_000
    assert cell.bytes["printer"].startswith(b"FIRMWARE_NAME:Marlin 2.1")
    assert b"\nok N1 P15 B" in cell.bytes["printer"]
    assert b"\nok T:" in cell.bytes["printer"]
    assert cell.bytes["balance"] == b'I4 A "B000000001"\r\n'
    cell.leave()
    assert bench.close() == 0


def test_lockstep_never_runs_ahead_of_its_rate(served: Callable[..., Bench]) -> None:
    bench = served("--rate", "10")
    begun = time.monotonic()
    cell = Cell(bench)
    origin = cell.now
    cell.until(lambda cell: cell.now - origin >= 5_000_000)
    assert time.monotonic() - begun >= 0.5 - 0.06
    cell.leave()


def test_no_grant_without_acknowledgement(served: Callable[..., Bench]) -> None:
    bench = served("--rate", "100")
    cell = Cell(bench)
    cell.grant()
    assert select.select([cell.socket], [], [], 0.1)[0] == []
    cell.acknowledge()
    assert select.select([cell.socket], [], [], LIMIT_S)[0]
    cell.leave()


SCRIPT = {
    100_000: ("printer", numbered(1, "M115") + numbered(2, "M155 S1") + numbered(3, "M104 S40")),
    200_000: ("balance", b"I4\r\nS\r\n"),
    300_000: ("printer", numbered(4, "G91") + numbered(5, "M302 S0") + numbered(6, "G1 X45 Y45 F60000")),
    700_000: ("printer", numbered(7, "G1 E1.5 F60") + numbered(8, "G1 X1 E0.1 F60") + numbered(9, "M400")),
    3_200_000: ("balance", b"SI\r\n"),
    4_500_000: ("balance", b"S\r\n"),
}
SCRIPT_US = 6_000_000
FAULTY = ("noise:balance:1", "pressure_noisy:1")


def served_bytes(bench: Bench) -> dict[str, bytes]:
    """What the devices say to the script in lockstep over real ports."""
    cell = Cell(bench)
    origin = cell.now
    while cell.now - origin < SCRIPT_US:
        cell.grant()
        given = SCRIPT.get(cell.now - origin)
        if given is not None:
            cell.write(*given)
        cell.acknowledge()
    cell.leave()
    return cell.bytes


def simulated_bytes(step_us: int) -> dict[str, bytes]:
    """The same in this process, in virtual time alone."""
    bench = VirtualBench(bench_for("cyclophosphamide", seed=5, faults=FAULTY))
    said = dict.fromkeys(("printer", "balance", "pressure"), b"")
    while bench.now < SCRIPT_US:
        for name, data in bench.step(bench.now + step_us).items():
            said[name] += data
        given = SCRIPT.get(bench.now)
        if given is not None:
            bench.receive(*given)
    return said


@pytest.mark.parametrize("kind", ["pty", "tcp"])
def test_real_time_speed_up_and_virtual_time_give_the_same_bytes(served: Callable[..., Bench], kind: str) -> None:
    """At rate 1 the bench grants 10 ms at a time, at rate 50 it grants 100 ms: the devices do not notice, nor that there are ports."""
    faults = [part for fault in FAULTY for part in ("--fault", fault)]
    common = ["--seed", "5", "--free", "0", *faults, *(["--tcp"] if kind == "tcp" else [])]
    virtual = simulated_bytes(100_000)
    assert min(len(said) for said in virtual.values()) > 20
    assert b"X:" not in virtual["printer"] and virtual["printer"].count(b" T:") >= 5
    assert simulated_bytes(10_000) == virtual
    assert simulated_bytes(50_000) == virtual
    for rate in ("50", "1"):
        assert served_bytes(served("--rate", rate, *common)) == virtual, f"rate {rate}"


@pytest.mark.parametrize("kind", ["pty", "tcp"])
def test_unplug_closes_the_port_in_mid_unit_and_says_so(served: Callable[..., Bench], kind: str) -> None:
    bench = served("--rate", "1000", "--fault", "unplug:1", *(["--tcp"] if kind == "tcp" else []))
    cell = Cell(bench)
    cell.stream(["M104 S40", "G4 S60", *PRIME, *unit_program(35.0, 35.0, 200.0)])
    assert cell.closed == ["printer"]
    while cell.read("printer"):
        pass  # what was under way may still arrive; then the loss shows
    cell.acknowledge()
    cell.grant()
    assert cell.closed == ["printer"]
    assert cell.bytes["pressure"].endswith(b"\n")
    cell.leave()


def test_a_cell_that_died_may_come_back_to_the_same_ports(served: Callable[..., Bench]) -> None:
    bench = served("--rate", "60")
    first = Cell(bench)
    first.grant()
    first.write("printer", numbered(1, "G91") + numbered(2, "G1 X10 F60") + b"N3 G1 X")
    first.acknowledge()
    first.grant()
    left_at = first.now
    first.leave()
    second = Cell(bench)
    assert second.welcome["welcome"] is True
    assert second.now >= left_at
    origin = second.now
    second.grant()
    # Counters start anew and nothing of before is left in the ports.
    assert second.counts["pressure"] == len(second.bytes["pressure"])
    assert second.bytes["pressure"].count(b"\n") == 10
    # The half line of before is an error now, and Marlin throws away what stands behind it.
    second.write("printer", b"\n")
    second.acknowledge()
    second.until(lambda cell: b"Resend: 3\nok\n" in cell.bytes["printer"])
    second.write("printer", b"M114\n")
    second.acknowledge()
    second.until(lambda cell: b"Count" in cell.bytes["printer"])
    assert b"X:10.00 Y:0.00" in second.bytes["printer"]
    assert second.now > origin
    second.leave()


def test_wrong_token_and_a_second_cell_are_refused(served: Callable[..., Bench]) -> None:
    bench = served("--rate", "60")
    cell = Cell(bench)
    cell.grant()
    assert "another cell" in str(Cell(bench).welcome["error"])
    cell.acknowledge()
    cell.grant()
    cell.leave()
    bench.description["token"] = "0" * 32
    refused = Cell(bench).welcome
    assert refused == {"welcome": False, "error": "wrong token"}


def test_free_running_without_a_cell_at_rate_one(served: Callable[..., Bench]) -> None:
    bench = served("--rate", "1000")
    device = Cell.open(bench.description["ports"]["pressure"])
    begun = time.monotonic()
    text = b""
    while text.count(b"\n") < 60:
        assert select.select([device], [], [], LIMIT_S)[0]
        text += os.read(device, 65536)
    assert time.monotonic() - begun >= 0.3
    os.close(device)


@pytest.mark.parametrize("how", ["signal", "input"])
def test_it_ends_with_its_parent_and_leaves_the_truth(served: Callable[..., Bench], how: str, tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    bench = served("--rate", "1000", "--truth", str(truth))
    cell = Cell(bench)
    cell.stream(["M104 S40", "G4 S60", *PRIME, *unit_program(35.0, 35.0, 60.0), "G4 S3"])
    while_running = json.loads(truth.read_text())
    assert [row["patch"] for row in while_running] == [1]
    cell.leave()
    if how == "signal":
        bench.process.send_signal(signal.SIGTERM)
    assert bench.close() == 0
    (row,) = json.loads(truth.read_text())
    assert set(row) == {"patch", "x", "y", "true_mass_mg", "dried_mg", "active_mg"}
    assert float(row["true_mass_mg"]) == pytest.approx(72.0, rel=0.05)


def test_it_stays_when_told_so(served: Callable[..., Bench]) -> None:
    bench = served("--stay", "--rate", "60")
    bench.process.stdin.close()
    cell = Cell(bench)
    cell.grant()
    cell.leave()
    bench.process.terminate()
    assert bench.process.wait(LIMIT_S) == 0


def test_bad_arguments_are_one_clear_message() -> None:
    for arguments, words in [
        (["--case", "aspirin"], "no bench for the case 'aspirin'"),
        (["--case", "minoxidil", "--fault", "clogg"], "no fault is called 'clogg'"),
        (["--case", "minoxidil", "--rate", "1,5"], "'1,5' is not a number"),
        ([], "neither --case nor a bench file"),
        (["/nowhere/bench.toml"], "cannot read the bench file"),
    ]:
        done = subprocess.run([sys.executable, "-m", "hil_tests.serve", *arguments], capture_output=True, cwd=ROOT, timeout=LIMIT_S)
        assert done.returncode == 2
        assert words in done.stderr.decode()
        assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU time is read from /proc")
def test_cost_of_a_virtual_second(served: Callable[..., Bench]) -> None:
    bench = served("--rate", "10000")
    cell = Cell(bench)
    begun, cost = cell.now, bench.cpu_s()
    cell.stream(["M104 S40", "M155 S1", "G4 S60", *PRIME, *unit_program(35.0, 35.0, 389.31), *unit_program(60.0, 35.0, 389.31)])
    per_second = (bench.cpu_s() - cost) / ((cell.now - begun) / 1e6)
    # 1,000 virtual seconds in 8 s of CPU is the promise; a loaded machine counts some more.
    assert per_second < 0.008
    cell.leave()


def held(bench: Bench, after_us: object, token: str | None = None) -> dict[str, object]:
    """Ask the bench's hand to hold time; an empty answer is a closed door."""
    host, port = bench.description["hand"].split(":")
    with socket.create_connection((host, int(port)), timeout=LIMIT_S) as connection:
        request = {"token": token or bench.description["token"], "hold_after_us": after_us}
        connection.sendall(json.dumps(request).encode() + b"\n")
        line = connection.makefile("rb").readline()
        return dict(json.loads(line)) if line else {}


def test_time_is_held_and_let_go(served: Callable[..., Bench]) -> None:
    bench = served("--rate", "100", "--free", "0")
    origin = held(bench, 0)["held_at_us"]
    assert isinstance(origin, int)
    cell = Cell(bench)
    assert cell.now == origin
    assert select.select([cell.socket], [], [], 0.2)[0] == [], "nothing is granted while time is held"
    asked = threading.Thread(target=lambda: answers.append(held(bench, 250_000)))
    answers: list[dict[str, object]] = []
    asked.start()
    while cell.now - origin < 250_000:
        cell.grant()
        cell.acknowledge()
    asked.join(LIMIT_S)
    assert answers == [{"held_at_us": cell.now}]
    assert select.select([cell.socket], [], [], 0.2)[0] == []
    assert held(bench, None) == {"held_at_us": None}
    assert cell.grant() > origin + 250_000
    cell.acknowledge()
    for wrong in (-1, 0.5, True, "1", 10**18):
        assert held(bench, wrong) == {}
    assert held(bench, 0, token="00") == {}
    assert cell.grant() > origin, "no stranger stops time"
    cell.acknowledge()
    cell.leave()


def test_time_held_without_a_cell_stands_still(served: Callable[..., Bench]) -> None:
    bench = served("--free", "100")
    at = held(bench, 0)["held_at_us"]
    before = bench.cpu_s()
    assert held(bench, 0)["held_at_us"] == at
    assert bench.cpu_s() - before < 0.2, "it waits, it does not spin"
