"""A batch printed under a legal route, through real processes: who releases it, with which words, on the signature, record and PDF."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdf
import pytest
import stranger_verifier
from site_services import Site
from stack import OPERATOR, Stack, today

from api.demo_register import CLEANING_METHOD, demonstration_register, sign_register
from audit.checkpoint import VerifierKey
from audit.clock import SystemClock
from audit.errors import ReleaseBlocked
from audit.identity import Identity
from audit.release.package_check import verify_package
from recipes.library import recipe_bytes

pytestmark = pytest.mark.stack

PLAIN = "pharmacist release, 100 % weighing"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(Stack.start(tmp_path / "site"))
    yield found
    found.close()


def make_effective(site: Site, version: int, lines: str) -> None:
    """Take the recipe as far as effective with these lines, which name its legal route."""
    head, tail = recipe_bytes("minoxidil").decode().replace("version = 1", f"version = {version}", 1).split("\n[active]\n", 1)
    desk, reference = site.workstation.recipes, f"minoxidil@{version}"
    desk.draft(site.session("engineer"), f"{head}\n{lines}\n[active]\n{tail}", "printed under a named law")
    desk.submit(site.session("engineer"), reference, site.credentials("engineer"))
    desk.approve(site.session("quality"), reference, site.credentials("quality"))
    desk.make_effective(site.session("quality"), reference, site.credentials("quality"), reason="validated")


def train(site: Site) -> None:
    """Sign a register by which the operator is trained for the versions that the test makes effective."""
    register = demonstration_register(
        "cell-1", today=today(), recipes=["minoxidil@2", "minoxidil@3"], people=["operator"], daily_check=False
    )
    identity = Identity(site.workstation.store, SystemClock())
    signed = sign_register(register, identity, "quality", (site.stack.passwords or {})["quality"], scripted=True)
    (site.stack.folder / "cell-1" / "equipment.json").write_text(signed.text())


def printed(site: Site) -> str:
    """Clean the cell, print a batch to its end and close its run; return its number."""
    site.stack.ask().record_cleaning(OPERATOR, CLEANING_METHOD)
    batch = site.batch("3")
    site.print(batch)
    site.stack.until(lambda status: bool(status["ended"]))
    site.workstation.release.close_run(site.session("qp"), batch)
    assert site.workstation.release.review(batch)["proposal"]["disposition"] == "released"  # type: ignore[index, call-overload]
    return batch


def dispose(site: Site, batch: str, who: str) -> None:
    site.workstation.release.dispose(site.session(who), batch, "released", site.credentials(who))


def exported(site: Site, batch: str, folder: Path) -> tuple[dict[str, Any], str]:
    """Export and verify the package, by us and by a stranger; return its record and the text of its PDF."""
    package = folder / f"{batch}.zip"
    package.write_bytes(site.workstation.release.export(site.session("qp"), batch))
    keys = (site.stack.folder / "site.vkey").read_text().split()
    assert verify_package(package, [VerifierKey.parse(key) for key in keys]).findings == ()
    assert stranger_verifier.verify(package.read_bytes(), keys)
    archive = zipfile.ZipFile(package)
    (pdf,) = [name for name in archive.namelist() if name.endswith(".pdf")]
    pages = pypdf.PdfReader(io.BytesIO(archive.read(pdf))).pages
    return json.loads(archive.read("record.json")), " ".join(" ".join(page.extract_text() for page in pages).split())


def test_each_route_has_its_own_releaser_and_its_own_words(site: Site, tmp_path: Path) -> None:
    train(site)
    make_effective(site, 2, 'legal_route = "magistral"')
    batch = printed(site)
    with pytest.raises(ReleaseBlocked, match="role 'qualified_person' may not sign a batch as released"):
        dispose(site, batch, "qp")
    with pytest.raises(ReleaseBlocked, match="entered the order"):
        dispose(site, batch, "pharmacist")
    dispose(site, batch, "second")
    record, text = exported(site, batch, tmp_path)
    assert (record["signatures"][-1]["signer"], record["signatures"][-1]["meaning"]) == ("second", f"released: {PLAIN}")
    assert f"magistral preparation: {PLAIN}" in text and f"released: {PLAIN}" in text
    assert "certified by a QP" not in text and "real-time release" not in text

    make_effective(site, 3, 'legal_route = "uk_point_of_care"\nauthorised = ["certified by a QP", "real-time release"]')
    batch = printed(site)
    with pytest.raises(ReleaseBlocked, match="role 'pharmacist' may not sign a batch as released"):
        dispose(site, batch, "second")
    dispose(site, batch, "qp")
    record, text = exported(site, batch, tmp_path)
    assert record["signatures"][-1]["meaning"] == "released: certified by a QP; real-time release"
    assert record["release"]["legal_route"]["label"].startswith("Made at the point of care")
    assert "point of care product under a UK licence: certified by a QP; real-time release" in text and PLAIN not in text
