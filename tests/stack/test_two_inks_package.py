"""A batch of two inks from order to package, through real processes: record, verifiers and replay show and check both."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import demo_runs
import pytest
import stranger_verifier as stranger

from api import cli
from api.interop.fhir_batch import batch_analysis
from audit.canonical import canonical
from audit.release import batch_record
from audit.release.package import read_package, trail_name

pytestmark = pytest.mark.stack

MARK = "every printed unit weighed and judged"


@cache
def released() -> Path:
    return demo_runs.demonstration("--case", "polypill", "--units", "3")


@cache
def held() -> Path:
    """From the second unit on the second ink is another one, lighter by a tenth."""
    return demo_runs.demonstration("--case", "polypill", "--units", "3", "--fault", "density:2:head2", status=3)


def record_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_package(folder / demo_runs.PACKAGE).files["record.json"])
    return found


@pytest.mark.parametrize("folder", [released, pytest.param(held, marks=pytest.mark.deep)])
def test_both_verifiers_agree(folder: Callable[[], Path]) -> None:
    data = (folder() / demo_runs.PACKAGE).read_bytes()
    assert stranger.verify(data, (folder() / demo_runs.KEYS).read_text().split())
    arguments = [str(folder() / demo_runs.PACKAGE), "--trusted-key", str(folder() / demo_runs.KEYS)]
    assert cli.run(["verify", *arguments]) == 0


def test_the_replay_is_identical(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["replay", str(released() / demo_runs.PACKAGE)]) == 0
    said = capsys.readouterr().out
    assert "identical" in said and "3 units" in said


def test_as_fhir_a_unit_has_both_actives() -> None:
    tree = json.loads(batch_analysis(record_of(released()), site="demonstration"))
    (unit,) = (entry["resource"] for entry in tree["entry"] if entry["resource"]["resourceType"] == "Medication")
    assert len(unit["ingredient"]) == 2, unit["code"]


def test_the_record_names_both_inks_and_judges_each_part() -> None:
    record, truth = record_of(released()), json.loads((released() / "bench-truth.json").read_text())
    assert (record["disposition"], record["units_planned"], record["units_accepted"]) == ("released", 3, 3)
    assert (record["ink"]["lot"], record["second_ink"]["lot"]) == ("SPI-DEMO-01", "HCT-DEMO-01")
    assert record["second_cartridge"]["serial"] == "HCT-DEMO-01-A"
    assert [(row["part"], row["moiety"], row["strength_mg"]) for row in record["strengths"]] == [
        (1, "spironolactone", "12.5"),
        (2, "hydrochlorothiazide", "6.25"),
    ]
    for unit, row in zip(record["units"], truth, strict=True):
        assert unit["content_percent"] is None and len(unit["parts"]) == 2
        for part, label in zip(unit["parts"], ("12.5", "6.25"), strict=True):
            assert Decimal(part["low_mg"]) <= Decimal(part["mass_mg"]) <= Decimal(part["high_mg"])
            # The bench alone knows what is in it; the certificates' assays are right on this bench.
            content = Decimal(row[f"active_{part['part']}_mg"]) / Decimal(label) * 100
            assert abs(Decimal(part["content_percent"]) - content) < 1
    statistics = [row["uniformity"] for row in record["strengths"]]
    assert [found["n"] for found in statistics] == [3, 3] and statistics[0]["mean_percent"] != statistics[1]["mean_percent"]
    claims = next(item["detail"] for item in record["evidence"] if item["item"].startswith("uniformity"))
    assert claims.startswith("spironolactone: ") and "; hydrochlorothiazide: " in claims
    gates = {gate["gate"]: gate for run in record["runs"] for gate in run["gates"]}
    assert gates["cartridge in each head"]["met"] is True


@pytest.mark.deep
def test_another_second_ink_is_held_and_its_unit_rejected() -> None:
    record = record_of(held())
    unit = record["units"][1]
    assert [part["verdict"] for part in unit["parts"]] == ["accepted", "rejected"] and unit["verdict"] == "rejected"
    assert "ink identity" in " ".join(unit["reasons"])
    assert record["disposition"] == "rejected" and record["units_accepted"] == 1
    assert [row["uniformity"]["n"] for row in record["strengths"]] == [1, 1], "the good part of a rejected unit is in no statistic"


def _rebuilt(kind: str, subject: str, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The record that trails would give in which one entry says something else."""
    files, record = read_package(released() / demo_runs.PACKAGE).files, record_of(released())
    lines: dict[str, list[bytes]] = {}
    for name in ("workstation", "cell"):
        lines[name] = files[trail_name(record["trails"][name]["origin"])].split(b"\n")[:-1]
    changed = []
    for line in lines["cell"]:
        entry = json.loads(line)
        if entry["kind"] == kind and entry["subject"]["id"].endswith(subject):
            change(entry["new"])
        changed.append(canonical(entry))
    assert changed != lines["cell"]
    unsigned = [line for line in lines["workstation"] if json.loads(line)["kind"] != "batch.disposition.signed"]
    return batch_record.build(unsigned, changed, record["batch"])


@pytest.mark.parametrize(
    ("kind", "subject", "change", "words"),
    [
        ("part.weight.judged", "/001.2", lambda new: new.update(verdict="rejected"), "not weighed and accepted"),
        ("part.weight.judged", "/001.2", lambda new: new.update(mass_mg=None), "not weighed and accepted"),
        ("unit.print.intended", "/002", lambda new: new.update(parts=new["parts"][:1]), "1 parts, its order names 2 inks"),
        ("unit.print.intended", "/002", lambda new: new.pop("parts"), "0 parts, its order names 2 inks"),
    ],
)
def test_a_unit_that_is_accepted_without_both_of_its_parts_is_not_releasable(
    kind: str, subject: str, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    """Also where every other entry says that it is: the evidence looks at each part."""
    record = _rebuilt(kind, subject, change)
    item = next(item for item in record["evidence"] if item["item"] == MARK)
    assert item["state"] == "not met" and words in item["detail"]
    assert record["proposal"]["open"] == ["rejected"]
