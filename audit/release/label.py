"""What stands on the label of one pack, from the signed batch record, the signed recipe and the order; pure.

Doses are written as ISMP asks: no trailing zero, no naked decimal point, a space before the unit, no `µg` and no `U`. A strength keeps
the unit of prescription and record, mg; below 1 mg the same amount follows in *micrograms*, spelled out: `mcg` is read wrongly in
Europe as `µg` is in America, the word nowhere.

Sources: ISMP List of Error-Prone Abbreviations (2024); EMA QRD recommendations on the expression of strength (EMA/707229/2009);
Directive 2001/83/EC article 54; Annex 13 and Regulation (EU) 536/2014 annex VI for trial use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.errors import LabelRefused
from audit.quantities import EXACT, QuantityError, decimal_from_text, plain_text
from audit.release.conformity import RELEASING, Disposition
from audit.release.gs1 import PackCode
from audit.release.trail_view import as_list, as_object, count_of, text_of

NOT_CLINICAL = "NOT FOR CLINICAL USE"
UNLICENSED = "Unlicensed medicine"
CYTOTOXIC = "CYTOTOXIC"
_THOUSAND, _ONE = Decimal(1000), Decimal(1)
_ERRORS = (
    (re.compile(r"\d\.\d*0(?!\d)(?=\s*(mg|g|mL|ml|micrograms?|mcg|%)\b)"), "a trailing zero"),
    (re.compile(r"(?<![\d.])\.\d"), "a naked decimal point"),
    (re.compile(r"\d\s*([µμ]g|ug)\b"), "a unit that is misread: write micrograms"),
    (re.compile(r"\d(mg|mL|g)\b"), "no space before the unit"),
    (re.compile(r"\d\s*(IU|U|u)\b"), "a unit that is misread: write units"),
    (re.compile(r"\d\s*cc\b"), "a unit that is misread: write mL"),
)


def dose_text(milligrams: str) -> str:
    """Return an amount in mg as a label writes it: `5 mg`, `0.5 mg (500 micrograms)`. Raises QuantityError, LabelRefused."""
    value = decimal_from_text(milligrams, "strength in mg")
    if value <= 0:
        raise LabelRefused([f"a strength of {milligrams} mg is none"], remedy="Look at the batch record.")
    text = f"{_plain(value)} mg"
    return text if value >= _ONE else f"{text} ({_plain(EXACT.multiply(value, _THOUSAND))} micrograms)"


def _plain(value: Decimal) -> str:
    text = plain_text(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def text_reasons(name: str, text: str) -> tuple[str, ...]:
    """Return what in a text of the recipe is error-prone on a label; empty where nothing is."""
    return tuple(f"{name} holds {what}: {text!r}" for pattern, what in _ERRORS if pattern.search(text))


@dataclass(frozen=True, slots=True)
class RecipeTexts:
    """What the signed recipe says for a label. `actives`: (text, basis) of each, in the order of the inks."""

    reference: str
    product: str
    form: str
    route: str
    actives: tuple[tuple[str, str], ...]
    directions: str
    storage: str
    warnings: tuple[str, ...]
    excipients: tuple[str, ...]
    cytotoxic: bool


@dataclass(frozen=True, slots=True)
class ReleasedUnit:
    """A unit that may be packed: its number, its identifier and its strengths in mg, one for each active."""

    n: int
    unit: str
    strengths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """One label. `patient` is the pseudonym; who that is, is no part of it and reaches the print alone."""

    pack: str
    batch: str
    patient: str
    product: str
    strengths: tuple[str, ...]
    form: str
    quantity: str
    intake: str
    directions: str
    route: str
    use_by: str
    storage: str
    excipients: str
    warnings: tuple[str, ...]
    legal: tuple[str, ...]
    prescriber: str
    pharmacy: tuple[str, ...]
    code: PackCode
    crossed: str | None

    def as_record(self) -> JsonObject:
        """Return every text of the label, as the trail keeps it."""
        return {
            **{name: getattr(self, name) for name in _TEXTS},
            **{name: list(getattr(self, name)) for name in ("strengths", "warnings", "legal", "pharmacy")},
            "code": self.code.printed,
            "crossed": self.crossed,
        }

    @property
    def sha256(self) -> str:
        return sha256_hex(canonical(self.as_record()))


_TEXTS = (
    "pack", "batch", "patient", "product", "form", "quantity", "intake", "directions", "route", "use_by", "storage", "excipients",
    "prescriber",
)  # fmt: skip


def released_units(record: JsonObject) -> tuple[ReleasedUnit, ...]:
    """Return the units of a signed record that may be packed: accepted and not removed; none where nothing was released.

    A batch that was made for something else than patients can never be released: once its disposition is signed, its accepted units
    may have a crossed label, so that nothing stands about unnamed.
    """
    if not (_disposition(record) in RELEASING or (record.get("purpose") is not None and record.get("disposition") == "rejected")):
        return ()
    found = []
    for unit in (as_object(item) for item in as_list(record.get("units"))):
        if unit.get("verdict") != "accepted" or unit.get("removed") is True:
            continue
        parts = [as_object(part) for part in as_list(unit.get("parts"))] or [unit]
        strengths = tuple(text_of(part.get("strength_mg")) or "" for part in parts)
        number = count_of(unit.get("n"))
        if number is not None and all(strengths):
            found.append(ReleasedUnit(number, text_of(unit.get("unit")) or "", strengths))
    return tuple(found)


def _disposition(record: JsonObject) -> Disposition:
    try:
        return Disposition(text_of(record.get("disposition")) or "")
    except ValueError:
        return Disposition.HELD


def for_patients(record: JsonObject) -> bool:
    """Whether a released batch may be dispensed: no demonstration, and made for nothing else."""
    return record.get("demonstration") is False and record.get("purpose") is None


def compose(
    record: JsonObject,
    recipe: RecipeTexts,
    units: Sequence[ReleasedUnit],
    *,
    pack: str,
    dose: JsonObject,
    pharmacy: Sequence[str],
    gtins: Mapping[str, str],
) -> Label:
    """Return the label of a pack of these units.

    `dose`: the dose as the batch was opened with it, which says at what time of day each strength is taken. `gtins`: GTIN (14 digits)
    by product (`recipe/version/strength`), where one was assigned.

    Raises LabelRefused with every reason: units that were not released, of several strengths, no use-by, no pharmacy, error-prone texts.
    """
    released = released_units(record)
    reasons = [f"unit {unit.n} is not released" for unit in units if unit not in released]
    if not released:
        reasons.append(f"the batch is {text_of(record.get('disposition')) or 'held'}: labels are printed after release")
    strengths = {unit.strengths for unit in units}
    if len(strengths) != 1:
        reasons.append("the units of a pack are of one strength" if strengths else "a pack holds at least one unit")
    use_by = text_of(as_object(as_object(record.get("release")).get("use_by")).get("day"))
    if use_by is None:
        reasons.append(f"recipe {recipe.reference} states no pack, so that nobody knows how long its units last")
    if not pharmacy or not all(line.strip() for line in pharmacy):
        reasons.append("name and address of the pharmacy are not set")
    for name in ("product", "directions", "storage", "route"):
        reasons += text_reasons(f"the recipe's {name}", getattr(recipe, name))
    for text in (*recipe.warnings, *recipe.excipients):
        reasons += text_reasons("a text of the recipe", text)
    if reasons or use_by is None:
        raise LabelRefused(reasons, remedy="Supply what is missing; nothing was printed.")
    planned = _planned(dose, units[0].strengths[0])
    intake = _intake(record, dose, recipe.form, units[0].strengths[0], whole=len(units) == planned)
    texts = intake, _quantity(len(units), planned, recipe.form), tuple(pharmacy)
    return _label(record, recipe, tuple(units), pack, use_by, *texts, gtins)


def _label(
    record: JsonObject,
    recipe: RecipeTexts,
    units: tuple[ReleasedUnit, ...],
    pack: str,
    use_by: str,
    intake: str,
    quantity: str,
    pharmacy: tuple[str, ...],
    gtins: Mapping[str, str],
) -> Label:
    prescription = as_object(record.get("prescription"))
    strengths, batch = units[0].strengths, text_of(record.get("batch")) or ""
    product = _product_code(recipe.reference, strengths)
    gtin = gtins.get(product)
    return Label(
        pack=pack,
        batch=batch,
        patient=text_of(prescription.get("patient")) or "",
        product=recipe.product,
        strengths=_strengths(recipe, strengths),
        form=recipe.form,
        quantity=quantity,
        intake=intake,
        directions=recipe.directions,
        route=recipe.route.partition(";")[0].strip(),
        use_by=use_by,
        storage=recipe.storage,
        excipients=", ".join(recipe.excipients),
        warnings=_warnings(recipe),
        legal=_legal(record),
        prescriber=" ".join(text for name in ("prescriber", "number") if (text := text_of(prescription.get(name)))),
        pharmacy=pharmacy,
        code=PackCode(use_by, batch, pack, gtin=gtin, product=product if gtin is None else None),
        crossed=None if for_patients(record) else NOT_CLINICAL,
    )


def _product_code(reference: str, strengths: tuple[str, ...]) -> str:
    """Name the product within this site: recipe, version and strengths; `@` is not of the standard's characters."""
    return "/".join((reference.replace("@", "/"), *(_plain(decimal_from_text(strength)) for strength in strengths)))


