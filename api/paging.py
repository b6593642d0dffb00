"""Lists in pages: one form for every list of the interface.

`limit` rows are given (100 unless told otherwise, 500 at most), in the order of a key that every row has and that never changes. Where
more follow, the answer has `Link: <…>; rel="next"` (RFC 8288) with the address of the next page; its `cursor` names the last row given,
so that rows which are added between two pages are neither lost nor given twice. The body is the list itself.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar
from urllib.parse import quote, urlencode

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel

from api.errors import InputInvalid

LARGEST, USUAL = 500, 100
_LONGEST_CURSOR = 1000
_LARGEST_NUMBER = 2**53 - 1  # of any number on record (RFC 8785)
_T = TypeVar("_T")
Key = tuple[str | int, ...]

PAGED: dict[int | str, dict[str, object]] = {
    200: {
        "headers": {
            "Link": {
                "description": 'Where more rows follow: the address of the next page, as `<…>; rel="next"` (RFC 8288).',
                "schema": {"type": "string"},
            }
        }
    }
}
"""What the description of a list says beside its rows."""


def paged(row: type[BaseModel]) -> dict[int | str, dict[str, object]]:
    """Return what the description of a list says, with the form of its rows."""
    return {200: {**PAGED[200], "model": list[row]}}  # type: ignore[valid-type]  # a form that is known when the routes are made


@dataclass(frozen=True, slots=True)
class Paging:
    """One page of a list, as a request asks for it."""

    request: Request
    response: Response
    limit: int
    cursor: str

    def page(self, rows: Iterable[_T], key: Callable[[_T], Key]) -> list[_T]:
        """Return the rows of this page by ascending key, and name the next page in the answer where there is one.

        Keys are unique, and all of one shape. Raises InputInvalid for a cursor that is none of this list.
        """
        ordered = sorted(rows, key=key)
        if self.cursor:
            after = _read(self.cursor)
            if ordered and not _fits(after, key(ordered[0])):
                raise _refused()
            ordered = [row for row in ordered if key(row) > after]
        given = ordered[: self.limit]
        if len(ordered) > self.limit:
            self.continue_with(write_cursor(key(given[-1])))
        return given

    def place(self) -> int | None:
        """Return the place that the cursor of a list names by its place; None where it begins. Raises InputInvalid."""
        if not self.cursor:
            return None
        match _read(self.cursor):
            case (int(place),) if place >= 0:
                return place
            case _:
                raise _refused()

    def continue_with(self, cursor: str) -> None:
        """Name the next page in the answer: the same question, from this cursor on."""
        asked = [(name, value) for name, value in self.request.query_params.multi_items() if name != "cursor"]
        address = f"{quote(self.request.url.path)}?{urlencode([*asked, ('cursor', cursor)])}"
        self.response.headers["Link"] = f'<{address}>; rel="next"'


def paging(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=LARGEST, description="rows of a page")] = USUAL,
    cursor: Annotated[str, Query(max_length=_LONGEST_CURSOR, description="where to go on, as the `Link` of the page before names it")] = "",
) -> Paging:
    return Paging(request, response, limit, cursor)


Page = Annotated[Paging, Depends(paging)]


def by(*fields: str) -> Callable[[object], Key]:
    """Return the key that a row has in these fields; a field that is missing is the empty text."""

    def key(row: object) -> Key:
        found = [row.get(field) if isinstance(row, dict) else None for field in fields]
        return tuple(value if isinstance(value, int) and not isinstance(value, bool) else str(value or "") for value in found)

    return key


def the_text(row: str) -> Key:
    """The key of a row that is a text."""
    return (row,)


def write_cursor(key: Key) -> str:
    """Return a key as it travels in an address."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def _read(cursor: str) -> Key:
    try:
        found = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _refused() from None
    if not isinstance(found, list) or not all(_is_part(part) for part in found):
        raise _refused()
    return tuple(found)


def _is_part(part: object) -> bool:
    return isinstance(part, str) or (isinstance(part, int) and not isinstance(part, bool) and abs(part) <= _LARGEST_NUMBER)


def _fits(key: Sequence[str | int], other: Sequence[str | int]) -> bool:
    return [type(part) for part in key] == [type(part) for part in other]


def _refused() -> InputInvalid:
    return InputInvalid("The cursor is none of this list.", remedy="Take it from the Link header of the page before, or leave it out.")
