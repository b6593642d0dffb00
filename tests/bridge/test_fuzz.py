"""Mutated bytes for everything that reads bytes: parsed or counted, never an exception, memory bounded."""

from __future__ import annotations

import resource

import pytest

from tests.bridge.fuzzing import run


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_mutated_bytes_are_read_by_every_machine() -> None:
    target = run(60_000, seed=7)
    assert target.inputs == 60_000


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(10))
def test_ten_million_mutated_inputs_in_bounded_memory(seed: int) -> None:
    run(50_000, seed + 1000)
    before = peak_kib()
    assert run(1_000_000, seed).inputs == 1_000_000
    assert peak_kib() - before < 16_384
