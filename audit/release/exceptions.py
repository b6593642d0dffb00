"""Exceptions of a batch, and their resolution: a cause, a reason code and a signature, by a person who did not run the batch.

An exception is what a person has to judge: a deviation, a share of rejected units above the recipe's limit, ink that is not accounted
for. A failing result (a mass, a statistic, a proof) is none: no resolution reaches it.

Sources: EU GMP Part I, chapter 1 (1.4 xiv, root cause) and chapter 8; 21 CFR 211.192.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.errors import VerificationError
from audit.events import EventKind
from audit.release.trail_view import TrailEntry, TrailView, as_object, count_of, text_of
from audit.signatures import verify_signature

SUBJECT = "exception"
RESOLVERS = frozenset({"pharmacist", "quality_assurance", "qualified_person"})
SHORTEST_CAUSE = 10
REJECT_RATE = "reject-rate"
MEANING = "exception resolved"


class ReasonCode(StrEnum):
    """What kind of cause was assigned. There is none for *not known*: what has no cause stays open."""

    EQUIPMENT = "equipment"
    MATERIAL = "material"
    METHOD = "method"
    OPERATION = "operation"
    ENVIRONMENT = "environment"
    MEASUREMENT = "measurement"


def ink_key(serial: str) -> str:
    return f"ink/{serial}"


def deviation_key(id_: str) -> str:
    return f"deviation/{id_}"


def deviation_finding(deviation: JsonObject) -> str:
    unit = count_of(deviation.get("unit_n"))
    return f"{'the run' if unit is None else f'unit {unit}'}: {text_of(deviation.get('text')) or 'no text'}"


@dataclass(frozen=True, slots=True)
class Resolution:
    """An entry that resolves an exception, and what speaks against it; empty where it counts."""

    entry: TrailEntry
    problem: str

    @property
    def counts(self) -> bool:
        return not self.problem

    @property
    def text(self) -> str:
        new = self.entry.new
        return f"{text_of(new.get('reason_code'))}: {text_of(new.get('cause'))}, resolved by {text_of(self.entry.who['username'])}"


def resolution_digest(batch: str, exception: str, finding: str, reason_code: str, cause: str) -> str:
    """Return the digest that is signed: it binds the finding, so that a resolution never covers what came later."""
    return sha256_hex(
        canonical(
            {
                "statement": MEANING,
                "batch": batch,
                "exception": exception,
                "finding": finding,
                "reason_code": reason_code,
                "cause": cause,
            }
        )
    )


def resolution_entry(batch: str, exception: str, finding: str, reason_code: str, cause: str, signature: JsonObject) -> JsonObject:
    """Return `new` of the entry `batch.exception.resolved`."""
    return {
        "status": "resolved",
        "batch": batch,
        "exception": exception,
        "finding": finding,
        "reason_code": reason_code,
        "cause": cause,
        "signature": signature,
    }


def subject_id(batch: str, exception: str) -> str:
    return f"{batch}/{exception}"


def resolution_of(workstation: TrailView, batch: str, exception: str, finding: str, operators: Collection[str]) -> Resolution | None:
    """Return the last resolution of this finding, None where there is none."""
    found = workstation.last(SUBJECT, subject_id(batch, exception), EventKind.BATCH_EXCEPTION_RESOLVED)
    return None if found is None else Resolution(found, _problem(found, batch, exception, finding, operators))


def _problem(entry: TrailEntry, batch: str, exception: str, finding: str, operators: Collection[str]) -> str:
    new, signature = entry.new, as_object(entry.new.get("signature"))
    code, cause = text_of(new.get("reason_code")) or "", text_of(new.get("cause")) or ""
    if refused := refusal(code, cause, text_of(signature.get("signer")) or "", text_of(signature.get("role")) or "", operators):
        return refused
    if text_of(new.get("finding")) != finding:
        return "it was resolved as it stood before; what is found now is something else"
    if signature.get("signer") != entry.body.get("actor"):
        return "its actor is not its signer"
    try:
        verify_signature(signature, digest=resolution_digest(batch, exception, finding, code, cause))
    except VerificationError as error:
        return error.message
    return ""


def refusal(code: str, cause: str, username: str, role: str, operators: Collection[str]) -> str:
    """Return why this person may not resolve an exception with this cause; empty where they may."""
    if code not in {member.value for member in ReasonCode}:
        return f"{code or 'nothing'} is no reason code; it is one of {', '.join(ReasonCode)}"
    if len(cause.strip()) < SHORTEST_CAUSE:
        return "no cause is stated"
    return person_refusal(username, role, operators)


def person_refusal(username: str, role: str, operators: Collection[str]) -> str:
    """Return why this person may resolve no exception of a batch that these people operated; empty where they may."""
    if username in operators:
        return f"{username} operated the printer for this batch and cannot resolve its exceptions"
    return "" if role in RESOLVERS else f"the role {role!r} may not resolve an exception"
