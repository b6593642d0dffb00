"""Stream a file of G-code with OctoPrint's comm layer, no server; figures as JSON. Arguments: port, file.

Runs in the peer's environment.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time

import octoprint
from octoprint.printer.profile import PrinterProfileManager
from octoprint.util import comm


class Callback(comm.MachineComPrintCallback):
    """What the printer object of a server would be told."""

    def __init__(self) -> None:
        self.operational, self.done = threading.Event(), threading.Event()
        self.wrong = ""

    def on_comm_state_change(self, state) -> None:
        if state == comm.MachineCom.STATE_OPERATIONAL:
            self.operational.set()

    def on_comm_print_job_done(self, suppress_script=False) -> None:
        self.done.set()

    def on_comm_error(self, error, reason, consequence=None, faq=None, logs=None) -> None:
        self.wrong = str(error)
        self.done.set()


def main(port: str, file: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        octoprint.init_platform(folder, f"{folder}/config.yaml", use_logging_file=False, safe_mode=True)
        callback = Callback()
        machine = comm.MachineCom(port=port, baudrate=250000, callbackObject=callback, printerProfileManager=PrinterProfileManager())
        machine.start() if hasattr(machine, "start") else None
        if not callback.operational.wait(60):
            raise RuntimeError(f"OctoPrint's comm layer does not come online: {machine.getStateString()} {callback.wrong}")
        machine.selectFile(file, False)
        began, cpu = time.perf_counter(), time.process_time()
        machine.startPrint()
        if not callback.done.wait(300) or callback.wrong:
            raise RuntimeError(f"OctoPrint's comm layer does not finish: {callback.wrong}")
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        sys.stdout.write(json.dumps({"seconds": seconds, "cpu_s": used, "window": 1}) + "\n")
        sys.stdout.flush()
        os._exit(0)  # its threads are not ours to end


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2]))
