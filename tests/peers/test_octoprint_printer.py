"""Our link against a printer that others wrote: OctoPrint's virtual printer, in its own environment, over a pseudo-terminal.

It knows no ADVANCED_OK, so there is one line in flight; it takes `M111` and echoes nothing, so lines are not read back and
its approval says so; it says `wait`, answers an `M110` by a bare `ok`, refuses four
lines of each job by itself, and does more when told by `!!DEBUG:` lines, which go past the link.
"""

from __future__ import annotations

import json
import queue
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from firmware_bridge.firmware_profile import FirmwareProfile, marlin_profile
from firmware_bridge.gcode_link import (
    Drained,
    GcodeLink,
    Identified,
    IdentityRefused,
    LinkEvent,
    LinkState,
    OutLine,
    PositionReport,
    StopStrength,
    TemperatureReport,
)
from firmware_bridge.port_owner import PortBytes, PortInput, PortOwner
from firmware_bridge.transport import open_transport
from tests.peers.environments import HERE, OCTOPRINT, PeerMissing, peer_python

pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("octoprint")]

SECOND = 1_000_000
PROFILE = replace(
    marlin_profile("octoprint-virtual", firmware_name="Virtual Marlin 1.0", advanced_ok=False, read_back=False),
    ack_timeout_us=2 * SECOND,
    probe_timeout_us=2 * SECOND,
    keepalive=False,
    slow_timeout_us=20 * SECOND,
)
# What Marlin says; the peer's own words for it differ in capital letters.
MARLIN_WORDS = {
    "checksum_mismatch": "checksum mismatch",
    "checksum_missing": "No Checksum with line number",
    "lineno_mismatch": "expected line {} got {}",
    "lineno_missing": "No Line Number with checksum, Last Line: {}",
    "maxtemp": "MAXTEMP triggered!",
    "mintemp": "MINTEMP triggered!",
    "command_unknown": "Unknown command {}",
}
QUIET = {"throttle": 0.0, "errors": MARLIN_WORDS, "simulated_errors": []}


