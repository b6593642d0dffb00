"""Steps 6 to 9 of a package check: checkpoints, signatures of people, the record rebuilt, attachments. Step 5 is in `package_entries`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from audit.anchor_check import NOTHING_OUTSIDE, Trusted
from audit.canonical import JsonObject, canonical, sha256_hex
from audit.checkpoint import VerifierKey, parse_checkpoint, verify_note
from audit.errors import DosewrightError, NoteInvalid, VerificationError
from audit.events import EventKind
from audit.release import batch_record
from audit.release.conformity import Disposition, releaser_refusals
from audit.release.evidence import BatchEntries
from audit.release.model_predictions import SUBJECT, differing, misread
from audit.release.package import (
    DOCUMENT,
    KEYS,
    MANIFEST,
    NOTE,
    README,
    RECORD,
    VERIFIER,
    anchor_name,
    attached_files,
    checkpoint_name,
    proof_name,
    trail_name,
)  # fmt: skip
from audit.release.package_anchors import check_anchors
from audit.release.package_entries import Checked, read_trail
from audit.release.package_keys import history_of, present_key
from audit.release.package_selection import check_selection
from audit.release.process_models import read_definition
from audit.release.selection import Scope, signatures_in
from audit.release.trail_view import TrailEntry, TrailView, as_list, as_object, count_of, fold, text_of
from audit.signatures import verify_signature


def check_trails(state: Checked, keys: Sequence[VerifierKey], record: JsonObject, outside: Trusted = NOTHING_OUTSIDE) -> tuple[str, ...]:
    """Carry out steps 5 to 9; return the names of the checkpoints that should be in the package."""
    trails = as_object(record.get("trails"))
    origins = [text_of(as_object(trails.get(side)).get("origin")) or "" for side in ("workstation", "cell")]
    views = [read_trail(state, origin) for origin in origins]
    if len(set(origins)) != 2 or "" in origins:
        state.find(RECORD, "does not name the origins of two trails")
    how = "whole: canonical entries, numbers, links and states" if state.scope is Scope.WHOLE else "selected entries: form, history, proofs"
    state.say(f"5 trails: {how}")
    known = {key.text for key in keys}
    signers = {check_checkpoint(state, origin, view, keys) for origin, view in zip(origins, views, strict=True) if view}
    if known != signers:
        state.find(KEYS, "does not hold exactly the keys by which the two trails are signed")
    state.say("6 checkpoints: signatures, sizes and roots")
    state.views = [view for view in views if view is not None]
    workstation, cell = views
    if workstation is not None and cell is not None:
        _enrolment(state, workstation, cell, text_of(as_object(record.get("cell")).get("name")) or "")
        if state.scope is Scope.SELECTIVE:
            check_selection(state, workstation, cell, text_of(record.get("batch")) or "")
        check_anchors(state, (workstation, cell), outside)
        _people(state, workstation, cell)
        _guarded(state, workstation, cell, record)
    return tuple(checkpoint_name(origin) for origin in origins)


def check_checkpoint(state: Checked, origin: str, view: TrailView, keys: Sequence[VerifierKey]) -> str:
    """Step 6: the checkpoint is signed by the trail's key at that size and states the trail's size and root. Return that key."""
    history = history_of(view)
    for seq, problem in history.problems:
        state.find(f"{trail_name(origin)} line {seq + 1} (entry {seq})", problem)
    name, own = checkpoint_name(origin), str(history.present or "")
    # The key's name is the trail's origin (C2SP), so that the key of one trail can never vouch for another.
    text = state.note(name, [key for key in keys if key.text == own and key.name == origin])
    if text is None:
        return own
    try:
        stated = parse_checkpoint(text)
    except NoteInvalid as error:
        state.find(name, error.message)
        return own
    if stated.origin != origin or stated.extensions:
        state.find(name, f"states the origin {stated.origin}, or more than origin, size and root")
    if stated.size != view.size:
        state.find(name, f"counts {stated.size} entries; {trail_name(origin)} has {view.size}")
    elif base64.b64encode(stated.root).decode() != view.root():
        proof = f", as {proof_name(origin)} proves it" if state.scope is Scope.SELECTIVE else ""
        state.find(name, f"its root is not the root over {trail_name(origin)}{proof}")
    return own


def _enrolment(state: Checked, workstation: TrailView, cell: TrailView, name: str) -> None:
    """Step 6: the workstation knows this cell by the key that signs its trail, and its own key signed the manifest."""
    enrolled, own = workstation.state("cell", name), present_key(cell)
    if not enrolled:
        state.find(trail_name(workstation.origin or ""), f"does not enrol the cell {name!r}")
    elif enrolled.get("origin") != cell.origin or not _known(state, cell, text_of(enrolled.get("verifier_key")) or "", own):
        state.find(trail_name(workstation.origin or ""), f"enrols the cell {name!r} with another key or origin")
    try:
        key = VerifierKey.parse(present_key(workstation))
        verify_note(state.files.get(NOTE, b"").decode("utf-8"), [key])
    except (UnicodeDecodeError, NoteInvalid):
        state.find(NOTE, "is not signed by the workstation's key")


def _known(state: Checked, cell: TrailView, enrolled: str, own: str) -> bool:
    """Say whether the key of a cell is the one that the workstation knows; selected entries may end before it knew of a new one."""
    if enrolled == own or state.scope is Scope.WHOLE:
        return enrolled == own
    try:
        return own in {key.text for key in history_of(cell).vouched([VerifierKey.parse(enrolled)])}
    except NoteInvalid:
        return False


def _people(state: Checked, workstation: TrailView, cell: TrailView) -> None:
    """Step 7: each signature in an entry verifies, by a key enrolled for its signer, in a role that the signer holds."""
    count = 0
    for view in (workstation, cell):
        for entry in view:
            for signature in signatures_in(entry.new):
                count += 1
                place = f"{trail_name(view.origin or '')} line {entry.seq + 1} (entry {entry.seq})"
                before = entry.seq if view is workstation else workstation.size
                problem = _signature_problem(signature, entry, workstation, before)
                if problem:
                    state.find(place, problem)
    state.say(f"7 signatures of people: {count}")


def _signature_problem(signature: JsonObject, entry: TrailEntry, workstation: TrailView, before: int) -> str | None:
    try:
        verify_signature(signature)
    except DosewrightError as error:
        return error.message
    if entry.subject[0] == "recipe":
        return None  # a recipe may come signed from another site; its digest, not its signers, ties it to the batch
    signer = text_of(signature.get("signer")) or ""
    account = [earlier for earlier in workstation.of("person", signer) if earlier.seq < before]
    if signature.get("key") not in [earlier.new.get("verifier_key") for earlier in account]:
        return f"the key of the signature of {signer} is not enrolled for that person"
    roles = as_list(fold(account).get("roles"))
    return (
        None if signature.get("role") in roles else f"{signer} signed in the role {signature.get('role')}, which that person does not hold"
    )


def _guarded(state: Checked, workstation: TrailView, cell: TrailView, record: JsonObject) -> None:
    """Steps 8 and 9, with any shape of entry that defeats the rebuilding turned into a finding."""
    batch = text_of(record.get("batch")) or ""
    try:
        built = batch_record.build(workstation, cell, batch)
        _record(state, built, workstation, batch)
        entries = BatchEntries(workstation, cell, batch)
        _disposition(state, built, workstation, entries)
        _sealed(state, workstation, batch)
        _attached(state, entries)
        check_predictions(state, entries)
    except DosewrightError as error:
        state.find(RECORD, f"cannot be rebuilt from the trails: {error.message}")
    except (ArithmeticError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        state.find(RECORD, f"cannot be rebuilt from the trails, an entry has an unexpected shape ({type(error).__name__}: {error})")


def _record(state: Checked, built: JsonObject, workstation: TrailView, batch: str) -> None:
    """Step 8: record.json is the record that the trails give, statistics included."""
    data = state.files.get(RECORD, b"")
    if canonical(built) != data:
        found = as_object(json.loads(data))
        differing = sorted(name for name in {*built, *found} if built.get(name) != found.get(name)) or ["form"]
        state.find(RECORD, f"is not the record that the trails give; these fields differ: {', '.join(differing)}")
    signed = workstation.last("batch", batch, EventKind.BATCH_DISPOSITION_SIGNED)
    place = f"{trail_name(workstation.origin or '')} entry {signed.seq if signed else '-'}"
    if signed and signed.attachments.get("record.json") != sha256_hex(data):
        state.find(RECORD, f"is not the record.json that {place} names")
    state.say("8 record: rebuilt from the trails" + (", and signed" if signed else "; it is not signed"))


def _disposition(state: Checked, built: JsonObject, workstation: TrailView, entries: BatchEntries) -> None:
    """Step 8: one signature, over this record, by the person of the entry, for a disposition that was open to that person."""
    signed = [e for e in workstation.of("batch", entries.batch_id) if e.kind == EventKind.BATCH_DISPOSITION_SIGNED]
    for extra in signed[1:]:
        state.find(f"{trail_name(workstation.origin or '')} entry {extra.seq}", "signs a batch that was signed before")
    if not signed:
        return
    entry, signature = signed[-1], as_object(signed[-1].new.get("signature"))
    place = f"{trail_name(workstation.origin or '')} entry {entry.seq}"
    sha256 = batch_record.record_sha256(built)
    if not sha256 == entry.new.get("record_sha256") == signature.get("digest"):
        state.find(place, "its signature is not over the record that the trails give")
    if signature.get("signer") != entry.body.get("actor"):
        state.find(place, "its actor is not its signer")
    if entry.new.get("cell_root") != as_object(as_object(built["trails"])["cell"])["root"]:
        cell = text_of(as_object(as_object(built["trails"])["cell"]).get("origin")) or ""
        state.find(place, f"its cell_root is not the root of {trail_name(cell)} at that size: one of the two was changed")
    disposition, signer, role = built["disposition"], text_of(signature.get("signer")) or "", text_of(signature.get("role")) or ""
    if disposition not in as_list(as_object(built["proposal"])["open"]):
        state.find(
            place, f"the disposition {disposition!r} was not open: {'; '.join(map(str, as_list(as_object(built['proposal'])['reasons'])))}"
        )
    if signature.get("meaning") != (meaning := batch_record.disposition_meaning(built)):
        state.find(place, f"its signature does not mean {meaning!r}")
    refused = releaser_refusals(
        Disposition(str(disposition)),
        signer,
        role,
        operators=entries.operators,
        entered_by=entries.entered_by,
        roles=entries.releasing_roles,
    )
    for reason in refused:
        state.find(place, reason)


def _sealed(state: Checked, workstation: TrailView, batch: str) -> None:
    """Step 10, what the trail says of it: a document is sealed once, after its disposition was signed."""
    signed = workstation.last("batch", batch, EventKind.BATCH_DISPOSITION_SIGNED)
    for number, entry in enumerate(e for e in workstation.of("batch", batch) if e.kind == EventKind.BATCH_DOCUMENT_SEALED):
        place = f"{trail_name(workstation.origin or '')} entry {entry.seq}"
        if number or signed is None or signed.seq > entry.seq:
            state.find(place, "seals a document a second time, or before the disposition was signed")
        if entry.attachments.get("record.pdf") != entry.new.get("document_sha256"):
            state.find(place, "attaches another document than it names")
        state.sealed = {**entry.new, "place": place}


def _attached(state: Checked, entries: BatchEntries) -> None:
    """Step 9: what the runs attach is here as the cell's trail names it, all of it and nothing else; the trails are tied together."""
    wanted = attached_files(entries) if entries.runs else {}
    for name, sha256 in sorted(wanted.items()):
        if name not in state.files:
            state.find(name, "is missing, though the cell's trail names it")
        elif state.files.stretches[name].sha256() != sha256:
            state.find(name, "is not the file that the cell's trail names (SHA-256 differs)")
    origins = [entries.workstation.origin or "", entries.cell.origin or ""]
    fixed = {MANIFEST, NOTE, KEYS, RECORD, DOCUMENT, README, VERIFIER, *map(trail_name, origins), *map(checkpoint_name, origins)}
    fixed |= {name for name in state.files if (anchor := anchor_name(name)) and anchor.origin in origins}
    fixed |= set() if state.scope is Scope.WHOLE else set(map(proof_name, origins))
    for name in sorted(set(state.files) - fixed - set(wanted)):
        state.find(name, "is not a file of this format that the trails name")
    run = entries.last_run
    for name, field_name in (("program-planned.gcode", "program_sha256"), ("program.gcode", "program_sent_sha256")):
        if name in wanted and wanted[name] != text_of(run.get(field_name)):
            state.find(name, f"is not the {field_name} of the run")
    _tie(state, entries)
    state.say(f"9 attachments: {len(wanted)} named in the cell's trail; the workstation's entry ties the two trails")


