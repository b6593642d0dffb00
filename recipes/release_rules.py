"""What a recipe's control strategy demands of release beyond what every batch must show: limits, and the history for small batches."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, SerializerFunctionWrapHandler, StrictInt, model_serializer, model_validator

from audit.canonical import JsonValue
from audit.quantities import Percent, plain_text
from recipes.figures import Document, Hex256, Identifier, Name, PlainNumber, Positive


class SmallBatchPrior(Document):
    """What earlier batches say of the content of units (% of label): mean, standard deviation within a batch and its degrees of freedom.

    `weight`: the mean counts as that many units; `history`: the batches or the report that it rests on. `dosewright trends` proposes one.
    """

    mean: Annotated[Percent, Positive]
    sd: Annotated[Percent, Positive]
    degrees: Annotated[StrictInt, Field(ge=1, le=10_000)]
    weight: PlainNumber
    history: Name

    @model_validator(mode="after")
    def _weighing_something(self) -> Self:
        if self.weight <= 0:
            raise ValueError(f"weight must be above zero, found {plain_text(self.weight)}")
        return self

    def as_rule(self) -> dict[str, JsonValue]:
        return {
            "mean_percent": self.mean.text,
            "sd_percent": self.sd.text,
            "degrees": self.degrees,
            "weight": plain_text(self.weight),
            "history": self.history,
        }


class ModelRule(Document):
    """A process model that release rests on, by id, version and digest. `tolerance`: how far a unit's prediction with its interval may lie
    from what the ink certificate leads to; for a model of strength, and for no other."""

    model: Identifier
    version: Annotated[StrictInt, Field(ge=1, le=10_000)]
    model_digest: Hex256
    tolerance: Annotated[Percent, Positive] | None = None

    def as_rule(self) -> dict[str, JsonValue]:
        tolerance: dict[str, JsonValue] = {} if self.tolerance is None else {"tolerance_percent": self.tolerance.text}
        return {"model": f"{self.model}@{self.version}", "digest": self.model_digest, **tolerance}


class ReleaseRules(Document):
    """Limits above which a batch is held, each only where it is set.

    `largest_reject_rate`: share of printed units that were rejected or scrapped; above it the batch waits until a cause is assigned.
    `ink_reconciliation`: share of the ink issued that may be unaccounted for, either way; it asks for the cartridge to be weighed back.
    `process_models`: models whose predictions must lie within their domain and limits.
    """

    largest_reject_rate: Percent | None = None
    ink_reconciliation: Annotated[Percent, Positive] | None = None
    small_batch_prior: SmallBatchPrior | None = None
    second_small_batch_prior: SmallBatchPrior | None = None
    process_models: Annotated[tuple[ModelRule, ...], Field(min_length=1, max_length=8)] | None = None

    @model_validator(mode="after")
    def _shares(self) -> Self:
        for name in ("largest_reject_rate", "ink_reconciliation"):
            share = getattr(self, name)
            if share is not None and not 0 <= share.value <= 100:
                raise ValueError(f"{name} must lie between 0 % and 100 %, found {share}")
        named = [rule.model for rule in self.process_models or ()]
        if len(set(named)) < len(named):
            raise ValueError("a process model is named twice")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None}

    def as_rules(self) -> dict[str, JsonValue]:
        """Return the rules as a cell states them in the entry that creates a run (`release_rules`)."""
        found: dict[str, JsonValue] = {}
        if self.largest_reject_rate is not None:
            found["largest_reject_rate_percent"] = self.largest_reject_rate.text
        if self.ink_reconciliation is not None:
            found["ink_reconciliation_percent"] = self.ink_reconciliation.text
        for name, prior in (("small_batch_prior", self.small_batch_prior), ("second_small_batch_prior", self.second_small_batch_prior)):
            if prior is not None:
                found[name] = prior.as_rule()
        if self.process_models is not None:
            found["process_models"] = [rule.as_rule() for rule in self.process_models]
        return found
