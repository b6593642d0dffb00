"""How long the documents of a batch are kept, what holds them longer, and the erasure of a patient's identity afterwards.

Batch documents are kept one year after the expiry of the batch or five years after its certification, whichever is longer (EU GMP
Chapter 4, 4.11); a site may keep longer, never shorter. Nothing is deleted here but, after all of that, the sealed row that says who a
patient was: a recorded act of two people. The trail itself is never shortened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from audit.canonical import JsonObject
from audit.errors import RetentionRefused
from audit.events import ERASED_FIELD, Actor, Entry, EntryDraft, EventKind, Subject
from audit.reader import TrailReader
from audit.store import TrailStore

_YEARS_AFTER_EXPIRY, _YEARS_AFTER_CERTIFICATION, _MOST_YEARS = 1, 5, 100
_ALL = 1_000_000
_ENDS = (EventKind.BATCH_DISPOSITION_SIGNED, EventKind.BATCH_RECORD_CANCELLED)
"""From these on, the documents of a batch are kept for their years."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The years of a site. Raises RetentionRefused for fewer than the rule asks for."""

    after_expiry: int = _YEARS_AFTER_EXPIRY
    after_certification: int = _YEARS_AFTER_CERTIFICATION

    def __post_init__(self) -> None:
        least = (self.after_expiry >= _YEARS_AFTER_EXPIRY, self.after_certification >= _YEARS_AFTER_CERTIFICATION)
        if not all(least) or max(self.after_expiry, self.after_certification) > _MOST_YEARS:
            raise RetentionRefused(
                f"{self.after_expiry} years after expiry and {self.after_certification} after certification is not what may be chosen.",
                remedy=f"At least {_YEARS_AFTER_EXPIRY} and {_YEARS_AFTER_CERTIFICATION}, at most {_MOST_YEARS}.",
            )

    def until(self, certified: date, expires: date) -> date:
        """Return the last day on which the documents must be kept."""
        return max(_years_later(expires, self.after_expiry), _years_later(certified, self.after_certification))


def _years_later(day: date, years: int) -> date:
    """Return the same day of a later year; of 29 February, the 1 March that follows."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)


@dataclass(frozen=True, slots=True)
class Kept:
    """A batch and how long its documents are kept. `until` is None where nothing says: they are kept."""

    batch: str
    patient: str | None
    certified: date | None
    expires: date | None
    until: date | None
    holds: tuple[str, ...]
    because: str

    def is_due(self, today: date) -> bool:
        """Say whether the time is over and nothing holds the documents."""
        return self.until is not None and not self.holds and today > self.until


def kept_batches(reader: TrailReader, policy: Policy, *, patient: str | None = None) -> Iterator[Kept]:
    """Give every batch of the workstation's trail, or of one patient, with how long its documents are kept, by number."""
    holds: dict[str, list[str]] = {}
    for id_, state in reader.objects("hold"):
        if state.get("held") is True:
            holds.setdefault(str(state.get("batch")), []).append(f"{id_.rpartition('/')[2]}: {state.get('because')}")
    ended = {entry.subject.id: entry for kind in _ENDS for entry in reader.search(kind=kind.value, limit=_ALL)}
    for batch, state in reader.objects("batch"):
        whose = _patient_of(reader, str(state.get("order")))
        if patient is None or whose == patient:
            yield _kept(reader, batch, whose, ended.get(batch), policy, tuple(holds.get(batch, ())))


def _kept(reader: TrailReader, batch: str, patient: str | None, signed: Entry | None, policy: Policy, holds: tuple[str, ...]) -> Kept:
    if signed is None:
        return Kept(batch, patient, None, None, None, holds, "it has no disposition yet")
    certified, expires = date.fromisoformat(signed.at[:10]), _expiry(reader, signed)
    if expires is None:
        return Kept(batch, patient, certified, None, None, holds, "its record states no expiry: a person decides")
    until = policy.until(certified, expires)
    if signed.kind == EventKind.BATCH_RECORD_CANCELLED:
        return Kept(batch, patient, certified, expires, until, holds, "counted from its cancellation")
    longer = "certification" if until == _years_later(certified, policy.after_certification) else "expiry"
    return Kept(batch, patient, certified, expires, until, holds, f"counted from its {longer}")


def _expiry(reader: TrailReader, signed: Entry) -> date | None:
    """Return the use-by of the record that was signed; of what was rejected or cancelled, that day: it was never given to anybody."""
    if signed.kind == EventKind.BATCH_RECORD_CANCELLED or signed.new.get("disposition") == "rejected":
        return date.fromisoformat(signed.at[:10])
    for item in signed.attachments:
        if item["name"] == "record.json":
            release = json.loads(reader.blob(item["sha256"])).get("release")
            use_by = release.get("use_by") if isinstance(release, dict) else None
            day = use_by.get("day") if isinstance(use_by, dict) else use_by
            return date.fromisoformat(day) if isinstance(day, str) else None
    return None


def _patient_of(reader: TrailReader, order_id: str) -> str | None:
    return _patient_in(reader.state("order", order_id) or {})


def _patient_in(order: JsonObject) -> str | None:
    content = order.get("order")
    prescription = content.get("prescription") if isinstance(content, dict) else None
    patient = prescription.get("patient") if isinstance(prescription, dict) else None
    return patient if isinstance(patient, str) else None


