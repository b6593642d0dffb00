"""A recorded run against its replay: admitted anew from what its record holds, then fed with the inputs that were sealed."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit.errors import DosewrightError
from audit.events import Entry
from printer.admission import ADMISSION, Admission, Admitted, admit_again, read_admission
from printer.errors import ReplayImpossible
from printer.plan import units_planned
from printer.planned_units import compile_corrected
from printer.replay import Comparison, Difference, compare, replay


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """What came of the replay of one run. `refused` holds why it is not admitted today; nothing was compared then."""

    run: str
    order: str
    units: int
    segments: int
    inputs: int
    comparison: Comparison | None
    refused: str = ""

    @property
    def identical(self) -> bool:
        return self.comparison is not None and self.comparison.identical

    @property
    def difference(self) -> Difference | None:
        return self.comparison.difference if self.comparison is not None else None


def check_replay(run: str, entries: Sequence[Entry], files: Mapping[str, bytes], journal: Sequence[tuple[str, bytes]]) -> ReplayedRun:
    """Admit a recorded run anew, replay its journal and compare with its entries.

    `files` are the run's attachments by name, already held against the trail; `journal` its segments in order. Raises
    ReplayImpossible where the record holds no admission, or one or a journal that cannot be read.
    """
    admission = _admission(run, files)
    try:
        admitted = admit_again(admission)
    except DosewrightError as error:
        return ReplayedRun(run, admission.job.order.id, 0, len(journal), 0, None, refused=error.message)
    comparison, inputs = _replayed(admission, admitted, entries, journal)
    return ReplayedRun(run, admission.job.order.id, units_planned(admitted.plan), len(journal), inputs, comparison)


def _admission(run: str, files: Mapping[str, bytes]) -> Admission:
    data = files.get(ADMISSION)
    if data is None:
        raise ReplayImpossible(
            f"Run {run} was recorded without {ADMISSION}: what it was admitted from is not in its record.",
            remedy="It cannot be replayed from this file alone; `dosewright verify` checks all else.",
        )
    try:
        admission = read_admission(data)
    except DosewrightError as error:
        raise ReplayImpossible(f"{ADMISSION} of run {run} cannot be read: {error.message}", remedy=error.remedy) from error
    if admission.run != run:
        raise ReplayImpossible(f"{ADMISSION} of run {run} is that of run {admission.run}.", remedy="Get the package again from its site.")
    return admission


def _replayed(
    admission: Admission, admitted: Admitted, entries: Sequence[Entry], journal: Sequence[tuple[str, bytes]]
) -> tuple[Comparison, int]:
    recompile = functools.partial(compile_corrected, admitted.program)
    try:
        replayed = replay(admitted.plan, [data for _, data in journal], recompile)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError) as error:
        raise ReplayImpossible(
            f"The journal of run {admission.run} cannot be read as inputs of a run ({type(error).__name__}: {error}).",
            remedy="Replay it with the version that recorded it.",
        ) from error
    return compare(admitted.plan, admission.job.actor.actor(), replayed, entries), replayed.inputs
