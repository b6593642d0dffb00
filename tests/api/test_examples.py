"""Examples in the description of the interface: none is missing, each fits its schema, the answers of today have the same fields."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from example_day import PLACE, spend
from jsonschema_rs import Draft202012Validator

from api.app import openapi_document


def contents(document: Any) -> list[tuple[str, Any]]:
    """Every JSON body and answer, by where it is, with its schema and example."""
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method.upper()} {path}"
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                if kind.endswith("json"):
                    found.append((f"{where} body", content))
            for status, answer in operation["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    if kind.endswith("json"):
                        found.append((f"{where} {status}", content))
    return found


def test_every_body_and_every_answer_has_an_example_that_fits_its_schema() -> None:
    document: Any = openapi_document()
    found = contents(document)
    assert len(found) > 2000
    missing = [where for where, content in found if "example" not in content]
    assert missing == []
    wrong = []
    for where, content in found:
        schema = {**content.get("schema", {}), "components": document["components"]}
        problems = Draft202012Validator(schema).iter_errors(content["example"])
        wrong += [f"{where}: {problem.instance_path}: {problem.message[:200]}" for problem in problems]
    assert wrong == []


def test_an_example_that_does_not_fit_is_found() -> None:
    document: Any = openapi_document()
    schema = {**dict(contents(document))["POST /api/v1/batches body"]["schema"], "components": document["components"]}
    assert list(Draft202012Validator(schema).iter_errors({"order": 7}))


def fields(value: Any) -> Any:
    """The names that an answer has, by place; of a list, those of its first row."""
    if isinstance(value, list):
        return [fields(value[0])] if value else []
    return dict.fromkeys(value) if isinstance(value, dict) else None


def test_the_answers_of_today_are_as_the_examples_show_them(bench: Any) -> None:
    """With `NOTE_EXAMPLES` in the environment they are written anew."""
    day = spend(bench)
    if os.environ.get("NOTE_EXAMPLES"):
        known = json.loads(PLACE.read_text(encoding="utf-8"))
        PLACE.write_text(json.dumps({**known, **day.kept}, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        pytest.fail(f"written; refused on the way: {json.dumps(day.failed, indent=1)}")
    kept = json.loads(PLACE.read_text(encoding="utf-8"))
    other = [operation for operation, found in day.kept.items() if fields(found.get("answer")) != fields(kept[operation].get("answer"))]
    assert other == []
