"""From a released batch to packs: which units are in which, their labels, and what becomes of them.

What is released is read from the signed record as it was signed; what stands on a label, from that and the signed recipe. Nothing is
printed, labelled or handed out that a recall holds.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.access import actor_of
from api.allowed import Acts, Against, against, allowed_actions, refuse
from api.errors import NotFound, WrongState
from api.label_source import LabelSource
from api.people import DEVICE
from api.recall_holds import RecallHolds
from api.security import Permission, Session
from audit.canonical import JsonObject, JsonValue
from audit.errors import LabelRefused, PackRefused
from audit.events import EntryDraft, EventKind, Subject
from audit.release.gs1 import is_code, read_code
from audit.release.label import Label, ReleasedUnit, for_patients, released_units
from audit.release.packs import Act, Copy, LabelCount, Pack, after, closing_reasons, count_labels
from audit.release.trail_view import as_list, count_of, text_of
from audit.store import TrailStore

Recipient = Literal["patient", "carer", "ward", "courier"]


class Scan(BaseModel):
    """What a scanner typed. A keyboard-wedge scanner sends the separator as it is set up to: see `audit.release.gs1.is_code`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    scanned: str = Field(min_length=1, max_length=300)


class Dispensing(Scan):
    """A pack handed out: its code as it was scanned at that moment, and to whom; no name."""

    to: Recipient


