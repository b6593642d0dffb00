"""What labels are made from: the signed record, the recipe version that the batch names, the site's pharmacy."""

from __future__ import annotations

import json
from collections.abc import Sequence

from api.errors import NotFound, WrongState
from api.settings import Pharmacy
from api.shelf import BUNDLE
from audit.canonical import JsonObject
from audit.errors import VerificationError
from audit.events import EventKind
from audit.release.batch_record import record_sha256
from audit.release.label import Label, RecipeTexts, ReleasedUnit, compose
from audit.release.trail_view import as_object, text_of
from audit.store import TrailStore
from printer.standing import local_day
from recipes.model import Recipe, parse_recipe

_RECORD = "record.json"


class LabelSource:
    """Reads the workstation's trail alone: a label needs no cell. Concurrency: any thread."""

    def __init__(self, store: TrailStore, pharmacy: Pharmacy | None) -> None:
        self._store = store
        self._pharmacy = pharmacy

    def today(self) -> str:
        """The civil day of the site, ISO."""
        return local_day(self._store.clock.utc())

    def record(self, batch_id: str) -> JsonObject:
        """Return the batch record as it was signed. Raises NotFound, WrongState before that, VerificationError."""
        state = self._store.state("batch", batch_id)
        if state is None:
            raise NotFound(f"There is no batch {batch_id!r}.", remedy="Look at the list of batches.")
        found = self._store.search(
            kind=EventKind.BATCH_DISPOSITION_SIGNED.value, subject_type="batch", subject_id=batch_id, newest_first=True, limit=1
        )
        sha256 = next((item["sha256"] for entry in found for item in entry.attachments if item["name"] == _RECORD), None)
        if sha256 is None:
            raise WrongState(f"Batch {batch_id} has no disposition yet.", remedy="Labels are printed after release.")
        record: JsonObject = json.loads(self._store.blob(sha256))
        if record_sha256(record) != state.get("record_sha256"):
            raise VerificationError(
                f"The record of batch {batch_id} is not the one that was signed.",
                remedy="Tell whoever looks after the workstation: the store has to be verified.",
            )
        return record

    def compose(self, batch_id: str, pack: str, units: Sequence[ReleasedUnit]) -> Label:
        """Return the label of these units in a pack. Raises LabelRefused with every reason."""
        record, batch = self.record(batch_id), self._store.state("batch", batch_id) or {}
        pharmacy = self._pharmacy
        return compose(
            record,
            self._texts(text_of(batch.get("recipe")) or ""),
            units,
            pack=pack,
            dose=as_object(batch.get("dose")),
            pharmacy=() if pharmacy is None else pharmacy.lines,
            gtins={} if pharmacy is None else pharmacy.gtins,
        )

    def _texts(self, reference: str) -> RecipeTexts:
        recipe = self._recipe(reference)
        parts = recipe.parts
        return RecipeTexts(
            reference=recipe.reference,
            product=recipe.label.product,
            form=recipe.dosage_form,
            route=recipe.route,
            actives=tuple((part.active.label_text, part.active.basis) for part in parts),
            directions=recipe.label.directions,
            storage=recipe.label.storage,
            warnings=recipe.label.warnings,
            excipients=recipe.label.excipients,
            cytotoxic=recipe.handling.hazard == "cytotoxic",
        )

    def _recipe(self, reference: str) -> Recipe:
        """Return the very version that was printed, also where it is superseded by now."""
        state = self._store.state("recipe", reference) or {}
        sha256 = text_of(state.get("bundle_sha256")) or text_of(state.get("development_sha256"))
        if sha256 is None:
            raise NotFound(
                f"The text of recipe {reference} is not on record ({BUNDLE}).",
                remedy="Tell whoever looks after the workstation: the store has to be verified.",
            )
        return parse_recipe(str(json.loads(self._store.blob(sha256))["recipe_toml"]).encode())
