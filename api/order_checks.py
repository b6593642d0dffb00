"""What is checked of an order besides its dose: whether it can be believed today, fits its ink in time, and was not printed before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from api.errors import PrintedBefore
from api.repeats import printed_before, repeated
from audit.canonical import JsonObject
from audit.store import TrailStore
from printer.standing import local_day
from recipes.errors import DoseRefused, InkRefused
from recipes.inks import course_reasons
from recipes.model import Cartridge, InkLot, Prescription, Recipe
from recipes.plausibility import prescription_reasons


class OrderChecks:
    """Looks at the workstation's trail and its date. Lifetime and concurrency: as the store."""

    def __init__(self, store: TrailStore, batches: Callable[[], list[JsonObject]]) -> None:
        self._store = store
        self._batches = batches
        self._asking: dict[str, Prescription] = {}

    @property
    def today(self) -> str:
        """The date at the site."""
        return local_day(self._store.clock.utc())

    def believe(self, recipe: Recipe, prescription: Prescription) -> None:
        """Raise DoseRefused with every reason against the prescription as it is stated."""
        if reasons := prescription_reasons(recipe, prescription, self.today):
            raise DoseRefused(reasons)

    def fit_in_time(self, recipe: Recipe, sources: Sequence[tuple[InkLot, Cartridge]], days: int) -> None:
        """Raise InkRefused where the course, printed today, would run past its use-by."""
        if reasons := course_reasons(recipe, sources, days, self.today):
            raise InkRefused(reasons)

    def printed_once(self, prescription: Prescription, but: str = "") -> None:
        """Raise PrintedBefore where another batch (`but` is this one) was printed from the same prescription."""
        # First what is being asked for: it is on record before it is asked for no more, so that one of the two looks finds it.
        found = self._asked_elsewhere(prescription, but)
        if found is None:
            others = [batch for batch in self._batches() if batch["batch"] != but]
            found = printed_before(prescription, others, dict(self._store.objects("order")))
        if found is not None:
            raise PrintedBefore(f"{found[:1].upper()}{found[1:]}.", remedy="A second course needs a new prescription, with its own number.")

    def _asked_elsewhere(self, prescription: Prescription, but: str) -> str | None:
        """Say for which batch this prescription is being asked for at a cell now, None where it is not."""
        for batch, asked in dict(self._asking).items():
            if batch != but and (what := repeated(asked, prescription)) is not None:
                return f"{what} is being asked for at a cell, as batch {batch}"
        return None

    @contextmanager
    def asking(self, batch: str, prescription: Prescription) -> Iterator[None]:
        """Count a prescription as printed from when its run is judged until that is on record: the cell compiles in between.

        Entered under the lock under which the run was judged.
        """
        self._asking[batch] = prescription
        try:
            yield
        finally:
            del self._asking[batch]


def not_held(serials: Sequence[str], held: Callable[[str], str | None]) -> None:
    """Raise InkRefused where a cartridge is held; `held` says why."""
    found = [(serial, why) for serial in serials if (why := held(serial))]
    if found:
        raise InkRefused([f"cartridge {serial} is held: {why}; find out where the ink went, and open another" for serial, why in found])
