"""May the content of these units be judged by their mass? Decided by 2.9.40, and explained; pure.

Source: Ph. Eur. 2.9.40, table 1 and text (harmonised with USP <905>): mass variation is for hard capsules and uncoated or film-coated
tablets with at least 25 mg *and* at least 25 % (m/m) of the active; below that, for units whose concentration (m/m) has a relative
standard deviation of at most 2 %, shown by data from process validation and development on finished units.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from audit.quantities import EXACT, plain_text, round_to

SMALLEST_ACTIVE_MG = Decimal(25)
SMALLEST_SHARE_PERCENT = Decimal(25)
LARGEST_CONCENTRATION_RSD = Decimal(2)


class Route(StrEnum):
    """Why mass variation is open to units, or that it is not."""

    AMOUNT_AND_SHARE = "25 mg and 25 %"
    VALIDATED_CONCENTRATION = "concentration RSD"
    NOT_APPLICABLE = "mass variation not applicable"


@dataclass(frozen=True, slots=True)
class Applicability:
    """The decision, and the figures that it rests on in words."""

    route: Route
    text: str

    @property
    def is_open(self) -> bool:
        return self.route is not Route.NOT_APPLICABLE


def decide(
    active_mg: Decimal | None, unit_mass_mg: Decimal | None, validated_rsd: Decimal | None, certificate_rsd: Decimal | None = None
) -> Applicability:
    """Decide by the active in a unit (mg, as on its label), the unit's mass (mg) and the recipe's validation data (%, finished units).

    `certificate_rsd`: what the ink's certificate states of the ink; it opens nothing, because it was not measured in finished units.
    """
    amount = _amount(active_mg, unit_mass_mg)
    if active_mg is not None and unit_mass_mg is not None and unit_mass_mg > 0:
        share = EXACT.divide(EXACT.multiply(active_mg, Decimal(100)), unit_mass_mg)
        if active_mg >= SMALLEST_ACTIVE_MG and share >= SMALLEST_SHARE_PERCENT:
            return Applicability(Route.AMOUNT_AND_SHARE, f"mass variation is open: {amount}, at least 25 mg and 25 %")
    if validated_rsd is not None and validated_rsd <= LARGEST_CONCENTRATION_RSD:
        shown = f"concentration RSD {plain_text(validated_rsd)} % in finished units by the recipe's validation data, at most 2 %"
        return Applicability(Route.VALIDATED_CONCENTRATION, f"mass variation is open: {shown}")
    held = "no validation data" if validated_rsd is None else f"{plain_text(validated_rsd)} %"
    text = (
        f"mass variation is not applicable to these units: {amount}, "
        f"and concentration RSD of at most 2 % in finished units needed, held: {held}"
    )
    if certificate_rsd is not None:
        text += f" (the ink certificate's {plain_text(certificate_rsd)} % is of the ink, and no substitute)"
    return Applicability(Route.NOT_APPLICABLE, text)


def _amount(active_mg: Decimal | None, unit_mass_mg: Decimal | None) -> str:
    if active_mg is None or unit_mass_mg is None or unit_mass_mg <= 0:
        return "amount and share of active not stated"
    share = EXACT.divide(EXACT.multiply(active_mg, Decimal(100)), unit_mass_mg)
    return f"{plain_text(active_mg)} mg of active, {plain_text(round_to(share, 1))} % of the unit's mass"
