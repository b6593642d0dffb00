"""Signed notes against the example of the C2SP specification."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.checkpoint import Checkpoint, SigningKey, VerifierKey, format_checkpoint, parse_checkpoint, split_note, verify_note
from audit.errors import NoteInvalid

# The example of C2SP signed-note v1.
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
TEXT = "This is an example message.\n"
LINE = "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
NOTE = f"{TEXT}\n{LINE}\n"
KEY = SigningKey.from_seed("site.example/ws", bytes(range(32)))


def test_the_published_example_verifies() -> None:
    key = VerifierKey.parse(VKEY)
    assert verify_note(NOTE, [key]) == (TEXT, ["example.com/foo"])
    assert str(key) == VKEY


@given(st.data())
def test_one_changed_character_of_a_note_never_verifies(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(NOTE) - 1))
    other = data.draw(st.characters(min_codepoint=10, max_codepoint=126).filter(lambda c: c != NOTE[place]))
    with pytest.raises(NoteInvalid):
        verify_note(NOTE[:place] + other + NOTE[place + 1 :], [VerifierKey.parse(VKEY)])


def test_spare_bits_of_the_base64_are_not_free() -> None:
    for last in "NOP":
        with pytest.raises(NoteInvalid, match="standard base64"):
            verify_note(NOTE.replace("aQM=", f"aQ{last}="), [VerifierKey.parse(VKEY)])


def test_unknown_keys_are_ignored_and_known_wrong_ones_are_not() -> None:
    note = KEY.sign_note(TEXT)
    both = NOTE + note.split("\n\n")[1]
    assert verify_note(both, [KEY.verifier])[1] == ["site.example/ws"]
    assert verify_note(both, [KEY.verifier, VerifierKey.parse(VKEY)])[1] == ["example.com/foo", "site.example/ws"]
    with pytest.raises(NoteInvalid, match="No known key"):
        verify_note(NOTE, [KEY.verifier])
    with pytest.raises(NoteInvalid, match="does not match"):
        verify_note(both.replace("example message", "forged message"), [KEY.verifier])


def test_sixteen_signatures_are_accepted_and_a_thousand_are_not() -> None:
    note = NOTE + LINE.join(["", "\n"]) * 15
    assert verify_note(note, [VerifierKey.parse(VKEY)])[1] == ["example.com/foo"]
    with pytest.raises(NoteInvalid, match="too many"):
        split_note(NOTE + f"{LINE}\n" * 1000)


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        f"{TEXT}\n{LINE}",
        f"{TEXT}\n- x AAAA\n",
        f"{TEXT}\n— x\n",
        f"{TEXT}\n— x AAAA\n",
        f"{TEXT}\n— x !!!\n",
        f"a\tb\n\n{LINE}\n",
    ],
)
def test_what_is_not_a_note(note: str) -> None:
    with pytest.raises(NoteInvalid):
        verify_note(note, [VerifierKey.parse(VKEY)])


@pytest.mark.parametrize(
    "text", ["", "a+b", "example.com/foo+530d903b+" + VKEY.split("+")[2], "x+00000000+AAAA", "a b+00000000+" + VKEY.split("+")[2], "x+0+%%"]
)
def test_what_is_not_a_key(text: str) -> None:
    with pytest.raises(NoteInvalid):
        VerifierKey.parse(text)


def test_a_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ws.key"
    KEY.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).verifier_key == KEY.verifier_key
    with pytest.raises(NoteInvalid, match="cannot be written"):
        KEY.save(path)
    assert KEY.seed.hex() not in repr(KEY)


def test_damaged_key_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ws.key"
    KEY.save(path)
    good = path.read_text()
    with pytest.raises(NoteInvalid, match="cannot be read"):
        SigningKey.load(tmp_path / "none")
    for text in ("hello", good.replace("site.example", "sites.example"), good[:-9]):
        path.write_text(text)
        with pytest.raises(NoteInvalid):
            SigningKey.load(path)


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1), st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_checkpoints_round_trip(origin: str, size: int, root: bytes) -> None:
    assert parse_checkpoint(format_checkpoint(origin, size, root)) == Checkpoint(origin, size, root)


@pytest.mark.parametrize(
    "text", ["a\n1\n", "a\n01\nAAAA\n", "a\n-1\nAAAA\n", "a\n²\nAAAA\n", "a\n1\nAAAA\n", "a\n1\n*\n", "a\n1\nAAAA", "\n1\nAAAA\n"]
)
def test_what_is_not_a_checkpoint(text: str) -> None:
    with pytest.raises(NoteInvalid):
        parse_checkpoint(text)


def test_what_cannot_be_made() -> None:
    for call in (
        lambda: format_checkpoint("a\nb", 1, bytes(32)),
        lambda: format_checkpoint("a", 1, bytes(31)),
        lambda: KEY.sign_note("no newline"),
        lambda: KEY.sign_note("lone \ud800\n"),
        lambda: SigningKey.generate("two words"),
    ):
        with pytest.raises(NoteInvalid):
            call()
    assert parse_checkpoint(format_checkpoint("a", 0, bytes(32)) + "extension\n").extensions == ("extension",)
