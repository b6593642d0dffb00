"""Stream a file of G-code with our own link, port thread and wire log; figures as JSON. Arguments: port, file."""

from __future__ import annotations

import json
import queue
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from firmware_bridge.firmware_profile import MARLIN_2_1
from firmware_bridge.gcode_link import Drained, Fault, GcodeLink, LinkState, OutLine
from firmware_bridge.port_owner import PortBytes, PortInput, PortOwner
from firmware_bridge.transport import open_transport
from firmware_bridge.wire_log import WireLog


def main(port: str, file: str) -> int:
    commands = Path(file).read_bytes().splitlines()
    inbox: queue.SimpleQueue[PortInput] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        log = WireLog(Path(folder) / "wire.log")
        owner = PortOwner("printer", open_transport(port), inbox.put, wire=log.append)
        link = GcodeLink(replace(MARLIN_2_1, command_slots=8, flow_control=True), exposure_limit_nl=10**9)
        link.start(_now())
        owner.write(link.bytes_to_send())
        began = cpu = 0.0
        acknowledged, drained = 0, False
        while not drained:
            message = inbox.get(timeout=30)
            if not isinstance(message, PortBytes):
                raise RuntimeError("the port is lost")
            link.receive(message.data, _now())
            if link.state is LinkState.READY and not began:
                began, cpu = time.perf_counter(), time.process_time()
                link.submit([OutLine(command, str(n), 10) for n, command in enumerate(commands)], _now())
            while (event := link.next_event()) is not None:
                if isinstance(event, Fault):
                    raise RuntimeError(event.cause.text)
                drained = drained or (bool(began) and isinstance(event, Drained))
                acknowledged += type(event).__name__ == "LineAcknowledged"
            data = link.bytes_to_send()
            if data:
                owner.write(data)
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        if acknowledged != len(commands):
            raise RuntimeError(f"{acknowledged} of {len(commands)} lines acknowledged")
        owner.close()
        log.close()
        logged = log.chunks
    sys.stdout.write(json.dumps({"seconds": seconds, "cpu_s": used, "window": link.window, "logged_chunks": logged}) + "\n")
    return 0


def _now() -> int:
    return time.monotonic_ns() // 1000


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2]))
