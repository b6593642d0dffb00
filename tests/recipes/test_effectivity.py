"""Confirmatory batches: low end, middle and high end of the dose range, each closed and without exception."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from pydantic import ValidationError

from audit.checkpoint import SigningKey
from audit.quantities import Milligram
from audit.signatures import Signature, sign_with_key
from recipes.effectivity import (
    EXEMPT,
    MEANING_EFFECTIVE,
    ConfirmatoryBatch,
    EffectiveStatement,
    SignedStatement,
    check_statement,
    confirmation_reasons,
    demonstration_statement,
    ground_reasons,
)
from recipes.errors import RecipeRefused
from recipes.library import load_recipe, recipe_bytes
from recipes.model import parse_recipe

RECIPE = load_recipe("hydrocortisone")  # 1 to 10 mg
SITE_RECIPE = parse_recipe(recipe_bytes("hydrocortisone").replace(b"demonstration, not for clinical use", b"for use as validated", 1))


def batch(name: str, *strengths: str, **changes: object) -> ConfirmatoryBatch:
    found = ConfirmatoryBatch(
        batch=name,
        recipe_digest=RECIPE.digest,
        strengths=(tuple(Milligram(strength) for strength in strengths),),
        planned=10,
        accepted=10,
        closed=True,
    )
    return found.model_copy(update=changes)


THREE = (batch("B1", "1"), batch("B2", "5"), batch("B3", "10"))


def test_three_batches_over_the_range_are_enough() -> None:
    assert confirmation_reasons(RECIPE, THREE) == ()
    assert confirmation_reasons(RECIPE, (*THREE, batch("B4", "2"))) == ()


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ((), "0 confirmatory batches"),
        (THREE[:2], "high end of the dose range (10 mg)"),
        (THREE[1:], "low end of the dose range (1 mg)"),
        ((THREE[0], THREE[2], batch("B4", "9.75")), "middle of the dose range (4.00 mg to 7.00 mg)"),
        ((THREE[0], THREE[1], batch("B3", "10", accepted=9)), "batch B3: 9 of 10 units were accepted"),
        ((THREE[0], THREE[1], batch("B3", "10", closed=False)), "batch B3: its run is not closed"),
        ((THREE[0], THREE[1], batch("B3", "10", recipe_digest="0" * 64)), "batch B3: it was not printed by hydrocortisone@1"),
        ((THREE[0], THREE[1], batch("B3", "10", exceptions=("no open deviation: not met",))), "batch B3: no open deviation"),
        ((THREE[0], THREE[1], THREE[2], THREE[2]), "named twice"),
        ((batch("B1", "1", "5", "10"),), "1 confirmatory batches without exception, 3 are needed"),
    ],
)
def test_what_is_missing_is_named(batches: tuple[ConfirmatoryBatch, ...], words: str) -> None:
    assert words in "; ".join(confirmation_reasons(RECIPE, batches))


def test_each_ink_has_a_range_of_its_own() -> None:
    polypill = load_recipe("polypill")
    first, second = (part.dose for part in polypill.parts)
    whole = [
        ConfirmatoryBatch(batch=name, recipe_digest=polypill.digest, strengths=((one,), (other,)), planned=1, accepted=1, closed=True)
        for name, one, other in (
            ("B1", first.minimum, second.minimum),
            (
                "B2",
                Milligram((first.minimum.value + first.maximum.value) / 2),
                Milligram((second.minimum.value + second.maximum.value) / 2),
            ),
            ("B3", first.maximum, second.minimum),
        )
    ]
    found = confirmation_reasons(polypill, whole)
    assert len(found) == 1 and f"high end of the dose range of {polypill.parts[1].active.moiety}" in found[0]


def test_only_a_demonstration_is_exempt() -> None:
    statement = demonstration_statement(RECIPE, "2026-11-20")
    assert ground_reasons(RECIPE, statement) == () and statement.exemption == EXEMPT
    assert ground_reasons(SITE_RECIPE, statement) == ("only a demonstration recipe may be effective without confirmatory batches",)
    assert ground_reasons(RECIPE, statement.model_copy(update={"exemption": "tired"})) != ()


def test_a_review_is_due_within_three_years() -> None:
    with pytest.raises(ValidationError, match="0 to 1096 days"):
        EffectiveStatement(recipe="a@1", recipe_digest="0" * 64, effective_from="2026-11-20", review_by="2029-11-21")
    with pytest.raises(ValidationError, match="0 to 1096 days"):
        EffectiveStatement(recipe="a@1", recipe_digest="0" * 64, effective_from="2026-11-20", review_by="2026-11-19")


def test_its_author_does_not_make_it_effective_whatever_roles_they_hold() -> None:
    keys = {name: SigningKey.generate(f"site/{name}") for name in ("erin", "quinn")}
    trusted = {keys["erin"].verifier_key: {"process_engineer", "quality_assurance"}, keys["quinn"].verifier_key: {"quality_assurance"}}
    statement = demonstration_statement(RECIPE, "2026-11-20")

    def signed(who: str, role: str, meaning: str, digest: str) -> Signature:
        at = "2026-11-20T08:00:00.000000Z"
        return sign_with_key(keys[who], signer=who, name=who, role=role, meaning=meaning, digest=digest, at=at, zone="UTC")

    author = signed("erin", "process_engineer", "recipe author", RECIPE.digest)
    for who, refused in (("erin", True), ("quinn", False)):
        made = SignedStatement(statement=statement, signature=signed(who, "quality_assurance", MEANING_EFFECTIVE, statement.digest))
        with pytest.raises(RecipeRefused, match="may not make it effective") if refused else nullcontext():
            check_statement(made, RECIPE, author, trusted, "2026-11-20")
