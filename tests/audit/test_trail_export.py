"""A selection as a file: read back by other readers of CSV and JSON, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import sha256_hex
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.trail_export import COLUMNS, as_csv, as_json, cell_text
from audit.trail_search import TrailFilter
from tests.audit.conftest import new_store

EVIL = Actor("eve", '=HYPERLINK("http://x","y")', "operator")


@given(st.text())
def test_no_cell_begins_as_a_formula_and_none_is_lost(text: str) -> None:
    cell = cell_text(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell in (text, f"'{text}")


def test_a_selection_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    with new_store(tmp_path / "t.db") as store:
        new = {"mass_mg": "-1.5", "note": 'a "quoted", long\nline', "tree": {"x": [1, True]}}
        store.append(
            EntryDraft(
                EventKind.UNIT_WEIGHT_JUDGED, Subject("unit", "@SUM(A1)"), new, EVIL, "cell-1", reason="+cmd|' /C calc'!A0",
                unit={"mass_mg": "mg"}, attachments={"trace": b"1"},
            )
        )  # fmt: skip
        store.append(EntryDraft(EventKind.PERSON_SESSION_CLOSED, Subject("person", "eve"), {}, EVIL, "ws"))
        entries = list(store.entries(1))
    rows = list(csv.DictReader(io.StringIO(as_csv(entries).decode("utf-8"), newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["field"], row["new"], row["unit"]) for row in rows] == [
        ("mass_mg", "'-1.5", "mg"), ("note", new["note"], ""), ("tree.x[0]", "1", ""), ("tree.x[1]", "true", ""), ("", "", ""),
    ]  # fmt: skip
    assert {row["reason"] for row in rows} == {"'+cmd|' /C calc'!A0", ""}
    assert {row["object id"] for row in rows} == {"'@SUM(A1)", "eve"}
    assert {row["name"][:2] for row in rows} == {"'="}
    assert rows[0]["attachments"] == f"trace {sha256_hex(b'1')}"
    tree = json.loads(as_json("o", 3, TrailFilter(person="eve", kinds=("unit.",)), entries))
    assert tree["filter"] == {"kinds": ["unit."], "person": "eve"}
    assert [item["digest"] for item in tree["entries"]] == [entry.digest for entry in entries]
    assert [item["entry"] for item in tree["entries"]] == [entry.body for entry in entries]
