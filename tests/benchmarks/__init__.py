"""`make bench`: figures of this machine, each with its peer measured in the same run or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `peer_value` is None with the reason in `peer` where the peer cannot be measured here."""

    name: str
    value: str
    unit: str
    peer: str
    peer_value: str | None
    ratio: str | None
