"""What the tests of the bench need on the host's side: numbered lines, a unit's program, a host that streams it in virtual time."""

from __future__ import annotations

import math
import re

from hil_tests.cases import bench_for
from hil_tests.virtual_bench import VirtualBench

STEP_US = 100_000
AREA = 165.13
VOLUME = 200.0


def numbered(number: int, command: str) -> bytes:
    body = f"N{number} {command}".encode()
    checksum = 0
    for byte in body:
        checksum ^= byte
    return body + b"*%d\n" % checksum


def unit_program(x: float, y: float, volume: float, *, flow: float = 7.0, retraction: float = 3.0, area: float = AREA) -> list[str]:
    """Rings of even bead volume around a centre, net volume exact; un-retracted first, retracted last, lifted, M400."""
    radius_max, layers, chord = 6.0, 5, 1.0
    points: list[tuple[float, float, float, float]] = []
    for layer in range(layers):
        radius = radius_max
        while radius > 0.4:
            count = max(8, round(2 * math.pi * radius / chord))
            for k in range(count + 1):
                angle = 2 * math.pi * k / count
                points.append(
                    (
                        x + radius * math.cos(angle),
                        y + radius * math.sin(angle),
                        0.5 * (layer + 1),
                        2 * math.pi * radius / count if k else 0.0,
                    )
                )
            radius -= 0.65
    total = sum(point[3] for point in points)
    lines = ["G90", "M83", "G0 Z10 F1200", f"G0 X{points[0][0]:.3f} Y{points[0][1]:.3f} F4800", "G0 Z0.5 F1200"]
    lines.append(f"G1 E{retraction / area:.5f} F{8.0 / area * 60:.3f}")
    sent = 0.0
    done = 0.0
    for px, py, pz, length in points:
        if length == 0.0:
            lines.append(f"G0 X{px:.3f} Y{py:.3f} Z{pz:.3f} F4800")
            continue
        done += length
        e = round(volume * done / total / area - sent, 5)
        sent += e
        part = volume * length / total
        lines.append(f"G1 X{px:.3f} Y{py:.3f} E{e:.5f} F{length / (part / flow) * 60:.2f}")
    lines += [f"G1 E{-retraction / area:.5f} F{8.0 / area * 60:.3f}", "G0 Z12 F1200", "G0 X190 Y190 F4800", "M400"]
    return lines


PRIME = [
    "G28",
    "G90",
    "M83",
    "G0 X8 Y8 Z2 F4800",
    f"G1 E{120 / AREA:.5f} F{7 / AREA * 60:.3f}",
    f"G1 E{-3 / AREA:.5f} F3",
    "G0 Z12 F1200",
    "M400",
]


class Host:
    """Streams numbered lines into a bench with a window of four; `log` keeps what the printer said."""

    def __init__(self, bench: VirtualBench, *, step_us: int = STEP_US) -> None:
        self.bench = bench
        self.step_us = step_us
        self.number = 0
        self.log = b""
        self.pressure = b""
        self.balance = b""
        self.acknowledged = 0

    def step(self) -> None:
        sent = self.bench.step(self.bench.now + self.step_us)
        self.log += sent["printer"]
        self.pressure += sent["pressure"]
        self.balance += sent["balance"]
        for number in re.findall(rb"^ok N(\d+)", sent["printer"], re.M):
            self.acknowledged = max(self.acknowledged, int(number))

    def stream(self, commands: list[str], limit_s: float = 3000.0) -> bool:
        """Send all commands and wait for their acknowledgement; False if the printer stops answering."""
        end = self.bench.now + round(limit_s * 1e6)
        waiting = list(commands)
        while waiting or self.acknowledged < self.number:
            while waiting and self.number - self.acknowledged < 4:
                self.number += 1
                self.bench.receive("printer", numbered(self.number, waiting.pop(0)))
            self.step()
            if self.bench.now > end:
                return False
        return True

    def let(self, seconds: float) -> None:
        for _ in range(round(seconds * 1e6 / self.step_us)):
            self.step()

    def weigh(self, limit_s: float = 40.0) -> float:
        """Ask for a stable weight (MT-SICS) and return it in mg."""
        self.balance = b""
        self.bench.receive("balance", b"S\r\n")
        end = self.bench.now + round(limit_s * 1e6)
        while b"\n" not in self.balance and self.bench.now < end:
            self.step()
        found = re.fullmatch(rb"S S +(-?[0-9]+\.[0-9]{4}) g\r\n", self.balance)
        if found is None:
            raise RuntimeError(f"no stable weight: {self.balance!r}")
        return float(found.group(1)) * 1000.0

    def heat(self) -> None:
        self.stream(["M104 S40", "M140 S20"])
        self.let(90.0)


def printed(units: int, *faults: str, seed: int = 1, limit_s: float = 120.0) -> Host:
    """A cyclophosphamide bench that has been heated, primed and asked for so many units."""
    host = Host(VirtualBench(bench_for("cyclophosphamide", seed=seed, faults=faults)))
    host.heat()
    host.stream(PRIME)
    for k in range(units):
        if not host.stream(unit_program(35.0 + 25.0 * k, 35.0, VOLUME), limit_s):
            break
    return host


def pressures(host: Host) -> list[float]:
    return [float(line.split(b",")[1]) for line in host.pressure.split()]
