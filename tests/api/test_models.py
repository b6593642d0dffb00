"""Process models at the workstation: their life from a fitted file to suspension, and every short cut that is tried at the doors."""

from __future__ import annotations

import importlib.util
import json
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from model_batches import Made, print_batch, probe_on, scan
from model_story import PROBE, data_set, fitted, of_sample_batch, rule

from audit.canonical import JsonObject
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.signatures import verify_signature
from audit.verify import verify_store

_SPEC = importlib.util.spec_from_file_location("orders_for_models", Path(__file__).with_name("test_production.py"))
assert _SPEC is not None and _SPEC.loader is not None
_PRODUCTION = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_PRODUCTION)

NAME = "nir-strength@1"


def tree(value: Any) -> Any:
    return json.loads(json.dumps(value))


def draft(bench: Any, by: str = "engineer", model: Any = None) -> Any:
    body = {"definition": tree((model or fitted("nir-strength")).as_record()), "reason": "strength beside mass"}
    return bench.ask(by, "POST", "/models", body)


def tried(bench: Any, by: str = "engineer", data: Any = None) -> Any:
    return bench.ask(by, "POST", f"/models/{NAME}/test", {"data": tree((data or data_set("nir-strength-test")).as_record())})


def step(bench: Any, by: str, what: str, **more: object) -> Any:
    return bench.ask(by, "POST", f"/models/{NAME}/{what}", {"signature": bench.signature(by), **more})


@pytest.fixture
def in_use(bench: Any) -> Any:
    """The model, all the way."""
    answers = (
        draft(bench),
        tried(bench),
        step(bench, "engineer", "submit"),
        step(bench, "quality", "approve"),
        step(bench, "quality", "effective", reason="validated, report V-1"),
    )
    for answer in answers:
        assert answer.status_code in (200, 201), answer.text
    return bench


def state(bench: Any) -> JsonObject:
    found: JsonObject = bench.ask("qp", "GET", f"/models/{NAME}").json()
    return found


def refused(answer: Any, words: str) -> None:
    assert answer.status_code in (403, 409, 422), answer.text
    assert words in answer.json()["detail"], answer.text


def test_a_model_from_its_file_to_use_leaves_every_step_in_the_trail(in_use: Any) -> None:
    found = state(in_use)
    assert (found["status"], found["test_passed"], found["suspended"]) == ("effective", True, None)
    kinds = [entry["kind"].partition("model.")[2] for entry in found["life"]]
    assert kinds == ["version.drafted", "test.completed", "version.submitted", "version.approved", "version.effective"]
    assert found["digest"] == fitted("nir-strength").digest
    bundle = json.loads(in_use.workstation.store.blob(found["bundle_sha256"]))
    for signature in bundle["signatures"]:
        verify_signature(signature, digest=found["digest"])
    assert bundle["definition"] == tree(fitted("nir-strength").as_record())
    assert verify_store(in_use.workstation.settings.path(in_use.workstation.settings.store)).findings == ()


def test_nobody_but_an_author_writes_and_nobody_but_quality_approves(bench: Any) -> None:
    assert draft(bench, "operator").status_code == 403
    assert draft(bench).status_code == 201
    assert tried(bench, "operator").status_code == 403
    assert tried(bench).status_code == 200
    assert step(bench, "engineer", "submit").status_code == 200
    refused(step(bench, "engineer", "approve"), "holds none of the roles")
    refused(step(bench, "quality", "effective", reason="now"), "is in review")


def test_without_a_test_that_passed_a_model_goes_no_further(bench: Any) -> None:
    draft(bench)
    refused(step(bench, "engineer", "submit"), "has not passed a test")
    data = data_set("nir-strength-test")
    biased = data.model_copy(update={"samples": tuple(s.model_copy(update={"reference": s.reference + 1}) for s in data.samples)})
    answer = tried(bench, data=biased)
    assert answer.json()["test_passed"] is False and any("bias" in problem for problem in answer.json()["test_problems"])
    refused(tried(bench), "was tested")
    refused(step(bench, "engineer", "submit"), "has not passed a test")
    assert step(bench, "engineer", "retire", reason="failed its test").status_code == 200


def test_data_that_the_model_was_fitted_to_are_no_test(bench: Any) -> None:
    draft(bench)
    refused(tried(bench, data=data_set("nir-strength-training")), "not independent of the training: it is the training set")
    one = data_set("nir-strength-training").samples[3].model_copy(update={"batch": "new", "sample": "renamed"})
    test = data_set("nir-strength-test")
    refused(tried(bench, data=test.model_copy(update={"samples": (*test.samples, one)})), "sample renamed was fitted to")
    assert state(bench).get("test_passed") is None
    kinds = [entry.kind for entry in bench.workstation.store.search(kind="model.request.refused")]
    assert len(kinds) == 2


