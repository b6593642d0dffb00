"""OctoPrint's virtual printer behind a pseudo-terminal. Runs in the peer's environment; argument: settings to change, as JSON.

The path of the terminal goes to standard output; it ends when standard input ends.
"""

from __future__ import annotations

import json
import os
import pty
import sys
import tempfile
import threading
import tty

import octoprint
import octoprint.plugin
from octoprint.plugins.virtual_printer import VirtualPrinterPlugin
from octoprint.plugins.virtual_printer.virtual import VirtualPrinter
from octoprint.printer.profile import PrinterProfileManager


def main(changes: dict[str, object]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        octoprint.init_platform(folder, f"{folder}/config.yaml", use_logging_file=False, safe_mode=True)
        settings = octoprint.plugin.plugin_settings("virtual_printer", defaults=VirtualPrinterPlugin().get_settings_defaults())
        for key, value in changes.items():
            settings.set([key], value, force=True)
        printer = VirtualPrinter(settings, PrinterProfileManager(), folder, read_timeout=0.05)
        master, slave = pty.openpty()
        tty.setraw(slave)
        sys.stdout.write(os.ttyname(slave) + "\n")
        sys.stdout.flush()
        threading.Thread(target=_to_printer, args=(master, printer), daemon=True).start()
        threading.Thread(target=_from_printer, args=(master, printer), daemon=True).start()
        sys.stdin.read()
        os._exit(0)


def _to_printer(master: int, printer: VirtualPrinter) -> None:
    """Hand over line by line: it takes one line out of whatever one write brings."""
    rest = b""
    while True:
        *lines, rest = (rest + os.read(master, 4096)).split(b"\n")
        for line in lines:
            data = line + b"\n"
            while data:
                data = data[printer.write(data) :]


def _from_printer(master: int, printer: VirtualPrinter) -> None:
    while True:
        line = printer.readline()
        if line:
            os.write(master, line if line.endswith(b"\n") else line + b"\n")


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}))
