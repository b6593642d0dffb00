"""Lines read together are those that, each read alone, have nothing wrong with them; and the walk over either finds the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import canonical
from audit.chain import GENESIS, entry_digest
from audit.events import EventKind
from audit.search_index import HOUR
from audit.trail_lines import read_flat, shape_problem
from audit.trail_walk import TrailWalk

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["}", "{}", '"', "\\", "\n", "é", '","old":{}'])
_KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=4) | st.sampled_from(["old", "new", "}"])
_VALUES = _TEXTS | st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans() | st.none()
_NESTED = st.recursive(_VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=2), max_leaves=4)


def _entry(**members: Any) -> dict[str, Any]:
    return {
        "actor": "a", "at": "2026-01-31T09:00:00.000000Z", "attachments": [],
        "clock": {"process_us": 1, "rate": "1", "sync": "s"}, "demonstration": True,
        "device": "d", "kind": "k", "name": "n", "new": {"a": 1}, "old": {"a": None}, "prev": "0" * 64, "reason": None, "role": "r",
        "seq": 7, "software": "s", "subject": {"id": "i", "type": "t"}, "unit": {}, "zone": "UTC", **members,
    }  # fmt: skip


_ATTACHMENTS = st.just([{"bytes": 3, "name": "f", "sha256": "0"}]) | st.lists(_VALUES, max_size=1)
_MEMBERS = {
    "actor": _TEXTS,
    "at": _TEXTS,
    "attachments": _ATTACHMENTS,
    "clock": st.fixed_dictionaries({"process_us": _VALUES, "rate": _VALUES, "sync": _VALUES}),
    "demonstration": _VALUES,
    "name": _TEXTS,
    "new": st.dictionaries(_KEYS, _NESTED, max_size=3),
    "old": st.dictionaries(_KEYS, _VALUES, max_size=3),
    "reason": _VALUES,
    "seq": st.integers(0, 2**53 - 1) | _VALUES,
    "subject": st.just({"id": "x", "type": "y"}),
    "unit": st.dictionaries(_KEYS, _VALUES, max_size=2),
    "zone": _VALUES,
}
_ENTRIES = st.fixed_dictionaries({}, optional=_MEMBERS).map(lambda members: canonical(_entry(**members)))


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A line that is canonical, or in which a few bytes were taken out, put in or changed."""
    line = draw(_ENTRIES)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(line) - 1))
        line = (
            line[:at]
            + draw(st.sampled_from([b"", b" ", b"}", b'"', b"{", b",", b"\n", b"\x01", b"0", b".5", b"[", b"\xc3"]))
            + line[at + draw(st.integers(0, 1)) :]
        )
    return line


@given(st.lists(_damaged(), min_size=1, max_size=4))
def test_what_is_read_together_has_nothing_wrong_with_any_of_it(lines: list[bytes]) -> None:
    read = read_flat(lines, demonstration=True)
    if read is None:
        return
    for number, line in enumerate(lines):
        body = json.loads(line)
        old = read.old[number]
        if canonical(json.loads(old)) == old.encode():  # what stands for the rest is the reader's question
            assert shape_problem(line) is None
        assert read.new[number] == body["new"] and read.prev[number] == body["prev"] and read.seq[number] == str(body["seq"])
        assert (read.subject_type[number], read.subject_id[number]) == (body["subject"]["type"], body["subject"]["id"])
        assert (read.hour[number], read.kind[number]) == (body["at"][:HOUR], body["kind"])
        assert [*read.attachments[number]] == body["attachments"] and body["demonstration"] is True


@pytest.mark.parametrize(
    "members",
    [{}, {"reason": "Grüße"}, {"unit": {"a": "mg"}}, {"attachments": [{"bytes": 1, "name": "f", "sha256": "0"}]}, {"new": {"a": [1]}}],
)
def test_the_usual_forms_of_an_entry_are_read_together(members: dict[str, Any]) -> None:
    """Otherwise the property above holds of nothing, and a check is slow."""
    for flag in (True, False):
        lines = [canonical(_entry(demonstration=flag)), canonical(_entry(demonstration=flag, **members))]
        assert read_flat(lines, demonstration=flag) is not None
        assert read_flat(lines, demonstration=not flag) is None


_LINE = canonical(_entry())
_HALF = len(_LINE) // 2


@pytest.mark.parametrize(
    "lines",
    [
        [_LINE[:_HALF], _LINE[_HALF:]],
        [_LINE + b"\n" + _LINE, b""],
        [_LINE + b"," + _LINE],
        [_LINE, _LINE + b"\n"],
        [_LINE.replace(b'"new":{"a":1}', b'"new":{"a":1.5}')],
        [_LINE.replace(b'"new":{"a":1}', b'"new":{"b":1,"a":1}')],
        [_LINE.replace(b'"new":{"a":1}', b'"new":{"a":1,"a":1}')],
        [_LINE.replace(b'"new":{"a":1}', '"new":{"ä":1}'.encode())],
        [_LINE.replace(b'"new":{"a":1}', b'"new":{"a":9007199254740993}')],
        [_LINE.replace(b'"new":{"a":1}', b'"new":{"a":"}'), _LINE.replace(b'"new":{"a":1}', b'"new":{":1}')],
        [_LINE.replace(b'"seq":7', b'"seq":07')],
        [_LINE.replace(b'"name":"n"', b'"name":"\\u006e"')],
        [_LINE.replace(b'"name":"n"', b'"name":"\x1f"')],
        [_LINE.replace(b'"name":"n"', b'"name":"\xff"')],
        [_LINE.replace(b'"unit":{}', b'"unit":{"b":"mg","a":"mg"}')],
        [_LINE.replace(b'"attachments":[]', b'"attachments":[ ]')],
        [_LINE.replace(b'"attachments":[]', b'"attachments":[{"bytes":1,"name":"f"}]')],
        [_LINE.replace(b'"process_us":1,', b"")],
    ],
)
def test_other_forms_are_left_to_a_closer_look(lines: list[bytes]) -> None:
    assert read_flat(lines, demonstration=True) is None


def _row(seq: int, prev: str, **members: Any) -> tuple[int, bytes]:
    return seq, canonical(_entry(seq=seq, prev=prev, **members))


@pytest.mark.parametrize("old", [{"a": True}, {"a": 2}, {"a": "1"}, {"b": 1}, {}, {"a": 1, "b": None}])
def test_a_wrong_old_is_found_among_lines_read_together(old: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    birth = {"kind": EventKind.SITE_STORE_CREATED.value, "new": {"demonstration": True}, "old": {"demonstration": None}}
    rows = [_row(0, GENESIS, **birth, subject={"id": "s", "type": "store"})]
    for seq, said in ((1, {"a": None}), (2, {"a": 1}), (3, old), (4, {"a": 1})):
        rows.append(_row(seq, entry_digest(rows[-1][1]), old=said))
    alone: list[int] = []
    monkeypatch.setattr(
        TrailWalk, "_take_one", lambda self, seq, line, link, take=TrailWalk._take_one: (alone.append(seq), take(self, seq, line, link))
    )
    walk = TrailWalk()
    walk.take(rows)
    assert alone == [0], "the others were read together"
    assert walk.findings == [("entries row seq=3", "old is not the state that the earlier entries lead to")]
    assert (walk.size, walk.last) == (5, entry_digest(rows[-1][1]))
    assert (walk.versions["t", "i"], walk.last_seqs["t", "i"], walk.states["t", "i"]) == (4, 4, {"a": 1})
