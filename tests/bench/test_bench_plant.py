"""The plant against physics computed in another way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_tests.cases import CASES
from hil_tests.plant import Heater, HeaterConfig, Motion, Plant, Rheology, TubeFlow


def tube_flow_by_quadrature(rheology: Rheology, pressure_kpa: float, rings: int = 4000) -> float:
    """Q = π ∫ r² γ̇(r) dr over the sheared region, by the midpoint rule: independent of the closed form."""
    gradient = pressure_kpa * 1000.0 / rheology.length_mm
    total = 0.0
    width = rheology.radius_mm / rings
    for k in range(rings):
        r = (k + 0.5) * width
        over = gradient * r / 2.0 - rheology.yield_pa
        if over > 0.0:
            total += r * r * (over / rheology.consistency) ** (1.0 / rheology.index) * width
    return math.pi * total


def push(plant: Plant, flow: float, seconds: float, *, x: float = 50.0, y: float = 50.0, step_s: float = 0.1) -> None:
    """Push at a steady flow in µL/s at one place."""
    end = plant.now + round(seconds * 1e6)
    while plant.now < end:
        to = min(end, plant.now + round(step_s * 1e6))
        e = flow * (to - plant.now) / 1e6 / plant.config.e_area_mm2
        plant.run([Motion(plant.now, to, x, y, x, y, 0.5, e)], to)


@given(st.floats(0.1, 0.6), st.floats(2.0, 20.0), st.floats(0.3, 1.0), st.floats(5.0, 500.0), st.floats(0.0, 800.0), st.floats(1.2, 20.0))
def test_closed_form_equals_quadrature(
    radius: float, length: float, index: float, consistency: float, yield_pa: float, times: float
) -> None:
    rheology = Rheology(radius, length, index, consistency, yield_pa)
    tube = TubeFlow(rheology)
    pressure = max(tube.yield_kPa, 5.0) * times
    assert tube.flow(pressure) == pytest.approx(tube_flow_by_quadrature(rheology, pressure), rel=2e-3)


def test_newtonian_limit_is_hagen_poiseuille() -> None:
    tube = TubeFlow(Rheology(0.3, 12.7, 1.0, 10.0, 0.0))
    # Q = π R⁴ ΔP / (8 η L), here in mm, Pa, Pa·s → mm³/s
    assert tube.flow(100.0) == pytest.approx(math.pi * 0.3**4 * 100_000.0 / (8.0 * 10.0 * 12.7), rel=1e-9)


def test_nothing_flows_below_the_yield_stress() -> None:
    tube = TubeFlow(CASES["cyclophosphamide"].plant.rheology)
    assert tube.flow(tube.yield_kPa * 0.999) == 0.0
    assert tube.flow(tube.yield_kPa * 1.05) > 0.0


@pytest.mark.parametrize("case", sorted(CASES))
def test_steady_pressure_is_the_closed_forms_within_one_percent(case: str) -> None:
    plant = Plant(CASES[case].plant, seed=3)
    flow = plant.config.nominal_flow
    push(plant, flow, 8.0)
    slip = plant.patches[0].slip
    assert tube_flow_by_quadrature(plant.config.rheology, plant.pressure) == pytest.approx(flow * slip, rel=0.01)
    assert 120.0 <= plant.pressure <= 250.0


@pytest.mark.parametrize("case", sorted(CASES))
def test_lag_time_constant_within_five_percent(case: str) -> None:
    """A small step in flow: the pressure covers 1 − 1/e of its way in C·dP/dQ, which is the case's `lag_s`."""
    plant = Plant(CASES[case].plant, seed=3)
    flow = plant.config.nominal_flow / (1.0 + plant_scatter(plant))
    push(plant, flow, 10.0)
    low = plant.pressure
    high = TubeFlow(plant.config.rheology).pressure(plant.config.nominal_flow * 1.002)
    low_at = plant.now
    plant.samples.clear()
    push(plant, flow * 1.002, 3.0)
    wanted = low + (high - low) * (1.0 - math.exp(-1.0))
    crossing = next(k for k, pressure in enumerate(plant.samples) if pressure >= wanted)
    before = plant.samples[crossing - 1] if crossing else low
    measured = (crossing + (wanted - before) / (plant.samples[crossing] - before)) * 0.01
    assert low_at % 10_000 == 0
    assert measured == pytest.approx(plant.config.lag_s, rel=0.05)


def plant_scatter(plant: Plant) -> float:
    probe = Plant(plant.config, plant.seed)
    push(probe, probe.config.nominal_flow, 0.1)
    return probe.patches[0].slip - 1.0


def test_volume_is_conserved() -> None:
    plant = Plant(CASES["cyclophosphamide"].plant, seed=5)
    push(plant, 7.0, 20.0)
    slip = plant.patches[0].slip
    pushed = 7.0 * 20.0 * slip
    compressed = plant.compliance * plant.pressure
    assert plant.extruded_mg == pytest.approx((pushed - compressed) * 1.20, rel=1e-9)
    assert plant.patches[0].wet_mg == pytest.approx(plant.extruded_mg, rel=1e-12)
    assert plant.patches[0].active_mg == pytest.approx(plant.extruded_mg * 39.6 / 1000.0, rel=1e-12)


def test_integration_does_not_depend_on_the_step() -> None:
    fine, coarse = (Plant(CASES["cyclophosphamide"].plant, seed=5) for _ in range(2))
    push(fine, 7.0, 5.0, step_s=0.003)
    push(coarse, 7.0, 5.0, step_s=0.1)
    assert fine.pressure == pytest.approx(coarse.pressure, rel=1e-3)
    assert fine.patches[0].wet_mg == pytest.approx(coarse.patches[0].wet_mg, rel=1e-3)


