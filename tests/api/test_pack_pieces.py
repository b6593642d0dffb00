"""What the pages of packs and recalls say, as HTML; what people typed is text and never markup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_recall_files import write_trails

from api import cli_label, cli_recall
from api.errors import InputInvalid
from api.label_files import print_labels
from api.workstation.packing import count_html, pack_html
from api.workstation.recall import found_html

PACK: dict[str, Any] = {
    "pack": "B1-P01", "state": "dispensed", "dispensed_to": "carer", "units": [1, 2], "strengths": ["5 mg <b>x</b>"],
    "use_by": "2027-01-31", "labels": [{"copy": 1, "outcome": "applied"}],
}  # fmt: skip


def test_a_pack_is_shown_with_its_state_in_words() -> None:
    text = pack_html(PACK)
    assert "B1-P01: dispensed to: carer" in text and "label 1: applied" in text and "2 units" in text
    assert "<b>x</b>" not in text and "no label printed" in pack_html({**PACK, "labels": []})


def test_the_count_says_what_closing_waits_for() -> None:
    labels = {"issued": 2, "applied": 1, "spoiled": 0, "returned": 0, "difference": 1}
    open_ = count_html({"labels": labels, "waits_for": ["labels <i>"], "closed": True})
    assert "issued 2 = applied 1" in open_ and "Packing is closed" not in open_ and "<i>" not in open_
    assert "Packing is closed" in count_html({"labels": {**labels, "applied": 2, "difference": 0}, "waits_for": [], "closed": True})


def test_what_could_not_be_searched_stands_first() -> None:
    row = {"batch": "B1", "disposition": "released", "units": [], "packs": ["B1-P01"], "patient": "p1", "uncertain": "missing"}
    text = found_html({"batches": [row], "missing": ["cell-1.site"], "notes": ["<script>"]})
    assert text.index("Not searched: cell-1.site") < text.index("B1") and "all units" in text and "<script>" not in text
    assert "Nothing was found" in found_html({"batches": [], "missing": [], "notes": []})


class FakeDesk:
    """Answers as a workstation with one pack that is not packed yet."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        packed = "post" in self.asked
        return {"unpacked": [] if packed else [1], "packs": [{"pack": "B1-P01"}] if packed else []}

    def post(self, path: str, body: object) -> dict[str, Any]:
        self.asked.append("post")
        return {}

    def download(self, path: str, body: dict[str, Any]) -> bytes:
        self.asked.append(path)
        return b"^XA^XZ"


def test_labels_are_written_for_each_pack_after_packing(tmp_path: Path) -> None:
    desk = FakeDesk()
    (path,) = print_labels(desk, "B1", {"form": "zpl"}, tmp_path)  # type: ignore[arg-type]
    assert path == tmp_path / "label-B1-P01.zpl" and path.read_bytes() == b"^XA^XZ" and desk.asked == ["post", "/packs/B1-P01/label"]
    with pytest.raises(InputInvalid, match="counts as printed"):
        print_labels(desk, "B1-P01", {"form": "zpl"}, tmp_path / "none")  # type: ignore[arg-type]
    with pytest.raises(InputInvalid, match="not one of pdf, zpl"):
        cli_label.label("B1", form="png")


def test_a_recall_is_searched_in_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_trails(tmp_path)
    cli_recall.search(["ink_lot=L1"], list(files))
    found = json.loads(capsys.readouterr().out)
    assert found["units"] == ["B1-R1/001"] and found["patients"] == ["p1"] and found["notes"] == []
    cli_recall.search(["ink_lot=L1"], [files[0]])
    assert json.loads(capsys.readouterr().out)["missing"] == ["cell-1.site"]
    broken = files[1].read_bytes().splitlines()
    files[1].write_bytes(b"\n".join([broken[0], *broken[2:]]) + b"\n")
    cli_recall.search(["ink_lot=L1"], list(files))
    assert "does not follow" in json.loads(capsys.readouterr().out)["notes"][0]


@pytest.mark.parametrize("by", [["ink_lot"], ["ink_lot="], ["colour=red"], ["ink_lot=A", "ink_lot=B"]])
def test_a_criterion_that_cannot_be_read_is_named(by: list[str]) -> None:
    with pytest.raises(InputInvalid, match="name=value"):
        cli_recall.search(by, [])
