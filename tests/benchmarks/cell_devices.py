"""The three devices of a real cell, in a process of their own and in real time: terminals behind which the virtual bench stands.

Printed first: the terminals, as JSON. The line `g` on standard input is one trial: a fresh, warm bench, said by `fresh`. Once its
printer lays a unit, the pressure crosses its limit in one line of the hub, at a moment drawn at random. Printed then: the time
from the writing of that line to the first bytes of the stop at the printer's terminal, in ns, or -1 where no stop came within
five seconds.

The line `r` is a run that is let be: a fresh, warm bench, said by `fresh`, which goes at its own pace once it lays a unit. Printed
when a person's stop comes to the printer's terminal: the moment of its first bytes, in ns of the monotonic clock.

Up to the unit the bench goes faster than real time (a printer that homes at once); from then on at its own pace. The hub keeps
to real time throughout: a hundred lines a second.

At its own pace, where the system allows it, this process runs in real time, above the cell: a real printer and a real sensor are
not slowed by the browsers of the computer they are connected to, and a measurement must not be late by itself. Faster than real time
it computes much, and would keep the kernel's ordinary worker threads from handing terminals over: it is an ordinary process then. That
hand-over stays in the figure, in both directions.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
import tty
from contextlib import suppress

from hil_tests.cases import bench_for
from hil_tests.plant import SAMPLE_US
from hil_tests.virtual_bench import VirtualBench

CASE = "minoxidil"
STOP = b"\nM112\n"
STOPS_OF_A_PERSON = (STOP, b"\nM410\n")
FAST, OWN = 150, 1
REAL_TIME = 20
_LAID_UL = 1.0
_PATIENCE_S = 5.0


class Devices:
    """Lifetime: the process. Concurrency: one thread."""

    def __init__(self) -> None:
        self._masters: dict[str, int] = {}
        self._kept: list[int] = []
        self.names: dict[str, str] = {}
        for port in ("printer", "balance", "pressure"):
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._masters[port], self.names[port] = master, os.ttyname(slave)
            self._kept.append(slave)
        self._sequence = 0
        self._random = random.Random(1)
        self._bench = self._fresh()
        self._pace = FAST
        self._let_be, self._heard = False, b""

    def serve(self) -> None:
        """Keep the hub alive; run one trial for each line on standard input, until it closes."""
        due = time.monotonic()
        while True:
            due = self._tick(due, self._pace)
            if self._let_be:
                self._look_for_a_unit()
            if select.select([0], [], [], 0)[0]:
                asked = os.read(0, 4096)
                if not asked:
                    return
                if asked.startswith(b"r"):
                    self._begin_afresh()
                    self._let_be = True
                else:
                    self._let_be, self._pace = False, FAST
                    os.write(1, b"%d\n" % self._trial())
                due = time.monotonic()

    def _begin_afresh(self) -> None:
        _claim(os.SCHED_OTHER, 0)
        self._bench, self._pace, self._heard = self._fresh(), FAST, b""
        for port in ("printer", "balance"):
            self._read(port)
        os.write(1, b"fresh\n")

    def _look_for_a_unit(self) -> None:
        """Go at the bench's own pace from the first unit on."""
        current = self._bench.plant.current
        if self._pace == FAST and current is not None and current.plunger_uL >= _LAID_UL:
            self._pace = OWN
            _claim(os.SCHED_RR, REAL_TIME)

    def _trial(self) -> int:
        try:
            return self._stop_after()
        finally:
            _claim(os.SCHED_OTHER, 0)

    def _stop_after(self) -> int:
        self._begin_afresh()
        crosses, due = 0.0, time.monotonic()
        limit = due + 60.0
        while not crosses or due < crosses:
            current = self._bench.plant.current
            if not crosses and current is not None and current.plunger_uL >= _LAID_UL:
                crosses = due + self._random.uniform(0.03, 0.1)
                _claim(os.SCHED_RR, REAL_TIME)
            due = self._tick(due, OWN if crosses else FAST)
            if due > limit:
                return -1
        # Between two lines of the hub, at any phase of what the cell does by itself.
        time.sleep(self._random.uniform(0.0, 0.01))
        self._read("printer")
        self._sequence += 1
        line = b"%d,900.0\n" % self._sequence
        sent = time.monotonic_ns()
        os.write(self._masters["pressure"], line)
        seen, data = 0, b""
        while STOP not in data:
            if not select.select([self._masters["printer"]], [], [], _PATIENCE_S)[0]:
                return -1
            seen = time.monotonic_ns()
            came = self._read("printer")
            data = data[-len(STOP) :] + came
            self._bench.receive("printer", came)
        self._send(self._bench.step(self._bench.now + SAMPLE_US))  # it halts and says so, by which the cell knows that it was heard
        return seen - sent

    def _tick(self, due: float, pace: int = FAST) -> float:
        """Wait for the next ten milliseconds while the host is served; step the bench; send one line of the hub."""
        due += 0.01
        watched = [self._masters["printer"], self._masters["balance"]]
        while (left := due - time.monotonic()) > 0:
            if select.select(watched, [], [], left)[0]:
                for port in ("printer", "balance"):
                    data = self._read(port)
                    if self._let_be and port == "printer":
                        self._listen(data)
                    self._bench.receive(port, data)
                self._send(self._bench.step(self._bench.now + SAMPLE_US))
        self._send(self._bench.step(self._bench.now + pace * SAMPLE_US))
        self._sequence += 1
        with suppress(BlockingIOError):
            os.write(self._masters["pressure"], b"%d,%.1f\n" % (self._sequence, 150.0 + self._random.uniform(-1.0, 1.0)))
        return due

    def _listen(self, data: bytes) -> None:
        """Say when a stop has come; what comes after it is of no interest until the next run."""
        self._heard = self._heard[-16:] + data
        if any(stop in self._heard for stop in STOPS_OF_A_PERSON):
            os.write(1, b"%d\n" % time.monotonic_ns())
            self._let_be = False

    def _send(self, said: dict[str, bytes]) -> None:
        for port in ("printer", "balance"):
            if said[port]:
                with suppress(BlockingIOError):
                    os.write(self._masters[port], said[port])

    def _read(self, port: str) -> bytes:
        with suppress(BlockingIOError):
            return os.read(self._masters[port], 65536)
        return b""

    @staticmethod
    def _fresh() -> VirtualBench:
        bench = VirtualBench(bench_for(CASE))
        bench.printer.nozzle.temperature, bench.printer.bed.temperature = 30.0, 20.0
        bench.step(1_000_000)
        return bench


def _claim(policy: int, priority: int) -> None:
    with suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(priority))


def main() -> int:
    devices = Devices()
    os.write(1, json.dumps(devices.names).encode("ascii") + b"\n")
    devices.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
