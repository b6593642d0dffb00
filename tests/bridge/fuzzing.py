"""A seeded mutational fuzzer for everything that reads bytes, and an entry for coverage-guided fuzzing.

`python -m tests.bridge.fuzzing --inputs 10000000` runs the seeded one. With `atheris` in an environment of its own,
`python -m tests.bridge.fuzzing --atheris -runs=10000000` runs that instead. Either ends at the first exception.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from firmware_bridge.firmware_profile import MARLIN_2_0, MARLIN_2_1, FirmwareProfile, klipper_profile
from firmware_bridge.gcode_lines import Reply, number_line, parse_reply
from firmware_bridge.gcode_link import GcodeLink, LinkState, OutLine
from firmware_bridge.modbus_rtu import with_crc
from firmware_bridge.mt_sics import MtSics
from firmware_bridge.pressure import PressureHub
from firmware_bridge.pressure_modbus import ModbusMap, ModbusPressure
from firmware_bridge.sartorius_sbi import SartoriusSbi

SECOND = 1_000_000
LINES = [OutLine(b"G1 X%d" % i, "", 10) for i in range(6)]
HELLO = b"FIRMWARE_NAME:Marlin 2.0 x\nCap:EMERGENCY_PARSER:1\nCap:AUTOREPORT_TEMP:1\nok P15 B3\nok N0 P15 B3\nok N1 P15 B3\n"
READ_BACK_HELLO = HELLO[:-13] + b"ok N1 P15 B3\necho:" + number_line(2, b"M111 S1") + b"ok N2 P15 B3\nok N3 P15 B3\n"
QUIET_HELLO = b"FIRMWARE_NAME:Marlin 2.0 x\nok\nok\n"
KLIPPER_HELLO = b"ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:?\nok\nok\n"
SBI_HELLO, MT_HELLO = b"MSE1203S\r\n12345678\r\n00-40\r\n", b'I2 A "X"\r\nI3 A "1"\r\nI4 A "B1"\r\n'


def seeds() -> list[bytes]:
    """Every line of the recorded conversations, and lines of the balances, the hub and the transmitter."""
    found: set[bytes] = set()
    for path in sorted((Path(__file__).parent / "transcripts").glob("*.txt")):
        found |= {line[12:].encode() for line in path.read_text(encoding="utf-8").splitlines() if line[8:11] == "<<<"}
    found |= {b"ok N12 P15 B3", b"Resend: N12", b"rs N12 Expected checksum 67", b"Error:0", b": Extruder switched off. MAXTEMP triggered !"}
    found |= {
        b"S S     100.00 g\r",
        b"S D -1.5 mg\r",
        b'I4 A "B1"\r',
        b"SI +\r",
        b"ES\r",
        b'I0 B 0 "I0"\r',
        b"+   123.56 g  \r",
        b"Stat     ERR 101    \r",
    }
    found |= {b"echo:" + number_line(n, b"G1 X%d" % (n - 4)) for n in range(4, 10)}
    found |= {b"12,187.4", with_crc(b"\x01\x04\x04\x43\x3b\x80\x00"), with_crc(b"\x01\x84\x02")}
    return sorted(found)


def mutations(rng: random.Random, corpus: list[bytes]) -> Iterator[bytes]:
    """Give mutated inputs for ever: flips, cuts, doublings, splices, lines run together, long runs."""
    while True:
        data = bytearray(rng.choice(corpus))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(7):
                case 0 if data:
                    data[at % len(data)] ^= 1 << rng.randrange(8)
                case 1:
                    data.insert(at, rng.randrange(256))
                case 2:
                    del data[at : at + rng.randrange(1, 8)]
                case 3:
                    data[at:at] = data[at : at + 12]
                case 4:
                    data[at:] = rng.choice(corpus)[at:]
                case 5:
                    data[at:at] = b"0123456789"[: rng.randrange(10)] * rng.randrange(1, 30)
                case _:
                    data += b"\n" + rng.choice(corpus)
        yield bytes(data)


def _link(profile: FirmwareProfile, hello: bytes) -> GcodeLink:
    link = GcodeLink(profile, exposure_limit_nl=100)
    link.start(0)
    for line in hello.splitlines(keepends=True):
        link.receive(line, 0)
    return link


def _balance(balance: MtSics | SartoriusSbi, hello: bytes) -> MtSics | SartoriusSbi:
    balance.identify(0)
    for line in hello.splitlines(keepends=True):
        balance.receive(line, 0)
    return balance


class Target:
    """Every machine at once. `feed` gives one input to the parser and to each machine in turn; a machine that has ended is made anew."""

    def __init__(self) -> None:
        klipper = klipper_profile(firmware_version="?")
        self._makers: list[Callable[[], GcodeLink]] = [
            lambda: _link(MARLIN_2_1, READ_BACK_HELLO),
            lambda: _link(replace(MARLIN_2_0, capabilities=(), read_back=False), QUIET_HELLO),
            lambda: _link(klipper, KLIPPER_HELLO),
        ]
        self.links = [make() for make in self._makers]
        self.balances = [_balance(MtSics(), MT_HELLO), _balance(SartoriusSbi(), SBI_HELLO)]
        self.hub, self.transmitter = PressureHub(), ModbusPressure(ModbusMap())
        self.transmitter.start(0)
        self.now = self.inputs = 0

    def feed(self, data: bytes) -> Reply:
        """Give one input to the parser and, in turn, to one machine; check what must hold for every input."""
        self.inputs += 1
        self.now += 50_000
        reply = parse_reply(data.partition(b"\n")[0])
        turn = self.inputs % 8
        if turn < 3:
            self._feed_link(turn, data)
        elif turn < 5:
            self._feed_balance(turn - 3, data)
        elif turn == 5:
            self.hub.receive(data + b"\n", self.now)
            require(len(self.hub._buffer) <= 64)
            self.hub.next_event()
        elif turn == 6:
            self.transmitter.receive(data, self.now)
            self.transmitter.tick(self.now)
            self.transmitter.bytes_to_send()
            require(len(self.transmitter._buffer) <= 256)
            self.transmitter.next_event()
        return reply

    def _feed_link(self, index: int, data: bytes) -> None:
        link = self.links[index]
        link.receive(data + b"\n" if self.inputs % 16 < 13 else data, self.now)
        link.tick(self.now)
        if link.state is LinkState.READY:
            link.submit(LINES, self.now)
        require(not link.bytes_to_send() or link.fault is None)
        require(len(link._reader.buffer) <= link.profile.max_reply and len(link._events) <= 4200 and link.exposure_nl <= 100)
        require((link.fault is not None) == (link.state is LinkState.FAULTED))
        require(0 <= link.doubtful_lines <= link.unproved_lines and len(link._echoes.expected) <= 4096)
        while link.next_event() is not None:
            pass
        if link.state is LinkState.FAULTED:
            self.links[index] = self._makers[index]()

    def _feed_balance(self, index: int, data: bytes) -> None:
        balance = self.balances[index]
        if not balance.busy and balance.fault is None:
            (balance.request_weight if self.inputs % 3 else balance.request_immediate)(self.now)
        elif not balance.busy:
            hello = MT_HELLO if index == 0 else SBI_HELLO
            self.balances[index] = balance = _balance(MtSics() if index == 0 else SartoriusSbi(), hello)
        balance.receive(data + b"\n", self.now)
        balance.tick(self.now)
        balance.bytes_to_send()
        require(len(balance._buffer) <= 120 and balance.busy == (balance.next_deadline() is not None))
        while balance.next_event() is not None:
            pass


def require(condition: bool) -> None:
    if not condition:
        raise AssertionError("a promise that holds for every input was broken")


def run(inputs: int, seed: int) -> Target:
    """Feed `inputs` mutated inputs; return the target. Raises whatever a machine raises, which is a defect."""
    target, stream = Target(), mutations(random.Random(seed), seeds())
    for _ in range(inputs):
        data = next(stream)
        try:
            target.feed(data)
        except Exception as problem:
            raise AssertionError(f"seed {seed}, input {target.inputs}: {data!r}") from problem
    return target


def _atheris(arguments: list[str]) -> None:
    import atheris

    target = Target()
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments], lambda data: target.feed(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    if "--atheris" in sys.argv:
        _atheris([word for word in sys.argv[1:] if word != "--atheris"])
    else:
        run(int(sys.argv[sys.argv.index("--inputs") + 1]), seed=1)
