"""The release record of a batch of 100 units: record built from its trails and typeset, then sealed."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from audit.canonical import canonical
from audit.release import batch_record
from audit.release.document import render_record
from audit.release.document_signature import seal_document
from tests.benchmarks import Row
from tests.release.conftest import Scenario, Unit, Writer
from tests.release.seals import PLACE, made_key

_UNITS = 100
_TIMES = 5


def _median(work: Callable[[int], object]) -> float:
    taken: list[float] = []
    for number in range(_TIMES):
        began = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def record_of_100() -> list[Row]:
    """Return seconds for record and PDF, and for the seal. Each turn has another batch name: typst keeps what it has set before."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        units = tuple(Unit(f"46{i % 7}.{i % 10}") for i in range(_UNITS))
        batch = Writer(Path(folder), Scenario(units=units, disposition="released"), stack).write()
        lines = batch.lines()

        def typeset(number: int) -> bytes:
            record = {**batch_record.build(*lines, batch.batch), "notice": f"Benchmark {number}"}
            return render_record(record, canonical(record))

        pdf, (key, _) = typeset(-1), made_key(Path(folder) / "tls")
        made = _median(typeset)
        sealed = _median(lambda _: seal_document(pdf, key, datetime.now(UTC), PLACE))
    return [
        Row("record.pdf_100_units_s", f"{made:.2f}", "s", "none: the target is 1 s", None, None),
        Row("record.seal_100_units_s", f"{sealed:.3f}", "s", "none", None, None),
    ]
