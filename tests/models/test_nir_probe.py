"""The probe's lines: bench and driver, written apart, understand each other; damage is refused, never half a spectrum."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.errors import RemoteProtocolError
from firmware_bridge.nir_probe import ask_identity, ask_scan, read_identity, read_spectrum
from hil_tests.cases import CASES
from hil_tests.plant import Motion, Plant
from hil_tests.virtual_nir import WAVELENGTHS, NirConfig, NirProbe


def printed() -> Plant:
    """A plate with one patch, about 150 mg at (50, 50)."""
    plant = Plant(CASES["cyclophosphamide"].plant, 1)
    plant.run([Motion(0, 20_000_000, 50, 50, 52, 50, 0.5, 0.8)], 20_000_000)
    return plant


def answers(*requests: bytes, probe: NirProbe | None = None) -> list[bytes]:
    device = probe or NirProbe(NirConfig(), printed(), 1)
    found = []
    for request in requests:
        device.receive(request)
        found.append(device.output())
    return found


def test_the_driver_reads_what_the_probe_says() -> None:
    first, second = answers(ask_identity(), ask_scan(D("51"), D("50")))
    identity = read_identity(first)
    assert (identity.model, identity.serial) == ("BENCH-NIR", "N000000001")
    assert identity.axis == tuple(map(D, WAVELENGTHS))
    spectrum = read_spectrum(second, identity)
    assert len(spectrum.values) == 61 and not spectrum.saturated and spectrum.scan == 1


def test_the_same_seed_gives_the_same_bytes_however_they_arrive() -> None:
    whole = answers(ask_identity(), ask_scan(D("51"), D("50")))
    probe = NirProbe(NirConfig(), printed(), 1)
    for byte in ask_identity() + ask_scan(D("51"), D("50")):
        probe.receive(bytes([byte]))
    assert probe.output() == b"".join(whole)


def test_nothing_under_the_probe_and_nonsense_are_said() -> None:
    first, nothing, nonsense = answers(ask_identity(), ask_scan(D("150"), D("150")), b"SCAN here\n")
    with pytest.raises(RemoteProtocolError, match="Nothing lies under the probe"):
        read_spectrum(nothing, read_identity(first))
    with pytest.raises(RemoteProtocolError, match="did not answer with a spectrum"):
        read_spectrum(nonsense, read_identity(first))
    with pytest.raises(RemoteProtocolError, match="does not say who it is"):
        read_identity(nonsense)


def test_a_saturated_detector_is_said() -> None:
    probe = NirProbe(NirConfig(), printed(), 1)
    probe.gain = 5.0
    first, second = answers(ask_identity(), ask_scan(D("51"), D("50")), probe=probe)
    assert read_spectrum(second, read_identity(first)).saturated


@given(at=st.integers(0, 400), bit=st.integers(0, 7))
@settings(max_examples=150)
def test_one_flipped_bit_is_found(at: int, bit: int) -> None:
    first, line = LINES
    damaged = bytearray(line)
    damaged[at % (len(line) - 2)] ^= 1 << bit
    with pytest.raises(RemoteProtocolError):
        read_spectrum(bytes(damaged), read_identity(first))


@given(st.binary(max_size=60))
def test_rubbish_is_a_protocol_error(line: bytes) -> None:
    for read in (read_identity, lambda data: read_spectrum(data, read_identity(LINES[0]))):
        with pytest.raises(RemoteProtocolError):
            read(line)


LINES = answers(ask_identity(), ask_scan(D("51"), D("50")))
