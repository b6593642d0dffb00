"""Errors of recipes, doses and programs.

DosewrightError
└── RecipeError              RE-001    something about what may be printed is not right
    ├── RecipeRefused        RE-010    a recipe or machine file cannot be read, is changed or is not signed as it must be
    │   └── RecipeUnknown    RE-011    no such recipe, machine or demonstration case
    ├── TransitionRefused    RE-020    the life cycle has no such step, or not for this person
    └── Refusal              RE-030    a list of reasons, all of them, each with what to do
        ├── PrescriptionRefused RE-031 the prescription as written cannot be read
        ├── DoseRefused      RE-032    no dose follows from this prescription under this recipe
        ├── InkRefused       RE-033    the ink lot or the cartridge may not serve this batch
        ├── GeometryRefused  RE-034    no solid of that volume under this recipe
        │   └── SolidFileRefused RE-038 an STL file is not the one closed solid that the recipe describes
        ├── CompileRefused   RE-035    order, recipe, ink and machine do not fit together
        └── ProofRefused     RE-036    the final bytes are not what the recipe allows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from audit.errors import DosewrightError


class RecipeError(DosewrightError):
    code = "RE-001"


class RecipeRefused(RecipeError):
    code = "RE-010"


class RecipeUnknown(RecipeRefused):
    code = "RE-011"


class TransitionRefused(RecipeError):
    code = "RE-020"


class Refusal(RecipeError):
    """A refusal with every reason that was found; each reason says what is wrong, where, and what to do."""

    code = "RE-030"
    heading: ClassVar[str] = "Refused"

    def __init__(self, reasons: Sequence[str], *, remedy: str = "") -> None:
        self.reasons = tuple(reasons)
        super().__init__(
            f"{self.heading}: " + " ".join(reason if reason.endswith(".") else f"{reason}." for reason in reasons), remedy=remedy
        )


class PrescriptionRefused(Refusal):
    """A form that cannot be read; `fields`: what is wrong with each field, by its name in the form, where it is known."""

    code = "RE-031"
    heading = "The prescription cannot be read"

    def __init__(self, reasons: Sequence[str], *, remedy: str = "", fields: Mapping[str, str] | None = None) -> None:
        super().__init__(reasons, remedy=remedy)
        self.fields: Mapping[str, str] = fields or {}


class DoseRefused(Refusal):
    code = "RE-032"
    heading = "No dose"


class InkRefused(Refusal):
    code = "RE-033"
    heading = "The ink may not be used"


class GeometryRefused(Refusal):
    code = "RE-034"
    heading = "No shape"


class SolidFileRefused(GeometryRefused):
    code = "RE-038"
    heading = "The solid cannot be used"


class CompileRefused(Refusal):
    code = "RE-035"
    heading = "No program"


class ProofRefused(Refusal):
    code = "RE-036"
    heading = "The program is not proved"
