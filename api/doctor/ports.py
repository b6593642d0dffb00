"""Whether a cell will find its devices. Nothing is opened: opening a port resets many printer boards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from api.doctor.finding import Finding, failed, not_checked, passed, warning

_DEVICES = "Connect the device and switch it on; `dosewright devices` says what is there and how to name it."


@dataclass(frozen=True, slots=True)
class PortFacts:
    """One configured port. `path` is the device that the address leads to, empty where it leads nowhere; `problem` says why.

    `holders` are the processes that have it open, as far as this account can see; `own` is the cell's own process, 0 where it rests.
    """

    name: str
    address: str
    path: str = ""
    problem: str = ""
    remedy: str = ""
    is_network: bool = False
    is_bench: bool = False
    exists: bool = False
    readable: bool = False
    writable: bool = False
    group: str = ""
    holders: tuple[int, ...] = field(default=())
    own: int = 0
    steady_name: str = ""


def judge_port(facts: PortFacts) -> Iterator[Finding]:
    name, where = facts.name, _where(facts)
    if facts.is_network:
        yield not_checked("ports.present", f"{facts.address} is on the network; nothing is opened here", name)
        return
    if facts.problem or not facts.exists:
        if facts.is_bench and not facts.own:
            yield not_checked("ports.present", f"{facts.address}: the bench makes its ports when the site is served", name)
        else:
            yield failed("ports.present", facts.problem or f"{where} is not there", facts.remedy or _DEVICES, name)
        return
    yield passed("ports.present", where, name)
    if not (facts.readable and facts.writable):
        remedy = f"Run `sudo usermod -aG {facts.group} ACCOUNT` and log in anew." if facts.group else "Change the rights of the device."
        yield failed("ports.rights", f"this account may not open {facts.path}", remedy, name)
    else:
        yield passed("ports.rights", f"{facts.path} can be read and written", name)
    yield _judge_holders(facts)
    if not facts.is_bench:
        yield _judge_name(facts)


def _where(facts: PortFacts) -> str:
    return facts.address if facts.path in ("", facts.address) else f"{facts.address}, now {facts.path}"


def _judge_holders(facts: PortFacts) -> Finding:
    others = [process for process in facts.holders if process != facts.own]
    if facts.own and facts.own in facts.holders:
        return passed("ports.free", f"the cell's own process {facts.own} has it open", facts.name)
    if others and not facts.is_bench:
        text = f"process {', '.join(str(process) for process in others)} has it open"
        return failed("ports.free", text, "End that process: a port has one owner.", facts.name)
    return passed("ports.free", "no process that this account can see has it open", facts.name)


def _judge_name(facts: PortFacts) -> Finding:
    if facts.address.startswith(("usb:", "/dev/serial/")):
        return passed("ports.name", f"{facts.address} stays the same", facts.name)
    if facts.steady_name:
        remedy = f'Write "{facts.steady_name}" into cell.toml.'
        return warning("ports.name", f"{facts.address} may be another device after a start", remedy, facts.name)
    return passed("ports.name", f"{facts.address}; the device has no steadier name", facts.name)
