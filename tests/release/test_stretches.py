"""Pieces of bytes that stay where they are: the same, read at once, in blocks or line by line."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import canonical
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.errors import RecordError
from audit.release import object_states, stretches, trail_view
from audit.release.object_states import ObjectStates
from audit.release.stretches import FileSource, Lines, Members, StoreLines, Stretch, TrailContent
from audit.release.trail_view import TrailView
from audit.store import TrailStore
from tests.audit.conftest import judged

DATA = st.lists(st.binary(max_size=6).map(lambda data: data.replace(b"\n", b"x")), max_size=12).map(b"\n".join)


@given(DATA, st.integers(1, 9), st.integers(0, 3))
def test_lines_are_those_of_the_bytes_however_they_are_read(data: bytes, block: int, before: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretches, "BLOCK", block)
        stretch = Stretch(b"?" * before + data + b"!!", before, len(data))
        lines = Lines(stretch)
        wanted = data.split(b"\n")[:-1]
        assert (list(lines), [lines[at] for at in range(len(lines))], lines[1:3]) == (wanted, wanted, wanted[1:3])
        assert (b"".join(stretch.blocks()), stretch.checksum()) == (data, zlib.crc32(data))
        assert stretch.sha256() == hashlib.sha256(data).hexdigest()
        assert lines[-1:] == wanted[-1:]


def test_a_file_is_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one\ntwo\nthree")
    with FileSource(path) as source:
        assert (len(source), source[4:7], source[9:99], source[5:2]) == (13, b"two", b"hree", b"")
        members = Members({"a": Stretch(source, 0, 4), "b": Stretch(source, 4, 9)})
        assert (dict(members), "a" in members, "c" in members, len(members)) == ({"a": b"one\n", "b": b"two\nthree"}, True, False, 2)
        assert list(Lines(members.stretches["b"])) == [b"two"]
    with pytest.raises(OSError, match="missing"):
        FileSource(tmp_path / "missing")
    with FileSource(path) as source, pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_file", Broken())
        with pytest.raises(RecordError, match="cannot be read"):
            source[0:1]


class Broken:
    def seek(self, at: int) -> None:
        raise OSError(5, "Input/output error")

    def close(self) -> None:
        pass


def test_a_store_gives_its_lines_as_a_sequence(tmp_path: Path) -> None:
    key = SigningKey.generate("x")
    with TrailStore.create(tmp_path / "t.db", origin="x", key=key, clock=SystemClock(), software="x", demonstration=True) as store:
        store.append(*(judged(n) for n in range(6)))
        wanted = list(store.lines())[:5]
        lines = StoreLines(store, 5)
        assert (len(lines), list(lines), lines[2], lines[-1], lines[1:3]) == (5, wanted, wanted[2], wanted[4], wanted[1:3])
        with pytest.raises(IndexError):
            lines[5]
        content = TrailContent(lines)
        data = b"".join(line + b"\n" for line in wanted)
        assert (b"".join(content.blocks()), len(content)) == (data, len(data))
        assert (content.checksum(), content.sha256()) == (zlib.crc32(data), hashlib.sha256(data).hexdigest())


def entry(seq: int, type_: str, id_: str, kind: str) -> bytes:
    return canonical({"seq": seq, "subject": {"type": type_, "id": id_}, "kind": kind, "new": {"n": seq}})


SUBJECTS = st.sampled_from(
    [("run", "R1"), ("unit", "R1/1"), ("unit", "R1/2"), ("unit", "R11/1"), ("part", "R1/1/2"), ("unit", "R1"), ("x", "")]
)


@given(st.lists(st.tuples(SUBJECTS, st.sampled_from(["a.b.c", "d.e.f"])), max_size=20), st.integers(0, 22), st.sampled_from([1, 2, 4]))
def test_a_view_finds_what_a_search_of_all_entries_finds(made: list[tuple[tuple[str, str], str]], size: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trail_view, "_CHUNK", chunk)
        lines = [entry(seq, *subject, kind) for seq, (subject, kind) in enumerate(made)]
        whole, short = TrailView(lines), TrailView(lines).first(size)
        assert short.root() == TrailView(lines[:size]).root() == whole.root(size)
        entries = list(short)
        assert len(entries) == short.size == min(size, len(lines))
        for type_, id_ in (("run", "R1"), ("unit", "R1/1"), ("unit", "R1"), ("unit", "none"), ("x", "")):
            assert short.of(type_, id_) == [e for e in entries if e.subject == (type_, id_)]
            under = [e for e in entries if e.subject[0] == type_ and e.subject[1].startswith(f"{id_}/")]
            assert [e for found in short.under(type_, id_).values() for e in found] == sorted(
                under, key=lambda e: list(short.under(type_, id_)).index(e.subject[1])
            )


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 5)), max_size=60))
def test_states_are_the_same_in_memory_and_put_by(steps: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch, ObjectStates() as states:
        patch.setattr(object_states, "_HELD", 3)
        wanted: dict[str, dict[str, object]] = {}
        for id_, value in steps:
            found, expected = states.of("x", id_), wanted.setdefault(id_, {})
            assert found == expected
            found.update({f"f{value}": value})
            expected.update({f"f{value}": value})
