"""The page of process models in a real browser: each step signed by the person whose it is, and a suspension."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_story import DATA, data_set, fitted
from playwright.sync_api import Page, expect

from api import cli

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]
MODEL = "nir-strength@1"


def sign(page: Page, place: Any, who: str, step: str, **fields: str) -> None:
    form = page.locator("form", has=page.get_by_role("button", name=f"Sign: {step}"))
    for label, value in fields.items():
        form.get_by_label(label).fill(value)
    form.get_by_label("Your password").fill(place.password(who))
    form.get_by_role("button", name=f"Sign: {step}").click()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_a_model_goes_from_its_command_to_use_and_is_suspended(
    workplace: Any, visit: Visit, watch: Any, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    file, at = tmp_path / "nir-strength.json", ("--url", workplace.base, "--user", "engineer")
    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", workplace.password("engineer"))
    plan = Path(__file__).resolve().parents[2] / "recipes" / "library" / "models" / "nir-strength.toml"
    assert cli.run(["model", "fit", str(plan), str(DATA / "nir-strength-training.json"), "--out", str(file)]) == 0
    assert f"digest {fitted('nir-strength').digest}" in capsys.readouterr().out
    assert cli.run(["model", "draft", str(file), "--reason", "strength <b>beside</b> mass", *at]) == 0
    assert cli.run(["model", "test", MODEL, str(DATA / "nir-strength-training.json"), *at]) == 2
    assert "not independent of the training" in capsys.readouterr().err
    assert cli.run(["model", "test", MODEL, str(DATA / "nir-strength-test.json"), *at]) == 0
    assert "rmsep 0.170238" in capsys.readouterr().out

    engineer = visit("engineer", watch=watch)
    workplace.go_to(engineer, "Models")
    engineer.get_by_role("link", name=MODEL).click()
    expect(engineer.get_by_text("strength <b>beside</b> mass")).to_be_visible()
    expect(engineer.get_by_text("hold: there is no number")).to_be_visible()
    sign(engineer, workplace, "engineer", "submit")
    expect(engineer.get_by_role("heading", name=f"{MODEL}: in review")).to_be_visible()
    expect(engineer.get_by_role("button", name="Sign: approve")).to_have_count(0)

    quality = visit("quality", watch=watch)
    quality.goto(f"{workplace.base}/models?version={MODEL}")
    sign(quality, workplace, "quality", "approve")
    expect(quality.get_by_role("heading", name=f"{MODEL}: approved")).to_be_visible()
    sign(quality, workplace, "quality", "make effective", Reason="report V-1")
    expect(quality.get_by_role("heading", name=f"{MODEL}: effective")).to_be_visible()

    engineer.goto(f"{workplace.base}/models?version={MODEL}")
    engineer.get_by_label("Reason for suspending").fill("the probe was dropped")
    engineer.get_by_role("button", name="Suspend").click()
    expect(engineer.get_by_text("Suspended: the probe was dropped")).to_be_visible()
    quality.goto(f"{workplace.base}/models?version={MODEL}")
    sign(quality, workplace, "quality", "reinstate", Reason="three reference checks agree")
    expect(quality.get_by_text("Suspended: the probe was dropped")).to_have_count(0)
    watch.assert_quiet()
    check = tmp_path / "check.json"
    sample = data_set("nir-strength-test").samples[0]
    inputs = json.loads(json.dumps(sample.named_inputs))
    check.write_text(json.dumps({"sample": "S-1", "inputs": inputs, "reference": str(sample.reference), "method": "HPLC", "report": "R-1"}))
    assert cli.run(["model", "check", MODEL, str(check), *at]) == 0
    assert '"signals": []' in capsys.readouterr().out
