"""What a recall searches for, as it is typed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from api.errors import InputInvalid
from audit.release.recall import Criteria

_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?Z$"


class RecallSearch(BaseModel):
    """What to search for: as `audit.release.recall.Criteria`; what is not given is not asked."""

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
        """Raises InputInvalid where nothing is asked, or a time ends before it begins."""
        found = Criteria(**self.model_dump())
        if not found.given:
            raise InputInvalid("A recall needs something to search for.", remedy="Name an ink lot, a cell, a recipe, a batch or a time.")
        if found.since is not None and found.until is not None and found.since > found.until:
            raise InputInvalid("The time ends before it begins.", remedy="Correct since and until; both are UTC.")
        return found
