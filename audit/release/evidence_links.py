"""Which entries an item of evidence rests on, so that a reviewer can look at each of them."""

from __future__ import annotations

from collections.abc import Iterable

from audit.release.conformity import Item, Link
from audit.release.trail_view import TrailEntry

_JUDGED = ("unit.weight.judged", "unit.print.scrapped", "unit.parts.judged", "part.weight.judged", "part.print.scrapped")
_RESTS_ON: dict[Item, tuple[str, ...]] = {
    Item.ORDER_CONFIRMED: ("order.", "run.record.created"),
    Item.RECIPE_EFFECTIVE: ("recipe.", "run.record.created"),
    Item.INK_IN_DATE: ("ink.lot.", "ink.cartridge.received", "run.record.created"),
    Item.PROGRAM_PROVED: ("run.record.created",),
    Item.GATES_PASSED: ("run.gates.",),
    Item.RUN_ENDED: ("run.record.closed",),
    Item.UNITS_JUDGED: ("unit.print.intended", *_JUDGED),
    Item.REMOVAL_CONFIRMED: (*_JUDGED, "unit.removal.", "calibration."),
    Item.TRAIL_CLOSED: ("batch.run.closed", "run.record.closed"),
    Item.ALARMS_ACKNOWLEDGED: ("alarm.",),
    Item.NO_OPEN_DEVIATION: ("deviation.", "batch.exception."),
    Item.STATISTIC_WITHIN: ("ink.lot.", *_JUDGED),
    Item.WEIGHTS_GUARDED: ("unit.print.intended", "part.print.intended", "unit.weight.", *_JUDGED),
    Item.VERDICTS_STAND: _JUDGED,
    Item.TRACES_SEALED: _JUDGED,
    Item.CORRECTIONS_PROVED: ("dose.correction.", "unit.print.intended", "part.print.intended"),
    Item.PEOPLE_ENTITLED: ("order.", "batch.", "run.command.", "unit.removal.", "calibration.removal."),
    Item.EQUIPMENT_STATED: ("run.record.created", "run.gates."),
    Item.REJECTS_WITHIN: (*_JUDGED, "batch.exception."),
    Item.INK_RECONCILED: ("ink.cartridge.", *_JUDGED, "calibration.weight.", "run.action.completed", "batch.exception."),
    Item.MODELS_WITHIN: ("model.", "unit.spectrum.", "batch.exception."),
}


def links_of(item: Item, relevant: Iterable[tuple[str, TrailEntry]]) -> tuple[Link, ...]:
    """Return the entries of a batch that an item rests on, in their order; `relevant` names the trail of each."""
    kinds = _RESTS_ON[item]
    return tuple(Link(trail, entry.seq) for trail, entry in relevant if entry.kind.startswith(kinds))


def links_text(links: Iterable[tuple[str, int]]) -> str:
    """Return entries by trail, runs of numbers drawn together: `cell 4, 7–9; workstation 12`."""
    numbers: dict[str, list[int]] = {}
    for trail, seq in links:
        numbers.setdefault(trail, []).append(seq)
    return "; ".join(f"{trail} {', '.join(_spans(sorted(found)))}" for trail, found in sorted(numbers.items()))


def _spans(numbers: list[int]) -> list[str]:
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return [str(first) if first == last else f"{first}–{last}" for first, last in spans]
