"""A printer that answers as fast as it can, on a pseudo-terminal: for measuring hosts, not for printing.

It answers as Marlin with ADVANCED_OK does, and is as strict: every numbered line is checked for its number and its
checksum. After `M111 S1` it says each line back before its `ok`, as Marlin does; `M111 S0` ends that. The path of the
terminal goes to standard output; when the host has gone, so do the counts, as JSON. Standard library only: it runs beside
any host.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import pty
import re
import select
import sys
import tty
from functools import reduce

_NUMBERED = re.compile(rb"N(-?\d+) ?([^*]*)\*(\d+)\s*\Z")
_NEW_NUMBER = re.compile(rb"M110 N(-?\d+)")
_IDENTITY = (
    b"FIRMWARE_NAME:Marlin 2.1.2.5 (responder) SOURCE_CODE_URL:github.com/MarlinFirmware/Marlin PROTOCOL_VERSION:1.0 "
    b"MACHINE_TYPE:Responder EXTRUDER_COUNT:1\nCap:AUTOREPORT_TEMP:1\nCap:EMERGENCY_PARSER:1\nok P15 B7\n"
)
_TEMPERATURES = b"ok T:20.00 /0.00 B:20.00 /0.00 @:0 B@:0\n"


class Responder:
    """Takes bytes, gives bytes; counts what it took and what it refused."""

    def __init__(self) -> None:
        self.last = 0
        self.taken = 0
        self.refused = 0
        self.echo = False
        self._rest = b""

    def answer(self, data: bytes) -> bytes:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return b"".join([self._line(line) for line in lines if line])

    def _line(self, line: bytes) -> bytes:
        if line[:1] != b"N":
            return self._plain(line)
        found = _NUMBERED.match(line)
        if found is None or reduce(operator.xor, line[: line.index(b"*")]) != int(found.group(3)):
            return self._refuse(b"checksum mismatch")
        number, command = int(found.group(1)), found.group(2)
        if command[:4] == b"M110":
            new = _NEW_NUMBER.match(command)
            self.last = int(new.group(1)) if new else number
            return b"ok N%d P15 B7\n" % self.last
        if number != self.last + 1:
            return self._refuse(b"Line Number is not Last Line Number+1")
        self.last = number
        said = b"echo:%b\n" % line if self.echo else b""
        if command[:4] == b"M105":
            return said + _TEMPERATURES
        if command[:4] == b"M111":
            self.echo = command[-2:] == b"S1"
        self.taken += command[:3] == b"G1 "
        return b"%bok N%d P15 B7\n" % (said, number)

    def _plain(self, line: bytes) -> bytes:
        if line[:4] == b"M115":
            return _IDENTITY
        if line[:4] == b"M105":
            return _TEMPERATURES
        new = _NEW_NUMBER.match(line)
        if new:
            self.last = int(new.group(1))
        return b"ok P15 B7\n"

    def _refuse(self, why: bytes) -> bytes:
        self.refused += 1
        return b"Error:%b, Last Line: %d\nResend: %d\nok\n" % (why, self.last, self.last + 1)


def main() -> int:
    """Serve until the host has opened and closed the terminal, or standard input ends."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    sys.stdout.write(os.ttyname(slave) + "\n")
    sys.stdout.flush()
    responder = Responder()
    poller = select.poll()
    poller.register(master, select.POLLIN)
    poller.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
    with contextlib.suppress(OSError):
        while True:
            ready = dict(poller.poll())
            if master in ready:
                answer = responder.answer(os.read(master, 65536))
                while answer:
                    answer = answer[os.write(master, answer) :]
            elif ready:
                break
    sys.stdout.write(json.dumps({"taken": responder.taken, "refused": responder.refused}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
