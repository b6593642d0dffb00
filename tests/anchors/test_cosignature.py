"""Cosignatures against a checkpoint that live witnesses cosigned, and against the text of the specification."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.checkpoint import SigningKey, VerifierKey, split_note
from audit.cosignature import CosignerKey, add_lines, cosign, cosignatures
from audit.errors import NoteInvalid

# A checkpoint of a public Certificate Transparency log of 2026 with the cosignatures of four witnesses, and the published keys of two.
REAL = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVk\
jZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""
REMORA = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
SMARTIT = "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO"
LITTLE_GARDEN = "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM"
SEEN_AT = 1779573024
WITNESS = SigningKey.from_seed("control.example/w1", bytes(range(1, 33)))
TEXT = "site.example/ws\n12\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_cosignatures_of_live_witnesses_verify() -> None:
    keys = [CosignerKey.parse(text) for text in (REMORA, SMARTIT, LITTLE_GARDEN)]
    found = cosignatures(REAL, keys)
    assert sorted((item.name, item.at) for item in found) == sorted((key.name, SEEN_AT) for key in keys)
    assert [key.text for key in keys] == [REMORA, SMARTIT, LITTLE_GARDEN]


@pytest.mark.parametrize("change", [("1432088532", "1432088533"), ("2net5wAAAABqEiEg", "2net5wAAAABqEiEh")])
def test_a_changed_size_or_time_is_no_cosignature(change: tuple[str, str]) -> None:
    with pytest.raises(NoteInvalid, match="does not match"):
        cosignatures(REAL.replace(*change), [CosignerKey.parse(REMORA)])


def test_lines_of_other_keys_are_ignored() -> None:
    other = CosignerKey.of(WITNESS.verifier)
    assert cosignatures(REAL, [other]) == []
    with pytest.raises(NoteInvalid, match="algorithm 4"):
        CosignerKey.parse(WITNESS.verifier_key)
    with pytest.raises(NoteInvalid, match="its own hash"):
        CosignerKey.parse(REMORA.replace("da77ade7", "da77ade8"))


@given(st.integers(0, (1 << 63) - 1))
def test_what_is_cosigned_is_two_lines_before_the_text_of_the_note(at: int) -> None:
    """The message of C2SP tlog-cosignature, written out here a second time."""
    line = cosign(WITNESS, TEXT, at)
    name, data = split_note(f"{TEXT}\n{line}")[1][0]
    assert name == WITNESS.name and int.from_bytes(data[4:12], "big") == at
    message = f"cosignature/v1\ntime {at}\n".encode() + TEXT.encode()
    assert VerifierKey(name, WITNESS.verifier.public).verifies(data[12:], message)
    assert [item.at for item in cosignatures(f"{TEXT}\n{line}", [CosignerKey.of(WITNESS.verifier)])] == [at]


def test_a_time_beyond_63_bits_is_neither_signed_nor_read() -> None:
    with pytest.raises(NoteInvalid, match="below 2"):
        cosign(WITNESS, TEXT, 1 << 63)
    key = CosignerKey.of(WITNESS.verifier)
    blob = key.key_id + (1 << 63).to_bytes(8, "big") + bytes(64)
    with pytest.raises(NoteInvalid, match="form of a time"):
        cosignatures(f"{TEXT}\n— {key.name} {base64.b64encode(blob).decode()}\n", [key])


def test_a_line_is_added_once() -> None:
    note = WITNESS.sign_note(TEXT)
    line = cosign(WITNESS, TEXT, 7)
    assert add_lines(add_lines(note, [line, line]), [line]).count(line) == 1
