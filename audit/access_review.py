"""The access review: who may do what, who has not been seen, what went wrong; signed, and due again.

Also what needs attention at once (21 CFR 11.300(d)): suspected misuse that nobody has judged, and a review that is due.
Clauses: 21 CFR 11.300(b); draft Annex 11 (2025) 11.11.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.errors import AccessDenied
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.identity import Identity, Person
from audit.second_factor import SecondFactors
from audit.signatures import Signature

REVIEW = Subject("access_review", "site")
MEANING_REVIEWED = "accounts, roles and second factors reviewed"
_ATTACHED = "access-review.json"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person has to look at. `id` names what can be judged; a review that is due has none."""

    id: str | None
    text: str
    since: str

    def as_record(self) -> JsonObject:
        return {"id": self.id, "text": self.text, "since": self.since}


def day_of(at: str) -> date:
    """Return the day, in UTC, of an instant of the trail."""
    return datetime.fromisoformat(at).replace(tzinfo=UTC).date()


class AccessReviews:
    """Report, signature and notices. Concurrency: any thread; what is signed is compared with what was shown."""

    def __init__(self, identity: Identity, factors: SecondFactors) -> None:
        self._identity = identity
        self._factors = factors
        self._store = identity.store

    def due(self) -> date:
        """Return the day on which the next review is due: counted from the last one, or from the first account."""
        last = (self._store.state(REVIEW.type, REVIEW.id) or {}).get("signed_at")
        if not isinstance(last, str):
            first = self._store.search(kind=EventKind.PERSON_ACCOUNT_CREATED.value, limit=1)
            last = first[0].at if first else self._identity.clock.utc().at
        return day_of(last) + timedelta(days=self._identity.policy.review_days)

    def report(self) -> JsonObject:
        """Return all accounts as they are now: roles, last log-in, failures, second factors, and who has not been seen for long."""
        last = self._store.state(REVIEW.type, REVIEW.id) or {}
        before = last.get("refusals")
        counted = before if isinstance(before, dict) else {}
        return {
            "day": self._identity.today().isoformat(),
            "last_review": last.get("signed_at"),
            "due": self.due().isoformat(),
            "policy": self._identity.policy.as_record(),
            "accounts": [self._account(person, counted.get(person.username)) for person in self._identity.people()],
            "suspected_misuse": [notice.as_record() for notice in self._unjudged()],
        }

    def sign(self, report: JsonObject, signature: Signature, by: Actor) -> JsonObject:
        """Put a signed review on record, the report attached."""
        refusals: JsonObject = {person.username: person.refusals for person in self._identity.people()}
        new: JsonObject = {
            "report_sha256": report_sha256(report),
            "signed_at": signature.at,
            "signature": signature.as_record(),
            "refusals": refusals,
        }
        attached, device = {_ATTACHED: canonical(report)}, self._identity.device
        draft = EntryDraft(EventKind.ACCESS_REVIEW_SIGNED, REVIEW, new, by, device, attachments=attached)
        self._store.append(draft)
        return {"signed": signature.manifestation, "due": self.due().isoformat()}

    def notices(self) -> tuple[Notice, ...]:
        """Return what needs attention now, oldest first."""
        found, due = list(self._unjudged()), self.due()
        if self._identity.today() > due:
            found.append(Notice(None, f"The access review was due on {due.isoformat()}.", due.isoformat()))
        return tuple(found)

    def judge(self, notice: str, by: Actor, outcome: str) -> JsonObject:
        """Record what a suspected misuse was found to be. Raises AccessDenied where it is unknown, judged, or about the judge."""
        if not outcome.strip():
            raise AccessDenied("An outcome is needed.", remedy="Say what was found.")
        state = self._store.state("misuse", notice)
        if state is None or state.get("judged") is True:
            raise AccessDenied(f"There is no notice {notice} to judge.", remedy="Look at the list again; somebody may have judged it.")
        if state.get("account") == by.username:
            raise AccessDenied("Nobody judges a notice about their own account.", remedy="Let another person judge it.")
        new: JsonObject = {"judged": True, "outcome": outcome.strip()}
        subject = Subject("misuse", notice)
        self._store.append(EntryDraft(EventKind.ACCESS_MISUSE_JUDGED, subject, new, by, self._identity.device, reason=outcome.strip()))
        return {"notice": notice, "judged": True}

    def _unjudged(self) -> tuple[Notice, ...]:
        found = []
        for id_, state in self._store.objects("misuse"):
            if state.get("judged") is True:
                continue
            account = state.get("account")
            about = f"{account}: " if isinstance(account, str) else ""
            found.append(Notice(id_, f"Suspected misuse. {about}{state.get('what')}.", str(state.get("at"))))
        return tuple(sorted(found, key=lambda notice: notice.since))

    def _account(self, person: Person, refusals_before: JsonValue) -> JsonObject:
        before = refusals_before if isinstance(refusals_before, int) else 0
        factors = [factor.label for factor in self._factors.of(person.username) if factor.active]
        last = person.last_log_in
        seen = last or person.password_set
        absent = None if seen is None else (self._identity.today() - day_of(seen)).days
        lent: JsonObject = {role.value: until for role, until in person.lent}
        return {
            "username": person.username,
            "name": person.name,
            "roles": [role.value for role in person.roles],
            "lent": lent,
            "active": person.active,
            "locked": person.locked,
            "password": person.must_change and f"must be changed: {person.must_change}",
            "last_log_in": last,
            "refused_since_review": person.refusals - before,
            "second_factors": list(factors),
            "not_seen_for_long": person.active and (absent is None or absent > self._identity.policy.inactive_days),
        }


def report_sha256(report: JsonObject) -> str:
    """Return the digest of a report: of all that is in it."""
    return sha256_hex(canonical(report))
