"""`dosewright solid`: a good file gives the table that a recipe reads; a bad one is one message, by its size before it is read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from shape_cases import BOUNDS, hexagon, stl_bytes, stl_geometry

from api import cli
from recipes.shape_families import StlSolid
from recipes.stl_solid import bound_solid


def test_the_table_is_what_a_recipe_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hexagon.stl"
    path.write_bytes(stl_bytes(hexagon()))
    assert cli.run(["solid", str(path)]) == 0
    table = tomllib.loads(capsys.readouterr().out)["geometry"]
    geometry = StlSolid.model_validate(table | {"bounds": BOUNDS})
    assert geometry.sha256 == stl_geometry(hexagon())["sha256"]
    assert bound_solid(geometry, path.read_bytes()).measures.facets == 36


def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "large.stl"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
    assert cli.run(["solid", str(path)]) == 2
    assert "RE-038" in (said := capsys.readouterr().err) and "1073741824 bytes" in said


def test_a_file_that_is_not_there_or_in_inches_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["solid", str(tmp_path / "none.stl")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    small = hexagon()
    small.apply_scale(1 / 25.4)
    (tmp_path / "inches.stl").write_bytes(stl_bytes(small))
    assert cli.run(["solid", str(tmp_path / "inches.stl")]) == 2
    assert "in inches it would be" in capsys.readouterr().err
