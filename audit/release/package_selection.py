"""Step 5 of a selective package: the entries are those that the format names for this batch, all of them and no other."""

from __future__ import annotations

import json

from audit.canonical import JsonObject
from audit.errors import DosewrightError
from audit.events import EventKind
from audit.release.package import anchored_sizes, proof_name, trail_name
from audit.release.package_entries import Checked
from audit.release.selection import Selected, daily_checks, runs_of, select
from audit.release.trail_view import TrailView, as_list, as_object, text_of

_GATE, _PASSED = "daily balance check", "passed on "


def check_selection(state: Checked, workstation: TrailView, cell: TrailView, batch: str) -> None:
    """Apply the rule of selection to what is here: it must give every entry here, and the counts that the workstation signed."""
    try:
        selected = select(workstation, cell, batch)
    except DosewrightError as error:
        state.find(trail_name(workstation.origin or ""), f"gives no selection of the entries of {batch}: {error.message}")
        return
    for run in runs_of(cell, batch):
        _daily_checks(state, cell, run)
    for view, wanted in zip((workstation, cell), selected, strict=True):
        origin = view.origin or ""
        place = trail_name(origin)
        for seq in sorted({entry.seq for entry in view} - set(wanted.seqs)):
            state.find(f"{place} (entry {seq})", f"is not an entry that the record of {batch} rests on")
        proof = as_object(json.loads(state.files.get(proof_name(origin), b"{}")))
        _counts(state, proof_name(origin), proof, wanted)
        sizes = sorted({*wanted.sizes, *anchored_sizes(state.files, origin)})
        if as_list(proof.get("sizes")) != sizes:
            state.find(proof_name(origin), f"is for other sizes than {', '.join(map(str, sizes))}")


def _daily_checks(state: Checked, cell: TrailView, run: str) -> None:
    """A check of a balance is in no history that the package follows; that there was one, the gates of the run say."""
    gates = cell.last("run", run, EventKind.RUN_GATES_PASSED)
    said = [as_object(gate) for gate in as_list(gates.new.get("gates"))] if gates is not None else []
    passed = next((str(gate.get("evidence")) for gate in said if gate.get("gate") == _GATE and gate.get("met") is True), "")
    for serial, check in daily_checks(cell, run).items():
        if not (passed.startswith(_PASSED) and passed.endswith(f" {serial}")):
            continue
        day = None if check is None or check.new.get("passed") is not True else text_of(check.new.get("day"))
        if day is None or not passed.startswith(f"{_PASSED}{day} "):
            state.find(trail_name(cell.origin or ""), f"lacks the daily check of balance {serial} that the gates of {run} name")


def _counts(state: Checked, name: str, proof: JsonObject, wanted: Selected) -> None:
    stated = as_object(proof.get("objects"))
    for object_ in sorted({*stated, *wanted.objects}):
        here, there = wanted.objects.get(object_, 0), stated.get(object_, 0)
        if here != there or type(there) is not int:
            state.find(name, f"counts {there} entries of {object_}, the package holds {here}: its history is not whole")
