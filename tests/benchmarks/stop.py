"""How soon a stop is on the wire: real ports, port threads, inbox and run machine; the wires' far ends are another process.

Each trial has a fresh copy of a run that is extruding and whose pressure has been above its limit for just less than the delay of
that limit; the line that completes the delay comes over the hub's terminal. As in the cell, one thread takes the inbox, asks the
machine, and carries out its effects in order.
"""

from __future__ import annotations

import copy
import gc
import os
import pty
import queue
import subprocess
import sys
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from simulated_cell import SimulatedCell, simulated

from firmware_bridge.link_values import STOP_BYTES, StopStrength
from firmware_bridge.port_owner import PortBytes as WireBytes
from firmware_bridge.port_owner import PortInput, PortOwner
from firmware_bridge.transport import open_transport
from printer.messages import Operation, Port, PortBytes, Tick
from printer.run import Phase, RunMachine
from printer.unit_cycle import Step

TRIALS = 2000
WIRE = Path(__file__).resolve().parent / "wire.py"


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in ms."""

    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def text(self) -> str:
        return f"p50 {self.p50_ms:.3f}, p99 {self.p99_ms:.3f}, max {self.max_ms:.3f} ms"


Decide = Callable[[RunMachine, bytes, int, Callable[[bytes], None]], None]
"""Bytes of the hub at a time, and how a stop is written."""


def extruding() -> tuple[RunMachine, int]:
    """A run in the middle of its first unit, one line short of its pressure alarm; and its process time."""
    cell: SimulatedCell = simulated("cyclophosphamide")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is Step.PRINT and machine.cycle.commanded_nl > 200_000)
    now = cell.now
    cell.machine.handle(PortBytes(Port.PRESSURE, b"999999,900.0\n"), now)
    now += cell.machine.plan.limits.pressure_high_delay_us
    return cell.machine, now


def measure(*, stalled: bool = False, load: bool = False, bare: bool = False, trials: int = TRIALS) -> Latency:
    """Measure one setting; `stalled`: the printer's far end does not read and its buffer is full; `bare`: nothing is decided."""
    machine, now = extruding()
    decide = _bare if bare else _decide
    hub, hub_near = _terminal()
    printer, printer_near = _terminal()
    inbox: queue.SimpleQueue[PortInput] = queue.SimpleQueue()
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range((os.cpu_count() or 1) * load)]
    wire = subprocess.Popen(
        [sys.executable, str(WIRE), str(hub), str(printer), "stalled" if stalled else "reads"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(hub, printer), bufsize=0,
    )  # fmt: skip
    owners = {
        "hub": PortOwner("hub", open_transport(os.ttyname(hub_near)), inbox.put),
        "printer": PortOwner("printer", open_transport(os.ttyname(printer_near)), inbox.put),
    }
    gc.freeze()  # the copies are the benchmark's own rubbish; a cell does not copy its runs
    try:
        found = sorted(
            _trial(_copied(machine), now, decide, wire, inbox, owners["printer"], printer_near if stalled else -1) for _ in range(trials)
        )
    finally:
        gc.unfreeze()
        for owner in owners.values():
            owner.close()
        for process in (*burners, wire):
            process.kill()
            process.wait()
        for descriptor in (hub, hub_near, printer, printer_near):
            os.close(descriptor)
    return Latency(found[trials // 2] / 1e6, found[min(trials - 1, trials * 99 // 100)] / 1e6, found[-1] / 1e6)


def _trial(
    machine: RunMachine,
    now: int,
    decide: Decide,
    wire: subprocess.Popen[bytes],
    inbox: queue.SimpleQueue[PortInput],
    printer: PortOwner,
    fill: int,
) -> int:
    if fill >= 0:
        _fill(fill)
    if wire.stdin is None or wire.stdout is None:
        raise RuntimeError("no pipe to the wire")
    times: list[int] = []

    def write(stop: bytes) -> None:
        printer.emergency_write(stop)
        times.append(time.monotonic_ns())

    wire.stdin.write(b"g")
    stopped = False
    while not stopped:
        item = inbox.get(timeout=10.0)
        if not isinstance(item, WireBytes):
            raise RuntimeError("a port is lost")
        decide(machine, item.data, now, write)
        stopped = bool(times)
    written = times[0]
    answer = int(wire.stdout.readline())
    if fill < 0:
        if answer < 0:
            raise RuntimeError("the stop did not reach the wire")
        return answer
    wire.stdin.write(b"d")
    if int(wire.stdout.readline()) != 1:
        raise RuntimeError("the stop did not pass what was waiting")
    return written - answer


def _decide(machine: RunMachine, data: bytes, now: int, write: Callable[[bytes], None]) -> None:
    """What the cell does with bytes of the hub: the stop goes out as soon as it is decided."""
    for event in (PortBytes(Port.PRESSURE, data), Tick()):
        machine.handle(event, now, urgent=lambda effect: write(effect.data))


def _bare(machine: RunMachine, data: bytes, now: int, write: Callable[[bytes], None]) -> None:
    write(STOP_BYTES[StopStrength.KILL])


def _copied(machine: RunMachine) -> RunMachine:
    """Copy what changes; the plan and its lines are frozen and shared."""
    frozen = [machine.plan, *machine.plan.units, *(line for unit in machine.plan.units for line in unit.lines)]
    return copy.deepcopy(machine, {id(value): value for value in frozen})


def _fill(descriptor: int) -> None:
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"N1 G1 X1.000 Y1.000 E0.01000*55\n" * 64)


def _terminal() -> tuple[int, int]:
    far, near = pty.openpty()
    tty.setraw(near)
    return far, near
