"""Rules of release in a recipe: read, refused, and stated to release as it reads them."""

from __future__ import annotations

from decimal import Decimal as D
from pathlib import Path

import pytest

from audit.release.release_rules import read_rules
from recipes.errors import RecipeRefused
from recipes.model import parse_recipe

LIBRARY = Path(__file__).resolve().parents[2] / "recipes" / "library"
RULES = """
[control.release]
largest_reject_rate = "20 %"
ink_reconciliation = "5 %"

[control.release.small_batch_prior]
mean = "99.8 %"
sd = "1.5 %"
degrees = 11
weight = "0.8"
history = "12 batches of sildenafil@1, report 7"

[handling]"""


def text(rules: str = RULES) -> bytes:
    found = (LIBRARY / "sildenafil.toml").read_text("utf-8").replace("\n[handling]", rules, 1)
    return found.replace("\n[sources]\n", '\n[sources]\n"control.release" = "illustrative"\n', 1).encode()


def test_rules_reach_release_as_they_stand_in_the_recipe() -> None:
    recipe = parse_recipe(text())
    assert recipe.control.release is not None
    rules = read_rules(recipe.control.release.as_rules())
    assert rules.problem == "" and rules.largest_reject_rate == 20 and rules.ink_reconciliation == 5 and rules.second_prior is None
    assert rules.prior is not None and (rules.prior.mean, rules.prior.weight, rules.prior.degrees) == (D("99.8"), D("0.8"), 11)


def test_a_recipe_without_rules_keeps_its_digest() -> None:
    recipe = parse_recipe((LIBRARY / "sildenafil.toml").read_bytes())
    assert recipe.control.release is None and "release" not in recipe.control.as_record()
    assert parse_recipe(text()).digest != recipe.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"20 %"', '"120 %"'), "between 0 % and 100 %"),
        (('"0.8"', '"0"'), "above zero"),
        (('"1.5 %"', '"0 %"'), "above zero"),
        (("degrees = 11", "degrees = 0"), "greater than or equal to 1"),
        (("largest_reject_rate", "reject_rate"), "unknown key"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(change: tuple[str, str], words: str) -> None:
    with pytest.raises(RecipeRefused, match=words):
        parse_recipe(text(RULES.replace(*change)))


@pytest.mark.parametrize(
    "stated",
    [
        "20 %",
        {"largest_reject_rate_percent": "many"},
        {"largest_reject_rate_percent": "101"},
        {"another": 1},
        {"small_batch_prior": {"mean_percent": "100"}},
        {"small_batch_prior": {"mean_percent": "100", "sd_percent": "0", "degrees": 1, "weight": "1", "history": "x"}},
    ],
)
def test_rules_that_cannot_be_read_are_not_taken_for_none(stated: object) -> None:
    assert read_rules(stated).problem  # type: ignore[arg-type]


def test_no_rules_are_no_problem() -> None:
    assert read_rules(None).problem == "" and read_rules(None).largest_reject_rate is None
