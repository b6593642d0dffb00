"""What the workstation may tell a cell of recipes, and what the cell remembers of it; each refusal leaves an entry."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import JsonValue, ValidationError

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.canonical import JsonValue as Answer
from audit.errors import DosewrightError
from audit.events import Actor, EntryDraft, EventKind, Subject
from printer.admission import Job, JobActor, read_trusted_people
from printer.cell import Cell
from printer.errors import CellRefused
from printer.known_recipes import effective_draft, known_recipes, retired_draft, stale_reasons
from printer.messages import CELL
from printer.recipe_lock import NOT_EFFECTIVE
from printer.server import Handler
from printer.standing import local_day
from recipes.effectivity import SignedWithdrawal, check_withdrawal
from recipes.model import Recipe
from recipes.store import RecipeBundle, read_bundle, verify_effective

_LONGEST_TEXT = 2000


class RecipeDoor:
    """Receives notices about recipes.

    Concurrency: called from connection threads. `turn` is held from reading what the cell knows of recipes until what rests on it is done:
    the entry is recorded, the run begun or set going.
    """

    def __init__(self, cell: Cell, name: str, trusted: Path) -> None:
        self._cell = cell
        self._name = name
        self._trusted = trusted
        self.turn = threading.Lock()

    def handlers(self) -> dict[str, Handler]:
        return {"recipe.effective": self._effective, "recipe.withdrawn": self._withdrawn}

    def _effective(self, body: Mapping[str, JsonValue]) -> Answer:
        """Take notice that a version is effective: no older one is printed from now on."""
        try:
            bundle = read_bundle(body.get("bundle"))
            recipe = verify_effective(bundle, read_trusted_people(self._trusted), local_day(self._cell.clock.utc()))
            with self.turn:
                self._remember(recipe, bundle, _actor(body), remedy="Tell the cell of the version that is effective now.")
        except DosewrightError as error:
            self.refused(error, _actor(body), body)
            raise
        return {"recipe": recipe.reference, "status": "effective"}

    def _withdrawn(self, body: Mapping[str, JsonValue]) -> Answer:
        """Take notice that a version was withdrawn: it is not printed any more."""
        try:
            signed = _withdrawal(body.get("withdrawal"))
            withdrawal = check_withdrawal(signed, read_trusted_people(self._trusted))
            id_, _, version = withdrawal.recipe.rpartition("@")
            if not id_ or not version.isdecimal() or int(version) < 1:
                raise CellRefused([f"{withdrawal.recipe!r} names no recipe version"])
            draft = retired_draft(withdrawal.recipe, withdrawal.recipe_digest, withdrawal.reason, _actor(body), self._name)
            with self.turn:
                self._cell.recorder.append(draft)
        except DosewrightError as error:
            self.refused(error, _actor(body), body)
            raise
        return {"recipe": withdrawal.recipe, "status": "retired"}

    def admitted(self, job: Job, recipe: Recipe) -> None:
        """Remember what an admitted job showed to be effective; its `turn` is held.

        Raises CellRefused where the cell was told of a newer version or of a withdrawal while the job was compiled.
        """
        if isinstance(job.recipe_bundle, RecipeBundle):
            self._remember(recipe, job.recipe_bundle, job.actor.actor(), remedy=NOT_EFFECTIVE)

    def _remember(self, recipe: Recipe, bundle: RecipeBundle, actor: Actor, *, remedy: str) -> None:
        if reasons := stale_reasons(recipe, known_recipes(self._cell.store)):
            raise CellRefused(reasons, remedy=remedy)
        statement = bundle.effective
        known = self._cell.store.state("recipe", recipe.reference)
        if statement is None or (known is not None and known.get("statement_sha256") == statement.statement.digest):
            return
        stated = statement.statement
        self._cell.recorder.append(effective_draft(recipe, stated.digest, stated.review_by, actor, self._name))

    def refused(self, error: DosewrightError, actor: Actor, asked: Mapping[str, JsonValue]) -> None:
        """Leave an entry of a refusal: what was asked by whom, why not, and the digest of what was handed in."""
        new: JsonObject = {
            "refused_code": error.code,
            "refused": error.message[:_LONGEST_TEXT],
            "remedy": error.remedy[:_LONGEST_TEXT],
            "asked_sha256": sha256_hex(json.dumps(asked, sort_keys=True).encode("utf-8")),
        }
        draft = EntryDraft(EventKind.RUN_REQUEST_REFUSED, Subject("run_request", self._name), new, actor, self._name)
        with suppress(DosewrightError, TimeoutError):  # the refusal stands, also where the record has trouble of its own
            self._cell.recorder.append(draft)


def _withdrawal(record: JsonValue) -> SignedWithdrawal:
    try:
        return SignedWithdrawal.model_validate_json(canonical(record))
    except ValidationError as error:
        raise CellRefused(["the withdrawal has not the right form"], remedy="Send what this version asks for.") from error


def _actor(body: Mapping[str, JsonValue]) -> Actor:
    """Return who the workstation says asks; the cell itself where that cannot be read."""
    try:
        return JobActor.model_validate(body.get("actor")).actor()
    except ValidationError:
        return CELL
