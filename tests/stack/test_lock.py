"""The lock over real processes: what a cell refuses is refused at its door, is on its record, and nothing moves; what is made in
development mode shows that a recipe works, and can never be released."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import stranger_verifier
from site_services import Site
from stack import Stack

from api import cli
from api.cases import Changes, load_case
from api.production import OrderRequest, SecondEntry
from audit.checkpoint import VerifierKey
from audit.errors import DosewrightError, ReleaseBlocked
from audit.reader import TrailReader
from audit.release.package_check import verify_package
from audit.report import VerificationStatus
from audit.verify import verify_store
from printer.errors import CellError
from printer.recipe_lock import DEVELOPMENT
from recipes.library import recipe_bytes
from recipes.store import MEANING_DEVELOPMENT

pytestmark = pytest.mark.stack
SECOND = "minoxidil@2"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    running = Stack.start(tmp_path / "site")
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def site(stack: Stack) -> Iterator[Site]:
    found = Site(stack)
    yield found
    found.workstation.close()


def trail(stack: Stack) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack.ask().trail(0)]


def refused(stack: Stack, job: dict[str, Any], words: str) -> None:
    """The door says no and why; the record says the same; no run was begun."""
    with pytest.raises(CellError) as refusal:
        stack.ask().create_run(job)
    assert words in str(refusal.value)
    last = trail(stack)[-1]
    assert last["kind"] == "run.request.refused" and words in last["new"]["refused"], last
    assert all(entry["kind"] != "run.record.created" for entry in trail(stack))


def second_version(*, site_recipe: bool) -> str:
    text = recipe_bytes("minoxidil").decode().replace("version = 1", "version = 2", 1).replace("30 degC", "31 degC", 1)
    return text.replace("demonstration, not for clinical use", "for use as validated", 1) if site_recipe else text


def approved(site: Site, *, site_recipe: bool = False) -> None:
    desk = site.workstation.recipes
    desk.draft(site.session("engineer"), second_version(site_recipe=site_recipe), "flows more evenly")
    desk.submit(site.session("engineer"), SECOND, site.credentials("engineer"))
    desk.approve(site.session("quality"), SECOND, site.credentials("quality"))


def test_every_way_in_over_the_connection(stack: Stack, site: Site) -> None:
    site.workstation.store.close()  # the job below is signed by the stack itself
    job: dict[str, Any] = stack.job(days=1)
    toml = job["recipe_bundle"]["recipe_toml"]

    def bundle(**changes: object) -> dict[str, Any]:
        return {**job, "recipe_bundle": {**job["recipe_bundle"], **changes}}

    refused(stack, bundle(recipe_toml=toml.replace("30 degC", "32 degC", 1)), "was changed after it")
    refused(stack, bundle(signatures=[]), "recipe_bundle")
    refused(stack, bundle(signatures=job["recipe_bundle"]["signatures"][:1] * 2), "should mean")
    refused(stack, {**job, "recipe_bundle": {k: v for k, v in job["recipe_bundle"].items() if k != "effective"}}, "approved, not effective")
    refused(stack, {**job, "program": "G1 E999"}, "program")
    refused(stack, {**job, "entered": job["confirmed"]}, "signed with the meaning")
    author = {**job["recipe_bundle"]["signatures"][0], "meaning": MEANING_DEVELOPMENT}
    refused(stack, {**job, "recipe_bundle": {"recipe_toml": toml, "development": author}}, "does not match its fields")
    # files on the disk of the cell: a person struck off its list, and a register that nobody signed
    people = stack.folder / "cell-1" / "trusted" / "people.json"
    before = people.read_text()
    people.write_text(json.dumps({key: value for key, value in json.loads(before).items() if value["username"] != "quality"}))
    refused(stack, job, "is not a signer this place trusts")
    people.write_text("{}")
    refused(stack, job, "is not trusted for orders on this cell")
    people.write_text(before)
    assert stack.ask().create_run(job)["run"] == "B-1-R1"  # as it was signed it is taken
    stack.children.close()
    keys = [VerifierKey.parse(line) for line in (stack.folder / "site.vkey").read_text().splitlines()]
    assert verify_store(stack.folder / "cell-1.db", keys).findings == ()


def test_a_cell_that_was_told_does_not_go_back(stack: Stack, site: Site) -> None:
    approved(site)
    desk = site.workstation.recipes
    answer = desk.make_effective(site.session("quality"), SECOND, site.credentials("quality"), reason="validated")
    assert answer["told"] == {"cell-1": True}
    site.workstation.store.close()
    refused(stack, stack.job(days=1), "is stale: this cell knows minoxidil@2")


def test_a_withdrawn_recipe_is_not_printed(stack: Stack, site: Site) -> None:
    desk = site.workstation.recipes
    answer = desk.retire(site.session("quality"), "minoxidil@1", site.credentials("quality"), "density is wrong")
    assert answer["told"] == {"cell-1": True}
    with pytest.raises(DosewrightError, match="no effective recipe"):
        site.order()
    site.workstation.store.close()
    refused(stack, stack.job(days=1), "was withdrawn")


def develop(site: Site, dose: str) -> str:
    """Print one unit in development mode, and close the run; return the batch."""
    stack, production = site.stack, site.workstation.production
    demonstration = load_case(stack.case, Changes(units="1"), datetime.now(UTC).date())
    fields = {name: getattr(demonstration.entry, name) for name in demonstration.entry.__dataclass_fields__}
    named = {"recipe": SECOND, "ink_lot": demonstration.ink.lot, "cartridge": demonstration.cartridge.serial, "prescribed": dose}
    engineer = site.session("engineer")
    request = OrderRequest.model_validate({**fields, **named})
    order = str(production.enter_order(engineer, request, site.credentials("engineer"))["order"])
    again = SecondEntry(**{name: getattr(request, name) for name in SecondEntry.model_fields})
    production.confirm_order(site.session("second"), order, again, site.credentials("second"))
    batch = str(production.create_batch(engineer, order, "cell-1")["batch"])
    production.request_run(engineer, batch)
    stack.until(lambda status: status["state"] == "READY")
    production.start(engineer, batch)
    status = stack.until(lambda status: status["state"] == "AWAITING_REVIEW")
    assert status["purpose"] == DEVELOPMENT and status["ended"] == "FINISHED"
    site.workstation.release.close_run(site.session("qp"), batch)
    return batch


def test_development_shows_that_it_works_and_is_never_released(stack: Stack, site: Site) -> None:
    approved(site, site_recipe=True)
    desk = site.workstation.recipes
    with pytest.raises(DosewrightError, match="0 confirmatory batches"):
        desk.make_effective(site.session("quality"), SECOND, site.credentials("quality"), reason="validated")
    desk.open_for_development(site.session("engineer"), SECOND, site.credentials("engineer"))
    batches = [develop(site, dose) for dose in ("0.25", "2.5", "5")]

    record = site.workstation.release.review(batches[0])
    assert record["purpose"] == DEVELOPMENT and DEVELOPMENT in str(record["notice"])
    for disposition in ("released", "partly released"):
        with pytest.raises(ReleaseBlocked, match="it can never be released"):
            site.dispose(batches[0], disposition)
    with pytest.raises(DosewrightError, match="no confirmatory batch at the high end"):
        desk.make_effective(site.session("quality"), SECOND, site.credentials("quality"), reason="validated", batches=tuple(batches[:2]))
    answer = desk.make_effective(site.session("quality"), SECOND, site.credentials("quality"), reason="validated", batches=tuple(batches))
    assert answer["supersedes"] == "minoxidil@1" and answer["told"] == {"cell-1": True}
    with pytest.raises(ReleaseBlocked, match="it can never be released"):  # nor after its version became effective
        site.dispose(batches[0], "released")
    site.dispose(batches[0], "rejected")
    package = stack.folder / "review-package.zip"
    package.write_bytes(site.workstation.release.export(site.session("qp"), batches[0]))
    lines = (stack.folder / "site.vkey").read_text().splitlines()
    report = verify_package(package, [VerifierKey.parse(line) for line in lines])
    assert (report.status, report.findings) == (VerificationStatus.VERIFIED, ())
    stranger_verifier.verify(package.read_bytes(), lines)
    assert cli.run(["replay", str(package)]) == 0
    stack.children.close()
    reader = TrailReader(stack.folder / "cell-1.db")
    marked = [state.get("purpose") for kind in ("run", "unit") for _, state in reader.objects(kind)]
    reader.close()
    assert marked == [DEVELOPMENT] * 6
