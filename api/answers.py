"""The forms of the main answers, for the description of the interface. What is recorded of a thing may hold more than its form names."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class _Shown(BaseModel):
    model_config = ConfigDict(extra="allow")


class AllowedAction(BaseModel):
    """Whether an act is open to the person who asks, and everything that stands against it."""

    model_config = ConfigDict(extra="forbid")
    allowed: bool
    reasons: list[str]


Acts = dict[str, AllowedAction]
"""By the last part of the path that carries the act out."""


class OrderRow(_Shown):
    order: str
    status: str
    purpose: str | None
    entered_by: str | None
    confirmed_by: str | None


class Order(OrderRow):
    recipe: str
    moiety: str
    basis: str
    second_moiety: str | None
    second_basis: str | None
    batches: list[str]
    allowed_actions: Acts


class CellOffer(_Shown):
    cell: str
    reasons: list[str]


class BatchRow(_Shown):
    batch: str
    status: str
    order: str
    cell: str
    recipe: str
    ink_lot: str
    cartridge: str
    machine: str
    demonstration: bool
    dose: dict[str, JsonValue]
    run: str | None = None
    purpose: str | None = None
    disposition: str | None = None


class Batch(BatchRow):
    allowed_actions: Acts


class Unit(_Shown):
    """A unit, or a purge unit of the start-up calibration, as the cell shows it. Masses in mg, as decimal text."""

    purge: bool
    unit: str
    n: int
    target_mass_mg: str | None
    mass_mg: str | None
    state: str
    verdict: str | None
    reasons: list[str]
    removed: bool
    allowed_actions: Acts


class Alarm(_Shown):
    alarm: str
    name: str
    state: str
    allowed_actions: Acts


class Alarms(_Shown):
    alarms: list[Alarm]


class RunStatus(_Shown):
    """The state of a cell at one moment of its process time (µs); readings as decimal text with their age."""

    cell: str
    at_us: int
    state: str
    run: str | None
    batch: str | None
    sensors: dict[str, JsonValue]
    units: list[dict[str, JsonValue]]
    alarms: list[dict[str, JsonValue]]
    allowed_actions: Acts


class RecipeRow(_Shown):
    id: str
    version: int
    title: str
    digest: str
    status: str


class Step(_Shown):
    """An entry of a life: what was done, when (UTC), by whom, in which role, and why."""

    at: str
    kind: str
    name: str
    role: str
    reason: str | None


class RecipeVersion(RecipeRow):
    reference: str
    recipe_toml: str
    compared_with: str | None
    difference: list[dict[str, JsonValue]]
    life: list[Step]
    allowed_actions: Acts


class ModelRow(_Shown):
    model: str
    id: str
    version: int
    status: str


class Model(ModelRow):
    definition: dict[str, JsonValue]
    problems: list[str]
    life: list[Step]
    allowed_actions: Acts


class InkRow(_Shown):
    lot: str
    ink: str
    expires: str


class Ink(InkRow):
    held: str | None
    allowed_actions: Acts


class CartridgeRow(_Shown):
    serial: str
    ink_lot: str


class Cartridge(CartridgeRow):
    remaining: str
    held: str | None
    history: list[dict[str, JsonValue]]
    allowed_actions: Acts


class Label(_Shown):
    name: str
    copy_number: int = Field(alias="copy")
    outcome: str
    allowed_actions: Acts


class Pack(_Shown):
    pack: str
    batch: str
    state: str
    units: list[int]
    strengths: list[str]
    patient: str
    use_by: str
    labels: list[Label]
    allowed_actions: Acts


class RecallRow(_Shown):
    recall: str
    status: Literal["open", "closed"]
    criteria: dict[str, JsonValue]


class RecallPatient(_Shown):
    patient: str
    contacts: list[dict[str, JsonValue]]
    allowed_actions: Acts


class Recall(RecallRow):
    batches: list[dict[str, JsonValue]]
    missing: list[str]
    packs: list[dict[str, JsonValue]]
    patients: list[RecallPatient]
    waits_for: list[str]
    allowed_actions: Acts


class PersonRow(_Shown):
    username: str
    name: str
    roles: list[str]
    lent: dict[str, str]
    locked: bool
    active: bool
    verifier_key: str


class Person(PersonRow):
    allowed_actions: Acts


class OpenException(_Shown):
    exception: str
    finding: str
    allowed_actions: Acts


class ToSign(_Shown):
    """What a disposition is signed over; `shown_sha256` goes back as `signature.digest`."""

    batch: str
    shown_sha256: str
    record: dict[str, JsonValue]
    dispositions: Acts


class Readiness(_Shown):
    gates: list[dict[str, JsonValue]]
    register_: dict[str, JsonValue] | None = Field(alias="register")
    cleaning_method: str | None
    check: dict[str, JsonValue] | None
    allowed_actions: Acts


class Kept(_Shown):
    """Until when (ISO dates) the documents of a batch are kept, and why."""

    batch: str
    certified: str | None
    expires: str | None
    until: str | None
    because: str
    holds: list[str]
    due: bool
