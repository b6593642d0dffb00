"""What process models say in a release: a high-impact model that fails is final, a medium one waits for a cause, silence is no consent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from model_batches import Made, print_batch, probe_on, scan
from model_story import PROBE, ModelStory, fitted, of_sample_batch, rule, spectra_near

from audit.canonical import JsonObject
from audit.checkpoint import SigningKey
from audit.clock import Clock
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.release.conformity import Evidence, Item, State
from audit.release.evidence import BatchEntries
from audit.release.evidence_further import further, open_exceptions
from audit.release.exceptions import resolution_digest, resolution_entry
from audit.release.model_predictions import differing, inputs_for, misread, predicted
from audit.release.process_models import ModelDefinition
from audit.release.trail_view import TrailView
from audit.signatures import sign_with_key
from audit.store import TrailStore
from hil_tests.virtual_nir import InkConfig, NirConfig

NIR = fitted("nir-strength")
MASS = fitted("unit-mass")
GOOD = spectra_near("39.6", 4)


class Records:
    """A batch off the bench in two real stores, as far as process models look at it."""

    batch = "B-1"

    def __init__(self, folder: Path, made: Made, rules: list[JsonObject], stack: ExitStack, clock: Clock) -> None:
        self.key = SigningKey.from_seed("ws.example/quentin", b"q" * 32)
        self.workstation, self.cell = (
            stack.enter_context(
                TrailStore.create(
                    folder / f"{name}.sqlite",
                    origin=f"{name}.example",
                    key=SigningKey.from_seed(f"{name}.example", name.ljust(32).encode()),
                    clock=clock,
                    software="dosewright 0.1.0",
                    demonstration=True,
                )
            )
            for name in ("ws", "cell")
        )
        self._say(
            "ink_lot", "L-1", EventKind.INK_LOT_RECEIVED, {"ink": "cyclophosphamide-40", "assay": "39.6 mg/g", "density": "1.20 g/mL"}
        )
        new: JsonObject = {"recipe": "cyclophosphamide@1", "ink_lot": "L-1", "cell": "cell-1", "machine": "sse-20g-10ml"}
        self._say("batch", self.batch, EventKind.BATCH_RECORD_CREATED, new)
        for entry in made.cell.entries:
            if entry.kind == EventKind.RUN_RECORD_CREATED:
                entry = EntryDraft(
                    entry.kind, entry.subject, {**entry.new, "release_rules": {"process_models": rules}}, entry.actor, "cell-1",
                    attachments=entry.attachments,
                )  # fmt: skip
            self.cell.append(entry)

    def _say(self, type_: str, id_: str, kind: EventKind, new: JsonObject) -> None:
        self.workstation.append(EntryDraft(kind, Subject(type_, id_), new, SYSTEM, "ws"))

    def lines(self) -> tuple[list[bytes], list[bytes]]:
        return list(self.workstation.lines()), list(self.cell.lines())

    @property
    def entries(self) -> BatchEntries:
        return BatchEntries(*(TrailView(lines) for lines in self.lines()), self.batch)

    def scan_all(self, made: Made, config: NirConfig | None = None, **faults: float) -> None:
        """Measure every unit with the probe, as an operator does."""
        probe = probe_on(made, 9, config)
        for name, value in faults.items():
            setattr(probe, name, value)
        for id_, (state, _) in made.units.items():
            new: JsonObject = {"probe_model": PROBE[0], "probe_serial": PROBE[1], "scan": 1, "saturated": False}
            self._say("spectrum", id_, EventKind.UNIT_SPECTRUM_RECORDED, {**new, "values": scan(probe, str(state["x"]), str(state["y"]))})

    def found(self) -> Evidence:
        return next(item for item in further(self.entries) if item.item is Item.MODELS_WITHIN)

    def resolve(self, exception: str, finding: str, role: str = "quality_assurance") -> None:
        fields = (self.batch, exception, finding, "measurement", "the ink was denser than its certificate says")
        digest = resolution_digest(*fields)
        signed = sign_with_key(
            self.key, signer="quentin", name="Q", role=role, meaning="exception resolved", digest=digest,
            at="2026-11-20T09:00:00.000000Z", zone="UTC",
        )  # fmt: skip
        new = resolution_entry(*fields, signed.as_record())
        subject = Subject("exception", f"{self.batch}/{exception}")
        self.workstation.append(EntryDraft(EventKind.BATCH_EXCEPTION_RESOLVED, subject, new, Actor("quentin", "Q", role), "ws"))


@pytest.fixture
def records(tmp_path: Path, counting_clock: Clock) -> Iterator[Callable[..., Records]]:
    with ExitStack() as stack:

        def make(made: Made, *rules: JsonObject) -> Records:
            folder = tmp_path / made.name
            folder.mkdir()
            return Records(folder, made, list(rules), stack, counting_clock)

        yield make


def test_ink_ten_percent_too_strong_passes_on_mass_and_is_held_by_its_spectrum(records: Any) -> None:
    made = print_batch("strong", 900, days=4, strength=1.10)
    assert {state["verdict"] for state, _ in made.units.values()} == {"accepted"}
    batch = records(made, rule(MASS, None), rule(NIR))
    batch.scan_all(made)
    for model in (MASS, NIR):
        ModelStory(model)(batch)
    found = batch.found()
    assert found.state is State.NOT_MET and "unit-mass" not in found.detail
    assert found.detail.count("mg/g is not within 39.60 ± 2.97 mg/g") == 4
    assert open_exceptions(batch.entries) == {}
    batch.resolve("model/nir-strength@1", found.detail)
    assert batch.found().state is State.NOT_MET


def test_a_good_batch_is_within_both_models(records: Any) -> None:
    made = print_batch("good", 901, days=4)
    batch = records(made, rule(MASS, None), rule(NIR))
    batch.scan_all(made)
    for model in (MASS, NIR):
        ModelStory(model)(batch)
    found = batch.found()
    assert found.state is State.MET
    assert found.detail == "unit-mass@1: 4 units within its domain and limits; nir-strength@1: 4 units within its domain and limits"
    again = predicted(MASS, inputs_for(MASS, batch.entries, batch.cell.blob), "cyclophosphamide-40")
    (entry,) = batch.entries.workstation.of("prediction", "B-1/unit-mass@1")
    assert entry.new["units"] == json.loads(json.dumps(again))


def test_an_ink_without_the_drug_is_held(records: Any) -> None:
    made = print_batch("wrong", 902, days=4, faults=("wrong_ink:2",))
    batch = records(made, rule(NIR))
    batch.scan_all(made)
    ModelStory(NIR)(batch)
    found = batch.found()
    assert found.state in (State.NOT_MET, State.MISSING) and "B-1-R1/004" in found.detail


@pytest.mark.parametrize(
    ("config", "faults", "words"),
    [
        (NirConfig(ink=InkConfig(other_excipient=True)), {}, "Q "),
        (NirConfig(), {"dirty": 0.6}, "Q "),
        (NirConfig(), {"gain": 4.0}, "is outside -0.2 to 2.9 AU"),
        (NirConfig(serial="N000000001"), {"gain": 0.0}, "held: "),
    ],
    ids=["another excipient", "a dirty window", "a saturated detector", "no light"],
)
def test_a_spectrum_unlike_the_training_is_held_and_gives_no_number(
    config: NirConfig, faults: dict[str, float], words: str, records: Any
) -> None:
    made = print_batch("odd", 903, days=3)
    batch = records(made, rule(NIR))
    batch.scan_all(made, config, **faults)
    ModelStory(NIR)(batch)
    (entry,) = batch.entries.workstation.of("prediction", "B-1/nir-strength@1")
    assert {(row["outcome"], row["prediction"]) for row in entry.new["units"]} == {("held", None)}
    found = batch.found()
    assert found.state is State.MISSING and words in found.detail and open_exceptions(batch.entries) == {}


def test_a_held_measurement_may_be_made_again(records: Any) -> None:
    made = print_batch("again", 904, days=3)
    batch = records(made, rule(NIR))
    batch.scan_all(made, dirty=0.6)
    story = ModelStory(NIR)
    story(batch)
    assert batch.found().state is State.MISSING
    batch.scan_all(made)
    story.predict(batch)
    assert batch.found().state is State.MET


def test_a_failing_result_is_not_followed_by_a_better_one(write_sample: Any) -> None:
    batch = write_sample(ModelStory(of_sample_batch(NIR), spectra_near("44", 2)))
    assert batch.evidence()["state"] == "not met"
    batch.story.measure(batch.batch, spectra_near("39.6", 2))
    batch.story.predict(batch.batch)
    assert batch.evidence()["state"] == "not met"


def test_balance_and_model_that_disagree_wait_for_a_cause(records: Any) -> None:
    made = print_batch("dense", 916, days=4, density=1.034)
    assert {state["verdict"] for state, _ in made.units.values()} == {"accepted"}
    batch = records(made, rule(MASS, None))
    ModelStory(MASS)(batch)
    found = batch.found()
    assert found.state is State.NOT_MET and "no cause is assigned" in found.detail and "balance 14" in found.detail
    ((key, finding),) = open_exceptions(batch.entries).items()
    assert key == "model/unit-mass@1"
    batch.resolve(key, finding, role="operator")
    assert batch.found().state is State.NOT_MET
    batch.resolve(key, finding)
    assert batch.found().state is State.MET and "denser than its certificate" in batch.found().detail


def test_a_trace_or_an_outcome_that_was_changed_shows(records: Any) -> None:
    made = print_batch("forged", 908, days=3)
    batch = records(made, rule(MASS, None))
    ModelStory(MASS, alter={"prediction": "100.000"})(batch)
    (entry,) = batch.entries.workstation.of("prediction", "B-1/unit-mass@1")
    assert len(differing(MASS, entry)) == 3 and misread(MASS, batch.entries, entry, batch.cell.blob) == ()
    assert batch.found().state is State.NOT_MET and "computed again" in batch.found().detail

    def other(sha256: str) -> bytes:
        return batch.cell.blob(sha256).replace(b",19", b",18")

    assert len(misread(MASS, batch.entries, entry, other)) == 3


@pytest.mark.parametrize(
    ("story", "rules", "state", "words"),
    [
        ({"omit": "model"}, {}, "missing", "knows no such model"),
        ({"omit": "effective"}, {}, "missing", "it is draft, not effective"),
        ({"omit": "prediction"}, {}, "missing", "no prediction was made while it was effective"),
        ({"suspended": "EWMA of the residual"}, {}, "missing", "it is suspended (EWMA of the residual)"),
        ({"suspended_before": True}, {}, "missing", "no prediction was made while it was effective"),
        ({"since_check": 5}, {}, "missing", "a reference check is due"),
        ({}, {"digest": "0" * 64}, "not met", "not the content that the recipe names"),
        ({}, {"tolerance_percent": None}, "missing", "states no tolerance"),
        ({"spectra": GOOD[:1]}, {}, "missing", "B-1-R1/002 held: nothing was measured of it"),
        ({"saturated": (1,)}, {}, "missing", "the detector was saturated"),
        ({"alter": {"reasons": ["x"]}}, {}, "not met", "computed again"),
        ({"spectra": spectra_near("44", 2)}, {}, "not met", "is not within 39.60 ± 2.97"),
    ],
)
def test_whatever_a_model_lacks_holds_the_batch(
    story: dict[str, Any], rules: dict[str, Any], state: str, words: str, write_sample: Any
) -> None:
    batch = write_sample(ModelStory(of_sample_batch(NIR), **{"spectra": GOOD[:2], **story}), rules)
    found = batch.evidence()
    assert (found["state"], words in found["detail"]) == (state, True), found["detail"]
    assert "released" not in batch.record()["proposal"]["open"]


@pytest.mark.parametrize("impact", ["low"])
def test_a_low_impact_model_serves_no_release(impact: str, write_sample: Any) -> None:
    batch = write_sample(ModelStory(of_sample_batch(NIR, impact=impact), GOOD[:2]))
    assert batch.evidence()["state"] == "not met" and "cannot serve release" in batch.evidence()["detail"]


def test_the_record_holds_each_prediction_with_its_model_and_statistics(write_sample: Any) -> None:
    model: ModelDefinition = of_sample_batch(NIR)
    record = write_sample(ModelStory(model, GOOD[:2])).record()
    (row,) = record["models"]
    assert row["model_digest"] == model.digest and len(row["units"]) == 2
    assert {"t2", "q", "prediction", "half_width", "source_sha256"} <= row["units"][0].keys() and "inputs" not in row["units"][0]
    (found,) = [item for item in record["evidence"] if item["item"] == Item.MODELS_WITHIN.value]
    kinds = {entry["seq"]: entry["kind"] for entry in record["entries"] if entry["trail"] == "workstation"}
    assert {"unit.spectrum.recorded", "model.prediction.recorded"} <= {kinds[link["seq"]] for link in found["entries"]}
