"""Which driver reads which balance: the names a machine profile may use."""

from __future__ import annotations

from firmware_bridge.balance import BalanceDriver
from firmware_bridge.mt_sics import MtSics
from firmware_bridge.sartorius_sbi import SartoriusSbi
from printer.errors import CellConfiguration


def balance_driver(name: str, stable_timeout_us: int) -> BalanceDriver:
    """Return a fresh driver; `stable_timeout_us` bounds how long a stable weight is waited for."""
    match name:
        case "mt-sics":
            return MtSics(stable_timeout_us=stable_timeout_us)
        case "sartorius-sbi":
            return SartoriusSbi(stable_timeout_us=stable_timeout_us)
        case _:
            text = f"No driver for a balance of kind {name!r}."
            raise CellConfiguration(text, remedy="Use mt-sics or sartorius-sbi in the machine profile.")