def test_a_number_means_one_content_for_ever(bench: Any) -> None:
    draft(bench)
    refused(draft(bench, model=of_sample_batch(fitted("nir-strength"))), "is there already")


def test_a_definition_that_computes_otherwise_here_is_refused(bench: Any) -> None:
    record = tree(fitted("nir-strength").as_record())
    record["vectors"][0]["prediction"] = "1.000"
    answer = bench.ask("engineer", "POST", "/models", {"definition": record, "reason": "x"})
    refused(answer, "gives another result than the one it was approved with")
    refused(bench.ask("engineer", "POST", "/models", {"definition": {"format": "x"}, "reason": "x"}), "is not a model definition")


def test_two_who_press_at_once_take_one_step(bench: Any) -> None:
    draft(bench)
    answers: list[int] = []
    bench.token("engineer")
    pressed = [threading.Thread(target=lambda: answers.append(tried(bench).status_code)) for _ in range(2)]
    for thread in pressed:
        thread.start()
    for thread in pressed:
        thread.join()
    assert sorted(answers) == [200, 409]


def check(bench: Any, at: int, offset: str = "0") -> Any:
    sample = data_set("nir-strength-test").samples[at]
    reference = str(sample.reference + Decimal(offset))
    body = {"sample": sample.sample, "inputs": tree(sample.named_inputs), "reference": reference, "method": "HPLC", "report": f"R-{at}"}
    return bench.ask("engineer", "POST", f"/models/{NAME}/checks", body)


def test_a_bias_that_reference_checks_show_suspends_the_model_until_quality_has_looked(in_use: Any) -> None:
    for at in range(3):
        assert check(in_use, at).json()["signals"] == []
    answers = [check(in_use, at, "-0.8") for at in range(3, 8)]
    assert any("the model is biased" in signal for answer in answers for signal in answer.json()["signals"])
    found = state(in_use)
    assert "biased" in str(found["suspended"]) and found["status"] == "effective"
    assert [entry["kind"] for entry in found["life"]].count("model.version.suspended") == 1
    refused(step(in_use, "engineer", "reinstate", reason="it is well"), "may not")
    assert step(in_use, "quality", "reinstate", reason="window cleaned, three checks agree").status_code == 200
    found = state(in_use)
    monitoring = in_use.ask("qp", "GET", f"/models/{NAME}/monitoring").json()
    assert found["suspended"] is None and monitoring["residuals"] == [] and monitoring["residual_signals"] == []


def test_anybody_may_suspend_and_nobody_without_a_reason(in_use: Any) -> None:
    def ask(by: str, reason: str) -> Any:
        return in_use.ask(by, "POST", f"/models/{NAME}/suspend", {"reason": reason})

    refused(ask("operator", " "), "A reason is needed")
    assert ask("operator", "the probe was dropped").status_code == 200
    refused(ask("operator", "again"), "is suspended already")
    refused(step(in_use, "quality", "reinstate"), "A reason is needed")


def test_a_sample_outside_the_domain_is_no_reference_check(in_use: Any) -> None:
    body = {"sample": "S", "inputs": {"absorbance": ["9"] * 61}, "reference": "40", "method": "HPLC", "report": "R"}
    refused(in_use.ask("engineer", "POST", f"/models/{NAME}/checks", body), "outside the domain")
    body["inputs"] = {"absorbance": 1.5}  # type: ignore[dict-item]
    assert in_use.ask("engineer", "POST", f"/models/{NAME}/checks", body).status_code == 422


def test_a_new_version_supersedes_the_former(in_use: Any) -> None:
    model = fitted("nir-strength")
    second = model.model_copy(update={"plan": model.plan.model_copy(update={"version": 2})})
    assert draft(in_use, model=second).status_code == 201
    for by, what, body in (
        ("engineer", "test", {"data": tree(data_set("nir-strength-test").as_record())}),
        ("engineer", "submit", {"signature": in_use.signature("engineer")}),
        ("quality", "approve", {"signature": in_use.signature("quality")}),
        ("quality", "effective", {"signature": in_use.signature("quality"), "reason": "extended"}),
    ):
        assert in_use.ask(by, "POST", f"/models/nir-strength@2/{what}", body).status_code == 200
    assert {row["model"]: row["status"] for row in in_use.ask("qp", "GET", "/models").json()} == {
        "nir-strength@1": "superseded",
        "nir-strength@2": "effective",
    }
    refused(in_use.ask("operator", "POST", f"/models/{NAME}/suspend", {"reason": "x"}), "is superseded")


RUN = "B00001-R1"