class Peer:
    """The peer's process and our link on its terminal."""

    def __init__(self, changes: dict[str, object], profile: FirmwareProfile = PROFILE) -> None:
        try:
            python = peer_python(OCTOPRINT)
        except PeerMissing as missing:
            pytest.skip(f"not run: {missing}")
        command = [str(python), str(HERE / "octoprint_printer.py"), json.dumps(changes)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.owner: PortOwner | None = None
        assert self.process.stdout is not None
        # Its log goes to the same output.
        path = next((line.decode().strip() for line in self.process.stdout if line.startswith(b"/dev/")), "")
        assert path, "the peer did not start"
        self.inbox: queue.SimpleQueue[PortInput] = queue.SimpleQueue()
        self.owner = PortOwner("printer", open_transport(path), self.inbox.put)
        self.link = GcodeLink(profile, exposure_limit_nl=10**9)
        self.events: list[LinkEvent] = []
        self.link.start(self.now())
        self.until(lambda: self.link.state in (LinkState.READY, LinkState.FAULTED))

    @staticmethod
    def now() -> int:
        return time.monotonic_ns() // 1000

    def until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Drive the link until the condition holds; the limit is of real time."""
        assert self.owner is not None
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, f"not reached: {self.link.state} {self.events[-5:]}"
            data = self.link.bytes_to_send()
            if data:
                self.owner.write(data)
            deadline = self.link.next_deadline()
            wait = 0.2 if deadline is None else max(0.0, min(0.2, (deadline - self.now()) / 1e6))
            try:
                item = self.inbox.get(timeout=wait)
            except queue.Empty:
                self.link.tick(self.now())
            else:
                if isinstance(item, PortBytes):
                    self.link.receive(item.data, self.now())
                else:
                    self.link.lost(item.reason)
            while (event := self.link.next_event()) is not None:
                self.events.append(event)

    def run(self, *commands: str, limit_s: float = 60.0) -> None:
        """Submit and wait until all is acknowledged, or the link has failed."""
        before = sum(isinstance(event, Drained) for event in self.events)
        self.link.submit([OutLine(command.encode(), command) for command in commands], self.now())
        self.until(
            lambda: self.link.state is LinkState.FAULTED or sum(isinstance(event, Drained) for event in self.events) > before, limit_s
        )

    def debug(self, text: str) -> None:
        assert self.owner is not None
        self.owner.write(f"!!DEBUG:{text}\n".encode())

    def last(self, kind: type) -> LinkEvent:
        return next(event for event in reversed(self.events) if isinstance(event, kind))

    def x(self) -> Decimal:
        """Where the moves have led: its M114 speaks of what is done, so they are waited for."""
        self.run("M400", "M114")
        position = self.last(PositionReport)
        assert isinstance(position, PositionReport)
        return position.x

    def close(self) -> None:
        if self.owner is not None:
            self.owner.close()
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def begin(changes: dict[str, object] | None = None, profile: FirmwareProfile = PROFILE) -> Peer:
        peers.append(Peer(QUIET if changes is None else changes, profile))
        return peers[-1]

    yield begin
    for peer in peers:
        peer.close()


def test_it_is_identified_and_another_is_refused(start: Callable[..., Peer]) -> None:
    peer = start()
    identified = peer.last(Identified)
    assert isinstance(identified, Identified)
    assert ("FIRMWARE_NAME", "Virtual Marlin 1.0") in identified.firmware
    assert ("EMERGENCY_PARSER", True) in identified.capabilities
    other = start(profile=replace(PROFILE, identity=marlin_profile("x", firmware_name="Marlin 2.1").identity))
    assert other.link.state is LinkState.FAULTED
    refused = other.last(IdentityRefused)
    assert isinstance(refused, IdentityRefused)
    assert "approved 'Marlin 2.1'" in refused.differences[0]


def test_it_echoes_nothing_and_is_refused_where_the_approval_says_that_lines_are_read_back(start: Callable[..., Peer]) -> None:
    peer = start(profile=replace(PROFILE, read_back=True))
    assert peer.link.state is LinkState.FAULTED
    refused = peer.last(IdentityRefused)
    assert isinstance(refused, IdentityRefused)
    assert refused.differences[0].startswith("read-back: approved yes, found no")


def test_it_homes_moves_reports_and_heats(start: Callable[..., Peer]) -> None:
    peer = start()
    peer.run("G28", "G90", "G1 X12.5 Y3 F6000", "M104 S40", "M140 S30")
    assert peer.x() == Decimal("12.5")
    peer.run("M105")
    report = peer.last(TemperatureReport)
    assert isinstance(report, TemperatureReport)
    assert (report.hotend_target, report.bed_target) == (40, 30)
    assert report.hotend > 20


def test_a_job_arrives_line_for_line(start: Callable[..., Peer]) -> None:
    peer = start()
    peer.run("G91", *["G1 X1 F60000"] * 500)
    assert peer.link.state is LinkState.READY
    assert peer.x() == Decimal("500")
    assert peer.link.resends == 0


@pytest.mark.parametrize("trigger", ["trigger_resend_lineno", "trigger_resend_checksum", "trigger_missing_checksum"])
def test_a_request_for_a_line_that_it_has_acknowledged_is_not_believed(start: Callable[..., Peer], trigger: str) -> None:
    """These triggers put its counter back by one: to send that line again would run it twice."""
    peer = start()
    peer.run("G91", *["G1 X1 F60000"] * 5)
    peer.debug(trigger)
    peer.run(*["G1 X1 F60000"] * 20)
    assert peer.link.state is LinkState.FAULTED
    assert peer.link.fault is not None and peer.link.fault.code == "FB-103"
    assert peer.link.resends == 0


def test_a_printer_that_counts_lines_and_does_not_run_them_is_found_by_its_totals(start: Callable[..., Peer]) -> None:
    """Its simulated noise takes the number of a line and drops the line: no link can see that, the totals do."""
    peer = start()
    peer.debug("resend_ratio 10")
    peer.run("G91", *["G1 X1 F60000"] * 100, limit_s=120.0)
    assert peer.link.state is LinkState.READY
    peer.debug("resend_ratio 0")
    assert peer.x() < Decimal("100")


def test_a_lost_acknowledgement_is_asked_for_and_nothing_runs_twice(start: Callable[..., Peer]) -> None:
    peer = start()
    peer.run("G91", "G1 X1 F60000")
    peer.debug("prepare_ok o")
    peer.run("G1 X1 F60000", "G1 X1 F60000", limit_s=90.0)
    assert peer.link.state is LinkState.READY
    assert peer.link.probes >= 1
    assert peer.x() == Decimal("3")


def test_its_own_faults_lead_to_faulted_with_the_cause(start: Callable[..., Peer]) -> None:
    for trigger, code in [
        ("trigger_fatal_error_marlin", "FB-110"),
        ("trigger_fatal_error_repetier", "FB-113"),
        ("maxtemp_error", "FB-110"),
    ]:
        peer = start()
        peer.debug(trigger)
        peer.until(lambda peer=peer: peer.link.state is LinkState.FAULTED)
        assert peer.link.fault is not None and peer.link.fault.code == code, trigger
    peer = start()
    peer.debug("reset")
    peer.until(lambda: peer.link.state is LinkState.FAULTED)
    assert peer.link.fault is not None and peer.link.fault.code == "FB-114"


def test_a_printer_that_falls_silent_is_probed_and_given_up(start: Callable[..., Peer]) -> None:
    peer = start()
    peer.run("G91")
    peer.debug("go_awol")
    peer.run("G1 X1 F60000", limit_s=90.0)
    assert peer.link.state is LinkState.FAULTED
    assert peer.link.fault is not None and peer.link.fault.code == "FB-101"


def test_a_stop_halts_it_and_the_link_never_sends_again(start: Callable[..., Peer]) -> None:
    peer = start()
    peer.run("G91", "G1 X1 F6000")
    assert peer.owner is not None
    peer.owner.emergency_write(peer.link.stop(StopStrength.KILL, peer.now()))
    heard = b""
    end = time.monotonic() + 10.0
    while b"KILLED" not in heard and time.monotonic() < end:
        item = peer.inbox.get(timeout=10.0)
        assert isinstance(item, PortBytes)
        heard += item.data
    assert b"EMERGENCY SHUTDOWN DETECTED. KILLED." in heard
    assert peer.link.state is LinkState.STOPPED
    assert peer.link.bytes_to_send() == b""


def test_the_four_lines_that_it_refuses_by_itself(start: Callable[..., Peer]) -> None:
    """Lines 100, 105, 110 and 115 of a job: the link gets through by resend and probe, and no line runs twice.

    Of line 105 the peer takes the number and drops the line, as above: one of 140 is missing, and the totals show it.
    """
    peer = start({"throttle": 0.0, "errors": MARLIN_WORDS})
    peer.run("G91", *["G1 X1 F60000"] * 140, limit_s=120.0)
    assert peer.link.state is LinkState.READY
    assert peer.link.resends >= 2 and peer.link.probes >= 1
    assert peer.x() == Decimal("139")


def test_errors_in_its_own_words_are_read_as_what_they_are(start: Callable[..., Peer]) -> None:
    """`Checksum mismatch` and `Missing checksum` with capitals: the line is sent again, and none runs twice."""
    peer = start({"throttle": 0.0})
    peer.run("G91", *["G1 X1 F60000"] * 140, limit_s=120.0)
    assert peer.link.state is LinkState.READY
    assert peer.link.resends >= 2 and peer.x() == Decimal("139")