@pytest.mark.parametrize("fault", ["none", "clog", "leak", "bubble", "empty"])
@pytest.mark.parametrize("case", sorted(CASES))
def test_a_stretch_taken_whole_is_the_stretch_cut_on_the_sampling_grid(case: str, fault: str) -> None:
    """Pushing, a jump, oozing beside the patch and over it, a pull back: the same samples and the same masses, faults or none."""

    def printed(*, whole: bool) -> Plant:
        plant = Plant(CASES[case].plant, seed=5)
        if fault == "empty":
            plant.delivered_uL = plant.config.cartridge_uL - 2.0 * plant.config.nominal_flow
        per_us = plant.config.nominal_flow / plant.config.e_area_mm2 / 1e6
        x, step = 50.0, 1 << 40 if whole else 10_000
        moves = (
            (3_000_000, 6.0, 1.0),
            (123_456, 30.0, 0.0),
            (400_000, -30.0, 0.0),
            (900_000, 0.0, 1.0),
            (123_456, 30.0, 0.0),
            (99_000, 0.0, -2.0),
        )
        for span, dx, push in moves:
            end = plant.now + span
            while plant.now < end:
                # On the grid, also where the stretch before has ended between two samples.
                to = min(end, plant.now - plant.now % 10_000 + step)
                gone = (to - plant.now) / span * dx
                plant.run([Motion(plant.now, to, x, 50.0, x + gone, 50.0, 0.5, push * per_us * (to - plant.now))], to)
                x += gone
            if fault == "clog":
                plant.resistance *= 3.0
            if fault == "leak":
                plant.leak_uL_per_s = 0.2 * plant.config.nominal_flow
            if fault == "bubble" and plant.resistance == 1.0:
                plant.air_uL, plant.resistance = plant.config.bubble_uL, 0.12
            plant.run([], plant.now + 34_567)
        return plant

    coarse, fine = printed(whole=True), printed(whole=False)
    assert coarse.samples == pytest.approx(fine.samples, rel=1e-9)
    assert coarse.extruded_mg == pytest.approx(fine.extruded_mg, rel=1e-9)
    assert [patch.wet_mg for patch in coarse.patches] == pytest.approx([patch.wet_mg for patch in fine.patches], rel=1e-9)
    assert (coarse.waste_mg, coarse.hanging_uL) == pytest.approx((fine.waste_mg, fine.hanging_uL), rel=1e-9)
    assert fine.extruded_mg > 0.0


def test_paste_oozes_after_stop_and_is_wiped_onto_the_next_unit() -> None:
    plant = Plant(CASES["cyclophosphamide"].plant, seed=5)
    push(plant, 7.0, 10.0)
    first = plant.patches[0].wet_mg
    lifted = plant.now + 100_000
    plant.run([Motion(plant.now, lifted, 50.0, 50.0, 60.0, 60.0, 5.0, 0.0)], lifted)
    plant.run([], plant.now + 5_000_000)
    hanging = plant.hanging_uL
    assert hanging > 1.0
    assert plant.patches[0].wet_mg == first
    push(plant, 7.0, 0.1, x=100.0, y=100.0)
    assert plant.hanging_uL == 0.0
    assert plant.patches[1].wet_mg >= hanging * 1.20


def test_purge_is_off_the_plate() -> None:
    plant = Plant(CASES["cyclophosphamide"].plant, seed=5)
    push(plant, 7.0, 10.0, x=8.0, y=8.0)
    assert plant.patches == []
    assert plant.plate_mg() == 0.0
    assert plant.waste_mg > 70.0


def test_drying_is_first_order_and_only_for_wet_formulations() -> None:
    plant = Plant(CASES["cyclophosphamide"].plant, seed=5)
    push(plant, 7.0, 60.0)
    plant.pressure = 0.0
    patch = plant.patches[0]
    wet, before = patch.wet_mg, patch.dried_mg
    for _ in range(1200):
        plant.run([], plant.now + 100_000)
    left = (0.013 * wet - before) * math.exp(-120.0 / 150.0)
    assert patch.dried_mg == pytest.approx(0.013 * wet - left, rel=1e-6)
    assert 3.0 < patch.dried_mg < 8.0
    filament = Plant(CASES["hydrocortisone"].plant, seed=5)
    push(filament, 1.5, 30.0)
    assert filament.plate_mg() == filament.patches[0].wet_mg


def test_patches_are_told_apart_and_scatter_is_seeded() -> None:
    def slips(seed: int) -> list[float]:
        plant = Plant(CASES["cyclophosphamide"].plant, seed=seed)
        for k in range(12):
            push(plant, 7.0, 0.2, x=35.0 + 12.0 * k, y=40.0)
        return [patch.slip for patch in plant.patches]

    assert len(slips(1)) == 12
    assert slips(1) == slips(1)
    assert slips(1) != slips(2)
    many = [slip - 1.0 for seed in range(60) for slip in slips(seed)]
    assert math.sqrt(sum(value * value for value in many) / len(many)) == pytest.approx(0.006, rel=0.1)


def test_heater_reaches_and_holds_its_target() -> None:
    heater = Heater(HeaterConfig(20.0, 220.0, 110.0, 0.0), "seed")
    heater.target = 40.0
    heater.advance(10.0)
    # At full power: ΔT = rise · (1 − e^(−t/τ))
    assert heater.temperature == pytest.approx(20.0 + 110.0 * (1.0 - math.exp(-10.0 / 220.0)), rel=1e-6)
    heater.advance(290.0)
    assert heater.reading() == pytest.approx(40.0, abs=0.1)