def place_hold(store: TrailStore, batch: str, name: str, reason: str, actor: Actor, device: str) -> Entry:
    """Keep the documents of a batch until the hold is lifted: a recall, a complaint, a dispute. Raises RetentionRefused."""
    if store.state("batch", batch) is None:
        raise RetentionRefused(f"There is no batch {batch}.", remedy="Check the number.")
    if not name or "/" in name or not reason.strip() or (store.state("hold", f"{batch}/{name}") or {}).get("held") is True:
        raise RetentionRefused(f"The hold {name!r} on {batch} has no name or reason, or is placed already.", remedy="Give both.")
    new: JsonObject = {"batch": batch, "because": reason.strip(), "held": True}
    subject = Subject("hold", f"{batch}/{name}")
    return store.append(EntryDraft(EventKind.RETENTION_HOLD_PLACED, subject, new, actor, device, reason=reason))[0]


def lift_hold(store: TrailStore, batch: str, name: str, reason: str, actor: Actor, device: str) -> Entry:
    """Lift a hold, with the reason. Raises RetentionRefused where there is none."""
    if (store.state("hold", f"{batch}/{name}") or {}).get("held") is not True or not reason.strip():
        raise RetentionRefused(f"There is no hold {name!r} on {batch} to lift, or no reason is given.", remedy="Look at the list of holds.")
    subject = Subject("hold", f"{batch}/{name}")
    return store.append(EntryDraft(EventKind.RETENTION_HOLD_LIFTED, subject, {"held": False}, actor, device, reason=reason))[0]


def erasure_refusals(reader: TrailReader, pseudonym: str, policy: Policy, today: date) -> list[str]:
    """Return why the identity of a patient must still be kept; nothing where it may be erased."""
    state = reader.state("patient", pseudonym)
    if state is None or "identity_sha256" not in state:
        return [f"no identifying data are held under {pseudonym}"]
    if state.get(ERASED_FIELD) is True:
        return [f"the identifying data of {pseudonym} were erased already"]
    reasons = [_reason(kept) for kept in kept_batches(reader, policy, patient=pseudonym) if not kept.is_due(today)]
    reasons += [f"recall {recall} is open and has to reach the patient" for recall in _open_recalls_of(reader, pseudonym)]
    made = {str(state.get("order")) for _, state in reader.objects("batch")}
    for id_, order in reader.objects("order"):
        if _patient_in(order) == pseudonym and id_ not in made:
            last = reader.search(subject_type="order", subject_id=id_, limit=1, newest_first=True)[0].at[:10]
            until = _years_later(date.fromisoformat(last), policy.after_certification)
            reasons += [f"order {id_} of {last} is kept until {until}"] if today <= until else []
    return reasons


def _open_recalls_of(reader: TrailReader, pseudonym: str) -> list[str]:
    """Return the open recalls that found a patient: until they are closed, who that is must be known."""
    found = [(recall, state.get("found")) for recall, state in reader.objects("recall") if state.get("status") == "open"]
    named = [(recall, body.get("patients")) for recall, body in found if isinstance(body, dict)]
    return [recall for recall, patients in named if isinstance(patients, list) and pseudonym in patients]


def _reason(kept: Kept) -> str:
    if kept.holds:
        return f"batch {kept.batch} is held ({'; '.join(kept.holds)})"
    return f"batch {kept.batch} is kept until {kept.until}" if kept.until else f"batch {kept.batch} is kept: {kept.because}"


def request_erasure(
    store: TrailStore, pseudonym: str, reason: str, actor: Actor, device: str, *, today: date, policy: Policy | None = None
) -> Entry:
    """Ask, as the first of two people, that the identity of a patient be erased. Raises RetentionRefused with every reason."""
    _require_erasable(store, pseudonym, policy or Policy(), today)
    if not reason.strip():
        raise RetentionRefused("An erasure takes a reason.", remedy="Say why, for example: asked for by the patient.")
    new: JsonObject = {"erasure_requested_by": actor.username, "erasure_requested_on": today.isoformat()}
    return store.append(EntryDraft(EventKind.PATIENT_ERASURE_REQUESTED, Subject("patient", pseudonym), new, actor, device, reason=reason))[
        0
    ]


def erase_identity(store: TrailStore, pseudonym: str, actor: Actor, device: str, *, today: date, policy: Policy | None = None) -> Entry:
    """Destroy the sealed row of a patient, as the second person. The commitment stays in the trail, and copies in backups until they go.

    Raises RetentionRefused (still to be kept, not asked for, or asked for by the same person).
    """
    _require_erasable(store, pseudonym, policy or Policy(), today)
    first = (store.state("patient", pseudonym) or {}).get("erasure_requested_by")
    if not isinstance(first, str):
        raise RetentionRefused(f"Nobody asked that the identity of {pseudonym} be erased.", remedy="Another person asks first.")
    if first == actor.username:
        raise RetentionRefused(f"{first} asked for it, so another person carries it out.", remedy="Let a second person do it.")
    new: JsonObject = {ERASED_FIELD: True, "erasure_requested_by": None, "erasure_requested_on": None}
    subject = Subject("patient", pseudonym)
    return store.append(
        EntryDraft(EventKind.PATIENT_IDENTITY_ERASED, subject, new, actor, device, reason=f"asked for by {first}", erased=True)
    )[0]


def _require_erasable(reader: TrailReader, pseudonym: str, policy: Policy, today: date) -> None:
    if reasons := erasure_refusals(reader, pseudonym, policy, today):
        raise RetentionRefused(
            f"The identity of {pseudonym} is not erased: {'; '.join(reasons)}.", remedy="Wait until all of it has passed."
        )
