"""Serve the virtual bench: three device ports, the time port, and the hand that moves a check weight.

    python -m hil_tests.serve --case cyclophosphamide [--fault clog:3] [--rate 60] [--seed 1] [--ready FILE] [--truth FILE] [--tcp]
    python -m hil_tests.serve bench.toml

Free running at rate 1 (or `--free`) while no cell is attached; in lockstep with a cell on the time port. Ends on SIGTERM or
SIGINT, and when its standard input closes (unless `--stay`), so that it never outlives the program that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import assert_never

from hil_tests.bench_hand import HandPort, Hold, Place
from hil_tests.cases import BenchConfig, BenchConfigError, bench_for, load_bench, parse_rate
from hil_tests.faults import FAULTS
from hil_tests.ports import Port, open_port
from hil_tests.timekeeper import Ack, Gone, Hello, Ready, TimePort
from hil_tests.virtual_bench import PORTS, VirtualBench

_FREE_STEP_US = 10_000
_PATIENCE_S = 2.0
_ONE = Decimal(1)
# A bench that fell behind its rate (a busy machine) may catch up this much of wall time, not more.
_CATCH_UP_S = 0.05


class Server:
    """One bench on its ports. Lifetime: `run` until a signal or the end of standard input. Concurrency: one thread."""

    def __init__(self, config: BenchConfig, *, tcp: bool = False, truth: Path | None = None, free: Decimal = _ONE) -> None:
        self.bench = VirtualBench(config)
        self.rate, self._free = config.rate, free
        prompt = config.printer.dialect != "marlin-2.1" or config.pressure.driver == "modbus-rtu"
        self.step_us, self._free_step_us = _step_us(config.rate, prompt=prompt), _step_us(free)
        self.token = secrets.token_hex(16)
        self.ports: dict[str, Port] = {name: open_port(tcp) for name in PORTS}
        self.time = TimePort(self.token)
        self.hand = HandPort(self.token)
        self._truth = truth
        self._truth_state: tuple[int, int] | None = None
        self._watched: dict[int, Callable[[], None]] = {}
        self._ready = False
        self._stop = False
        self._acked: Ack | None = None
        self._held_at: int | None = None
        self._holds: list[Hold] = []
        self._wall_origin = time.monotonic()
        self._virtual_origin = self.bench.now

    # -- what a program that starts the bench needs ---------------------------------------------------------------

    def description(self) -> dict[str, object]:
        return {
            "ports": {name: port.address for name, port in self.ports.items()},
            "time": self.time.address,
            "hand": self.hand.address,
            "rate": str(self.rate),
            "demonstration": True,
            "token": self.token,
        }

    def stop(self) -> None:
        self._stop = True

    def watch(self, descriptor: int, ended: Callable[[], None]) -> None:
        """Call `ended` when the descriptor becomes readable."""
        self._watched[descriptor] = ended

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until told to stop; then write the truth and close the ports."""
        self._rebase()
        try:
            while not self._stop:
                if self._held():
                    self._events(None)
                    self._rebase()
                elif not self.time.attached and self._free:
                    self._free_step()
                elif not self.time.attached or not self._ready:
                    self._events(None)
                else:
                    self._locked_step()
        finally:
            self._write_truth(force=True)
            self.time.close()
            self.hand.close()
            for port in self.ports.values():
                port.unplug()

    def _held(self) -> bool:
        """Whether time stands still; whoever asked for it is told when it does so."""
        if self._held_at is None or self.bench.now < self._held_at:
            return False
        for asked in self._holds:
            self.hand.answer(asked, {"held_at_us": self.bench.now})
        self._holds.clear()
        return True

    def _hold(self, asked: Hold) -> None:
        self._holds.append(asked)
        if asked.after_us is not None:
            self._held_at = self.bench.now + asked.after_us
            return
        self._held_at = None
        for waiting in self._holds:
            self.hand.answer(waiting, {"held_at_us": None})
        self._holds.clear()

    def _free_step(self) -> None:
        """Without a cell: one step at the free rate; what nobody reads is lost."""
        target = self.bench.now + self._free_step_us
        due = self._wall_origin + (target - self._virtual_origin) / 1e6 / float(self._free)
        if not self._pace(due, lambda: self.time.attached):
            return
        for name, data in self.bench.step(target).items():
            if data:
                self.ports[name].write(data)
        self._unplug()
        self._write_truth()

    def _locked_step(self) -> None:
        """With a cell: grant one step, wait for its acknowledgement, take in what it says it has sent."""
        target = self.bench.now + self.step_us
        due = self._wall_origin + (target - self._virtual_origin) / 1e6 / float(self.rate)
        if not self._pace(due, lambda: not self._ready):
            return
        sent = self.bench.step(target)
        for name, data in sent.items():
            if data:
                self.ports[name].write(data, _PATIENCE_S)
        self._unplug()
        self._write_truth()
        counts = {name: port.sent for name, port in self.ports.items()}
        closed = [name for name, port in self.ports.items() if port.closed]
        if not self.time.send(json.dumps({"grant": target, "sent": counts, "closed": closed})):
            self._detach()
            return
        ack = None
        while self._ready and not self._stop:
            self._events(None)
            ack, self._acked = self._acked, None
            if ack is not None and ack.at == target:
                self._take_in(ack)
                return

    def _take_in(self, ack: Ack) -> None:
        """Read the ports until they have given what the cell says it wrote, or until patience ends."""
        limit = time.monotonic() + _PATIENCE_S
        missing = [(self.ports[name], count) for name, count in ack.queued.items() if name in self.ports]
        while not self._stop and self._ready:
            missing = [(port, count) for port, count in missing if not port.closed and port.received < count]
            left = limit - time.monotonic()
            if not missing or left <= 0.0:
                return
            self._events(left)

    def _pace(self, due: float, changed: Callable[[], bool]) -> bool:
        """Handle events until wall time `due`; False if the mode changed or the end came meanwhile."""
        late = time.monotonic() - due
        if late > _CATCH_UP_S:
            self._wall_origin += late - _CATCH_UP_S
        while True:
            left = due - time.monotonic()
            self._events(max(left, 0.0))
            if self._stop or changed():
                return False
            if left <= 0.0 or time.monotonic() >= due:
                return True

    def _events(self, timeout: float | None) -> None:
        """Wait for something on any descriptor, at most `timeout` seconds; hand ports' bytes to the devices, follow the time port."""
        watched = [*self._watched, *self.time.descriptors(), *self.hand.descriptors()]
        for port in self.ports.values():
            watched += port.descriptors()
        found, _, _ = select.select(watched, [], [], timeout)
        if not found:
            return
        for descriptor in found:
            ended = self._watched.get(descriptor)
            if ended is not None:
                ended()
        for name, port in self.ports.items():
            if any(descriptor in found for descriptor in port.descriptors()):
                data = port.read()
                if data:
                    self.bench.receive(name, data)
        for asked in self.hand.poll():
            match asked:
                case Place():
                    self.hand.answer(asked, {"placed": self._place(asked)})
                case Hold():
                    self._hold(asked)
                case _:
                    assert_never(asked)
        for message in self.time.poll():
            match message:
                case Hello():
                    self._greet()
                case Ready():
                    self._ready = True
                    self._rebase()
                case Ack():
                    self._acked = message
                case Gone():
                    self._detach()
                case _:
                    assert_never(message)

    def _place(self, asked: Place) -> bool:
        try:
            self.bench.cell.place(asked.position, asked.mass_mg)
        except KeyError:
            return False
        return True

    # -- attaching and leaving --------------------------------------------------------------------------------------

    def _greet(self) -> None:
        self._ready = False
        for port in self.ports.values():
            port.flush()
        self.time.send(json.dumps({"welcome": True, "rate": str(self.rate), "now": self.bench.now, "step_us": self.step_us}))

    def _detach(self) -> None:
        self._ready = False
        self._rebase()

    def _rebase(self) -> None:
        self._wall_origin, self._virtual_origin = time.monotonic(), self.bench.now

    def _unplug(self) -> None:
        for name in self.bench.unplugged:
            self.ports[name].unplug()

    # -- truth ------------------------------------------------------------------------------------------------------

    def _write_truth(self, *, force: bool = False) -> None:
        """Write the truth when a patch has been left alone for a second of virtual time, and at the end."""
        if self._truth is None:
            return
        patches = self.bench.plant.patches
        current = self.bench.plant.current
        if not force:
            if current is None or self.bench.now - current.last_deposit_us < 1_000_000:
                return
            state = (len(patches), current.last_deposit_us)
            if state == self._truth_state:
                return
            self._truth_state = state
        write_atomically(self._truth, json.dumps(self.bench.truth(), indent=1) + "\n")


