"""Writes the data sets of the two models off the virtual bench into `tests/models/data`.

Usage: `PYTHONPATH=.:tests/printer:tests/models python tests/models/make_data.py`
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from model_batches import mass_data, nir_data

from audit.canonical import canonical
from audit.release.model_testing import DataSet

FOLDER = Path(__file__).with_name("data")
SETS: dict[str, Callable[[], DataSet]] = {
    "unit-mass-training": lambda: mass_data("unit-mass-training", 100, 30),
    "unit-mass-test": lambda: mass_data("unit-mass-test", 500, 12),
    "unit-mass-truth": lambda: mass_data("unit-mass-test", 500, 12, truth=True),
    "nir-strength-training": lambda: nir_data("nir-strength-training", 100, 24),
    "nir-strength-test": lambda: nir_data("nir-strength-test", 500, 12),
}


def main() -> None:
    for name, make in SETS.items():
        (FOLDER / f"{name}.json").write_bytes(canonical(make().as_record()))


if __name__ == "__main__":
    main()
