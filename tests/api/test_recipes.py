"""The life cycle of a recipe at the workstation, and every way round it that is tried at its doors."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from shape_cases import with_a_solid

from audit.checkpoint import SigningKey, VerifierKey
from audit.signatures import sign_with_key
from audit.verify import verify_store
from recipes.library import load_recipe, recipe_bytes
from recipes.model import parse_recipe
from recipes.store import MEANING_APPROVER, MEANING_AUTHOR, read_bundle, solid_text, verify_effective

CASE = "hydrocortisone"
FIRST = recipe_bytes(CASE).decode()


def version(number: int, old: str = "170 degC", new: str = "171 degC") -> str:
    assert old in FIRST
    return FIRST.replace("version = 1", f"version = {number}", 1).replace(old, new, 1)


def draft(bench: Any, toml: str, by: str = "engineer", reason: str = "melts better") -> Any:
    return bench.ask(by, "POST", "/recipe-versions", {"recipe_toml": toml, "reason": reason})


def step(bench: Any, by: str, what: str, reference: str = f"{CASE}@2", **more: object) -> Any:
    body: dict[str, object] = {"signature": bench.signature(by), **more}
    return bench.ask(by, "POST", f"/recipe-versions/{reference}/{what}", body)


def effective(bench: Any, number: int, new: str = "171 degC") -> str:
    """Take a version all the way; return its reference."""
    reference = f"{CASE}@{number}"
    for answer in (
        draft(bench, version(number, new=new)),
        step(bench, "engineer", "submit", reference),
        step(bench, "quality", "approve", reference),
        step(bench, "quality", "effective", reference, reason="validated"),
    ):
        assert answer.status_code in (200, 201), answer.text
    return reference


def test_an_stl_file_goes_with_its_recipe_through_every_step(bench: Any) -> None:
    toml, solid = with_a_solid(recipe_bytes("cyclophosphamide").replace(b"version = 1", b"version = 2", 1))
    body: dict[str, object] = {"recipe_toml": toml.decode(), "reason": "a hexagon is told from a round one"}
    for sent, words in ((None, "not at hand"), (solid_text(solid[:-50]), "not the one"), ("no base64", "not base64")):
        refused(bench, bench.ask("engineer", "POST", "/recipe-versions", body | ({} if sent is None else {"solid": sent})), words)
    refused(
        bench,
        bench.ask("engineer", "POST", "/recipe-versions", {"recipe_toml": version(2), "reason": "why", "solid": solid_text(solid)}),
        "binds no",
    )
    body["solid"] = solid_text(solid)
    assert bench.ask("engineer", "POST", "/recipe-versions", body).status_code == 201
    reference = "cyclophosphamide@2"
    for by, what, more in (
        ("engineer", "submit", {}),
        ("engineer", "development", {}),
        ("quality", "approve", {}),
        ("quality", "effective", {"reason": "validated"}),
    ):
        answer = step(bench, by, what, reference, **more)
        assert answer.status_code in (200, 201), answer.text
    bundle = read_bundle(bench.ask("operator", "GET", "/recipes/cyclophosphamide").json())
    assert bundle.effective is not None and bundle.solid_file == solid
    state = bench.workstation.store.state("recipe", reference)
    opened = json.loads(bench.workstation.store.blob(state["development_sha256"]))
    assert opened["solid"] == solid_text(solid)


def status(bench: Any, reference: str) -> object:
    return bench.workstation.store.state("recipe", reference)["status"]


def refusals(bench: Any) -> list[Any]:
    return list(bench.workstation.store.search(kind="recipe.request.refused", limit=100))


def refused(bench: Any, answer: Any, words: str) -> None:
    """The answer says no and why, and the trail says so too."""
    assert answer.status_code >= 400, answer.text
    assert words in answer.json()["detail"], answer.text
    assert words[:40] in str(refusals(bench)[-1].new["refused"])


def test_the_whole_life_with_what_is_signed(bench: Any) -> None:
    answer = draft(bench, version(2))
    assert answer.status_code == 201
    assert answer.json()["compared_with"] == f"{CASE}@1"
    assert answer.json()["difference"] == [
        {"path": "parameters.nozzle_temperature.set_point", "old": "170 degC", "new": "171 degC", "change": "changed"}
    ]
    step(bench, "engineer", "submit")
    assert status(bench, f"{CASE}@2") == "in review"
    step(bench, "quality", "approve")
    answer = step(bench, "quality", "effective", reason="validated", review_by="")
    assert answer.json()["supersedes"] == f"{CASE}@1" and answer.json()["told"] == {"cell-1": True}
    assert (status(bench, f"{CASE}@1"), status(bench, f"{CASE}@2")) == ("superseded", "effective")
    bundle = read_bundle(bench.ask("operator", "GET", f"/recipes/{CASE}").json())
    people = {person.verifier_key: {role.value for role in person.roles} for person in bench.workstation.people._identity.people()}
    today = bench.workstation.clock.utc().at[:10]
    assert verify_effective(bundle, people, today).version == 2
    shown = bench.ask("qp", "GET", f"/recipe-versions/{CASE}@2").json()
    assert [entry["kind"].rpartition(".")[2] for entry in shown["life"]] == ["drafted", "submitted", "approved", "effective"]
    superseded, made = bench.workstation.store.search(kind="recipe.version.", limit=100)[-2:]
    assert (superseded.kind, made.kind, made.seq - superseded.seq) == ("recipe.version.superseded", "recipe.version.effective", 1)
    assert step(bench, "quality", "retire", reason="ink is gone").status_code == 200
    assert bench.ask("pharmacist", "GET", f"/recipes/{CASE}").status_code == 404
    assert [what for what, _ in bench.cell.asked] == ["recipe.effective", "recipe.withdrawn"]


def test_nobody_approves_what_is_their_own(bench: Any) -> None:
    draft(bench, version(2))
    step(bench, "engineer", "submit")
    refused(bench, step(bench, "engineer", "approve"), "none of the roles")
    step(bench, "quality", "approve")
    refused(bench, step(bench, "pharmacist", "effective", reason="hurry"), "none of the roles")
    refused(bench, step(bench, "operator", "retire", reason="x"), "cannot take the step")


@pytest.mark.parametrize("what", ["approve", "effective", "return"])
def test_no_step_is_left_out(bench: Any, what: str) -> None:
    draft(bench, version(2))
    refused(bench, step(bench, "quality", what, **({} if what == "approve" else {"reason": "x"})), "cannot take the step")
    assert status(bench, f"{CASE}@2") == "draft"


def test_a_step_needs_the_password(bench: Any) -> None:
    draft(bench, version(2))
    wrong = {"signature": {"password": "wrong", "scripted": True}}
    answer = bench.ask("engineer", "POST", f"/recipe-versions/{CASE}@2/submit", wrong)
    refused(bench, answer, "password is wrong")
    answer = bench.ask(
        "engineer", "POST", f"/recipe-versions/{CASE}@2/submit", {"signature": {**bench.signature("quality"), "username": "quality"}}
    )
    refused(bench, answer, "signed by the person who is logged in")
    assert status(bench, f"{CASE}@2") == "draft"


def test_a_number_means_one_content_for_ever(bench: Any) -> None:
    draft(bench, version(2))
    assert draft(bench, version(2, new="172 degC")).status_code == 201  # nobody has signed it yet
    step(bench, "engineer", "submit")
    refused(bench, draft(bench, version(2, new="173 degC")), "never used again")
    step(bench, "quality", "return", reason="too hot")
    assert status(bench, f"{CASE}@2") == "draft"
    refused(bench, draft(bench, version(2, new="173 degC")), "never used again")
    assert step(bench, "engineer", "submit").status_code == 200
    refused(bench, draft(bench, FIRST), "never used again")


def test_a_version_without_a_change_or_a_reason_is_none(bench: Any) -> None:
    refused(bench, draft(bench, FIRST.replace("version = 1", "version = 2", 1)), "says what")
    refused(bench, draft(bench, version(2), reason=" "), "A reason is needed")
    refused(bench, draft(bench, version(2) + "\nmore = 1\n"), "not a valid recipe")


def test_an_older_version_does_not_come_back(bench: Any) -> None:
    draft(bench, version(2))
    step(bench, "engineer", "submit")
    step(bench, "quality", "approve")
    effective(bench, 3, "172 degC")
    refused(bench, step(bench, "quality", "effective", reason="back"), "is stale")
    refused(bench, step(bench, "quality", "effective", f"{CASE}@1", reason="back"), "cannot take the step")


def test_a_site_recipe_needs_confirmatory_batches(bench: Any) -> None:
    toml = version(2).replace("demonstration, not for clinical use", "for use as validated", 1)
    draft(bench, toml)
    step(bench, "engineer", "submit")
    step(bench, "quality", "approve")
    refused(bench, step(bench, "quality", "effective", reason="validated"), "0 confirmatory batches")
    refused(bench, step(bench, "quality", "effective", reason="validated", batches=["B00009"]), "no batch")
    assert status(bench, f"{CASE}@2") == "approved"


def test_development_is_for_engineers_and_marked(bench: Any) -> None:
    request = {
        "recipe": f"{CASE}@2",
        "ink_lot": "x",
        "cartridge": "x",
        "patient": "development-1",
        "moiety": "hydrocortisone",
        "basis": "base",
        "prescribed": "5",
        "unit": "mg",
        "per": "dose",
        "schedule": "once 1",
        "days": "1",
    }
    draft(bench, version(2))
    order = {"order": request, "signature": bench.signature("engineer")}
    assert "not open for development" in bench.ask("engineer", "POST", "/orders", order).json()["detail"]
    refused(bench, step(bench, "quality", "development"), "may not open a recipe")
    assert step(bench, "engineer", "development").status_code == 200
    assert bench.workstation.shelf.is_development(f"{CASE}@2")
    locked = bench.ask("engineer", "POST", "/orders", {**order, "order": {**request, "recipe": CASE}})
    assert locked.status_code == 403 and "development runs only" in locked.json()["detail"]
    assert f"{CASE}@2" in bench.workstation.shelf.choices(development=True)
    assert f"{CASE}@2" not in bench.workstation.shelf.choices(development=False)
    step(bench, "engineer", "submit")
    step(bench, "quality", "approve")
    step(bench, "quality", "effective", reason="validated")
    refused(bench, step(bench, "engineer", "development"), "is effective")
    assert not bench.workstation.shelf.is_development(f"{CASE}@2")


# -- files -----------------------------------------------------------------------------------------------------------

KEYS = {name: SigningKey.generate(f"workstation.other/{name}") for name in ("author", "approver")}


def other_site(number: int = 2, *, approver: str = "approver") -> dict[str, Any]:
    """A bundle file of another site."""
    toml = version(number)
    digest = parse_recipe(toml.encode()).digest

    def signature(who: str, key: str, role: str, meaning: str) -> Any:
        return sign_with_key(
            KEYS[key], signer=who, name=who, role=role, meaning=meaning, digest=digest, at="2026-11-20T08:00:00.000000Z", zone="UTC"
        )

    signatures = [
        signature("author", "author", "process_engineer", MEANING_AUTHOR).as_record(),
        signature(approver, approver, "quality_assurance", MEANING_APPROVER).as_record(),
    ]
    return {"format": "dosewright-recipe-bundle/1", "bundle": {"recipe_toml": toml, "signatures": signatures}}


def enrol(bench: Any, *names: str) -> None:
    roles = {"author": ["process_engineer", "quality_assurance"], "approver": ["quality_assurance"]}
    path: Path = bench.workstation.settings.folder / "trusted" / "signers.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({KEYS[name].verifier_key: {"username": name, "roles": roles[name]} for name in names}))


def take_in(bench: Any, content: object, by: str = "quality") -> Any:
    return bench.ask(by, "POST", "/recipe-bundles", {"bundle": content if isinstance(content, str) else json.dumps(content)})


def test_from_site_to_site(bench: Any) -> None:
    enrol(bench, "author", "approver")
    answer = take_in(bench, other_site())
    assert answer.status_code == 201 and answer.json()["status"] == "approved", answer.text
    assert step(bench, "quality", "effective", reason="as the control site").status_code == 200
    exported = bench.ask("qp", "POST", f"/recipe-versions/{CASE}@2/export")
    assert json.loads(exported.content)["bundle"]["effective"]["statement"]["supersedes"] == f"{CASE}@1"
    assert exported.headers["content-disposition"].endswith(f'filename="{CASE}@2.recipe.json"')


def test_keys_are_believed_and_nothing_else(bench: Any) -> None:
    refused(bench, take_in(bench, other_site()), "is not a signer this place trusts")
    enrol(bench, "author")
    refused(bench, take_in(bench, other_site()), "approver approver is not a signer")
    enrol(bench, "author", "approver")
    refused(bench, take_in(bench, other_site(approver="author")), "signed as author and as approver")
    hotter = other_site()
    hotter["bundle"]["recipe_toml"] = version(2, new="175 degC")
    refused(bench, take_in(bench, hotter), "was changed after it")
    unsigned = other_site()
    unsigned["bundle"]["signatures"].pop()
    refused(bench, take_in(bench, unsigned), "is not a recipe bundle")
    for content in ("", "{", "[]", json.dumps({**other_site(), "more": 1}), "[" * 100_000):
        refused(bench, take_in(bench, content), "The file is not a recipe bundle")
    refused(bench, take_in(bench, other_site(), by="operator"), "may not approve a recipe")
    assert bench.workstation.store.state("recipe", f"{CASE}@2") is None


def test_a_stale_bundle_is_refused(bench: Any) -> None:
    enrol(bench, "author", "approver")
    effective(bench, 3, "172 degC")
    refused(bench, take_in(bench, other_site(2)), "is stale")
    refused(bench, take_in(bench, other_site(3)), "is stale")
    assert take_in(bench, other_site(4)).status_code == 201
    refused(bench, take_in(bench, other_site(4)), "is stale")


def test_a_list_of_signers_that_cannot_be_read_is_no_list(bench: Any) -> None:
    enrol(bench, "author", "approver")
    (bench.workstation.settings.folder / "trusted" / "signers.json").write_text("[1]")
    refused(bench, take_in(bench, other_site()), "cannot be read")


# -- the database ----------------------------------------------------------------------------------------------------


def test_a_row_that_was_changed_is_found_and_its_recipe_not_believed(bench: Any) -> None:
    """Whoever can write the file can make a draft look effective; `verify` names the row, and a cell gets no third signature."""
    draft(bench, version(2))
    path = bench.workstation.settings.store_place
    database = sqlite3.connect(path)
    (state,) = database.execute("SELECT state FROM objects WHERE type = 'recipe' AND id = ?", (f"{CASE}@2",)).fetchone()
    forged = {**json.loads(state), "status": "effective"}
    database.execute("UPDATE objects SET state = ? WHERE type = 'recipe' AND id = ?", (json.dumps(forged), f"{CASE}@2"))
    database.commit()
    with pytest.raises(sqlite3.IntegrityError):
        database.execute("UPDATE entries SET canonical = '{}' WHERE seq = 3")
    database.close()
    answer = bench.ask("operator", "GET", f"/recipes/{CASE}")  # nothing is signed under this row
    assert answer.status_code == 404 and "no signed bundle" in answer.json()["detail"]
    report = verify_store(path, [VerifierKey.parse(bench.workstation.store.verifier_key)])
    assert any(f"{CASE}@2" in str(finding) for finding in report.findings)


def test_the_library_says_why_it_ships_effective(bench: Any) -> None:
    for state in bench.ask("qp", "GET", "/recipes").json():
        assert state["status"] == "effective" and state["confirmatory"] == []
        assert "demonstration recipe" in state["exemption"]
    assert load_recipe(CASE).status_text == "demonstration, not for clinical use"
