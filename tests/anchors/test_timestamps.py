"""Time-stamp tokens made by openssl, and those that must not be believed."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit.errors import AnchorRefused, NoteInvalid
from audit.timestamps import query, read_certificates, verify_token
from tests.anchors.authority import Authority, make_authority
from tests.anchors.trails import note

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, the time-stamping authority of these tests, is not here")
NOTE = note(7)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "one")


def test_a_token_of_openssl_says_when_the_checkpoint_was_there(authority: Authority) -> None:
    asked = query(NOTE)
    token = asked.verified(authority.reply(asked.data), [authority.root])
    assert abs(datetime.fromisoformat(token.at) - datetime.now(UTC)) < timedelta(seconds=30)
    assert token.authority == "CN=Test Time Authority"
    assert read_certificates(authority.pem, "root.pem") == (authority.root,)


def test_openssl_reads_the_query_and_verifies_the_same_answer(authority: Authority) -> None:
    asked = query(NOTE)
    authority.reply(asked.data)
    (authority.folder / "checkpoint.note").write_bytes(NOTE.encode())
    shown = subprocess.run(
        ["openssl", "ts", "-query", "-in", "query.tsq", "-text"], cwd=authority.folder, capture_output=True, text=True, check=True
    ).stdout
    assert "sha256" in shown and "Certificate required: yes" in shown
    shown_nonce = re.search(r"^Nonce: 0x([0-9A-F]+)$", shown, re.MULTILINE)
    # By value: openssl writes whole bytes, so that a nonce below 2**60 begins with a nought there.
    assert shown_nonce is not None and int(shown_nonce[1], 16) == asked.nonce
    verified = subprocess.run(
        ["openssl", "ts", "-verify", "-in", "reply.tsr", "-data", "checkpoint.note", "-CAfile", "root.pem"],
        cwd=authority.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Verification: OK" in verified.stdout + verified.stderr


def test_a_token_over_another_checkpoint_is_refused(authority: Authority) -> None:
    reply = authority.reply(query(note(8)).data)
    with pytest.raises(AnchorRefused, match="over something else"):
        verify_token(reply, NOTE.encode(), [authority.root])


def test_a_token_with_the_nonce_of_another_request_is_refused(authority: Authority) -> None:
    first, second = query(NOTE), query(NOTE)
    assert first.nonce != second.nonce
    with pytest.raises(AnchorRefused, match="nonce"):
        second.verified(authority.reply(first.data), [authority.root])


def test_a_token_of_another_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    other = make_authority(tmp_path / "other")
    asked = query(NOTE)
    with pytest.raises(AnchorRefused, match="not to be believed"):
        asked.verified(other.reply(asked.data), [authority.root])
    with pytest.raises(AnchorRefused, match="no root certificate"):
        verify_token(other.reply(asked.data), NOTE.encode(), [])


def test_a_token_made_with_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    expired = make_authority(tmp_path / "expired", days=(-20, -10))
    asked = query(NOTE)
    with pytest.raises(AnchorRefused, match="not to be believed"):
        asked.verified(expired.reply(asked.data), [expired.root])


def test_no_changed_byte_of_the_answer_is_believed(authority: Authority) -> None:
    """Every 7th byte: either refused, or (in what no signature covers) the same time and authority as before."""
    asked = query(NOTE)
    reply = authority.reply(asked.data)
    good = asked.verified(reply, [authority.root])
    refused = 0
    for place in range(0, len(reply), 7):
        changed = reply[:place] + bytes([reply[place] ^ 1]) + reply[place + 1 :]
        try:
            assert asked.verified(changed, [authority.root]) == good
        except AnchorRefused:
            refused += 1
    assert refused > len(reply) // 7 * 0.9


def test_what_is_no_answer_or_a_refusal_is_named(authority: Authority) -> None:
    with pytest.raises(AnchorRefused, match="no time-stamp answer"):
        verify_token(b"<html>", NOTE.encode(), [authority.root])
    with pytest.raises(AnchorRefused, match="larger than"):
        verify_token(bytes(1 << 18), NOTE.encode(), [authority.root])
    refusal = authority.reply(b"\x30\x03\x02\x01\x01")
    with pytest.raises(AnchorRefused, match=r"refuses \(status 2\)"):
        verify_token(refusal, NOTE.encode(), [authority.root])
    with pytest.raises(NoteInvalid, match="no certificate"):
        read_certificates(b"nothing", "roots.pem")
