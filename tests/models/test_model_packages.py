"""A review package makes every prediction again from what it holds; a recipe names its models by id, version and digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from model_story import ModelStory, fitted, of_sample_batch, spectra_near

from audit.errors import ReleaseBlocked
from audit.release.model_evaluation import evaluate, outcome_record
from audit.release.package_check import verify_package
from recipes.errors import RecipeRefused
from recipes.library import load_recipe, recipe_bytes
from recipes.model import parse_recipe

NIR = of_sample_batch(fitted("nir-strength"))
GOOD = spectra_near("39.6", 2)


def test_a_package_makes_the_predictions_again(write_sample: Any, tmp_path: Path) -> None:
    batch = write_sample(ModelStory(NIR, GOOD), disposition="released").batch
    report = verify_package(batch.export(tmp_path / "package.zip"))
    assert report.findings == () and "9 predictions of process models: 2 made again" in report.checked


def test_a_prediction_that_was_made_up_is_found_in_the_package_and_opens_no_release(write_sample: Any, tmp_path: Path) -> None:
    sample = write_sample(ModelStory(NIR, spectra_near("44", 2), alter={"prediction": "39.600"}))
    with pytest.raises(ReleaseBlocked, match="process models within their domain and limits: not met"):
        sample.batch.dispose("released")
    sample.batch.dispose("rejected")
    report = verify_package(sample.batch.export(tmp_path / "package.zip"))
    assert sum("gives another result for B-1-R1/00" in found.problem for found in report.findings) == 2


def test_inputs_that_are_not_those_of_the_spectrum_are_found_by_evidence_and_package(write_sample: Any, tmp_path: Path) -> None:
    (good,) = spectra_near("39.6", 1)
    inputs = {"absorbance": good}
    alter = {"inputs": inputs, **outcome_record(evaluate(NIR, inputs))}
    sample = write_sample(ModelStory(NIR, spectra_near("44", 2), alter=alter))
    assert sample.evidence()["state"] == "not met" and "are not those of a recorded spectrum" in sample.evidence()["detail"]
    sample.batch.dispose("rejected")
    report = verify_package(sample.batch.export(tmp_path / "package.zip"))
    assert [found.problem for found in report.findings] == [
        f"the inputs of B-1-R1/00{n} are not those of its trace or spectrum" for n in (1, 2)
    ]


def with_models(*rules: str) -> bytes:
    text = recipe_bytes("cyclophosphamide").decode()
    control = f"[control.release]\nprocess_models = [{', '.join(rules)}]\n\n[handling]"
    return (
        text.replace("[handling]", control, 1)
        .replace("\n[sources]\n", '\n[sources]\n"control.release" = "register of models"\n', 1)
        .encode()
    )


def rule_text(**changes: object) -> str:
    fields = {"model": '"nir-strength"', "version": 1, "model_digest": f'"{NIR.digest}"', "tolerance": '"7.5 %"', **changes}
    return "{ " + ", ".join(f"{name} = {value}" for name, value in fields.items()) + " }"


def test_a_recipe_states_its_models_in_what_it_asks_of_release() -> None:
    recipe = parse_recipe(with_models(rule_text()))
    assert recipe.control.release is not None
    assert recipe.control.release.as_rules() == {
        "process_models": [{"model": "nir-strength@1", "digest": NIR.digest, "tolerance_percent": "7.5"}]
    }
    assert recipe.digest != load_recipe("cyclophosphamide").digest


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], "process_models"),
        ([rule_text(), rule_text(version=2)], "named twice"),
        ([rule_text(model_digest='"abc"')], "model_digest"),
        ([rule_text(tolerance='"0 %"')], "above zero"),
        ([rule_text(limit=3)], "unknown key"),
    ],
)
def test_a_recipe_that_names_its_models_badly_is_refused(rules: list[str], words: str) -> None:
    with pytest.raises(RecipeRefused, match=words):
        parse_recipe(with_models(*rules))
