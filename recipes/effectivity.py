"""When a recipe version may be printed for patients: the statement that makes it effective, and the one that withdraws it.

Author and approver answer for the content; this is the third signature, by a person of quality: from when, until when at the
latest, in place of which version, and on which confirmatory batches it rests. A cell believes the statement, never the sender.

Sources: EU GMP chapter 4, 4.2 and 4.5 (documents approved, dated, regularly reviewed); Annex 15, 5.22 (the range of use is shown).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from audit.errors import DosewrightError
from audit.quantities import EXACT, Milligram
from audit.signatures import Signature, verify_signature
from recipes.errors import RecipeRefused
from recipes.figures import DEMONSTRATION_STATUS, Count, Document, Hex256, IsoDate, Name
from recipes.lifecycle import APPROVER_ROLES
from recipes.model import Recipe

MEANING_EFFECTIVE = "recipe made effective"
MEANING_WITHDRAWN = "recipe withdrawn"
EXEMPT = "demonstration recipe, not for clinical use: no confirmatory batches"
LONGEST_REVIEW_DAYS = 1096
"""Three years at most until a version has to be reviewed and made effective anew."""


class ConfirmatoryBatch(Document):
    """One closed batch of this version, as it was reviewed: what was printed, and whether all of it was within specification."""

    batch: Name
    recipe_digest: Hex256
    strengths: tuple[tuple[Milligram, ...], ...]
    planned: Count
    accepted: Annotated[int, Field(strict=True, ge=0)]
    closed: StrictBool
    exceptions: tuple[Name, ...] = ()


class EffectiveStatement(Document):
    """A recipe version is effective from one day to another, both included, unless it is superseded or withdrawn before.

    It rests on confirmatory batches, or says in `exemption` why there are none.
    """

    format: Literal["dosewright-effective/1"] = "dosewright-effective/1"
    recipe: Name
    recipe_digest: Hex256
    effective_from: IsoDate
    review_by: IsoDate
    supersedes: Name | None = None
    confirmatory: tuple[ConfirmatoryBatch, ...] = ()
    exemption: Name | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        begin, end = date.fromisoformat(self.effective_from), date.fromisoformat(self.review_by)
        if end < begin or end - begin > timedelta(days=LONGEST_REVIEW_DAYS):
            raise ValueError(f"review_by must lie 0 to {LONGEST_REVIEW_DAYS} days after effective_from")
        return self


class SignedStatement(Document):
    statement: EffectiveStatement
    signature: Signature


class Withdrawal(Document):
    """A recipe version is not printed any more. There is no way back: a changed or renewed recipe is a new version."""

    format: Literal["dosewright-withdrawal/1"] = "dosewright-withdrawal/1"
    recipe: Name
    recipe_digest: Hex256
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class SignedWithdrawal(Document):
    withdrawal: Withdrawal
    signature: Signature


def demonstration_statement(recipe: Recipe, today: str) -> EffectiveStatement:
    """Return what makes a demonstration recipe effective for a year, in place of no other; it rests on no batches and says so.

    It begins the day before `today`: a cell may be in a zone in which that day has not begun.
    """
    day = date.fromisoformat(today)
    begin, end = (day - timedelta(days=1)).isoformat(), (day + timedelta(days=364)).isoformat()
    return EffectiveStatement(recipe=recipe.reference, recipe_digest=recipe.digest, effective_from=begin, review_by=end, exemption=EXEMPT)


def confirmation_reasons(recipe: Recipe, batches: Sequence[ConfirmatoryBatch]) -> tuple[str, ...]:
    """Return what is missing of a demonstration over the dose range: low end, middle and high end, each a batch without exception.

    The middle is the middle third of the range; of several inks, each has a range of its own. Empty where nothing is missing.
    """
    reasons = [f"batch {batch.batch}: {problem}" for batch in batches for problem in _batch_problems(recipe, batch)]
    if len({batch.batch for batch in batches}) < len(batches):
        reasons.append("a batch is named twice")
    good = [batch for batch in batches if not _batch_problems(recipe, batch)]
    for number, part in enumerate(recipe.parts):
        low, high = part.dose.minimum.value, part.dose.maximum.value
        third = EXACT.divide(high - low, 3)
        what = "" if len(recipe.parts) == 1 else f" of {part.active.moiety}"
        for place, begin, end in (("low end", low, low), ("middle", low + third, high - third), ("high end", high, high)):
            found = any(begin <= strength.value <= end for batch in good for strength in _strengths(batch, number))
            if not found:
                span = f"{Milligram(begin)}" if begin == end else f"{Milligram(begin).rounded(2)} to {Milligram(end).rounded(2)}"
                reasons.append(f"no confirmatory batch at the {place} of the dose range{what} ({span})")
    if len(good) < 3:
        reasons.append(f"{len(good)} confirmatory batches without exception, 3 are needed")
    return tuple(reasons)


def _strengths(batch: ConfirmatoryBatch, part: int) -> tuple[Milligram, ...]:
    return batch.strengths[part] if part < len(batch.strengths) else ()


def _batch_problems(recipe: Recipe, batch: ConfirmatoryBatch) -> list[str]:
    problems = list(batch.exceptions)
    if batch.recipe_digest != recipe.digest:
        problems.append(f"it was not printed by {recipe.reference} as it is now")
    if not batch.closed:
        problems.append("its run is not closed")
    if batch.accepted < batch.planned:
        problems.append(f"{batch.accepted} of {batch.planned} units were accepted")
    return problems


def ground_reasons(recipe: Recipe, statement: EffectiveStatement) -> tuple[str, ...]:
    """Return why a version may not be effective on the ground that its statement gives. Empty where it may."""
    if statement.exemption is None:
        return confirmation_reasons(recipe, statement.confirmatory)
    if recipe.status_text != DEMONSTRATION_STATUS:
        return ("only a demonstration recipe may be effective without confirmatory batches",)
    return () if statement.exemption == EXEMPT else (f"an exemption reads {EXEMPT!r} or is not one",)


def check_statement(signed: SignedStatement, recipe: Recipe, author: Signature, trusted: Mapping[str, Collection[str]], today: str) -> None:
    """Check that a trusted person of quality made this content effective, on good ground, and that today lies in its time.

    `author` is the signature of the one who wrote it, `today` an ISO date. Raises RecipeRefused.
    """
    statement, signature = signed.statement, signed.signature
    if (statement.recipe, statement.recipe_digest) != (recipe.reference, recipe.digest):
        raise _refused(f"Recipe {recipe.reference}: what makes it effective is about {statement.recipe} with other content.")
    _check_signature(signature, statement.digest, MEANING_EFFECTIVE, recipe.reference, trusted)
    if signer_of(signature) == signer_of(author):
        raise _refused(f"Recipe {recipe.reference}: {author.signer} wrote it and may not make it effective.")
    if reasons := ground_reasons(recipe, statement):
        raise _refused(f"Recipe {recipe.reference} is effective without ground: {'; '.join(reasons)}.")
    if today < statement.effective_from:
        raise _refused(f"Recipe {recipe.reference} is effective from {statement.effective_from} on, today is {today}.")
    if today > statement.review_by:
        raise RecipeRefused(
            f"Recipe {recipe.reference} had to be reviewed by {statement.review_by}, today is {today}: its approval has expired.",
            remedy="Review it, and have a new version made effective.",
        )


def signer_of(signature: Signature) -> str:
    """Return whose key a signature is by: `<origin>/<user name>`, so that people of two sites are two people."""
    return signature.key.split("+", 1)[0]


def check_withdrawal(signed: SignedWithdrawal, trusted: Mapping[str, Collection[str]]) -> Withdrawal:
    """Return a withdrawal that a trusted person of quality signed. Raises RecipeRefused."""
    _check_signature(signed.signature, signed.withdrawal.digest, MEANING_WITHDRAWN, signed.withdrawal.recipe, trusted)
    return signed.withdrawal


def _check_signature(signature: Signature, digest: str, meaning: str, reference: str, trusted: Mapping[str, Collection[str]]) -> None:
    try:
        verify_signature(signature, digest=digest)
    except DosewrightError as error:
        raise _refused(f"Recipe {reference}, {meaning!r}: {error.message}") from error
    if signature.meaning != meaning:
        raise _refused(f"Recipe {reference}: {signature.signer} signed with the meaning {signature.meaning!r}, not {meaning!r}.")
    if signature.role not in trusted.get(signature.key, ()) or signature.role not in APPROVER_ROLES:
        raise _refused(f"Recipe {reference}, {meaning!r}: {signature.signer} as {signature.role} is not trusted here for it.")


def _refused(text: str) -> RecipeRefused:
    return RecipeRefused(text, remedy="Have the version made effective by a person of quality who is enrolled here, and send that bundle.")