def closed_batch(bench: Any, made: Made, *rules: JsonObject) -> tuple[str, Any]:
    """A batch on the fake cell with the units and traces of one off the bench; return its number and the answer to closing it."""
    name: str = _PRODUCTION.make_batch(bench)
    bench.ask("operator", "POST", f"/batches/{name}/run")
    cell = bench.cell
    cell.record(EventKind.RUN_STATE_CHANGED, "run", RUN, {"state": "PRINTING", "release_rules": {"process_models": list(rules)}})
    for id_, (found, trace) in made.units.items():
        unit = f"{RUN}/{id_[-3:]}"
        fields = {
            key: found[key] for key in ("n", "strength_mg", "target_mass_mg", "verdict", "mass_mg", "expanded_uncertainty_mg", "x", "y")
        }
        cell.record(EventKind.UNIT_PRINT_INTENDED, "unit", unit, {"n": fields["n"]})
        attached = {f"traces/unit-{id_[-3:]}.csv": trace}
        subject = Subject("unit", unit)
        cell.store.append(EntryDraft(EventKind.UNIT_WEIGHT_JUDGED, subject, fields, SYSTEM, "cell-1", attachments=attached))
    cell.record(EventKind.RUN_RECORD_CLOSED, "run", RUN, {"state": "AWAITING_REVIEW", "ended": "FINISHED"})
    cell.status_now = {**cell.status_now, "run": RUN, "batch": name, "state": "AWAITING_REVIEW"}
    answer = bench.ask("qp", "POST", f"/batches/{name}/close")
    assert answer.status_code == 200, answer.text
    return name, answer.json()


def models_item(bench: Any, batch: str) -> Any:
    record = bench.ask("qp", "GET", f"/batches/{batch}/review").json()
    return next(item for item in record["evidence"] if item["item"].startswith("process models"))


def test_closing_a_run_has_its_models_predict_and_spectra_may_follow(in_use: Any) -> None:
    made = print_batch("good", 901, days=4)
    batch, closed = closed_batch(in_use, made, rule(fitted("nir-strength")))
    assert closed["models"] == {NAME: "nothing was measured of the batch that it could be asked about"}
    assert models_item(in_use, batch)["state"] == "missing"
    probe = probe_on(made, 9)
    spectra = [
        {
            "unit": f"{RUN}/{id_[-3:]}",
            "probe_model": PROBE[0],
            "probe_serial": PROBE[1],
            "scan": n,
            "saturated": False,
            "values": scan(probe, str(found["x"]), str(found["y"])),
        }
        for n, (id_, (found, _)) in enumerate(made.units.items(), 1)
    ]
    wrong = in_use.ask("operator", "POST", f"/batches/{batch}/spectra", {"spectra": [*spectra, {**spectra[0], "unit": f"{RUN}/099"}]})
    assert wrong.status_code == 404 and in_use.workstation.store.search(kind="unit.spectrum.") == []
    text = in_use.ask("operator", "POST", f"/batches/{batch}/spectra", {"spectra": [{**spectra[0], "values": ["1e3"] * 61}]})
    refused(text, "is not a number")
    assert in_use.ask("operator", "POST", f"/batches/{batch}/spectra", {"spectra": spectra}).json()["spectra"] == 4
    made_again = in_use.ask("operator", "POST", f"/batches/{batch}/predictions").json()["models"]
    assert made_again == {NAME: {"units": 4, "held": 0, "signals": []}}
    assert models_item(in_use, batch)["state"] == "met"
    monitoring = in_use.ask("qp", "GET", f"/models/{NAME}/monitoring").json()
    assert monitoring["batches_since_check"] == 1 and list(monitoring["mean_t2"]) == [batch]


def test_the_mass_model_predicts_from_the_sealed_traces_when_the_run_is_closed(bench: Any) -> None:
    model = fitted("unit-mass")
    body = {"definition": tree(model.as_record()), "reason": "a second witness of mass"}
    assert bench.ask("engineer", "POST", "/models", body).status_code == 201
    data = {"data": tree(data_set("unit-mass-test").as_record())}
    assert bench.ask("engineer", "POST", "/models/unit-mass@1/test", data).json()["test_passed"] is True
    for by, what in (("engineer", "submit"), ("quality", "approve"), ("quality", "effective")):
        signed = {"signature": bench.signature(by), "reason": "validated"}
        assert bench.ask(by, "POST", f"/models/unit-mass@1/{what}", signed).status_code == 200
    made = print_batch("good", 901, days=4)
    batch, closed = closed_batch(bench, made, rule(model, None))
    assert closed["models"] == {"unit-mass@1": {"units": 4, "held": 0, "signals": []}}
    assert models_item(bench, batch)["state"] == "met"
    assert bench.ask("engineer", "POST", "/models/unit-mass@1/suspend", {"reason": "sensor exchanged"}).status_code == 200
    again = bench.ask("operator", "POST", f"/batches/{batch}/predictions").json()["models"]
    assert again == {"unit-mass@1": "not in use: effective, suspended (sensor exchanged)"}
    assert models_item(bench, batch)["state"] == "missing"