class PackDesk:
    """Packs and their labels, but for printing, which `api.label_desk` does.

    Lifetime: that of the workstation. Concurrency: one lock for every change of a pack or a label; a recall takes it too.
    """

    def __init__(self, store: TrailStore, source: LabelSource, holds: RecallHolds, *, demonstration: bool) -> None:
        self._store = store
        self._source = source
        self._holds = holds
        self._demonstration = demonstration
        self.lock = threading.RLock()

    # What stands against each act

    def allowed_of_batch(self, session: Session, batch_id: str) -> Acts:
        return {"packs": self._against_packing(session, batch_id), "packing/close": self._against_closing(session, batch_id)}

    def allowed(self, session: Session, pack: str) -> Acts:
        """Return what stands against each act on a pack but for printing, which `api.label_desk` judges. Raises NotFound."""
        state = self.state(pack)
        return {
            "scan": self._against_scanning(session, pack, state),
            "dispense": self._against_dispensing(session, pack, state),
            "return": _against_moving(session, Permission.DISPENSE, pack, state, Act.RETURN),
            "destroy": _against_moving(session, Permission.DESTROY_PACK, pack, state, Act.DESTROY),
            "not-recovered": _against_moving(session, Permission.RECALL, pack, state, Act.GIVE_UP),
        }

    def labels_for(self, session: Session, pack: str) -> list[JsonObject]:
        """Return the printed labels of a pack, each with whether this person may account for it."""
        return [
            {"label": name, **state, "allowed_actions": allowed_actions({"account": _against_accounting(session, name, state)})}
            for name, state in self._copies_of(pack).items()
        ]

    def _against_packing(self, session: Session, batch_id: str) -> Against:
        return against(
            lambda: session.role_for(Permission.PACK),
            lambda: self._holds.refuse_batch(batch_id, "Packing"),
            lambda: self._something_to_pack(batch_id),
        )

    def _something_to_pack(self, batch_id: str) -> None:
        if not self._unpacked(self._released(batch_id), self.packs(batch_id)):
            raise WrongState(f"Batch {batch_id} has no released unit that is in no pack.", remedy="Look at its packs.")

    def _against_scanning(self, session: Session, pack: str, state: JsonObject) -> Against:
        return against(
            lambda: session.role_for(Permission.PACK),
            lambda: self._holds.refuse_batch(_batch(state), "Labelling"),
            lambda: after(pack, _state(state), Act.LABEL),
            lambda: self._in_hand(pack),
        )

    def _in_hand(self, pack: str) -> list[tuple[int, str]]:
        """Return the printed labels of a pack that are on none, by copy. Raises PackRefused where there are none."""
        copies = self._copies_of(pack)
        issued = sorted((count_of(copy.get("copy")) or 0, name) for name, copy in copies.items() if copy.get("outcome") == Copy.ISSUED)
        if not issued:
            raise PackRefused(f"No label of pack {pack} is printed and in hand.", remedy="Print its label first.")
        return issued

    def _against_closing(self, session: Session, batch_id: str) -> Against:
        return against(
            lambda: session.role_for(Permission.PACK),
            lambda: self._holds.refuse_batch(batch_id, "Closing of packing"),
            lambda: self._closable(batch_id, "Packing cannot be closed"),
        )

    def _against_dispensing(self, session: Session, pack: str, state: JsonObject) -> Against:
        batch_id = _batch(state)
        return against(
            lambda: session.role_for(Permission.DISPENSE),
            lambda: self._holds.refuse_batch(batch_id, "Dispensing"),
            lambda: after(pack, _state(state), Act.DISPENSE),
            lambda: self._may_be_used(pack, state),
            lambda: self._packing_closed(batch_id),
            lambda: self._closable(batch_id, "Nothing is dispensed now"),
        )

    def _may_be_used(self, pack: str, state: JsonObject) -> None:
        record = self._source.record(_batch(state))
        if not for_patients(record) and not (self._demonstration and record.get("purpose") is None):
            raise PackRefused(f"Pack {pack} is not for clinical use.", remedy="Destroy it, or keep it as the protocol says.")
        if self._source.today() > (text_of(state.get("use_by")) or ""):
            raise PackRefused(f"Pack {pack} was to be used by {state.get('use_by')}.", remedy="Destroy it; print a new batch.")

    def _packing_closed(self, batch_id: str) -> None:
        if (self._store.state("batch", batch_id) or {}).get("packing") != "closed":
            raise WrongState(f"Packing of batch {batch_id} is not closed.", remedy="Account for its labels and close it.")

    def overview(self, batch_id: str) -> JsonObject:
        """Return packs, their labels, the units that are in none, the count of labels, and what closing still waits for."""
        units = self._released(batch_id)
        packs, copies = self.packs(batch_id), self.copies(batch_id)
        unpacked, labels = self._unpacked(units, packs), self._labels(copies)
        shown: list[JsonValue] = []
        for name, state in packs.items():
            mine: list[JsonValue] = [copy for copy in copies.values() if copy.get("pack") == name]
            shown.append({"pack": name, **state, "labels": mine})
        return {
            "batch": batch_id,
            "packs": shown,
            "unpacked": [unit.n for unit in unpacked],
            "labels": labels.as_record(),
            "closed": (self._store.state("batch", batch_id) or {}).get("packing") == "closed",
            "waits_for": list(closing_reasons(_states(packs), [unit.n for unit in unpacked], labels)),
            "held": self._holds.of_batch(batch_id),
        }

    def pack(self, session: Session, batch_id: str, numbers: Sequence[int]) -> JsonObject:
        """Put released units of one strength into a new pack; without numbers, one pack for each strength that is in none.

        Raises WrongState (recalled, not released, packed already), LabelRefused where no label could be made for it.
        """
        actor = actor_of(session, Permission.PACK)
        with self.lock:
            refuse(self._against_packing(session, batch_id))
            packs = self.packs(batch_id)
            groups = self._groups(self._unpacked(self._released(batch_id), packs), numbers)
            drafts = []
            for place, units in enumerate(groups, len(packs) + 1):
                name = f"{batch_id}-P{place:02d}"
                label = self._source.compose(batch_id, name, units)  # a pack that can have no label is not begun
                new: JsonObject = {
                    "batch": batch_id,
                    "state": Pack.PACKED.value,
                    "units": [unit.n for unit in units],
                    "unit_ids": [unit.unit for unit in units],
                    "strengths": list(label.strengths),
                    "patient": label.patient,
                    "use_by": label.use_by,
                    "code": label.code.printed,
                }
                drafts.append(EntryDraft(EventKind.PACK_RECORD_CREATED, Subject("pack", name), new, actor, DEVICE))
            self._store.append(*drafts)
        return {"batch": batch_id, "packs": [draft.subject.id for draft in drafts]}

    def scan_label(self, session: Session, pack: str, scan: Scan) -> JsonObject:
        """Confirm that the label on a pack is the pack's own. Raises PackRefused; a wrong code is put on record."""
        actor = actor_of(session, Permission.PACK)
        with self.lock:
            state = self.state(pack)
            refuse(self._against_scanning(session, pack, state))
            to, issued = after(pack, _state(state), Act.LABEL), self._in_hand(pack)
            self._matched(session, pack, state, scan, "label")
            self._store.append(
                EntryDraft(EventKind.PACK_LABEL_APPLIED, Subject("pack", pack), {"state": to.value, "label": issued[-1][1]}, actor, DEVICE),
                EntryDraft(EventKind.LABEL_COPY_APPLIED, Subject("label", issued[-1][1]), {"outcome": Copy.APPLIED.value}, actor, DEVICE),
            )
        return {"pack": pack, "state": to.value}

    def account(self, session: Session, pack: str, copy: int, outcome: Literal["spoiled", "returned"], reason: str) -> JsonObject:
        """Account for a printed label that is on no pack: spoiled and destroyed, or returned. Raises NotFound, WrongState."""
        actor = actor_of(session, Permission.PACK)
        with self.lock:
            name = f"{pack}/{copy}"
            found = self._store.state("label", name)
            if found is None:
                raise NotFound(f"No label {name} was printed.", remedy="Look at the labels of the pack.")
            refuse(_against_accounting(session, name, found))
            new: JsonObject = {"outcome": outcome}
            self._store.append(EntryDraft(EventKind.LABEL_COPY_ACCOUNTED, Subject("label", name), new, actor, DEVICE, reason=reason))
        return {"label": name, "outcome": outcome}

    def close_packing(self, session: Session, batch_id: str) -> JsonObject:
        """Close packing when every released unit is in a labelled pack and every label is accounted for. Raises WrongState."""
        actor = actor_of(session, Permission.PACK)
        with self.lock:
            refuse(self._against_closing(session, batch_id))
            labels = self._closable(batch_id, "Packing cannot be closed")
            new: JsonObject = {"packing": "closed", "labels": labels.as_record()}
            self._store.append(EntryDraft(EventKind.BATCH_PACKING_CLOSED, Subject("batch", batch_id), new, actor, DEVICE))
        return {"batch": batch_id, **new}

    def dispense(self, session: Session, pack: str, given: Dispensing) -> JsonObject:
        """Hand out a pack, scanned at that moment. Raises PackRefused, WrongState; a wrong code is put on record."""
        actor = actor_of(session, Permission.DISPENSE)
        with self.lock:
            state = self.state(pack)
            refuse(self._against_dispensing(session, pack, state))
            to = after(pack, _state(state), Act.DISPENSE)
            self._matched(session, pack, state, given, "dispense")
            new: JsonObject = {"state": to.value, "dispensed_to": given.to, "dispensed_by": actor.username}
            self._store.append(EntryDraft(EventKind.PACK_CUSTODY_DISPENSED, Subject("pack", pack), new, actor, DEVICE))
        return {"pack": pack, **new}

    def take_back(self, session: Session, pack: str, reason: str) -> JsonObject:
        """Take a dispensed or recalled pack back; it is never dispensed again. Raises PackRefused."""
        return self._move(session, Permission.DISPENSE, pack, Act.RETURN, EventKind.PACK_CUSTODY_RETURNED, reason)

    def destroy(self, session: Session, pack: str, reason: str) -> JsonObject:
        """Record that a pack was destroyed. Raises PackRefused."""
        return self._move(session, Permission.DESTROY_PACK, pack, Act.DESTROY, EventKind.PACK_CUSTODY_DESTROYED, reason)

    def give_up(self, session: Session, pack: str, reason: str) -> JsonObject:
        """Record that a recalled pack was used up or cannot be found. Raises PackRefused."""
        return self._move(session, Permission.RECALL, pack, Act.GIVE_UP, EventKind.PACK_CUSTODY_LOST, reason)

    def packs(self, batch_id: str) -> dict[str, JsonObject]:
        return {name: state for name, state in self._store.objects("pack") if state.get("batch") == batch_id}

    def copies(self, batch_id: str) -> dict[str, JsonObject]:
        return {name: state for name, state in self._store.objects("label") if state.get("batch") == batch_id}

    def state(self, pack: str) -> JsonObject:
        """Return a pack as it is. Raises NotFound."""
        found = self._store.state("pack", pack)
        if found is None:
            raise NotFound(f"There is no pack {pack!r}.", remedy="Look at the packs of the batch.")
        return found

    def label(self, pack: str) -> Label:
        """Return what stands on the label of a pack. Raises NotFound, LabelRefused."""
        state = self.state(pack)
        numbers = {count_of(number) for number in as_list(state.get("units"))}
        batch_id = _batch(state)
        units = [unit for unit in released_units(self._source.record(batch_id)) if unit.n in numbers]
        return self._source.compose(batch_id, pack, units)

    def _move(self, session: Session, permission: Permission, pack: str, act: Act, kind: EventKind, reason: str) -> JsonObject:
        actor = actor_of(session, permission)
        with self.lock:
            refuse(_against_moving(session, permission, pack, self.state(pack), act))
            new: JsonObject = {"state": after(pack, _state(self.state(pack)), act).value}
            self._store.append(EntryDraft(kind, Subject("pack", pack), new, actor, DEVICE, reason=reason))
        return {"pack": pack, **new}

    def _matched(self, session: Session, pack: str, state: JsonObject, scan: Scan, step: str) -> None:
        """Go on where the pack's own code was scanned; otherwise put the scan on record and refuse."""
        if is_code(scan.scanned, self.label(pack).code):
            return
        actor = actor_of(session, Permission.PACK if step == "label" else Permission.DISPENSE)
        read = self._read(scan.scanned)
        new: JsonObject = {"refused_scan": read, "refused_at": step}
        self._store.append(EntryDraft(EventKind.PACK_SCAN_REFUSED, Subject("pack", pack), new, actor, DEVICE))
        raise PackRefused(
            f"What was scanned is not the code of pack {pack}: {read}.", remedy="Put both packs aside and compare them with their labels."
        )

    def _read(self, scanned: str) -> str:
        """Say what was scanned, as far as it is a pack of ours: anything else may be somebody's wristband and is not kept."""
        try:
            fields = read_code(scanned)
        except LabelRefused:
            return "not a code of a pack"
        serial = fields.get("21", "")
        return f"pack {serial}" if self._store.state("pack", serial) is not None else "the code of a pack that is not known here"

    def _closable(self, batch_id: str, what: str) -> LabelCount:
        packs = self.packs(batch_id)
        unpacked = self._unpacked(self._released(batch_id), packs)
        labels = self._labels(self.copies(batch_id))
        if reasons := closing_reasons(_states(packs), [unit.n for unit in unpacked], labels):
            refused = WrongState(f"{what}: {'; '.join(reasons)}.", remedy="Pack, label and account for what is named.")
            refused.reasons = tuple(reasons)
            raise refused
        return labels

    def _released(self, batch_id: str) -> list[ReleasedUnit]:
        """Return the units that may be packed: released, and found by no recall."""
        recalled = self._holds.units_of(batch_id)
        return [] if recalled is None else [unit for unit in released_units(self._source.record(batch_id)) if unit.unit not in recalled]

    def _copies_of(self, pack: str) -> dict[str, JsonObject]:
        return {name: state for name, state in self._store.objects("label") if state.get("pack") == pack}

    @staticmethod
    def _labels(copies: dict[str, JsonObject]) -> LabelCount:
        return count_labels(text_of(state.get("outcome")) or "" for state in copies.values())

    @staticmethod
    def _unpacked(units: Sequence[ReleasedUnit], packs: dict[str, JsonObject]) -> list[ReleasedUnit]:
        packed = {text_of(name) for state in packs.values() for name in as_list(state.get("unit_ids"))}
        return [unit for unit in units if unit.unit not in packed]

    @staticmethod
    def _groups(free: Sequence[ReleasedUnit], numbers: Sequence[int]) -> list[list[ReleasedUnit]]:
        """Return the units of each new pack: those named, or all that are in no pack, strengths kept apart."""
        if not numbers:
            found: dict[tuple[str, ...], list[ReleasedUnit]] = {}
            for unit in free:
                found.setdefault(unit.strengths, []).append(unit)
            return list(found.values())
        by_number = {unit.n: unit for unit in free}
        if missing := sorted(set(numbers) - set(by_number)):
            raise WrongState(
                f"Units {', '.join(map(str, missing))} are not released, or are in a pack already.", remedy="Choose among the others."
            )
        return [[by_number[number] for number in sorted(set(numbers))]]


def _batch(state: JsonObject) -> str:
    return text_of(state.get("batch")) or ""


def _state(state: JsonObject) -> Pack:
    return Pack(text_of(state.get("state")) or "")


def _states(packs: dict[str, JsonObject]) -> dict[str, str]:
    return {name: text_of(state.get("state")) or "" for name, state in packs.items()}


def _against_moving(session: Session, permission: Permission, pack: str, state: JsonObject, act: Act) -> Against:
    return against(lambda: session.role_for(permission), lambda: after(pack, _state(state), act))


def _against_accounting(session: Session, name: str, label: JsonObject) -> Against:
    return against(lambda: session.role_for(Permission.PACK), lambda: _is_in_hand(name, label))


def _is_in_hand(name: str, label: JsonObject) -> None:
    if label.get("outcome") != Copy.ISSUED:
        raise WrongState(f"Label {name} is {label.get('outcome')}.", remedy="Only a label that is in hand is accounted for.")
