"""The texts of the pages and their languages. `--missing` lists, per language, what has no translation yet, ready to be filled in.

A key is a literal of `said`, `said_n` or `marked`, a constant of a table listed here, or a sentence that product code builds.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import get_args

from api import ink_forms
from api.equipment_log import OUTCOMES, STAGES
from api.equipment_view import Standing
from api.pack_desk import Recipient
from api.recall_desk import Contact
from api.status import STATE_WORDS
from api.training_desk import MATTERS
from api.workstation import words
from api.workstation.batch_progress import Step as BatchStep
from api.workstation.gate_remedies import REMEDIES
from audit.access_policy import AccessPolicy
from audit.identity import Role
from audit.release.conformity import Disposition, Item, State
from audit.release.exceptions import ReasonCode
from audit.release.packs import Copy, Pack
from firmware_bridge.link_values import LinkState
from printer.alarm_states import AlarmState
from printer.alarms import DEFINITIONS
from printer.daily_check import CheckStep
from printer.states import RunState
from recipes.lifecycle import RecipeState, Step

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("api", "printer", "recipes", "audit", "firmware_bridge")
LITERALS = {"said": 1, "said_n": 2, "marked": 1}
"""The functions that take keys, each with how many of its first arguments are."""
DEVICES = ("printer", "balance", "pressure sensor", "check weight", "external balance")
"""What stands in a cell, as `api/equipment_view.py` names it."""
SHAPES = ("cylinder", "torus", "caplet", "film", "grid")
"""The families of solids that have a name in words, as recipes name them."""
VARIABLES = frozenset({"place.name", "place.title", "place_of(here).name", "one if n == 1 else many"})
"""What `said` is given that is not a literal, but whose texts are `marked` where they stand."""
_VALUE = re.compile(r"\{[^{}]*\}")
_SIDE_BY_SIDE = re.compile(r"(\{\}){2,}")


def tables() -> Iterator[str]:
    """Constants of the product that are shown by `told`, whatever floor they stand on."""
    for state, meaning in STATE_WORDS.values():
        yield from (state, meaning)
    for definition in DEFINITIONS.values():
        yield from (definition.name.value, definition.cause, definition.consequence, definition.action)
    for kind in (AlarmState, CheckStep, Item, State, Disposition, ReasonCode, Pack, Copy, RecipeState, Step, BatchStep, Standing):
        yield from (member.value for member in kind)
    yield from (role.value.replace("_", " ") for role in Role)
    yield from (state.value.lower() for state in LinkState)
    yield from (state.value.lower() for state in RunState)
    yield "finished"
    yield from (label for label, _ in ink_forms.NUMBERS.values())
    yield from (*ink_forms.TEXTS.values(), *ink_forms.DATES.values(), ink_forms.MINUTES)
    yield from (name.replace("_", " ") for name in AccessPolicy.model_fields)
    yield from get_args(Recipient)
    yield from (*STAGES.values(), *OUTCOMES, *MATTERS, *DEVICES, *SHAPES)
    for remedy in REMEDIES.values():
        yield from (remedy.text, remedy.link)
    for field in ("by", "outcome"):
        yield from get_args(Contact.model_fields[field].annotation)


@cache
def literals() -> Mapping[str, str]:
    """Every literal key of the pages, with where it stands first."""
    return dict(_keys()[0])


@cache
def refused() -> tuple[str, ...]:
    """Calls with something that is no literal and is not listed."""
    return tuple(_keys()[1])


@cache
def _keys() -> tuple[list[tuple[str, str]], list[str]]:
    found: dict[str, str] = {}
    wrong: list[str] = []
    for path in sorted((ROOT / "api").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in LITERALS):
                continue
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            for given in node.args[: LITERALS[node.func.id]]:
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    found.setdefault(given.value, where)
                elif ast.unparse(given) not in VARIABLES:
                    wrong.append(f"{where}: {node.func.id}({ast.unparse(given)}) is no literal; mark the texts and show them by told()")
    return list(found.items()), wrong


def bare(text: str) -> str:
    """A sentence without the names of its values; two values side by side are one."""
    return _SIDE_BY_SIDE.sub("{}", _VALUE.sub("{}", text))


@cache
def sentences() -> frozenset[str]:
    """Every text and every filled sentence of the product's code, values left out; also the parts that are joined by '; '."""
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (text := _text_of(node)) is not None:
                    found |= {text, *text.split("; ")}
    return frozenset(found)


def _text_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant):
        return bare(node.value) if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return bare("".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return bare("".join(_text_of(side) or "{}" for side in (node.left, node.right)))
    return None


@cache
def keys() -> frozenset[str]:
    """Every key that each language has to hold: literals and tables."""
    return frozenset(literals()) | {text for text in tables() if text}


def missing(code: str) -> list[str]:
    """Words that a language does not hold, in the order in which the pages use them; then sentences that another language holds."""
    here, all_ = words.languages()[code], words.languages().values()
    order = {key: at for at, key in enumerate(literals())}
    lacking = sorted((key for key in keys() if key not in here.words), key=lambda key: (order.get(key, len(order)), key))
    return lacking + sorted({key for other in all_ for key in other.sentences if key not in here.sentences})


def stale(code: str) -> list[str]:
    """Words of a language that no page uses any more, and sentences that the product's code does not build any more."""
    here = words.languages()[code]
    return [key for key in here.words if key not in keys()] + [key for key in here.sentences if bare(key) not in sentences()]


def translated() -> list[str]:
    """The codes of the languages that have files."""
    return [code for code, language in words.languages().items() if language.words]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missing", action="store_true", required=True, help="list what is missing as lines of the file")
    parser.parse_args()
    lines = 0
    for code in translated():
        found = missing(code)
        lines += len(found)
        sys.stdout.write(f"{code}: {len(found)} missing\n")
        for key in found:
            sys.stdout.write(f'    {json.dumps(key, ensure_ascii=False)}: "",  # {literals().get(key, "a table or a sentence")}\n')
        for key in stale(code):
            sys.stdout.write(f"    not used any more: {json.dumps(key, ensure_ascii=False)}\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
