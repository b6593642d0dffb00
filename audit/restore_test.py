"""The restore test: a backup is restored where nobody works, compared with the live store, and the outcome is an entry with a due date.

What is shown: the backup opens and verifies, with every projection made again and compared; the live trail extends it (a proof of
consistency from the backup's root to the root of the live store's signed checkpoint); and a record taken from it has the digest that was
signed. Clauses: Annex 11 (2011) 7.2 (integrity and accuracy of backup data and the ability to restore, checked and monitored).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from audit.backup import Manifest, unpack, working_folder
from audit.canonical import JsonObject, sha256_hex
from audit.checkpoint import VerifierKey, parse_checkpoint, verify_note
from audit.errors import DosewrightError, VerificationError
from audit.events import Actor, Entry, EntryDraft, EventKind, Subject
from audit.key_rotation import stored_history
from audit.multiproof import prove, roots
from audit.reader import TrailReader
from audit.release.batch_record import record_sha256
from audit.sealed_stream import Secret
from audit.store import TrailStore

INTERVAL_DAYS = 92
"""Three months. A site may test more often, never less."""
_PAGE = 512
_EVIDENCE = "Stop using the store, and keep it and the backup as evidence."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a restore test found. `problem` is empty where it passed; `body` is what the entry holds."""

    origin: str
    problem: str
    body: JsonObject


def try_restore(backup: Path, live: Path, *, secret: Secret | None, today: date, trusted: Sequence[VerifierKey] = ()) -> Outcome:
    """Restore a backup beside the live store, compare, and remove it. What is wrong with the backup is the outcome, not an exception.

    The backup is signed by a key of the live trail, its present one or one from before a replacement; given `trusted`, by one of these or
    one that they establish.

    Raises RecordError where there is no room to restore, or the live store cannot be read.
    """
    said: JsonObject = {"backup": backup.name, "on": today.isoformat(), "passed": False}
    with TrailReader(live) as reader, working_folder(live.parent) as folder:
        key = VerifierKey.parse(reader.verifier_key)
        try:
            keys = [*trusted, *stored_history(reader).believed(trusted or [key])]
            manifest = unpack(backup, folder / "restored.db", secret, keys)
            said |= {"backup_sha256": manifest.sha256, "backup_size": manifest.size, "backup_created": manifest.created}
            with TrailReader(folder / "restored.db") as restored:
                said |= _extended(reader, key, manifest) | _opened(restored, reader)
            said["passed"], problem = True, ""
        except DosewrightError as error:
            problem = error.message
        return Outcome(reader.origin, problem, said | {"problem": problem})


def _extended(live: TrailReader, key: VerifierKey, manifest: Manifest) -> JsonObject:
    """Prove that the live trail, as its last checkpoint signs it, begins with the trail of the backup."""
    head = parse_checkpoint(verify_note(live.last_checkpoint() or "", [key])[0])
    if manifest.origin != live.origin:
        raise VerificationError(f"The backup is of {manifest.origin}, the live store of {live.origin}.", remedy="Give one of this store.")
    size = max(manifest.size, head.size)
    if size > live.size:
        raise VerificationError(
            f"The backup has {manifest.size} entries, the live store only {live.size}: it was set back.", remedy=_EVIDENCE
        )
    sizes = sorted({manifest.size, head.size})
    found = roots(size, {}, sizes, prove(live.lines(0, size), size, [], sizes))
    if found[head.size] != head.root:
        raise VerificationError("The live store is not the one that its last checkpoint signs.", remedy=_EVIDENCE)
    if found[manifest.size] != manifest.root:
        raise VerificationError(
            f"The live trail does not extend the backup: its first {manifest.size} entries have another root.", remedy=_EVIDENCE
        )
    return {"live_size": head.size, "consistent": True}


def _opened(restored: TrailReader, live: TrailReader) -> JsonObject:
    """Open one record: the last one signed, or the last attachment; its digest is the one that the live trail states."""
    signed = restored.search(kind=EventKind.BATCH_DISPOSITION_SIGNED.value, limit=1, newest_first=True)
    entry = signed[0] if signed else _last_attached(restored)
    if entry is None:
        return {"record": "none yet"}
    if next(live.entries(entry.seq, entry.seq + 1)) != entry:
        raise VerificationError(f"Entry {entry.seq} of the backup is not that of the live store.", remedy=_EVIDENCE)
    item = entry.attachments[0]
    data = restored.blob(item["sha256"])
    if sha256_hex(data) != item["sha256"]:
        raise VerificationError(f"The attachment {item['name']} of entry {entry.seq} has another digest.", remedy="Take another backup.")
    if signed and record_sha256(json.loads(data)) != entry.new.get("record_sha256"):
        raise VerificationError(f"The record of {entry.subject} is not the one that was signed.", remedy=_EVIDENCE)
    return {"record": f"{entry.subject}, {item['name']}", "record_sha256": item["sha256"]}


def _last_attached(reader: TrailReader) -> Entry | None:
    for start in range(max(reader.size - 1, 0) // _PAGE * _PAGE, -1, -_PAGE):
        found = [entry for entry in reader.entries(start, min(start + _PAGE, reader.size)) if entry.attachments]
        if found:
            return found[-1]
    return None


def record_outcome(store: TrailStore, outcome: Outcome, actor: Actor, device: str) -> Entry:
    """Make the outcome an entry of the live store. Only a test that passed moves the due date. Raises VerificationError, RecordError."""
    if outcome.origin != store.origin:
        raise VerificationError(f"The restore test was of {outcome.origin}, this is {store.origin}.", remedy="Record it in its own store.")
    new: JsonObject = {"restore_test": outcome.body}
    if outcome.body.get("passed") is True:
        new["restore_due"] = (date.fromisoformat(str(outcome.body["on"])) + timedelta(days=INTERVAL_DAYS)).isoformat()
    return store.append(EntryDraft(EventKind.STORE_RESTORE_TESTED, Subject("store", store.origin), new, actor, device))[0]


@dataclass(frozen=True, slots=True)
class Due:
    """When the next restore test is due, and a sentence on it."""

    due: date | None
    overdue: bool
    text: str


def restore_due(reader: TrailReader, today: date) -> Due:
    """Say whether the restore test of a store is overdue; one that was never tested is."""
    due = (reader.state("store", reader.origin) or {}).get("restore_due")
    if not isinstance(due, str):
        return Due(None, True, f"{reader.origin}: no backup was ever restored to test it")
    day = date.fromisoformat(due)
    late = (today - day).days
    return Due(day, late > 0, f"{reader.origin}: restore test {f'overdue since {due}, {late} days' if late > 0 else f'due on {due}'}")
