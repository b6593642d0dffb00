"""What a recall searches for, as it is typed."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from api.errors import InputInvalid
from audit.clock import utc_text
from audit.release.recall import Criteria

_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?Z$"


class RecallSearch(BaseModel):
    """What to search for: as `audit.release.recall.Criteria`; what is not given is not asked.

    A time may leave out its fraction or its seconds: `until` such a time is all of that second or minute.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    batch: str | None = Field(default=None, min_length=1, max_length=64)
    ink_lot: str | None = Field(default=None, min_length=1, max_length=64)
    cartridge: str | None = Field(default=None, min_length=1, max_length=64)
    cell: str | None = Field(default=None, min_length=1, max_length=64)
    printer: str | None = Field(default=None, min_length=1, max_length=64)
    recipe: str | None = Field(default=None, min_length=1, max_length=64)
    equipment: str | None = Field(default=None, min_length=2, max_length=64)
    operator: str | None = Field(default=None, min_length=1, max_length=64)
    since: str | None = Field(default=None, pattern=_TIME)
    until: str | None = Field(default=None, pattern=_TIME)

    def criteria(self) -> Criteria:
        """Return the criteria, times written out. Raises InputInvalid where nothing is asked, a time is none, or ends before it begins."""
        since = None if self.since is None else _written_out(self.since, end=False)
        until = None if self.until is None else _written_out(self.until, end=True)
        found = Criteria(**{**self.model_dump(), "since": since, "until": until})
        if not found.given:
            raise InputInvalid("A recall needs something to search for.", remedy="Name an ink lot, a cell, a recipe, a batch or a time.")
        if since is not None and until is not None and since > until:
            raise InputInvalid("The time ends before it begins.", remedy="Correct since and until; both are UTC.")
        return found


def _written_out(text: str, *, end: bool) -> str:
    """Return a time as entries state it; the `end` is the last one that the text may mean."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputInvalid("There is no such day or time.", remedy="Correct since and until; both are UTC.") from error
    if end and "." not in text:
        moment += timedelta(seconds=0 if text.count(":") == 2 else 59, microseconds=999_999)
    return utc_text(moment)
