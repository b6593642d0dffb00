"""The bench as a whole, in virtual time: mass on the balance, closure, determinism."""

from __future__ import annotations

import pytest

from hil_tests.cases import CASES, BenchConfigError, bench_for, load_bench
from hil_tests.faults import FaultSpec
from hil_tests.virtual_bench import VirtualBench
from tests.bench.bench_host import AREA, PRIME, VOLUME, Host, pressures, printed, unit_program


def test_balance_shows_what_was_extruded_less_what_dried() -> None:
    host = Host(VirtualBench(bench_for("cyclophosphamide")))
    host.heat()
    host.stream(PRIME)
    empty = host.weigh()
    for k in range(2):
        host.stream(unit_program(35.0 + 25.0 * k, 35.0, VOLUME))
        host.let(8.0)
        shown = host.weigh() - empty
        lies_there = host.bench.plant.plate_mg()
        assert shown == pytest.approx(lies_there, abs=0.2)  # two readings of 0.1 mg
        dried = sum(patch.dried_mg for patch in host.bench.plant.patches)
        plant = host.bench.plant
        assert lies_there == pytest.approx(plant.extruded_mg - plant.waste_mg - plant.hanging_uL * 1.2 - dried, abs=1e-6)


def test_deposited_mass_is_the_commanded_volume_within_half_a_percent() -> None:
    host = printed(4)
    assert len(host.bench.plant.patches) == 4
    for patch in host.bench.plant.patches[1:]:
        assert patch.wet_mg / (VOLUME * 1.20 * patch.slip) == pytest.approx(1.0, abs=0.005)
        assert patch.plunger_uL == pytest.approx(VOLUME + 3.0, abs=3 * AREA / 3200)
        assert (patch.x_max - patch.x_min, patch.y_max - patch.y_min) == pytest.approx((12.0, 12.0), abs=0.2)
    assert 120.0 < max(pressures(host)) < 250.0
    truth = host.bench.truth()
    assert [row["patch"] for row in truth] == [1, 2, 3, 4]
    assert truth[2]["x"] == pytest.approx("85.000")
    assert float(truth[0]["active_mg"]) == pytest.approx(float(truth[0]["true_mass_mg"]) * 39.6 / 1000.0, rel=1e-4)


def test_same_seed_same_bytes() -> None:
    first, second, other = printed(1), printed(1), printed(1, seed=2)
    assert (first.log, first.pressure) == (second.log, second.pressure)
    assert first.pressure != other.pressure


def test_a_hundred_pressure_lines_a_second() -> None:
    host = Host(VirtualBench(bench_for("minoxidil")))
    host.let(2.0)
    assert [line.split(b",")[0] for line in host.pressure.split()] == [b"%d" % n for n in range(1, 201)]


def test_bench_file(tmp_path) -> None:
    path = tmp_path / "bench.toml"
    path.write_text(
        'case = "sildenafil"\nseed = 4\nrate = "60"\nfaults = ["clog:2"]\n[plant]\ndensity = 1.2\n[balance]\ndriver = "sartorius-sbi"\n'
    )
    config = load_bench(path)
    assert (config.case, config.seed, str(config.rate), config.faults) == ("sildenafil", 4, "60", (FaultSpec("clog", 2),))
    assert config.plant.density == 1.2
    assert config.plant.rheology == CASES["sildenafil"].plant.rheology
    assert config.balance.driver == "sartorius-sbi"


@pytest.mark.parametrize(
    "text",
    [
        "case = 1",
        'case = "aspirin"',
        'case = "minoxidil"\ncolour = 1',
        'case = "minoxidil"\n[plant]\ndensity = "x"',
        "case =",
        'case = "minoxidil"\nrate = 0',
    ],
)
def test_a_bench_file_that_cannot_be_used_is_refused(tmp_path, text: str) -> None:
    path = tmp_path / "bench.toml"
    path.write_text(text)
    with pytest.raises(BenchConfigError) as caught:
        load_bench(path)
    assert caught.value.remedy
