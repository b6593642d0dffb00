"""Which keys sign the trails in a package: those that the trails name, from the first entry and the rotations after it."""

from __future__ import annotations

from collections.abc import Iterable

from audit.canonical import JsonObject
from audit.checkpoint import VerifierKey
from audit.events import EventKind
from audit.key_rotation import KeyHistory, Rotation, key_history
from audit.release.trail_view import TrailView, fold, text_of

_ROTATED = EventKind.TRAIL_KEY_ROTATED


def history_of(view: TrailView) -> KeyHistory:
    """Return the keys of a trail, with what is wrong with its rotations."""
    origin = view.origin or ""
    about = view.of("store", origin)
    rotations = [Rotation(entry.seq, text_of(entry.body.get("prev")) or "", entry.new) for entry in about if entry.kind == _ROTATED]
    first: JsonObject = view[0].new
    return key_history(origin, first.get("verifier_key"), rotations, fold(about).get("verifier_key"))


def present_key(view: TrailView) -> str:
    """Return the verifier key that signs a trail's checkpoint as it stands; empty where its first entry states none."""
    return str(history_of(view).present or "")


def vouched(views: Iterable[TrailView | None], trusted: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Return the trusted keys with those of the trails that follow them without a gap."""
    known = list(trusted)
    return list(dict.fromkeys([*known, *(key for view in views if view is not None for key in history_of(view).vouched(known))]))
