"""The record inside its document: found by its bytes, with no PDF library."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from itertools import islice

LARGEST_DOCUMENT = 1 << 26
_LARGEST_RECORD = 1 << 24
_EMBEDDED = re.compile(rb"/Type ?/EmbeddedFile\b")
_STREAM = re.compile(rb"stream\r?\n")
_ENDSTREAM = re.compile(rb"(\r\n|\r|\n)?endstream")
_LONGEST_DICTIONARY = 1000
_MOST_ATTACHMENTS = 16


def carries(pdf: bytes, record: bytes) -> bool:
    """Say whether these bytes are an embedded file of the PDF: stored or deflated, no filter chains, no encryption."""
    return any(_is_stream_of(record, pdf, start) for start in _streams(pdf))


def carried_record(pdf: bytes) -> bytes | None:
    """Return the embedded file of a document that carries exactly one, which is the record; None otherwise."""
    found = [data for start in _streams(pdf) if (data := _inflated(pdf, start)) is not None]
    return found[0] if len(found) == 1 else None


def _streams(pdf: bytes) -> Iterator[int]:
    """Give where the embedded file streams of a PDF begin."""
    for match in islice(_EMBEDDED.finditer(pdf), _MOST_ATTACHMENTS):
        if found := _STREAM.search(pdf, match.end(), match.end() + _LONGEST_DICTIONARY):
            yield found.end()


def _is_stream_of(content: bytes, pdf: bytes, start: int) -> bool:
    end = start + len(content)
    if pdf[start:end] == content and _ENDSTREAM.match(pdf, end):
        return True
    try:
        # one byte more than wanted tells a longer stream, and no stream can give more
        return zlib.decompressobj().decompress(memoryview(pdf)[start:], len(content) + 1) == content
    except zlib.error:
        return False


def _inflated(pdf: bytes, start: int) -> bytes | None:
    try:
        data = zlib.decompressobj().decompress(memoryview(pdf)[start:], _LARGEST_RECORD + 1)
    except zlib.error:
        return None
    return data if len(data) <= _LARGEST_RECORD else None
