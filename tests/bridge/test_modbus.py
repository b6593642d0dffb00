"""Modbus RTU frames against published examples and an outside library; the polling pressure driver in virtual time."""

from __future__ import annotations

import struct
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import Kilopascal
from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.modbus_rtu import (
    ModbusException,
    NumberForm,
    Registers,
    crc16,
    decode_number,
    read_request,
    read_response,
    with_crc,
)
from firmware_bridge.pressure import PressureDriver, PressureHub, PressureQuality, PressureReading
from firmware_bridge.pressure_modbus import ModbusMap, ModbusPressure

SECOND = 1_000_000


def test_crc_of_published_examples() -> None:
    # Modbus over serial line V1.02, appendix B: frame 02 07, CRC 41 12. The check value of CRC-16/MODBUS is 0x4B37.
    assert with_crc(b"\x02\x07") == b"\x02\x07\x41\x12"
    assert crc16(b"123456789") == 0x4B37


@given(st.integers(1, 247), st.sampled_from([3, 4]), st.integers(0, 65_000), st.integers(1, 125))
def test_requests_are_those_of_an_outside_library(unit: int, function: int, address: int, count: int) -> None:
    framer = pytest.importorskip("pymodbus.framer")
    pdu = pytest.importorskip("pymodbus.pdu")
    from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

    kind = ReadHoldingRegistersRequest if function == 3 else ReadInputRegistersRequest
    theirs = framer.FramerRTU(pdu.DecodePDU(False)).buildFrame(kind(address=address, count=count, dev_id=unit))
    assert read_request(unit, function, address, count) == theirs


@given(st.integers(1, 247), st.sampled_from([3, 4]), st.lists(st.integers(0, 65535), min_size=1, max_size=125))
def test_responses_of_an_outside_library_are_read(unit: int, function: int, words: list[int]) -> None:
    framer = pytest.importorskip("pymodbus.framer")
    pdu = pytest.importorskip("pymodbus.pdu")
    from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse

    kind = ReadHoldingRegistersResponse if function == 3 else ReadInputRegistersResponse
    frame = framer.FramerRTU(pdu.DecodePDU(True)).buildFrame(kind(registers=words, dev_id=unit))
    assert read_response(frame, unit, function, len(words)) == Registers(tuple(words))
    assert read_response(frame, unit % 247 + 1, function, len(words)) is None
    assert read_response(frame, unit, 7 - function, len(words)) is None


def test_exceptions_and_wrong_counts() -> None:
    assert read_response(with_crc(b"\x01\x84\x02"), 1, 4, 2) == ModbusException(2, "illegal data address")
    assert read_response(with_crc(b"\x01\x84\x63"), 1, 4, 2) == ModbusException(99, "unknown exception")
    assert read_response(with_crc(b"\x01\x04\x02\x00\x01"), 1, 4, 2) is None
    assert read_response(b"\x01\x04", 1, 4, 2) is None


@pytest.mark.parametrize(
    "asked", [(0, 3, 0, 1), (248, 3, 0, 1), (1, 6, 0, 1), (1, 3, -1, 1), (1, 3, 0, 0), (1, 3, 0, 126), (1, 3, 65535, 2)]
)
def test_requests_that_are_refused(asked: tuple[int, int, int, int]) -> None:
    with pytest.raises(LocalProtocolError):
        read_request(*asked)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**40), max_value=2.0**40))
def test_float32_is_decoded_as_the_machine_does(value: float) -> None:
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    found = decode_number((high, low), NumberForm.FLOAT32)
    assert found is not None and abs(found - D(value)) <= abs(D(value)) * D("1e-26")
    assert decode_number((low, high), NumberForm.FLOAT32_SWAPPED) == found


def test_numbers() -> None:
    assert decode_number((0xFFFF,), NumberForm.INT16) == -1 and decode_number((0xFFFF,), NumberForm.UINT16) == 65535
    assert decode_number((0xFFFF, 0xFFFE), NumberForm.INT32) == -2 and decode_number((0xFFFE, 0xFFFF), NumberForm.INT32_SWAPPED) == -2
    assert decode_number((1, 0), NumberForm.INT32) == 65536
    assert decode_number((0x7F80, 0), NumberForm.FLOAT32) is None and decode_number((0x7FC0, 0), NumberForm.FLOAT32) is None
    assert decode_number((0, 1), NumberForm.FLOAT32) == pytest.approx(D("1.401298464324817070923729583E-45"))


def answer(value: float, unit: int = 1) -> bytes:
    return with_crc(bytes((unit, 4, 4)) + struct.pack(">f", value))


def driver(**options: int) -> ModbusPressure:
    sensor = ModbusPressure(ModbusMap(register=10), **options)  # type: ignore[arg-type]
    sensor.start(0)
    sensor.start(0)
    assert sensor.bytes_to_send() == read_request(1, 4, 10, 2) and sensor.bytes_to_send() == b""
    return sensor


def readings(sensor: PressureDriver) -> list[PressureReading]:
    found = []
    while (reading := sensor.next_event()) is not None:
        found.append(reading)
    return found


