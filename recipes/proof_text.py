"""The proof as a page that a person can read: each limit with what was found and how far from it, then each unit.

Plain text, the same for equal proofs; it says nothing that `Proof.as_record` does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from audit.quantities import EXACT, plain_text
from recipes.proof import Margin, Proof, UnitProof, shown

_UNIT_HEADS = (
    "unit",
    "target uL",
    "net uL",
    "off %",
    "off in steps %",
    "height mm",
    "layers",
    "layer mm",
    "bead mm",
    "flow uL/s",
    "s",
    "lines",
)


def proof_text(proof: Proof) -> str:
    """Return the proof as text: outcome, limits with margins, units. Margins are percent of the range, to its nearer end."""
    outcome = "The proof holds." if not proof.refusals else "The proof does not hold; the program must not be printed:"
    lines = [f"Proof of program {proof.sha256}", outcome, *(f"  {reason}" for reason in proof.refusals)]
    primed = ", ".join(f"{shown(volume.value, 1)} uL" for volume in proof.primed)
    minutes = shown(EXACT.divide(Decimal(proof.duration_us), Decimal(60_000_000)), 1)
    lines.append(f"{proof.lines} lines, {len(proof.units)} units, primed {primed}, about {minutes} min of motion without accelerations")
    lines += ["", *_table(("quantity", "found", "limit", "unit", "margin %"), [_limit(margin) for margin in proof.margins])]
    rows = [_unit(unit, f"purge {unit.n}") for unit in proof.purges] + [_unit(unit, _name(unit)) for unit in proof.units]
    lines += ["", *_table(_UNIT_HEADS, rows)]
    return "\n".join(lines) + "\n"


def _limit(margin: Margin) -> tuple[str, ...]:
    found = _range((margin.found_low, margin.found_high), 3)
    return margin.name, found, f"{plain_text(margin.low)} to {plain_text(margin.high)}", margin.unit, shown(margin.percent, 1)


def _name(unit: UnitProof) -> str:
    return f"{unit.n} part {unit.part}" if unit.part else str(unit.n)


def _unit(unit: UnitProof, name: str) -> tuple[str, ...]:
    return (
        name,
        shown(unit.target.value, 3),
        shown(unit.net.value, 3),
        shown(unit.closure, 4),
        shown(unit.step_closure, 4),
        shown(unit.height, 3),
        str(unit.layers),
        _range(unit.layer_height, 3),
        _range(unit.bead_width, 3),
        _range(unit.flow, 2),
        shown(Decimal(unit.duration_us).scaleb(-6), 0),
        str(unit.lines),
    )


def _range(pair: tuple[Decimal, Decimal] | None, places: int) -> str:
    if pair is None:
        return "-"
    low, high = (shown(end, places) for end in pair)
    return low if low == high else f"{low} to {high}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    return [_row(row, widths) for row in (heads, *rows)]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    return "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))])
