"""Anchors that travel in a package: checkpoints cosigned by witnesses, and RFC 3161 tokens over checkpoints.

A `.note` is a checkpoint of one of the two trails with the trail's own signature and those of witnesses; it is checked against the
root that the entries lead to, and its cosignatures against keys from outside. A `.tsr` is over the bytes of the `.note` beside it, and is
checked where certificates of a time-stamping authority are given. Source: C2SP tlog-cosignature v1.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from audit.anchor_check import Trusted
from audit.checkpoint import parse_checkpoint, split_note, verify_note
from audit.cosignature import CosignerKey, cosignatures
from audit.errors import DosewrightError
from audit.release.package import AnchorName, anchor_name
from audit.release.package_entries import Checked
from audit.release.package_keys import history_of
from audit.release.trail_view import TrailView
from audit.timestamps import verify_token


def check_anchors(state: Checked, views: Sequence[TrailView], outside: Trusted) -> None:
    """Check every file under `anchors/`; where witnesses are given, that each cosigned a checkpoint of each trail; and tokens by the
    certificates given.
    """
    witnesses = outside.witnesses
    by_origin = {view.origin: view for view in views}
    anchors = [anchor for name in state.files if (anchor := anchor_name(name)) and anchor.origin in by_origin]
    seen = {(view.origin, witness.name): 0 for view in views for witness in witnesses}
    for anchor in anchors:
        view = by_origin[anchor.origin]
        if anchor.size > view.size:
            state.find(anchor.name, f"anchors {anchor.size} entries, its trail has {view.size}")
        elif anchor.kind == "note":
            for name in _cosigned(state, anchor, view, witnesses):
                seen[anchor.origin, name] = max(seen[anchor.origin, name], anchor.size)
        elif outside.certificates:
            _stamped(state, anchor, outside)
    for (origin, name), size in seen.items():
        if not size:
            state.find(f"anchors/{origin}", f"holds no checkpoint that the witness {name} cosigned")
    if anchors or witnesses:
        told = "; ".join(f"{name} saw {size} entries of {origin}" for (origin, name), size in seen.items() if size)
        state.say(f"6 anchors: {len(anchors)} files; {told or 'no key of a witness was given'}")


def _stamped(state: Checked, anchor: AnchorName, outside: Trusted) -> None:
    """Check a token over the note beside it."""
    try:
        token = verify_token(state.files[anchor.name], state.files[anchor.name.removesuffix("tsr") + "note"], outside.certificates)
    except KeyError:
        state.find(anchor.name, "stamps a note that is not in the package")
    except DosewrightError as error:
        state.find(anchor.name, f"is not a token of a trusted authority over its note: {error}")
    else:
        state.say(f"6 anchors: {anchor.size} entries of {anchor.origin} were there at {token.at}, says {token.authority}")


def _cosigned(state: Checked, anchor: AnchorName, view: TrailView, witnesses: Sequence[CosignerKey]) -> list[str]:
    """Check one cosigned checkpoint; return the witnesses that signed it."""
    try:
        note = state.files[anchor.name].decode()
        text, _ = split_note(note)
        key = history_of(view).at(anchor.size)
        verify_note(note, [] if key is None else [key])
        stated = parse_checkpoint(text)
        root = base64.b64encode(stated.root).decode()
        if (stated.origin, stated.size) != (anchor.origin, anchor.size) or root != view.root(anchor.size):
            state.find(anchor.name, "is not a checkpoint of this size and root of its trail")
            return []
        return list(dict.fromkeys(found.name for found in cosignatures(note, witnesses)))
    except (UnicodeDecodeError, DosewrightError) as error:
        state.find(anchor.name, f"is not a checkpoint that its trail signed: {error}")
        return []