def test_an_answer_cut_at_every_position() -> None:
    wire = answer(187.5)
    for cut in range(len(wire) + 1):
        sensor = driver()
        sensor.receive(wire[:cut], 10)
        sensor.receive(wire[cut:], 20)
        (reading,) = readings(sensor)
        assert (reading.value, reading.quality, reading.missed, reading.seq) == (Kilopascal("187.5000"), PressureQuality.GOOD, 0, 1)
        assert sensor.next_deadline() == sensor.period_us
        sensor.tick(sensor.period_us)
        assert sensor.bytes_to_send() == read_request(1, 4, 10, 2)


def test_age_quality_range_and_gap() -> None:
    sensor = driver(stale_after_us=100_000)
    assert sensor.age(5) is None and sensor.quality(5) is PressureQuality.NONE
    sensor.receive(answer(1.0), 1_000)
    assert (
        sensor.age(2_000) == 1_000 and sensor.quality(101_000) is PressureQuality.GOOD and sensor.quality(101_001) is PressureQuality.STALE
    )
    sensor.tick(50_000)
    sensor.tick(150_000)
    assert sensor.timeouts == 1 and sensor.last_problem == "no answer in time"
    sensor.tick(sensor.next_deadline() or 0)
    sensor.receive(answer(2.0), 171_000)
    assert [(r.quality, r.missed) for r in readings(sensor)] == [(PressureQuality.GOOD, 0), (PressureQuality.AFTER_GAP, 1)]
    sensor.tick(sensor.next_deadline() or 0)
    sensor.receive(answer(2000.5), 250_000)
    assert readings(sensor)[-1].quality is PressureQuality.OUT_OF_RANGE


def test_every_single_bit_of_damage_gives_no_reading() -> None:
    wire = answer(187.5)
    for bit in range(8 * len(wire)):
        damaged = bytearray(wire)
        damaged[bit // 8] ^= 1 << bit % 8
        sensor = driver()
        sensor.receive(bytes(damaged), 10)
        sensor.tick(sensor.answer_timeout_us)
        assert readings(sensor) == [] and sensor.damaged + sensor.timeouts >= 1


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    sensor = driver()
    sensor.tick(sensor.answer_timeout_us)
    due = sensor.next_deadline() or 0
    sensor.receive(answer(99.0), due - 1)
    assert readings(sensor) == [] and sensor.unexpected_bytes == len(answer(99.0))
    sensor.tick(due)
    assert sensor.bytes_to_send() == b"" and sensor.next_deadline() == due - 1 + sensor.quiet_us
    sensor.tick(due - 1 + sensor.quiet_us)
    sensor.receive(answer(5.0), due + 30_000)
    assert [r.value for r in readings(sensor)] == [Kilopascal("5.0000")]


def test_exceptions_of_the_device_are_counted_and_asked_again() -> None:
    sensor = driver()
    sensor.receive(with_crc(b"\x01\x84\x06"), 10)
    assert sensor.exceptions == 1 and sensor.last_problem == "exception 6, device busy"
    sensor.tick(sensor.period_us)
    sensor.receive(with_crc(b"\x01\x04\x04\x7f\xc0\x00\x00"), sensor.period_us)
    assert sensor.damaged == 1 and readings(sensor) == []
    sensor.tick(2 * sensor.period_us)
    sensor.receive(with_crc(b"\x01\x04\x04\x7f\x7f\xff\xff"), 2 * sensor.period_us)
    assert sensor.damaged == 2 and readings(sensor) == []


def test_integers_and_units() -> None:
    sensor = ModbusPressure(ModbusMap(unit=7, register=0, function=3, form=NumberForm.INT16, pressure_unit="bar", decimals=3))
    sensor.start(0)
    sensor.receive(with_crc(b"\x07\x03\x02\x07\x53"), 1)
    assert readings(sensor)[0].value == Kilopascal("187.5000")
    with pytest.raises(LocalProtocolError):
        ModbusPressure(ModbusMap(pressure_unit="psi"))


def test_hub_and_transmitter_offer_the_same() -> None:
    sources: list[PressureDriver] = [PressureHub(), driver()]
    for source in sources:
        source.start(0)
        source.tick(0)
        assert source.age(0) is None and source.quality(0) is PressureQuality.NONE and source.last is None
    assert sources[0].bytes_to_send() == b"" and sources[0].next_deadline() is None


def test_memory_is_bounded() -> None:
    sensor = driver(period_us=1, quiet_us=1)
    now = 0
    for _ in range(5000):
        sensor.receive(answer(1.0), now)
        now += 2
        sensor.tick(now)
        sensor.bytes_to_send()
    assert len(readings(sensor)) == 4096 and sensor.overrun == 5000 - 4096


@given(st.lists(st.one_of(st.binary(max_size=600), st.integers(0, 200_000), st.just(answer(3.0))), max_size=40))
def test_any_bytes(steps: list[bytes | int]) -> None:
    sensor, now = driver(), 0
    for step in steps:
        if isinstance(step, int):
            now += step
            sensor.tick(now)
        else:
            sensor.receive(step, now)
        assert len(sensor._buffer) <= 256 and sensor.next_deadline() is not None
    assert sensor.readings == len(readings(sensor))
