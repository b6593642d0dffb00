"""Replay: the sealed inputs of a run through a fresh machine give the same decisions, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.events import Actor, Entry, EntryDraft, Subject
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
    """Return one digest over the decisions of a run: kind, subject, content, actor, reason and attachments of every entry."""
    return _digest(
        _row(entry.kind, entry.subject, entry.new, entry.actor, entry.reason, {n: sha256_hex(d) for n, d in entry.attachments.items()})
        for entry in entries
    )


def recorded_digest(entries: Iterable[Entry], run: str) -> str:
    """Return the same digest over the entries of a run as they stand in the cell's trail."""
    return _digest(
        _row(entry.kind, entry.subject, entry.new, entry.actor, entry.reason, {item["name"]: item["sha256"] for item in entry.attachments})
        for entry in entries
        if entry.subject.id == run or entry.subject.id.startswith(f"{run}/")
    )


def _row(
    kind: str, subject: Subject, new: Mapping[str, JsonValue], actor: Actor, reason: str | None, attachments: Mapping[str, str]
) -> JsonObject:
    return {
        "kind": str(kind),
        "subject": str(subject),
        "new": dict(new),
        "actor": actor.username,
        "reason": reason,
        "attachments": dict(attachments),
    }


def _digest(rows: Iterable[JsonObject]) -> str:
    return sha256_hex(canonical(list(rows)))
