"""Cyclic garbage is looked for in full only while nothing can move."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.store import TrailStore
from printer.cell import Cell
from printer.messages import Port
from printer.ports import Place, Ports


def test_no_full_collection_comes_by_itself_and_one_a_minute_when_asked() -> None:
    code = """
import gc, weakref
from printer.garbage import Garbage
now = [0.0]
garbage = Garbage(lambda: now[0])
garbage.begin()
full = gc.get_stats()[2]["collections"]
class Knot: pass
def knot():
    made = Knot(); made.itself = made
    return weakref.ref(made)
tied = knot(); gc.collect(1)
kept = [[n] for n in range(400_000)]
print(gc.get_freeze_count() > 1000, gc.get_stats()[2]["collections"] - full, gc.get_stats()[1]["collections"] > 10)
tied_late = [knot() for _ in range(3)]; gc.collect(1)
now[0] = 59.0; garbage.collect(); print(gc.get_stats()[2]["collections"] - full)
now[0] = 60.0; garbage.collect(); print(gc.get_stats()[2]["collections"] - full, tied() is None)
now[0] = 61.0; garbage.collect(); print(gc.get_stats()[2]["collections"] - full)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["True 0 True", "0", "1 True", "1"]


@pytest.mark.parametrize(("machine", "tidied"), [(None, 1), (False, 1), (True, 0)])
def test_a_cell_tidies_up_only_when_nothing_can_move(tmp_path: Path, machine: bool | None, tidied: int) -> None:
    key = SigningKey.generate("test/cell-1")
    store = TrailStore.create(tmp_path / "cell.db", origin="test/cell-1", key=key, clock=SystemClock(), software="t", demonstration=True)
    places = {port: Place(f"/dev/no-{port}") for port in Port}
    calls: list[None] = []
    cell: Any = Cell(
        store=store, clock=SystemClock(), ports=Ports(places, SystemClock()), bench=None, data_dir=tmp_path, tidy=lambda: calls.append(None)
    )
    cell._machine = None if machine is None else SimpleNamespace(active=machine, over=False, plan=SimpleNamespace(run="B-1-R1"))
    cell.end()
    cell.run()
    cell.close()
    store.close()
    assert len(calls) == tidied
