"""STL files: bytes to facets, or a refusal that says what is wrong with them.

The size is judged before anything is read, the number of facets before memory is taken for them; nothing here takes
longer than the file is long. What comes out is numbers alone: whether they make a solid is for `stl_checks`. Format: 3D
Systems, StereoLithography Interface Specification (1988): 80 bytes of header, a count, 50 bytes a facet; or text from
`solid` to `endsolid`. An STL file has no unit.
"""

from __future__ import annotations

import re

import numpy as np

from recipes.errors import SolidFileRefused

LARGEST_FILE = 2 * 1024 * 1024
"""Bytes of an STL file: 20,000 facets are 1 MB as binary. It travels with the recipe to the cell, which takes 4 MiB a request."""

MOST_FACETS = 20_000
FEWEST_FACETS = 4
LARGEST_COORDINATE = 10_000.0
_HEADER, _FACET = 84, 50
_MAKE = "Export the solid anew as a closed STL in mm, and have the recipe signed with its SHA-256."
_NUMBER = rb"[ \t]+[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?(?:[eE][+-]?[0-9]{1,3})?|\.[0-9]{1,20}(?:[eE][+-]?[0-9]{1,3})?|nan|inf(?:inity)?)"
_LOOP = re.compile(
    rb"[ \t]*facet[ \t]+normal(?:[ \t]+[^ \t\r\n]{1,40}){3}[ \t]*\r?\n[ \t]*outer[ \t]+loop[ \t]*\r?\n"
    + rb"".join(rb"[ \t]*vertex(" + _NUMBER * 3 + rb")[ \t]*\r?\n" for _ in range(3))
    + rb"[ \t]*endloop[ \t]*\r?\n[ \t]*endfacet[ \t]*(?:\r?\n|$)",
    re.IGNORECASE,
)
_LONGEST_LINE = 200


def read_stl(content: bytes, name: str = "the STL file") -> np.ndarray:
    """Return the corners of the facets, shape (n, 3, 3), as stored. Raises SolidFileRefused."""
    check_size(len(content), name)
    if _is_text(content):
        return _checked(_read_text(content, name), name)
    return _checked(_read_binary(content, name), name)


def check_size(size: int, name: str = "the STL file") -> None:
    """Refuse a file by its size alone, before it is read. Raises SolidFileRefused."""
    if size > LARGEST_FILE:
        raise SolidFileRefused(
            [f"{name} has {size} bytes, {LARGEST_FILE} are the most"], remedy="Reduce the number of facets; " + _lower(_MAKE)
        )
    if size == 0:
        raise SolidFileRefused([f"{name} is empty"], remedy=_MAKE)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _is_text(content: bytes) -> bool:
    """Binary files may begin with `solid` too: text is what also has a facet in ASCII near its beginning, and no NUL."""
    head = content[:1024]
    return head.lstrip()[:5].lower() == b"solid" and b"\0" not in head


def _read_binary(content: bytes, name: str) -> np.ndarray:
    if len(content) < _HEADER:
        raise SolidFileRefused([f"{name} ends after {len(content)} bytes, within its header of {_HEADER}"], remedy=_MAKE)
    count = int.from_bytes(content[_HEADER - 4 : _HEADER], "little")
    held, rest = divmod(len(content) - _HEADER, _FACET)
    if count != held or rest:
        raise SolidFileRefused(
            [f"{name} says that it has {count} facets, its {len(content)} bytes hold {held}{' and a part of one' if rest else ''}"],
            remedy=_MAKE,
        )
    _check_count(count, name)
    facets = np.frombuffer(content, dtype=np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")]), offset=_HEADER)
    with np.errstate(invalid="ignore"):
        return facets["corners"].astype(np.float64)


def _read_text(content: bytes, name: str) -> np.ndarray:
    if not content.isascii():
        raise SolidFileRefused([f"{name} begins as a text file and has bytes that are not ASCII"], remedy=_MAKE)
    _check_count(content.lower().count(b"endfacet"), name)
    end = content.find(b"\n") + 1
    if not 0 < end <= _LONGEST_LINE:
        raise SolidFileRefused([f"{name}: line 1 is not the beginning of one solid"], remedy=_MAKE)
    corners: list[float] = []
    while (facet := _LOOP.match(content, end)) is not None:
        corners.extend(float(word) for group in facet.groups() for word in group.split())
        end = facet.end()
    if (
        re.fullmatch(rb"\s{0,80}endsolid[^\r\n]{0,160}\s{0,80}", content[end : end + 400], re.IGNORECASE) is None
        or len(content) - end > 400
    ):
        line = content.count(b"\n", 0, end) + 1
        raise SolidFileRefused([f"{name}: line {line} is neither a facet of three corners nor the end of the one solid"], remedy=_MAKE)
    return np.array(corners, dtype=np.float64).reshape(-1, 3, 3)


def _check_count(count: int, name: str) -> None:
    if count < FEWEST_FACETS:
        raise SolidFileRefused([f"{name} has {count} facets; a closed solid has {FEWEST_FACETS} at least"], remedy=_MAKE)
    if count > MOST_FACETS:
        raise SolidFileRefused(
            [f"{name} has {count} facets, {MOST_FACETS} are the most"], remedy="Reduce the number of facets; " + _lower(_MAKE)
        )


def _checked(corners: np.ndarray, name: str) -> np.ndarray:
    if len(corners) < FEWEST_FACETS:
        raise SolidFileRefused([f"{name} has {len(corners)} facets; a closed solid has {FEWEST_FACETS} at least"], remedy=_MAKE)
    bad = ~np.isfinite(corners).all(axis=(1, 2))
    if bad.any():
        raise SolidFileRefused([f"{name}: facet {int(bad.argmax()) + 1} has a coordinate that is not a number"], remedy=_MAKE)
    far = np.abs(corners).max(axis=(1, 2)) > LARGEST_COORDINATE
    if far.any():
        raise SolidFileRefused(
            [f"{name}: facet {int(far.argmax()) + 1} has a corner further than {LARGEST_COORDINATE:g} mm from the origin"], remedy=_MAKE
        )
    return corners
