"""Osmolality of a protein solution from refractive index and UV absorbance: data computed from stated physics, seeded; illustrative.

The case that regulators describe for in-line use (EMA reports on process models): two streams, protein and buffer, are made up; no
in-line sensor sees osmolality, two see what makes it. Physics: refractive index excess = 1.85e-4 per g/L of protein (dn/dc of proteins
0.185 mL/g; Zhao, Brown, Schuck, Biophys. J. 100 (2011) 2309) + 1.02e-5 per mmol/L of NaCl (CRC Handbook) − 1.0e-4 per °C from 20 °C;
absorbance at 280 nm over 0.1 mm = 1.4 mL/(mg·cm) · concentration · 0.01 cm; osmolality = 1.86 · NaCl (mmol/kg, osmotic coefficient 0.93)
+ 0.15 mOsmol/kg per g/L of protein with its counter-ions + 20 of buffer. Sensors: refractometer ± 0.15e-4, absorbance ± 0.3 %,
osmometer ± 1.5 mOsmol/kg.
"""

from __future__ import annotations

import random

from audit.release.model_testing import DataSet, read_data_set

METHOD = "freezing point osmometer (Ph. Eur. 2.2.35)"


def sample(draw: random.Random, protein: float, salt: float, temperature: float, *, fouling: float = 0.0) -> dict[str, object]:
    """Return inputs and reference of one sample; `fouling` adds to the absorbance, as a film on the cell's window does."""
    excess = 1.85 * protein + 0.102 * salt - 1.0 * (temperature - 20.0) + draw.gauss(0.0, 0.15)
    absorbance = 1.4 * protein * 0.01 * (1.0 + draw.gauss(0.0, 0.003)) + fouling
    osmolality = 1.86 * salt + 0.15 * protein + 20.0 + draw.gauss(0.0, 1.5)
    inputs = {
        "refractive_index_excess": f"{excess:.4f}",
        "absorbance_280": f"{absorbance:.5f}",
        "temperature": f"{temperature:.2f}",
    }
    return {"inputs": inputs, "reference": f"{osmolality:.2f}"}


def osmolality_data(name: str, seed: int, batches: int, *, fouling: float = 0.0) -> DataSet:
    draw = random.Random(f"osmolality:{seed}")
    samples = []
    for batch in range(1, batches + 1):
        temperature = draw.uniform(17.0, 26.0)
        for at in range(1, 7):
            found = sample(draw, draw.uniform(5.0, 60.0), draw.uniform(100.0, 200.0), temperature, fouling=fouling)
            samples.append({"sample": f"{name}-{batch}/{at}", "batch": f"{name}-{batch}", **found})
    origin = "computed from stated physics; illustrative"
    return read_data_set({"name": name, "origin": origin, "reference_method": METHOD, "samples": samples})
