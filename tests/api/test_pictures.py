"""The pictures of a batch on the page and through the interface: what the cell recorded, and only plain drawings."""

from __future__ import annotations

from typing import Any, cast

import pytest

from api.cells import CellDirectory
from api.errors import NotFound
from api.pictures import PictureDesk
from api.production import Production
from api.workstation.unit_pictures import pictures_html

PLAIN = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4000 3000" width="16" height="12" role="img" aria-label="18.5 mg">\n'
    '<path d="M0 0L100 0L100 100Z" fill="#eef4f4"/>\n</svg>\n'
)


class Cells:
    """A cell with these drawings; counts how often it is asked."""

    def __init__(self, drawings: dict[str, str]) -> None:
        self.drawings = drawings
        self.asked: list[str] = []

    def client(self, name: str) -> Cells:
        return self

    def pictures(self, run: str) -> dict[str, str]:
        self.asked.append(run)
        return self.drawings


class Batches:
    def __init__(self, **state: object) -> None:
        self.state = state

    def batch(self, batch: str) -> dict[str, object]:
        return self.state


def desk(cells: Cells, **state: object) -> PictureDesk:
    return PictureDesk(cast(Production, Batches(**state)), cast(CellDirectory, cells))


def test_a_picture_is_asked_for_once_and_only_plain_drawings_pass() -> None:
    cells = Cells({"18.5-mg-unit.svg": PLAIN, "evil-unit.svg": PLAIN.replace("<path", "<script>1</script><path")})
    pictures = desk(cells, run="B-1-R1", cell="cell-1")
    assert pictures.names("B-1") == ("18.5-mg-unit.svg",)
    assert pictures.picture("B-1", "18.5-mg-unit.svg") == PLAIN.encode()
    assert cells.asked == ["B-1-R1"]
    assert pictures.last_run("B-1") == "B-1-R1"
    with pytest.raises(NotFound):
        pictures.picture("B-1", "evil-unit.svg")


def test_a_batch_without_a_run_has_none() -> None:
    cells = Cells({"18.5-mg-unit.svg": PLAIN})
    assert desk(cells, cell="cell-1").names("B-1") == ()
    assert cells.asked == []


def test_a_batch_that_is_not_there_has_no_pictures(bench: Any) -> None:
    for path in ("/batches/B-404/pictures", "/batches/B-404/pictures/18.5-mg-unit.svg"):
        assert bench.ask("operator", "GET", path).status_code == 404
        assert bench.client.get(f"/api/v1{path}").status_code == 401


def test_the_card_names_each_strength_and_folds_its_layers() -> None:
    html = pictures_html("B-1", ("1.25-mg-layers.svg", "1.25-mg-unit.svg", "2.5-mg-unit.svg"))
    assert html.count("<figure>") == 2 and html.count("<details>") == 1
    assert 'src="/api/v1/batches/B-1/pictures/1.25-mg-unit.svg"' in html
    assert pictures_html("B-1", ()) == ""
    assert "<script" not in pictures_html('B"><script>', ('x"><script>-unit.svg',))
