"""Every gate that the product knows says how to satisfy it, and leads to a page that there is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import printer
from api.status import GateStatus
from api.workstation.gate_remedies import REMEDIES, remedy_of
from api.workstation.places import PLACES
from api.workstation.run_steps import gate_html, with_live


def gates_in_code() -> set[str]:
    """Names of gates in `printer`: the first argument of every `Gate(…)` and `_dated(…)`, through names of the module."""
    found: set[str] = set()
    for path in Path(printer.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    pairs = (
                        zip(target.elts, node.value.elts, strict=False)
                        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                        else [(target, node.value)]
                    )
                    for name, value in pairs:
                        if isinstance(name, ast.Name):
                            texts.setdefault(name.id, set()).update(
                                item.value for item in ast.walk(value) if isinstance(item, ast.Constant) and isinstance(item.value, str)
                            )
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Gate", "_dated") and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    found.add(str(name.value))
                elif isinstance(name, ast.Name) and name.id in ("name", "title", "dated", "_NAME"):
                    found |= {text for text in texts[name.id] if text}
    return found


def test_the_gates_in_the_code_and_those_in_the_table_are_the_same() -> None:
    found = gates_in_code()
    assert {"daily balance check", "ink lot and cartridge", "cartridge in each head", "printer qualified"} <= found, (
        "the search finds gates"
    )
    assert found - {"", "training"} <= set(REMEDIES) and set(REMEDIES) <= found | {"training"}


@pytest.mark.parametrize("gate", sorted(REMEDIES))
def test_a_remedy_is_a_sentence_and_its_link_leads_to_a_page(gate: str) -> None:
    text, path, link = remedy_of(gate, "cell-1")
    assert text.endswith(".") and len(text) > 20
    assert bool(path) == bool(link)
    assert not path or path == "/?cell=cell-1" or path in {place.path for place in PLACES}


def test_a_gate_of_a_later_cell_says_what_it_says_itself() -> None:
    html = gate_html(GateStatus(gate="moon phase", met=False, reason="<b>wait</b> for the new moon"), "cell-1")
    assert "&lt;b&gt;wait&lt;/b&gt; for the new moon" in html and "go through the gates again" in html


def test_what_was_refused_is_shown_as_it_is_now() -> None:
    refused = [GateStatus(gate="cleaning", met=False, reason="dirty"), GateStatus(gate="training", met=False, reason="untrained")]
    now = with_live(refused, [GateStatus(gate="cleaning", met=True, evidence="cleaned")])
    assert [(gate.gate, gate.met) for gate in now] == [("cleaning", True), ("training", False)]
