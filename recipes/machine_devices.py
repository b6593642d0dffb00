"""Firmware and pressure sensor of a machine profile: what each kind must state, and what it may not.

A field that belongs to another kind is refused by name: a profile that mixes two devices was not written for either.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Field, StrictBool, StrictInt, Tag, model_validator

from audit.quantities import Kilopascal, Millimetre
from recipes.figures import Count, Document, Name

_Match = Literal["exact", "prefix"]
_IN_KILOPASCAL = {
    "Pa": Decimal("0.001"),
    "hPa": Decimal("0.1"),
    "mbar": Decimal("0.1"),
    "kPa": Decimal(1),
    "bar": Decimal(100),
    "MPa": Decimal(1000),
}
_FINEST_STEP = Decimal("0.5")
_FLOATS = ("float32", "float32, low word first")


class MarlinFirmware(Document):
    """What the printer's firmware must be; capabilities as M115 names them. A profile without `kind` is Marlin.

    FIRMWARE_NAME must begin with `name` and one of `versions`. `advanced_ok` cannot be read from M115: it is stated here and
    the link checks it on the first acknowledgements.
    """

    total_step: ClassVar[Millimetre] = Millimetre("0.01")
    # Stated or not, it is the same profile: the digest is that of the other fields.
    kind: Annotated[Literal["marlin"], Field(exclude=True)] = "marlin"
    name: Name
    versions: Annotated[tuple[Name, ...], Field(min_length=1)]
    capabilities: tuple[Name, ...]
    advanced_ok: StrictBool
    baud: Annotated[int, Field(strict=True, ge=9600, le=4_000_000)]

    @model_validator(mode="before")
    @classmethod
    def _own_fields(cls, content: object) -> object:
        return _foreign(content, cls, _FIRMWARE, "kind")

    @property
    def reports_temperatures(self) -> bool:
        """Whether `M155` makes it report temperatures unasked."""
        return "AUTOREPORT_TEMP" in self.capabilities


class KlipperFirmware(Document):
    """Klipper by the FIRMWARE_VERSION that its M115 gives. Its G-code port is a pty of its host program: there is no baud rate."""

    total_step: ClassVar[Millimetre] = Millimetre("0.001")
    reports_temperatures: ClassVar[bool] = False
    kind: Literal["klipper"]
    version: Name
    match: _Match

    @model_validator(mode="before")
    @classmethod
    def _own_fields(cls, content: object) -> object:
        return _foreign(content, cls, _FIRMWARE, "kind")


class RepRapFirmware(Document):
    """RepRapFirmware on a board: `board` is what M115 says after `RepRapFirmware for `. Native USB alone: there is no baud rate.

    Its M114 counts relative extrusion in `E0` alone, and that with one decimal (Duet3D, G-code dictionary, M114).
    """

    total_step: ClassVar[Millimetre] = Millimetre("0.1")
    reports_temperatures: ClassVar[bool] = False
    kind: Literal["reprapfirmware"]
    version: Name
    board: Name
    match: _Match

    @model_validator(mode="before")
    @classmethod
    def _own_fields(cls, content: object) -> object:
        return _foreign(content, cls, _FIRMWARE, "kind")


class HubSensor(Document):
    """A gauge pressure sensor behind a hub that sends lines `seq,kPa` unasked."""

    protocol: Literal["hub-lines"]
    low: Kilopascal
    high: Kilopascal
    lines_per_second: Count

    @model_validator(mode="before")
    @classmethod
    def _own_fields(cls, content: object) -> object:
        return _foreign(content, cls, _SENSORS, "protocol")

    @model_validator(mode="after")
    def _range(self) -> Self:
        _ordered(self.low, self.high)
        return self


class ModbusTransmitter(Document):
    """A gauge pressure transmitter that is polled over Modbus RTU.

    `unit` is its bus address, `register_address` counts from 0 as on the wire, `function` is 3 (holding) or 4 (input), `decimals` are
    those of an integer. Periods in ms.
    """

    protocol: Literal["modbus-rtu"]
    low: Kilopascal
    high: Kilopascal
    unit: Annotated[StrictInt, Field(ge=1, le=247)]
    register_address: Annotated[StrictInt, Field(ge=0, le=65_534)]
    function: Literal[3, 4]
    form: Literal["int16", "uint16", "int32", "int32, low word first", "float32", "float32, low word first"]
    pressure_unit: Literal["Pa", "hPa", "mbar", "kPa", "bar", "MPa"]
    decimals: Annotated[StrictInt, Field(ge=0, le=6)]
    poll_period_ms: Annotated[StrictInt, Field(ge=20, le=100)]

    @model_validator(mode="before")
    @classmethod
    def _own_fields(cls, content: object) -> object:
        return _foreign(content, cls, _SENSORS, "protocol")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.form in _FLOATS:
            if self.decimals:
                raise ValueError("a float32 has no decimals of its own; write decimals = 0")
        elif _IN_KILOPASCAL[self.pressure_unit].scaleb(-self.decimals) > _FINEST_STEP:
            raise ValueError(
                f"steps of one digit in {self.pressure_unit} with {self.decimals} decimals are coarser than {_FINEST_STEP} kPa: "
                "a steady flow would look like a sensor that is stuck; read a finer register"
            )
        _ordered(self.low, self.high)
        return self


def _ordered(low: Kilopascal, high: Kilopascal) -> None:
    if low >= high:
        raise ValueError(f"low {low} must lie below high {high}")


def _kind(content: object) -> str:
    """Return the firmware kind that a table states; without one it is Marlin."""
    return str(content.get("kind", "marlin")) if isinstance(content, dict) else str(getattr(content, "kind", ""))


def _protocol(content: object) -> str:
    return str(content.get("protocol", "")) if isinstance(content, dict) else str(getattr(content, "protocol", ""))


def _foreign(content: object, own: type[Document], kinds: Mapping[str, type[Document]], key: str) -> object:
    """Refuse fields that belong to another kind; raises ValueError naming each with the kind that has it."""
    if not isinstance(content, dict):
        return content
    found = []
    for name in content:
        owners = [kind for kind, other in kinds.items() if name in other.model_fields]
        if name not in own.model_fields and owners:
            found.append(f"{name} belongs to {key} = {' or '.join(repr(owner) for owner in owners)}")
    if found:
        raise ValueError("; ".join(found) + f"; this one is {content.get(key, 'marlin')!r}")
    return content


_FIRMWARE: Mapping[str, type[Document]] = {"marlin": MarlinFirmware, "klipper": KlipperFirmware, "reprapfirmware": RepRapFirmware}
_SENSORS: Mapping[str, type[Document]] = {"hub-lines": HubSensor, "modbus-rtu": ModbusTransmitter}

FirmwareRequirement = Annotated[
    Annotated[MarlinFirmware, Tag("marlin")]
    | Annotated[KlipperFirmware, Tag("klipper")]
    | Annotated[RepRapFirmware, Tag("reprapfirmware")],
    Discriminator(
        _kind,
        custom_error_type="firmware_kind",
        custom_error_message="kind must be 'marlin', 'klipper' or 'reprapfirmware'",
    ),
]
PressureSensor = Annotated[
    Annotated[HubSensor, Tag("hub-lines")] | Annotated[ModbusTransmitter, Tag("modbus-rtu")],
    Discriminator(_protocol, custom_error_type="pressure_protocol", custom_error_message="protocol must be 'hub-lines' or 'modbus-rtu'"),
]
