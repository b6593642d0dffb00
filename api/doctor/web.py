"""Whether the workstation answers at its port, or could."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from api.doctor.finding import Finding, failed, not_checked, passed


class Answer(StrEnum):
    """What is at the port: nobody, a workstation, another program, or an address that this machine does not have."""

    NOBODY = "nobody"
    WORKSTATION = "workstation"
    OTHER = "other"
    NO_ADDRESS = "no address"


@dataclass(frozen=True, slots=True)
class WebFacts:
    """`lowest` is the lowest port that the account may listen at; `serving` says that a process writes the workstation's trail."""

    host: str
    port: int
    answer: Answer = Answer.NOBODY
    said: str = ""
    lowest: int = 0
    serving: bool | None = None
    served_certificate_is_the_file: bool | None = None


def judge_web(facts: WebFacts) -> Finding:
    check, place = "web.port", f"{facts.host}:{facts.port}"
    if not facts.port:
        return not_checked(check, "workstation.toml leaves the port open; name it with --port")
    if facts.answer is Answer.NO_ADDRESS:
        return failed(check, f"this machine has no address {facts.host}", "Correct `host` in workstation.toml.")
    if facts.answer is Answer.OTHER:
        text = f"another program answers at {place}{f' ({facts.said})' if facts.said else ''}"
        return failed(check, text, "End that program, or give the workstation another port.")
    if facts.answer is Answer.WORKSTATION:
        if facts.served_certificate_is_the_file is False:
            text = f"the workstation at {place} still shows another certificate than the file"
            return failed(check, text, "Start the workstation again.")
        return passed(check, f"the workstation answers at {place}")
    if facts.serving:
        text = f"the workstation runs, but nothing answers at {place}"
        return failed(check, text, "Name its port with --port if it was served at another; else look at its log.")
    if facts.port < facts.lowest:
        text = f"ports below {facts.lowest} are not open to this account"
        return failed(check, text, "Choose a higher port, and put a proxy before it.")
    return passed(check, f"{place} is free")
