"""Whether times in the record can be believed: synchronised, not behind the record, in a zone that is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from api.doctor.finding import Finding, failed, not_checked, passed, span_text, warning

UNKNOWN = "unknown"
_SLACK_US = 1_000_000
_NTP = "Let the operating system keep the time (systemd-timesyncd, chrony), and wait until it says that it is synchronised."


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """`synchronised` is what the kernel says, None where it does not; `stated` is what entries say of it."""

    now: str
    synchronised: bool | None
    largest_error_us: int = 0
    stated: str = ""
    zone: str = ""
    zone_known: bool = True


def judge_clock(facts: ClockFacts) -> Iterator[Finding]:
    yield _judge_synchronised(facts)
    if not facts.zone:
        yield not_checked("clock.zone", "the zone of a site is in its settings, which were not read")
    elif not facts.zone_known:
        yield failed("clock.zone", f"{facts.zone!r} is no time zone of this machine", "Write for example UTC or Europe/Paris as `zone`.")
    else:
        yield passed("clock.zone", f"{facts.zone}; it is {facts.now}")


def _judge_synchronised(facts: ClockFacts) -> Finding:
    check, kernel = "clock.synchronised", facts.synchronised
    if kernel is None:
        return not_checked(check, "this operating system does not say whether its clock is synchronised")
    if not kernel:
        if facts.stated and facts.stated != UNKNOWN:
            text = f"every entry says {facts.stated!r}, but the machine's clock is not synchronised"
            return failed(check, text, _NTP)
        return warning(check, "the machine's clock is not synchronised", _NTP)
    said = f"synchronised, off by {facts.largest_error_us / 1000:.0f} ms at most"
    if facts.stated == UNKNOWN:
        remedy = 'Write for example clock_sync = "ntp" into workstation.toml and cell.toml.'
        return warning(check, f"{said}, but entries say that it is unknown", remedy)
    return passed(check, f"{said}{f'; entries say {facts.stated!r}' if facts.stated else ''}")


def judge_order(behind_us: Mapping[str, int]) -> Iterator[Finding]:
    """Compare the clock with the last entry of each trail; `behind_us` is how far it is behind, negative where it is later."""
    for name, behind in behind_us.items():
        if behind > _SLACK_US:
            text = f"the clock is {span_text(behind // 1_000_000)} behind the last entry of the trail"
            remedy = "Set the clock right before anything is recorded; an entry would stand before its predecessor."
            yield failed("clock.order", text, remedy, name)
        else:
            yield passed("clock.order", f"last entry {span_text(max(0, -behind) // 1_000_000)} ago", name)
