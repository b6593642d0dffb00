"""Trails as files, made of plain lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.errors import InputInvalid
from api.trail_files import read_files, read_folder
from audit.canonical import canonical
from audit.chain import entry_digest

AT = "2026-03-01T00:00:00.000000Z"
DESK = (
    ("site.store.created", "store", "desk.site", {"origin": "desk.site"}),
    ("cell.record.enrolled", "cell", "cell-1", {"origin": "cell-1.site"}),
    ("order.prescription.entered", "order", "O1", {"order": {"prescription": {"patient": "p1"}}}),
    ("batch.record.created", "batch", "B1", {"order": "O1", "ink_lot": "L1", "cell": "cell-1", "run": "B1-R1"}),
)
CELL = (
    ("site.store.created", "store", "cell-1.site", {"origin": "cell-1.site"}),
    ("cell.process.started", "cell", "cell-1", {}),
    ("run.record.created", "run", "B1-R1", {"batch": "B1"}),
    ("unit.print.intended", "unit", "B1-R1/001", {"n": 1}),
)


def _write(path: Path, entries: tuple[tuple[str, str, str, dict[str, object]], ...]) -> Path:
    previous, lines = "0" * 64, []
    for seq, (kind, type_, id_, new) in enumerate(entries):
        body = {"seq": seq, "prev": previous, "at": AT, "actor": "system", "kind": kind, "subject": {"type": type_, "id": id_}, "new": new}
        lines.append(canonical(body))
        previous = entry_digest(lines[-1])
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def write_trails(folder: Path) -> tuple[Path, Path]:
    """Write the trails of a workstation and of its cell."""
    return _write(folder / "desk.jsonl", DESK), _write(folder / "cell.jsonl", CELL)


def test_a_folder_that_is_not_there_holds_no_trail(tmp_path: Path) -> None:
    assert read_folder(tmp_path / "none") == ()
    write_trails(tmp_path)
    (tmp_path / "readme.txt").write_text("kept for ten years")
    assert [file.view.origin for file in read_folder(tmp_path)] == ["cell-1.site", "desk.site"]


def test_a_file_that_is_no_trail_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="cannot be read"):
        read_files([tmp_path / "none.jsonl"])
    (tmp_path / "x.jsonl").write_text("{")
    with pytest.raises(InputInvalid, match="not JSON"):
        read_files([tmp_path / "x.jsonl"])
    with pytest.raises(InputInvalid, match="is no trail"):
        read_files([tmp_path / "x.txt"])
