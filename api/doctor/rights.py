"""Whether the account may do what it has to, and others may not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api.doctor.finding import Finding, failed, passed, warning

_WORLD, _GROUP = 0o007, 0o070


@dataclass(frozen=True, slots=True)
class FolderFacts:
    path: str
    mode: int
    owner: int
    writable: bool


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """The account that the doctor runs as. `serial_group` is the group of serial ports on this machine, empty where there is none."""

    name: str
    number: int
    serial_group: str = ""
    in_serial_group: bool = False


def judge_account(facts: AccountFacts, *, clinical: bool) -> Iterator[Finding]:
    """A site for patients has an account of its own; `clinical` says that the site is one."""
    if facts.number == 0:
        text = "this is root: whatever breaks into the workstation owns the machine"
        yield warning("rights.account", text, "Run workstation and cells as an account of their own.")
    else:
        yield passed("rights.account", f"{facts.name} (user {facts.number})")
    group = facts.serial_group
    if not group:
        yield passed("rights.serial", "no group of serial ports (dialout, uucp) on this machine")
    elif facts.number == 0 or facts.in_serial_group:
        yield passed("rights.serial", f"{facts.name} may open the ports of the group {group}")
    elif clinical:
        remedy = f"Run `sudo usermod -aG {group} {facts.name}`, then log in anew."
        yield warning("rights.serial", f"{facts.name} is not in the group {group}, which serial ports belong to", remedy)
    else:
        yield passed("rights.serial", f"{facts.name} is not in the group {group}; a demonstration opens no serial port")


def judge_folder(facts: FolderFacts, account: int) -> Iterator[Finding]:
    mode = f"{facts.path} has mode {facts.mode:04o}"
    if facts.mode & _WORLD:
        text = f"{mode}: every account on this machine can look into it"
        yield failed("rights.folder", text, f"Run `chmod 700 {facts.path}`.")
    elif facts.mode & _GROUP:
        yield warning("rights.folder", f"{mode}: its group can look into it", f"Run `chmod 700 {facts.path}`.")
    else:
        yield passed("rights.folder", mode)
    if not facts.writable:
        text = f"{facts.path} cannot be written by this account"
        yield failed("rights.write", text, "Give the folder to the account of the workstation, or run the doctor as that account.")
    elif facts.owner != account:
        text = f"{facts.path} belongs to user {facts.owner}, this is user {account}"
        yield warning("rights.write", text, "Run the doctor as the account that runs the workstation.")
    else:
        yield passed("rights.write", "the folder belongs to this account and can be written")
