"""Ink that was prepared on site: its preparation record, and the strength that follows from the weighings.

Nobody has assayed such an ink: its strength is theoretical, and says so wherever it is shown. A record names what was weighed, on
which balance, by whom, and who checked it; a person does not check their own weighing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from audit.quantities import EXACT, Milligram, MilligramPerGram, Percent
from recipes.figures import Count, Document, Identifier, IsoDate, Name, NotNegative, Positive

_THOUSAND = Decimal(1000)


class Component(Document):
    """One weighing. `content` is what the component holds of the stated active, by its certificate: purity and form together (% m/m).

    `mass_uncertainty` and `content_uncertainty` are expanded (k = 2).
    """

    name: Name
    lot: Identifier
    expires: IsoDate
    mass: Annotated[Milligram, Positive]
    mass_uncertainty: Annotated[Milligram, Positive]
    balance: Name
    weighed_by: Identifier
    checked_by: Identifier
    content: Annotated[Percent, Positive] | None = None
    content_uncertainty: Annotated[Percent, NotNegative] | None = None

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.weighed_by == self.checked_by:
            raise ValueError(f"{self.weighed_by} weighed {self.name} and cannot check it: let a second person check the weighing")
        if (self.content is None) != (self.content_uncertainty is None):
            raise ValueError("content and content_uncertainty belong together: state both for an active, neither for an excipient")
        if self.content is not None and self.content.value > 100:
            raise ValueError(f"content may be 100 % at most, found {self.content}")
        return self


class Mixing(Document):
    """How the ink was made homogeneous, how long, and who saw it."""

    method: Name
    minutes: Count
    done_by: Identifier
    checked_by: Identifier

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.done_by == self.checked_by:
            raise ValueError(f"{self.done_by} mixed and cannot check it: let a second person check the mixing")
        return self


class Preparation(Document):
    """The record of one ink prepared on site, in place of a certificate of analysis."""

    strength_basis: Literal["theoretical strength"]
    procedure: Name
    prepared: IsoDate
    components: Annotated[tuple[Component, ...], Field(min_length=2, max_length=30)]
    mixing: Mixing

    @model_validator(mode="after")
    def _one_active(self) -> Self:
        if sum(component.content is not None for component in self.components) != 1:
            raise ValueError("exactly one component holds the active: state its content, and that of no other")
        return self

    @property
    def total(self) -> Milligram:
        total = Milligram(0)
        for component in self.components:
            total = total + component.mass
        return total

    @property
    def strength(self) -> MilligramPerGram:
        """Theoretical strength: mass of the stated active over the mass of the ink."""
        return MilligramPerGram(EXACT.multiply(_THOUSAND, EXACT.divide(self._active_mass.value, self.total.value)))

    @property
    def strength_uncertainty(self) -> MilligramPerGram:
        """Expanded uncertainty (k = 2) of the theoretical strength, by the root sum of squares of weighings and content.

        With w the active's mass, c its content and T the total, s = c w / T; ds/dw = s (1/w - 1/T), ds/dm = -s/T for any other
        component, ds/dc = s/c. Losses and inhomogeneity are not in it. Source: JCGM 100:2008 (GUM) 5.1.2.
        """
        active, total, strength = self._active, self.total.value, self.strength.value
        squares = Decimal(0)
        for component in self.components:
            per_mass = EXACT.divide(strength, total)
            if component is active:
                per_mass = EXACT.subtract(EXACT.divide(strength, component.mass.value), per_mass)
            squares = EXACT.add(squares, EXACT.power(EXACT.multiply(per_mass, component.mass_uncertainty.value), 2))
        if active.content is not None and active.content_uncertainty is not None:
            share = EXACT.divide(active.content_uncertainty.value, active.content.value)
            squares = EXACT.add(squares, EXACT.power(EXACT.multiply(strength, share), 2))
        return MilligramPerGram(EXACT.sqrt(squares))

    @property
    def _active(self) -> Component:
        return next(component for component in self.components if component.content is not None)

    @property
    def _active_mass(self) -> Milligram:
        content = self._active.content
        return self._active.mass * (Decimal(1) if content is None else content.fraction)

    @property
    def expired(self) -> tuple[str, ...]:
        """Say which components were out of date on the day of preparation."""
        return tuple(
            f"component {component.name}, lot {component.lot}, expired on {component.expires}, before it was weighed on {self.prepared}"
            for component in self.components
            if component.expires < self.prepared
        )
