"""What differs between two versions: every changed field, with its unit, and nothing else."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.difference import ChangeKind, difference
from recipes.library import load_recipe, recipe_bytes, recipe_ids
from recipes.model import parse_recipe

TOML = recipe_bytes("hydrocortisone").decode()
RECIPE = parse_recipe(TOML.encode())


def changed(old: str, new: str) -> list[tuple[str, str | None, str | None]]:
    assert old in TOML
    return [(c.path, c.old, c.new) for c in difference(RECIPE, parse_recipe(TOML.replace(old, new, 1).encode()))]


def test_old_and_new_value_with_their_units() -> None:
    assert changed("170 degC", "172 degC") == [("parameters.nozzle_temperature.set_point", "170 degC", "172 degC")]
    assert changed("partial_release = false", "partial_release = true") == [("control.partial_release", "false", "true")]
    assert changed("stillness_readings = 3", "stillness_readings = 4") == [("weighing.stillness_readings", "3", "4")]


def test_another_precision_is_a_difference() -> None:
    assert changed('"1.18 g/mL"', '"1.180 g/mL"') == [("ink.density.set_point", "1.18 g/mL", "1.180 g/mL")]


def test_members_of_lists_are_numbered_and_may_come_and_go() -> None:
    band = '\n[[unit_mass_tolerance]]\nfrom_mass = "250 mg"\ntolerance = "5 %"\n\n[weighing]'
    added = difference(RECIPE, parse_recipe(TOML.replace("\n[weighing]", band, 1).encode()))
    assert [(c.path, c.kind, c.new) for c in added] == [
        ("unit_mass_tolerance[2].from_mass", ChangeKind.ADDED, "250 mg"),
        ("unit_mass_tolerance[2].tolerance", ChangeKind.ADDED, "5 %"),
    ]
    removed = difference(parse_recipe(TOML.replace("\n[weighing]", band, 1).encode()), RECIPE)
    assert {(c.kind, c.new) for c in removed} == {(ChangeKind.REMOVED, None)}


def test_a_comment_is_no_difference() -> None:
    assert difference(RECIPE, parse_recipe(b"# a note\n" + TOML.encode())) == ()


@pytest.mark.parametrize("name", recipe_ids())
@pytest.mark.parametrize("other", recipe_ids())
def test_no_difference_exactly_where_the_digests_are_one(name: str, other: str) -> None:
    old, new = load_recipe(name), load_recipe(other)
    assert (difference(old, new) == ()) is (old.digest == new.digest)


QUOTED = [line for line in TOML.splitlines() if line.startswith(("pressure_", "nozzle_temperature_band", "heat_timeout", "daily_maximum"))]


@given(st.sampled_from(QUOTED), st.integers(1, 9))
def test_whatever_figure_is_changed_is_named_alone(line: str, digit: int) -> None:
    name = line.partition(" = ")[0]
    value = str(tomllib.loads(line)[name])
    amount, _, unit = value.partition(" ")
    new = f'{name} = "{amount}.{digit} {unit}"' if "." not in amount else f'{name} = "{amount}{digit} {unit}"'
    found = difference(RECIPE, parse_recipe(TOML.replace(line, new, 1).encode()))
    assert [(c.path.rpartition(".")[2], c.old) for c in found] == [(name, value)]
