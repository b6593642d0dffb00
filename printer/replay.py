"""Replay: the sealed inputs of a run through a fresh machine give the same decisions, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from audit.canonical import canonical, sha256_hex
from audit.events import EntryDraft
from printer.journal import read_journal
from printer.messages import Record
from printer.plan import RunPlan
from printer.run import RunMachine


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replay decided: every entry it asked for, and the digest over all of them."""

    entries: tuple[EntryDraft, ...]
    sha256: str


def replay(plan: RunPlan, segments: Iterable[bytes]) -> Replayed:
    """Feed the journal segments of a run, in order, to a fresh machine of the same plan."""
    machine = RunMachine(plan)
    entries: list[EntryDraft] = []
    for segment in segments:
        for now, event in read_journal(segment):
            for effect in machine.handle(event, now):
                if isinstance(effect, Record):
                    entries += effect.drafts
    return Replayed(tuple(entries), decisions_digest(entries))


def decisions_digest(entries: Iterable[EntryDraft]) -> str:
    """Return one digest over the decisions of a run: kind, subject, content and attachments of every entry."""
    rows = [
        {
            "kind": str(entry.kind),
            "subject": str(entry.subject),
            "new": dict(entry.new),
            "actor": entry.actor.username,
            "reason": entry.reason,
            "attachments": {name: sha256_hex(data) for name, data in entry.attachments.items()},
        }
        for entry in entries
    ]
    return sha256_hex(canonical(rows))