def check_predictions(state: Checked, entries: BatchEntries) -> None:
    """Step 9: each prediction of a process model is made again, from the traces and spectra to the last digit."""
    place, names = trail_name(entries.workstation.origin or ""), {sha256: name for name, sha256 in attached_files(entries).items()}

    def trace(sha256: str) -> bytes:
        name = names.get(sha256, "")
        if name not in state.files:
            raise VerificationError(f"the trace {sha256[:16]}… is not in the package")
        return state.files[name]

    count = 0
    for entry in [e for found in entries.workstation.under(SUBJECT, entries.batch_id).values() for e in found]:
        reference = text_of(entry.new.get("model")) or ""
        model = read_definition(entries.workstation.state("model", reference).get("definition"), reference or "the model of a prediction")
        count += len(as_list(entry.new.get("units")))
        for unit in misread(model, entries, entry, trace):
            state.find(f"{place} entry {entry.seq}", f"the inputs of {unit} are not those of its trace or spectrum")
        for unit in differing(model, entry):
            state.find(f"{place} entry {entry.seq}", f"{reference} gives another result for {unit}")
    if count:
        state.say(f"9 predictions of process models: {count} made again")


def _tie(state: Checked, entries: BatchEntries) -> None:
    for closed in entries.workstation.of("batch", entries.batch_id):
        if closed.kind != EventKind.BATCH_RUN_CLOSED:
            continue
        place, size = f"{trail_name(entries.workstation.origin or '')} entry {closed.seq}", count_of(closed.new.get("cell_size"))
        if closed.new.get("cell_origin") != entries.cell.origin:
            state.find(place, f"closes a run of {closed.new.get('cell_origin')}, not of {entries.cell.origin}")
        elif size is None or not 0 < size <= entries.cell.size or entries.cell.root(size) != closed.new.get("cell_root"):
            state.find(place, f"its size and root are not those of {trail_name(entries.cell.origin or '')}")
