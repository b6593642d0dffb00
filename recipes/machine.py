"""Machine profiles: one printer head with its plate, balance and sensor, as a versioned document."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from audit.quantities import (
    Celsius,
    Microlitre,
    MicrolitrePerSecond,
    Milligram,
    Millimetre,
    MillimetrePerSecond,
    SquareMillimetre,
    StepsPerMillimetre,
)
from recipes.errors import RecipeRefused
from recipes.figures import Count, Document, Identifier, Name, NotNegative, Positive, Process, check_sources, explain, read_toml
from recipes.machine_devices import FirmwareRequirement, MarlinFirmware, PressureSensor


class Envelope(Document):
    """Where the nozzle may go, in machine coordinates."""

    x_min: Millimetre
    x_max: Millimetre
    y_min: Millimetre
    y_max: Millimetre
    z_min: Millimetre
    z_max: Millimetre


class Position(Document):
    """A place in machine coordinates."""

    x: Millimetre
    y: Millimetre
    z: Millimetre


class Cavity(Document):
    """A blister cavity: its length (along x), width (y) and depth below the rim.

    `wall` is the least distance from its walls at which the axis of the nozzle may go: half the nozzle's outside there, and clearance.
    """

    length: Annotated[Millimetre, Positive]
    width: Annotated[Millimetre, Positive]
    depth: Annotated[Millimetre, Positive]
    wall: Annotated[Millimetre, Positive]


class HeadClearance(Document):
    """What stands around the nozzle: its outside diameter, its free length, and how far what is above it reaches around its axis.

    A unit higher than `free_length` would be met by what is above the nozzle wherever that reaches.
    """

    outside_diameter: Annotated[Millimetre, Positive]
    free_length: Annotated[Millimetre, Positive]
    reach_above: Annotated[Millimetre, Positive]


class Plate(Document):
    """Unit positions in a grid: row by row from (first_x, first_y); `surface_z` is where a unit begins.

    On a capsule tray `surface_z` is the height of the capsule mouths. In a blister every position is the middle of a `cavity`, and
    `surface_z` its floor. A plate without cavities leaves them out of its digest.
    """

    surface: Literal["plate", "capsule tray", "blister"]
    first_x: Millimetre
    first_y: Millimetre
    pitch_x: Annotated[Millimetre, Positive]
    pitch_y: Annotated[Millimetre, Positive]
    columns: Count
    rows: Count
    largest_unit_diameter: Annotated[Millimetre, Positive]
    surface_z: Annotated[Millimetre, NotNegative]
    cavity: Cavity | None = None

    @model_serializer(mode="wrap")
    def _without_cavities(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None or name != "cavity"}

    @model_validator(mode="after")
    def _cavities_apart(self) -> Self:
        cavity = self.cavity
        if (self.surface == "blister") != (cavity is not None):
            raise ValueError("a blister has a cavity at each position, and no other surface has")
        if cavity is not None and (cavity.length >= self.pitch_x or cavity.width >= self.pitch_y):
            raise ValueError("the pitch of the plate must exceed the cavities")
        return self

    @property
    def rim(self) -> Millimetre:
        """How far above `surface_z` the plate itself stands: the depth of a cavity."""
        return Millimetre(0) if self.cavity is None else self.cavity.depth

    @property
    def positions(self) -> tuple[tuple[Decimal, Decimal], ...]:
        """Centres of the unit positions (x, y) in mm, in the order of printing."""
        return tuple(
            (self.first_x.value + column * self.pitch_x.value, self.first_y.value + row * self.pitch_y.value)
            for row in range(self.rows)
            for column in range(self.columns)
        )


class BalanceProfile(Document):
    """The balance under the plate. `expanded_uncertainty` (k = 2) is of a net weighing, plate at `plate_temperature`."""

    driver: Literal["mt-sics", "sartorius-sbi"]
    readability: Annotated[Milligram, Positive]
    capacity: Annotated[Milligram, Positive]
    expanded_uncertainty: Annotated[Milligram, Positive]
    plate_temperature: Celsius


class Head(Document):
    """What belongs to one head. `purge` is where it is primed.

    `e_area` is the volume (mm³) that one mm of E moves. `bounded_exposure` is the largest net volume that may be under
    way beyond the last acknowledged line.
    """

    head: Name
    purge: Position
    e_area: Annotated[SquareMillimetre, Positive]
    steps_per_mm: Annotated[StepsPerMillimetre, Positive]
    nozzle_diameter: Annotated[Millimetre, Positive]
    max_volumetric_rate: Annotated[MicrolitrePerSecond, Positive]
    max_nozzle_temperature: Celsius
    cartridge_capacity: Annotated[Microlitre, Positive]
    cartridge_heel: Annotated[Microlitre, NotNegative]
    bounded_exposure: Annotated[Microlitre, Positive]


class SecondHead(Head):
    """The second head of a machine, which the firmware knows as `T1`.

    `inactive`: what becomes of the head that is not in use. Docked, it is out of the way of all that lies on the plate, capped; a pair
    of nozzles side by side on one carriage is not described here, and cannot be printed with. `offset` is where its nozzle stands
    against that of the first head with the carriage at the same place; positions in a program are always those of the nozzle in use.
    """

    inactive: Literal["docked"]
    offset: Position


class MachineProfile(Head):
    """One printer head with its plate, balance and sensor: the limits that no program may leave."""

    format: Literal["dosewright-machine/1"]
    id: Identifier
    version: Count
    title: Name
    status_text: Literal["demonstration, not for clinical use"]
    process: Process
    envelope: Envelope
    plate: Plate
    park: Position
    max_travel: Annotated[MillimetrePerSecond, Positive]
    max_z_travel: Annotated[MillimetrePerSecond, Positive]
    max_plate_temperature: Celsius
    firmware: FirmwareRequirement
    balance: BalanceProfile
    pressure: PressureSensor
    second_head: SecondHead | None = None
    clearance: HeadClearance | None = None
    sources: dict[str, str]

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None or name not in ("second_head", "clearance")}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        plate, box = self.plate, self.envelope
        margin = plate.largest_unit_diameter / 2
        for x, y in (plate.positions[0], plate.positions[-1]):
            inside_x = box.x_min + margin <= Millimetre(x) <= box.x_max - margin
            if not (inside_x and box.y_min + margin <= Millimetre(y) <= box.y_max - margin):
                raise ValueError(f"a unit at x {x}, y {y} leaves the envelope; move the grid or make it smaller")
        if plate.largest_unit_diameter >= min(plate.pitch_x, plate.pitch_y):
            raise ValueError("the pitch of the plate must exceed the largest unit diameter")
        second = self.second_head
        spots = [("park", self.park), ("purge", self.purge), *([("second_head.purge", second.purge)] if second else [])]
        for name, spot in spots:
            inside = box.x_min <= spot.x <= box.x_max and box.y_min <= spot.y <= box.y_max and box.z_min <= spot.z <= box.z_max
            if not inside:
                raise ValueError(f"the {name} position lies outside the envelope")
        if second is not None and not isinstance(self.firmware, MarlinFirmware):
            raise ValueError("a second head needs firmware of kind marlin: it is the one that says which head is in use")
        check_sources(self, self.sources, exempt=frozenset({"version"}))
        return self

    @property
    def heads(self) -> tuple[MachineProfile, ...]:
        """The machine with each of its heads, as if it were the only one; identity and digest are those of the whole profile."""
        second = self.second_head
        if second is None:
            return (self,)
        own = {name: getattr(second, name) for name in Head.model_fields}
        return self.model_copy(update={"second_head": None}), self.model_copy(update={"second_head": None, **own})

    @property
    def reference(self) -> str:
        """`id@version`, as records name a machine profile."""
        return f"{self.id}@{self.version}"


def parse_machine(content: bytes, name: str = "the machine file") -> MachineProfile:
    """Read a machine profile from TOML bytes; raises RecipeRefused naming every field that is wrong."""
    try:
        return MachineProfile.model_validate(read_toml(content, name))
    except ValidationError as error:
        raise RecipeRefused(f"{name} is not a valid machine profile: {explain(error)}.", remedy="Correct the fields named.") from error
