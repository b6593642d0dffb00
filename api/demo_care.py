"""What is done to a cell before the first print of a day: it is cleaned, and its balance is checked, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import JsonValue
from rich.console import Console

from api.bench_hand import BenchHand
from api.demo_desk import Desk
from api.demo_register import CLEANING_METHOD
from api.errors import ProcessFailed

_POLL_S = 0.02
_PATIENCE_S = 120.0

Check = dict[str, JsonValue]


def care_for_cell(desk: Desk, cell: str, hand: BenchHand | None, console: Console) -> None:
    """Have a demonstration's operator record the cleaning and do the daily check, the bench's hand moving the weight."""
    done = desk.post(f"/cells/{cell}/cleaning", {"method": CLEANING_METHOD})
    console.print("Before the first print of the day", style="bold")
    console.print(f"  {cell} cleaned ({done['method']})", markup=False)
    if hand is None:
        return

    def scripted(check: Check) -> None:
        hand.follow(check)

    check = carry_out(desk, cell, scripted)
    readings = check.get("readings")
    weight = check.get("weight")
    name = weight.get("id") if isinstance(weight, dict) else ""
    verdict = "passed" if check.get("passed") is True else "NOT passed"
    console.print(f"  daily check of the balance with {name}: {len(readings) if isinstance(readings, list) else 0} weighings, {verdict}")
    reasons = check.get("reasons")
    for reason in reasons if isinstance(reasons, list) else []:
        console.print(f"    {reason}", markup=False, style="red")


def carry_out(desk: Desk, cell: str, do: Callable[[Check], None], seen: Callable[[Check], None] = lambda check: None) -> Check:
    """Begin a check and go on with it to its end; `do` carries an instruction out before it is confirmed.

    `seen` is told every state that is new. Raises Refused, ProcessFailed where the balance keeps silent.
    """
    check = desk.post(f"/cells/{cell}/check")
    before = ""
    limit = time.monotonic() + _PATIENCE_S
    while check.get("under_way") is True or not before:
        state = str((check.get("step"), check.get("instruction"), check.get("failures")))
        if state != before:
            before, limit = state, time.monotonic() + _PATIENCE_S
            seen(check)
            if check.get("instruction"):
                do(check)
                limit = time.monotonic() + _PATIENCE_S
                check = desk.post(f"/cells/{cell}/check/confirm", {"step": str(check["step"])})
                continue
        if time.monotonic() > limit:
            raise ProcessFailed("The check does not go on: the balance keeps silent.", remedy="Abandon it and look at the balance.")
        time.sleep(_POLL_S)
        check = _current(desk, cell)
    return check


def _current(desk: Desk, cell: str) -> Check:
    check = desk.get(f"/cells/{cell}/readiness").get("check")
    return check if isinstance(check, dict) else {}
