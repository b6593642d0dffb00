"""The far ends of two wires in a process of their own: it sends a pressure line and watches for the stop.

Arguments: descriptor of the hub's terminal, of the printer's, and whether the printer reads. One byte on standard input is one trial:
`g` sends the line. If the printer reads, the answer is the latency in ns; else the time of sending, then, after `d`, what had arrived.
"""

from __future__ import annotations

import os
import select
import sys
import time

STOP = b"\nM112\n"


def main(hub: int, printer: int, reads: bool) -> int:
    os.set_blocking(printer, False)
    sequence = 1_000_000
    while os.read(0, 1) == b"g":
        sequence += 1
        line = b"%d,900.0\n" % sequence
        sent = time.monotonic_ns()
        os.write(hub, line)
        if reads:
            select.select([printer], [], [], 10.0)
            seen = time.monotonic_ns() - sent
            ended = _drain(printer, 0.05).endswith(STOP)
            os.write(1, b"%d\n" % (seen if ended else -1))
        else:
            os.write(1, b"%d\n" % sent)
            os.read(0, 1)
            os.write(1, b"%d\n" % _drain(printer, 0.05).endswith(STOP))
    return 0


def _drain(descriptor: int, patience_s: float) -> bytes:
    data = b""
    while not data.endswith(STOP) and select.select([descriptor], [], [], patience_s)[0]:
        data = (data + os.read(descriptor, 65536))[-64:]
    return data


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "reads"))
