"""The firmware that a bench's printer runs, by the name that stands in `bench.toml`."""

from __future__ import annotations

from collections.abc import Mapping

from hil_tests.plant import Heater
from hil_tests.virtual_klipper import KlipperPrinter
from hil_tests.virtual_marlin20 import Marlin20Printer
from hil_tests.virtual_printer import PrinterConfig, VirtualPrinter
from hil_tests.virtual_reprap import RepRapPrinter

DIALECTS: Mapping[str, type[VirtualPrinter]] = {
    "marlin-2.1": VirtualPrinter,
    "marlin-2.0": Marlin20Printer,
    "klipper": KlipperPrinter,
    "reprapfirmware": RepRapPrinter,
}


def printer_for(config: PrinterConfig, nozzle: Heater, bed: Heater, start_us: int = 0, second: Heater | None = None) -> VirtualPrinter:
    """Return the printer of a bench; `second` is the heater of its second head. KeyError for a dialect that is not there."""
    return DIALECTS[config.dialect](config, nozzle, bed, start_us, second)
