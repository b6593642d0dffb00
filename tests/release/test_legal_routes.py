"""What a legal route makes of a release: who may sign it, what the signature means, what the document says."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pypdf
import pytest

from audit.canonical import canonical
from audit.errors import ReleaseBlocked
from audit.release.document import render_record
from audit.release.legal_routes import CERTIFIED, PHARMACIST_RELEASE, REAL_TIME, ROUTES
from audit.release.package_check import verify_package
from printer.release_facts import release_facts
from recipes.compile import compile_program
from recipes.library import load_demonstration, load_machine, load_recipe
from recipes.model import DoseOrder, Recipe

TODAY = "2026-11-20"
RELEASERS = {"pharmacist": "ben", "qualified_person": "quinn"}
CLAIMS = [
    (route, authorised)
    for route, known in ROUTES.items()
    for count in range(len(known.may) + 1)
    for authorised in itertools.combinations(sorted(known.may), count)
]


def facts_of(route: str, authorised: tuple[str, ...]) -> Any:
    """What a cell states of a run whose recipe names this route, from a program that it compiled."""
    base = load_recipe("cyclophosphamide")
    recipe = Recipe.model_validate(base.as_record() | {"legal_route": route, "authorised": list(authorised)})
    prescription, ink, cartridge = load_demonstration("cyclophosphamide", TODAY)
    order = DoseOrder.create("T", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    machine = load_machine(recipe.machine)
    program = compile_program(order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=machine, today=TODAY, demonstration=True)
    return release_facts(recipe, program, [(ink, cartridge)], machine, TODAY, None)


def text_of(record: Any) -> str:
    pages = pypdf.PdfReader(io.BytesIO(render_record(record, canonical(record)))).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


@pytest.mark.parametrize(("route", "authorised"), CLAIMS)
def test_the_words_and_the_releaser_follow_from_the_route(
    route: str, authorised: tuple[str, ...], write_batch: Any, scenario: Any, unit: Any, tmp_path: Any
) -> None:
    release = facts_of(route, authorised)
    facts = {"facts": {"release": release}, "units": (unit("467.2"), unit("468.0"), unit("466.1"))}
    right = "qualified_person" if CERTIFIED in authorised else "pharmacist"
    (wrong,) = set(RELEASERS) - {right}
    batch = write_batch(scenario(disposition=None, **facts))
    with pytest.raises(ReleaseBlocked, match=f"role '{wrong}' may not sign a batch as released"):
        batch.dispose("released", RELEASERS[wrong])
    batch.dispose("released", RELEASERS[right])
    record = batch.record()
    words = [CERTIFIED if CERTIFIED in authorised else PHARMACIST_RELEASE, *([REAL_TIME] if REAL_TIME in authorised else [])]
    assert record["signatures"][-1]["meaning"] == f"released: {'; '.join(words)}"
    text = text_of(record)
    stated = f"{ROUTES[route].title}: {'; '.join(words)}"  # type: ignore[index]
    assert "".join(stated.split()) in "".join(text.split())  # wherever its lines are broken
    for claim in (CERTIFIED, REAL_TIME, PHARMACIST_RELEASE):
        assert (claim in text) is (claim in words)
    package = batch.export(tmp_path / "package.zip")
    assert verify_package(package, [batch.workstation.key, batch.cell.key]).findings == ()


@pytest.mark.parametrize("meaning", ["released", f"released: {CERTIFIED}"])
def test_a_signature_of_another_meaning_than_its_route_has_is_found(
    meaning: str, write_batch: Any, scenario: Any, unit: Any, tmp_path: Any
) -> None:
    release = facts_of("magistral", ())
    batch = write_batch(scenario(disposition=None, facts={"release": release}, units=(unit("467.2"), unit("468.0"), unit("466.1"))))
    batch.dispose("released", "ben", meaning)
    found = verify_package(batch.export(tmp_path / "package.zip"), [batch.workstation.key, batch.cell.key]).findings
    assert f"does not mean 'released: {PHARMACIST_RELEASE}'" in " ".join(map(str, found))


def test_anybody_who_may_reject_rejects_whatever_the_route(write_batch: Any, scenario: Any, unit: Any) -> None:
    release = facts_of("uk_point_of_care", (CERTIFIED,))
    batch = write_batch(scenario(disposition=None, facts={"release": release}, units=(unit("467.2"),)))
    batch.dispose("rejected", "quentin")
    assert batch.record()["signatures"][-1]["meaning"] == "rejected"


def test_without_a_route_nothing_is_claimed(write_batch: Any, scenario: Any, unit: Any) -> None:
    record = write_batch(scenario(units=(unit("467.2"), unit("468.0"), unit("466.1")), disposition="released")).record()
    assert record["signatures"][-1]["meaning"] == "released"
    assert not [claim for claim in (CERTIFIED, REAL_TIME, PHARMACIST_RELEASE) if claim in text_of(record)]
