"""Step 5 of a selective package: the entries are those that the format names for this batch, all of them and no other."""

from __future__ import annotations

import json

from audit.canonical import JsonObject
from audit.errors import DosewrightError
from audit.release.package import anchored_sizes, proof_name, trail_name
from audit.release.package_entries import Checked
from audit.release.selection import Selected, select
from audit.release.trail_view import TrailView, as_list, as_object


def check_selection(state: Checked, workstation: TrailView, cell: TrailView, batch: str) -> None:
    """Apply the rule of selection to what is here: it must give every entry here, and the counts that the workstation signed."""
    try:
        selected = select(workstation, cell, batch)
    except DosewrightError as error:
        state.find(trail_name(workstation.origin or ""), f"gives no selection of the entries of {batch}: {error.message}")
        return
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


def _counts(state: Checked, name: str, proof: JsonObject, wanted: Selected) -> None:
    stated = as_object(proof.get("objects"))
    for object_ in sorted({*stated, *wanted.objects}):
        here, there = wanted.objects.get(object_, 0), stated.get(object_, 0)
        if here != there or type(there) is not int:
            state.find(name, f"counts {there} entries of {object_}, the package holds {here}: its history is not whole")