def _step_us(rate: Decimal, *, prompt: bool = False) -> int:
    """Return the length of a step; `prompt` where devices are asked and answer one by one, so that a longer one would starve them."""
    return max(1, int(_FREE_STEP_US * min(rate, Decimal(2 if prompt else 10))))


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _configured(arguments: argparse.Namespace) -> BenchConfig:
    if arguments.bench is not None:
        config = load_bench(arguments.bench)
        if arguments.rate is not None:
            config = replace(config, rate=parse_rate(arguments.rate))
        return config if arguments.seed is None else replace(config, seed=arguments.seed)
    if arguments.case is None:
        raise BenchConfigError("neither --case nor a bench file given", remedy="Start with --case cyclophosphamide, or name a bench.toml.")
    seed = 1 if arguments.seed is None else arguments.seed
    return bench_for(arguments.case, seed=seed, rate=arguments.rate or "1", faults=tuple(arguments.fault))


def _free_rate(text: str) -> Decimal:
    return Decimal(0) if text == "0" else parse_rate(text)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hil_tests.serve", description="Serve the virtual bench.")
    parser.add_argument("bench", nargs="?", type=Path, help="a bench.toml instead of --case")
    parser.add_argument("--case", help="demonstration case, e.g. cyclophosphamide")
    parser.add_argument("--fault", action="append", default=[], help=f"name[:device][:unit]; names: {', '.join(FAULTS)}")
    parser.add_argument("--rate", help="virtual seconds per second with a cell attached (default 1)")
    parser.add_argument(
        "--free", default="1", help="virtual seconds per second while no cell is attached (default 1; 0: time stands still)"
    )
    parser.add_argument("--seed", type=int, help="seed of everything random (default 1)")
    parser.add_argument("--ready", type=Path, help="write the addresses here (JSON) when the bench is up")
    parser.add_argument("--truth", type=Path, help="write what really lies on the plate here (JSON)")
    parser.add_argument("--tcp", action="store_true", help="TCP ports instead of pseudo-terminals")
    parser.add_argument("--stay", action="store_true", help="do not end when standard input closes")
    return parser.parse_args(argv)


def _end_with_input(server: Server) -> None:
    """Stop when standard input closes; what is read from it means nothing."""

    def ended() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            server.stop()

    server.watch(sys.stdin.fileno(), ended)


def _end_with_signals(server: Server) -> None:
    """Stop on SIGTERM and SIGINT; the wake-up socket ends a wait that is under way."""
    waker, woken = socket.socketpair()
    waker.setblocking(False)
    woken.setblocking(False)

    def asked(number: int, frame: FrameType | None) -> None:
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)
    signal.set_wakeup_fd(waker.detach(), warn_on_full_buffer=False)
    server.watch(woken.detach(), server.stop)


def main(argv: list[str] | None = None) -> int:
    """Run the bench; return the exit status (2 for a bench that cannot be set up)."""
    arguments = _arguments(argv)
    try:
        server = Server(_configured(arguments), tcp=arguments.tcp, truth=arguments.truth, free=_free_rate(arguments.free))
        if not arguments.stay:
            _end_with_input(server)
    except BenchConfigError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 2
    _end_with_signals(server)
    text = json.dumps(server.description(), indent=1) + "\n"
    if arguments.ready is not None:
        write_atomically(arguments.ready, text)
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(text)
        sys.stdout.flush()
    server.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
