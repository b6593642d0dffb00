"""Versions of process models as the workstation's trail holds them: definition, state, test, monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from api.errors import NotFound
from audit.canonical import JsonObject
from audit.events import EventKind
from audit.quantities import EXACT
from audit.reader import TrailReader
from audit.release.process_models import ModelDefinition, read_definition
from audit.release.trail_view import as_list, as_object, count_of, number_of
from recipes.lifecycle import RecipeState, RecipeVersion

_ALL = 1_000_000
"""More entries of one model than a site writes in its life."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version: its state as recorded and its definition."""

    state: JsonObject
    definition: ModelDefinition

    @property
    def reference(self) -> str:
        return self.definition.reference

    @property
    def status(self) -> str:
        return str(self.state.get("status"))

    @property
    def suspended(self) -> str | None:
        found = self.state.get("suspended")
        return found if isinstance(found, str) else None

    @property
    def standing(self) -> RecipeVersion:
        author, approver = self.state.get("author"), self.state.get("approver")
        return RecipeVersion(
            reference=self.reference,
            digest=str(self.state.get("digest")),
            state=RecipeState(self.status),
            author=author if isinstance(author, str) else None,
            approver=approver if isinstance(approver, str) else None,
            noun="process model",
        )


class ModelRegister:
    """Reads the trail. Lifetime and concurrency: those of the store."""

    def __init__(self, store: TrailReader) -> None:
        self._store = store

    def get(self, reference: str) -> ModelVersion:
        """Return one version. Raises NotFound, ModelRefused."""
        found = self.find(reference)
        if found is None:
            raise NotFound(f"There is no process model {reference!r}.", remedy="Look at the list of models.")
        return found

    def find(self, reference: str) -> ModelVersion | None:
        state = self._store.state("model", reference)
        return None if state is None else ModelVersion(state, read_definition(state.get("definition"), reference))

    def states(self, model_id: str | None = None) -> list[JsonObject]:
        """Return every version without its definition, by id and number."""
        found = [
            {"model": name, **{key: value for key, value in state.items() if key not in ("definition", "author_signature")}}
            for name, state in self._store.objects("model")
            if model_id is None or state.get("id") == model_id
        ]
        return sorted(found, key=lambda state: (str(state.get("id")), count_of(state.get("version")) or 0))

    def effective(self) -> list[ModelVersion]:
        return [self.get(str(state["model"])) for state in self.states() if state.get("status") == "effective"]

    def residuals(self, reference: str) -> list[Decimal]:
        """Return prediction less reference of every check since the model became effective or was reinstated, oldest first."""
        found: list[Decimal] = []
        for entry in self._store.search(kind="model.", subject_id=reference, limit=_ALL):
            if entry.kind in (EventKind.MODEL_VERSION_EFFECTIVE, EventKind.MODEL_VERSION_REINSTATED):
                found = []
            elif entry.kind == EventKind.MODEL_REFERENCE_CHECKED:
                found.append(number_of(entry.new.get("residual")) or Decimal(0))
        return found

    def predicted_batches(self, reference: str) -> tuple[tuple[str, ...], dict[str, Decimal]]:
        """Return the batches predicted since the last check, and the mean T² of each batch since the model's last review, oldest first."""
        checked, reviewed = -1, -1
        for entry in self._store.search(kind="model.", subject_id=reference, limit=_ALL):
            if entry.kind in (EventKind.MODEL_VERSION_EFFECTIVE, EventKind.MODEL_VERSION_REINSTATED):
                checked = reviewed = entry.seq
            elif entry.kind == EventKind.MODEL_REFERENCE_CHECKED:
                checked = entry.seq
        since, means = dict[str, None](), dict[str, Decimal]()
        for entry in self._store.search(kind=EventKind.MODEL_PREDICTION_RECORDED.value, limit=_ALL):
            if entry.new.get("model") != reference or entry.seq < reviewed:
                continue
            batch = str(entry.new.get("batch"))
            if entry.seq > checked:
                since[batch] = None
            if (average := mean_t2(entry.new)) is not None:
                means[batch] = average
        return tuple(since), means


def mean_t2(new: JsonObject) -> Decimal | None:
    """Return the mean T² of the units of a prediction entry that have one."""
    found = [t2 for row in as_list(new.get("units")) if (t2 := number_of(as_object(row).get("t2"))) is not None]
    return EXACT.divide(sum(found, Decimal(0)), Decimal(len(found))) if found else None
