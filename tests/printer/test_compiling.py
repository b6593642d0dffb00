"""The cell compiles a unit anew on a thread of its own, and every end of that thread is an answer."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.quantities import Microlitre
from audit.store import TrailStore
from printer.cell import Cell, Compiler
from printer.messages import Compile, Port, UnitCompiled, UnitRefused
from printer.ports import Place, Ports

COMPILED = UnitCompiled(2, Decimal("0.97"), b";UNIT 2\n", "0" * 64, Microlitre(10), (0,), 1, b"{}")


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    key = SigningKey.generate("cell/compiling")
    store = TrailStore.create(tmp_path / "cell.db", origin="t/cell", key=key, clock=SystemClock(), software="test", demonstration=True)
    ports = Ports(dict.fromkeys(Port, Place("/dev/none")), SystemClock())
    made = Cell(store=store, clock=SystemClock(), ports=ports, bench=None, data_dir=tmp_path)
    yield made
    made.close()
    store.close()


def failing(n: int, factor: Decimal, purge: bool, part: int) -> UnitCompiled | UnitRefused:
    raise ZeroDivisionError("a fault of our own")


@pytest.mark.parametrize(
    ("compiler", "answer"),
    [
        (lambda n, factor, purge, part: COMPILED, COMPILED),
        (failing, UnitRefused(2, "the compiler failed (ZeroDivisionError: a fault of our own)")),
        (None, UnitRefused(2, "this run has no compiler")),
    ],
)
def test_a_compilation_always_answers(cell: Cell, compiler: Compiler | None, answer: object) -> None:
    cell._compiler = compiler
    cell._execute(Compile(2, Decimal("0.97")))
    assert cell._inbox.get(timeout=10) == answer
    assert cell._compiling
    cell._take(answer)
    assert not cell._compiling