def _strengths(recipe: RecipeTexts, strengths: tuple[str, ...]) -> tuple[str, ...]:
    """Substance with its basis and the amount in one unit, for each active."""
    rows = []
    for (text, basis), strength in zip(recipe.actives, strengths, strict=True):
        named = text if basis.casefold() in text.casefold() else f"{text} ({basis})"
        rows.append(f"{dose_text(strength)} {named}")
    return tuple(rows)


def _planned(dose: JsonObject, strength: str) -> int | None:
    """How many units of this strength the course takes; None where the dose does not say."""
    plans = [as_object(item) for item in as_list(dose.get("strengths"))]
    counts = [count_of(plan.get("units")) for plan in plans if _equal(plan.get("strength_mg"), strength)]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _quantity(held: int, planned: int | None, form: str) -> str:
    """What the pack holds, and of how many where it is not the whole course: `10 of 14 tablets`."""
    number, last = (f"{held}", held) if planned is None or held == planned else (f"{held} of {planned}", planned)
    return f"{number} {form}{'' if last == 1 else 's'}"


def _intake(record: JsonObject, dose: JsonObject, form: str, strength: str, *, whole: bool) -> str:
    """When one unit of this strength is taken, by the schedule of the order: packs of several strengths are told apart by it.

    For how many days, only a pack says that holds the `whole` course: another one ends before.
    """
    prescription = as_object(record.get("prescription"))
    days, times = count_of(prescription.get("days")), list[str]()
    for plan in (as_object(item) for item in as_list(dose.get("strengths"))):
        if _equal(plan.get("strength_mg"), strength):
            times += [text for item in as_list(plan.get("intakes")) if (text := text_of(item))]
    if not times:
        times = [text for item in as_list(prescription.get("schedule")) if (text := text_of(as_object(item).get("time")))]
    course = "" if days is None or not whole else f", for {days} day{'' if days == 1 else 's'}"
    return f"One {form}: {', '.join(times)}{course}" if times else f"One {form} at a time{course}"


def _equal(value: JsonValue, strength: str) -> bool:
    try:
        return decimal_from_text(text_of(value) or "") == decimal_from_text(strength)
    except QuantityError:
        return False


def _warnings(recipe: RecipeTexts) -> tuple[str, ...]:
    said = [text for text in recipe.warnings if not (recipe.cytotoxic and text.casefold().strip(". ") == "cytotoxic")]
    return tuple(_once([*([CYTOTOXIC] if recipe.cytotoxic else []), *said, "Keep out of the sight and reach of children."]))


def _legal(record: JsonObject) -> tuple[str, ...]:
    """The words of the legal route, what a person has to know of an unlicensed medicine, and of an ink that nobody assayed."""
    release = as_object(record.get("release"))
    route = as_object(release.get("legal_route"))
    words = text_of(route.get("label"))
    found = [words] if words else []
    if text_of(route.get("route")) != "uk_point_of_care":
        found.append(UNLICENSED)
    if as_list(release.get("theoretical_strength")):
        found.append("Strength by weighing, not assayed")
    return tuple(found)


def _once(texts: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(texts)
